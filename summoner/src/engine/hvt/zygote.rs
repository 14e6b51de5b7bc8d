//! The daemon's zygote: the process that shells are forked from (see [`monitor::zygote`]).

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use monitor::protocol;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::shell::{Shell, ShellError, control_pair};
use super::stock::Kind;

/// The binary that shells run: this one, also after its file was replaced by an upgrade.
const EXECUTABLE: &str = "/proc/self/exe";

/// Makes shells.
#[derive(Debug)]
pub(super) struct Zygote {
    executable: PathBuf,
    /// The process, once it is needed; started again should it be killed.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    // Killed when dropped; at the latest it ends when its socket closes.
    _child: Child,
    socket: UnixStream,
}

impl Zygote {
    /// Not started yet.
    pub(super) fn new() -> Self {
        Self { executable: PathBuf::from(EXECUTABLE), running: Mutex::default() }
    }

    /// A shell with an image in it.
    pub(super) async fn make(&self, kind: &Kind) -> Result<Shell, ShellError> {
        let mut shell = self.fork().await?;
        shell.prepare(kind).await?;
        Ok(shell)
    }

    /// A shell without an image.
    pub(super) async fn fork(&self) -> Result<Shell, ShellError> {
        let (ours, theirs) = control_pair()?;
        let mut running = self.running.lock().await;
        // Asked twice: the first time may find that it was killed.
        for attempt in 0..2 {
            let zygote = match &mut *running {
                Some(zygote) => zygote,
                none => none.insert(Running::start(&self.executable)?),
            };
            match zygote.ask(theirs.as_fd()).await {
                Ok(()) => break,
                Err(error) if attempt > 0 => return Err(ShellError::Fork(error)),
                Err(_) => *running = None,
            }
        }
        drop(running);
        drop(theirs);
        // A task of its own, so that it is met also if nobody waits for it any more.
        match tokio::spawn(Shell::meet(ours)).await {
            Ok(shell) => shell,
            Err(error) => Err(ShellError::Fork(std::io::Error::other(error))),
        }
    }
}

impl Running {
    fn start(executable: &Path) -> Result<Self, ShellError> {
        let (socket, theirs) = control_pair()?;
        let child = Command::new(executable)
            .arg("monitor")
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ShellError::Spawn {
                executable: executable.display().to_string(),
                source,
            })?;
        Ok(Self { _child: child, socket })
    }

    async fn ask(&self, theirs: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
        self.socket
            .async_io(Interest::WRITABLE, || protocol::send_fork(self.socket.as_fd(), theirs))
            .await
    }
}
