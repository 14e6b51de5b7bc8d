//! The admin socket: a Unix stream socket for `ps`, `wake`, `stop`, `logs` and `snapshot`.
//!
//! Whoever may open the socket may do everything, so its mode is 0600. A client's input is still hostile:
//! requests are bounded and a client that stalls costs one task.

pub mod client;
pub mod protocol;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::orchestrator;
use protocol::{LONGEST_REQUEST, Reply, Request};

/// How long a client may take to send its one line.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of a console that wait for a slow follower before it loses some.
const FOLLOWER_LINES: usize = 1024;

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A daemon answers on it.
    #[error(
        "another summoner listens on the admin socket {path}; stop it, or choose another `admin.socket`"
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error(
        "cannot make the admin socket {path}; choose another `admin.socket` or run as a user who may write there"
    )]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Binds the socket, taking the place of one that a dead daemon left.
///
/// # Errors
/// When a live daemon listens there, or the socket cannot be made.
pub fn bind(path: &Path) -> Result<UnixListener, AdminError> {
    let failed = |source| AdminError::Bind { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(AdminError::InUse { path: path.to_owned() });
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves clients until dropped.
pub async fn serve(listener: UnixListener, requests: mpsc::Sender<orchestrator::Request>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let requests = requests.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, requests).await {
                        debug!(%error, "an admin client went away");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to come back instead of spinning.
                tracing::warn!(%error, "cannot accept an admin client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(
    mut stream: UnixStream,
    requests: mpsc::Sender<orchestrator::Request>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = Vec::new();
    let limit = u64::try_from(LONGEST_REQUEST).unwrap_or(u64::MAX);
    let mut reader = BufReader::new(reader).take(limit);
    match tokio::time::timeout(PATIENCE, reader.read_until(b'\n', &mut line)).await {
        Ok(read) => read?,
        Err(_) => return say(&mut writer, &Reply::Error("no request came".to_owned())).await,
    };
    if line.last() != Some(&b'\n') {
        let text = format!("a request is one line of JSON of at most {LONGEST_REQUEST} octets");
        return say(&mut writer, &Reply::Error(text)).await;
    }
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => {
            return say(&mut writer, &Reply::Error(format!("not a request: {error}"))).await;
        }
    };
    answer(request, &requests, &mut writer).await
}

async fn answer(
    request: Request,
    requests: &mpsc::Sender<orchestrator::Request>,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<()> {
    let reply = match request {
        Request::Ps => ask(requests, orchestrator::Request::List).await.map(Reply::Services),
        Request::Wake { name } => {
            ask(requests, |reply| orchestrator::Request::Wake { name, reply })
                .await
                .and_then(|woken| woken.map(|timeline| Reply::Awake(Box::new(timeline))))
        }
        Request::Stop { name } => {
            ask(requests, |reply| orchestrator::Request::Stop { name, reply })
                .await
                .and_then(|stopped| stopped.map(|()| Reply::Stopped))
        }
        Request::Snapshots => {
            ask(requests, orchestrator::Request::Snapshots).await.map(Reply::Snapshots)
        }
        Request::RemoveSnapshots { name } => {
            ask(requests, |reply| orchestrator::Request::RemoveSnapshots { name, reply })
                .await
                .and_then(|removed| removed.map(Reply::Removed))
        }
        Request::RebuildSnapshot { name } => {
            ask(requests, |reply| orchestrator::Request::RebuildSnapshot { name, reply })
                .await
                .and_then(|woken| woken.map(|timeline| Reply::Awake(Box::new(timeline))))
        }
        Request::Logs { name, follow } => return logs(name, follow, requests, writer).await,
    };
    say(writer, &reply.unwrap_or_else(Reply::Error)).await
}

async fn logs(
    name: String,
    follow: bool,
    requests: &mpsc::Sender<orchestrator::Request>,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<()> {
    let (follower, mut later) = mpsc::channel(FOLLOWER_LINES);
    let follow = follow.then_some(follower);
    let asked = ask(requests, |reply| orchestrator::Request::Logs { name, follow, reply }).await;
    match asked.and_then(|lines| lines) {
        Err(error) => return say(writer, &Reply::Error(error)).await,
        Ok(lines) => {
            for line in lines {
                say(writer, &Reply::Line(line)).await?;
            }
        }
    }
    // Ends at once when nothing is followed: the only sender is gone.
    while let Some(line) = later.recv().await {
        say(writer, &Reply::Line(line)).await?;
    }
    Ok(())
}

async fn ask<T>(
    requests: &mpsc::Sender<orchestrator::Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> orchestrator::Request,
) -> Result<T, String> {
    const GOING: &str = "the daemon is going down";
    let (reply, answer) = oneshot::channel();
    requests.send(request(reply)).await.map_err(|_| GOING.to_owned())?;
    answer.await.map_err(|_| GOING.to_owned())
}

async fn say(writer: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
