//! The other end of the admin socket, for the commands. Blocking: a command does one thing.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::protocol::{Reply, Request};

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon.
    #[error(
        "no summoner answers on {path}; is `summoner serve` running, and is this its `admin.socket`?"
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the daemon hung up")]
    Broken(#[from] io::Error),
    /// The daemon said something else than a reply.
    #[error("the daemon's reply cannot be understood; are both of the same version?")]
    Reply(#[source] serde_json::Error),
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
}

/// Sends a request; the replies come as the iterator is asked for them, until the daemon hangs up.
///
/// # Errors
/// When no daemon listens on `socket`.
pub fn ask(
    socket: &Path,
    request: &Request,
) -> Result<impl Iterator<Item = Result<Reply, ClientError>> + use<>, ClientError> {
    let mut stream = UnixStream::connect(socket)
        .map_err(|source| ClientError::Connect { path: socket.to_owned(), source })?;
    let mut line = serde_json::to_vec(request).map_err(ClientError::Reply)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(BufReader::new(stream).lines().map(|line| {
        match serde_json::from_str(&line?).map_err(ClientError::Reply)? {
            Reply::Error(reason) => Err(ClientError::Refused(reason)),
            reply => Ok(reply),
        }
    }))
}

/// Sends a request that has exactly one reply.
///
/// # Errors
/// When there is no daemon, it refuses, or it hangs up without a reply.
pub fn ask_once(socket: &Path, request: &Request) -> Result<Reply, ClientError> {
    ask(socket, request)?
        .next()
        .unwrap_or_else(|| Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into())))
}
