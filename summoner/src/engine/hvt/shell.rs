//! A shell as the daemon sees it: a child process that has a VM and waits for an image.
//!
//! The child is this very binary, called with the hidden command `monitor`; its standard input is the
//! control socket. When the daemon ends, however it ends, the socket closes and the child exits.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Stdio;

use monitor::protocol::{self, PrepareRequest, Report, Request};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::stock::Kind;

/// The binary that shells run: this one, also after its file was replaced by an upgrade.
pub(super) const EXECUTABLE: &str = "/proc/self/exe";

/// Why there is no shell, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// No socket.
    #[error(
        "cannot make the control socket of a shell; is the limit on open files (ulimit -n) reached?"
    )]
    Socket(#[source] std::io::Error),
    /// No process.
    #[error("cannot start the shell process {executable}; is the limit on processes reached?")]
    Spawn {
        /// What was to be run.
        executable: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No memory file.
    #[error("cannot make a memory file for a guest's state; is the limit on open files reached?")]
    File(#[source] std::io::Error),
    /// The socket failed.
    #[error("cannot talk to the shell process")]
    Control(#[source] std::io::Error),
    /// The process said why it cannot be one.
    #[error("the shell could not be made: {0}")]
    Refused(String),
    /// The process is gone.
    #[error("the shell ended before it was ready ({0})")]
    Gone(String),
}

/// A monitor process and its control socket. Killed when dropped.
#[derive(Debug)]
pub(super) struct Shell {
    child: Child,
    /// Of messages, not a stream; only its readiness is the runtime's business, messages are whole.
    control: UnixStream,
    buffer: Vec<u8>,
}

impl Shell {
    /// Starts a shell process, waits until its VM is made, and has an image put into it.
    pub(super) async fn make(executable: &Path, kind: &Kind) -> Result<Self, ShellError> {
        let mut shell = Self::start(executable)?;
        shell.expect(&Report::ShellReady).await?;
        let plan = kind.image.plan.clone();
        let request = Request::Prepare(PrepareRequest { plan, memory: kind.memory });
        shell.try_send(&request, &[kind.image.file.as_fd()])?;
        shell.expect(&Report::Prepared).await?;
        Ok(shell)
    }

    /// Starts a shell process and ends it: whether there can be any.
    pub(super) async fn try_to_make(executable: &Path) -> Result<(), ShellError> {
        Self::start(executable)?.expect(&Report::ShellReady).await
    }

    async fn expect(&mut self, expected: &Report) -> Result<(), ShellError> {
        match self.next_report().await? {
            Some(report) if report == *expected => Ok(()),
            Some(Report::Ended(ending)) => Err(ShellError::Refused(ending.to_string())),
            Some(other) => Err(ShellError::Refused(format!("unexpected report {other:?}"))),
            None => Err(ShellError::Gone(self.wait().await)),
        }
    }

    fn start(executable: &Path) -> Result<Self, ShellError> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| ShellError::Socket(error.into()))?;
        // Only our end: the monitor waits on its own by blocking.
        rustix::io::ioctl_fionbio(&ours, true).map_err(|error| ShellError::Socket(error.into()))?;
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
        let control = UnixStream::from_std(ours.into()).map_err(ShellError::Control)?;
        Ok(Self { child, control, buffer: vec![0; protocol::MAX_MESSAGE] })
    }

    /// The operating system's number of the process; 0 once it has ended.
    pub(super) fn process(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Sends a request and the descriptors that go with it, at once: a shell reads what it is told, so there is room.
    pub(super) fn try_send(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ShellError> {
        protocol::send_request(self.control.as_fd(), request, descriptors)
            .map_err(ShellError::Control)
    }

    /// The next report, or `None` when the process has closed its socket, that is, ended.
    ///
    /// Safe to cancel: a report is read whole or not at all.
    pub(super) async fn next_report(&mut self) -> Result<Option<Report>, ShellError> {
        let (control, buffer) = (&self.control, &mut self.buffer);
        control
            .async_io(Interest::READABLE, || protocol::recv_report(control.as_fd(), buffer))
            .await
            .map_err(ShellError::Control)
    }

    /// Orders the process to end at once.
    pub(super) fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.start_kill();
    }

    /// Waits until the process is gone, and says how it went.
    pub(super) async fn wait(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("monitor process: {status}"),
            Err(error) => format!("monitor process: cannot be waited for: {error}"),
        }
    }
}
