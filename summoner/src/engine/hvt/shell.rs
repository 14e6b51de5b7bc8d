//! A shell as the daemon sees it: a child process that has a VM and waits for an image.
//!
//! When the daemon ends, however it ends, the control socket closes and the child exits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use monitor::protocol::{self, PrepareRequest, Report, Request};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    Pid, Signal, WaitOptions, getpriority_process, kill_process, setpriority_process, waitpid,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::stock::Kind;

/// Why there is no shell, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// No socket.
    #[error(
        "cannot make the control socket of a shell; is the limit on open files (ulimit -n) reached?"
    )]
    Socket(#[source] std::io::Error),
    /// No process.
    #[error("cannot start {executable} to fork shells from; is the limit on processes reached?")]
    Spawn {
        /// What was to be run.
        executable: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The process that forks shells does not answer.
    #[error("cannot ask for a shell to be forked")]
    Fork(#[source] std::io::Error),
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
    #[error("the shell ended before it was ready")]
    Gone,
}

/// A socket pair for a control socket: the daemon's end, which does not block, and the other, which does.
pub(super) fn control_pair() -> Result<(UnixStream, OwnedFd), ShellError> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| ShellError::Socket(error.into()))?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|error| ShellError::Socket(error.into()))?;
    Ok((UnixStream::from_std(ours.into()).map_err(ShellError::Socket)?, theirs))
}

/// A monitor process and its control socket. Killed when dropped.
#[derive(Debug)]
pub(super) struct Shell {
    process: Process,
    control: Control,
}

/// The daemon's end of a control socket.
#[derive(Debug)]
struct Control {
    /// Of messages, not a stream; only its readiness is the runtime's business, messages are whole.
    socket: UnixStream,
    buffer: Vec<u8>,
}

impl Shell {
    /// The shell at the other end of `socket`, which was just forked, when its VM is made.
    ///
    /// Not to be cancelled: a process that has not told its number cannot be waited for.
    pub(super) async fn meet(socket: UnixStream) -> Result<Self, ShellError> {
        let mut control = Control { socket, buffer: vec![0; protocol::MAX_MESSAGE] };
        match control.next_report().await? {
            Some(Report::ShellReady { process }) => {
                let process = Process::child(process)
                    .ok_or_else(|| ShellError::Refused(format!("its number is {process}")))?;
                Ok(Self { process, control })
            }
            other => Err(ShellError::unexpected(other)),
        }
    }

    /// Has an image put into it.
    pub(super) async fn prepare(&mut self, kind: &Kind) -> Result<(), ShellError> {
        let plan = kind.image.plan.clone();
        let request = Request::Prepare(PrepareRequest { plan, memory: kind.memory });
        self.try_send(&request, &[kind.image.file.as_fd()])?;
        match self.next_report().await? {
            Some(Report::Prepared) => {
                self.process.catch_up();
                Ok(())
            }
            other => Err(ShellError::unexpected(other)),
        }
    }

    /// The operating system's number of the process.
    pub(super) fn process(&self) -> u32 {
        self.process.number()
    }

    /// Sends a request and the descriptors that go with it, at once: a shell reads what it is told, so there is room.
    pub(super) fn try_send(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ShellError> {
        protocol::send_request(self.control.socket.as_fd(), request, descriptors)
            .map_err(ShellError::Control)
    }

    /// The next report, or `None` when the process has closed its socket, that is, ended.
    ///
    /// Safe to cancel: a report is read whole or not at all.
    pub(super) async fn next_report(&mut self) -> Result<Option<Report>, ShellError> {
        self.control.next_report().await
    }

    /// Orders the process to end at once.
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until the process is gone, and says how it went.
    pub(super) async fn wait(self) -> String {
        self.process.wait().await
    }
}

impl Control {
    async fn next_report(&mut self) -> Result<Option<Report>, ShellError> {
        let (socket, buffer) = (&self.socket, &mut self.buffer);
        socket
            .async_io(Interest::READABLE, || protocol::recv_report(socket.as_fd(), buffer))
            .await
            .map_err(ShellError::Control)
    }
}

impl ShellError {
    fn unexpected(report: Option<Report>) -> Self {
        match report {
            Some(Report::Ended(ending)) => Self::Refused(ending.to_string()),
            Some(other) => Self::Refused(format!("unexpected report {other:?}")),
            None => Self::Gone,
        }
    }
}

/// A child process that some other process has forked for us. Killed and waited for when dropped.
#[derive(Debug)]
struct Process {
    /// `None` once somebody else waits for it.
    number: Option<Pid>,
}

impl Process {
    fn child(number: u32) -> Option<Self> {
        let number = Pid::from_raw(i32::try_from(number).ok()?)?;
        Some(Self { number: Some(number) })
    }

    fn number(&self) -> u32 {
        self.number.map_or(0, |number| number.as_raw_nonzero().get().cast_unsigned())
    }

    fn kill(&self) {
        if let Some(number) = self.number {
            // Its number cannot be another's: it is our child, and nobody has waited for it yet.
            let _ = kill_process(number, Signal::KILL);
        }
    }

    /// Gives it as much of a busy processor as the daemon has. It was made with less: making shells must not be in the way of
    /// guests that run; running, it is one of them. Who is not privileged cannot, and it goes on with less.
    fn catch_up(&self) {
        if let Ok(own) = getpriority_process(None) {
            let _ = setpriority_process(self.number, own);
        }
    }

    async fn wait(mut self) -> String {
        let Some(number) = self.number.take() else { return "already waited for".to_owned() };
        match tokio::task::spawn_blocking(move || reap(number)).await {
            Ok(how) => how,
            Err(error) => format!("monitor process: cannot be waited for: {error}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let Some(number) = self.number.take() else { return };
        // It has been killed, so this takes no longer than the kernel needs to take it apart; not on a task's time.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || reap(number))),
            Err(_) => drop(reap(number)),
        }
    }
}

/// Waits for a child that is ending.
fn reap(number: Pid) -> String {
    loop {
        match waitpid(Some(number), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                return format!("monitor process: {}", ExitStatus::from_raw(status.as_raw()));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return format!("monitor process: cannot be waited for: {error}"),
        }
    }
}
