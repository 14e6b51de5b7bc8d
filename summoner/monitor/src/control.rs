//! The life of a monitor process: a shell, an image, one instance after the other, an end.
//!
//! One thread does it all. While it waits it waits for the daemon as well; while the guest runs, the daemon's word ends the
//! run by a signal (`kick`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::net::{RecvFlags, SendFlags};
use seccompiler::BpfProgram;

use crate::devices::ShutdownRequest;
use crate::ending::Ending;
use crate::protocol::{
    BootRequest, MAX_MESSAGE, PrepareRequest, Report, Request, recv_request, send_report,
};
use crate::running::{Pause, RunningVm};
use crate::sandbox::{self, SandboxError};
use crate::shell::{Host, PreparedShell, Shell, ShellError};
use crate::snapshot::SnapshotError;

/// Why a monitor ended otherwise than with its guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error(transparent)]
    Shell(#[from] ShellError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot talk to the daemon")]
    Socket(#[from] io::Error),
    #[error("the daemon asked for {0}, which is not possible now")]
    Order(&'static str),
    #[error("the guest cannot be suspended")]
    Suspend(#[from] SnapshotError),
    #[error("the daemon is gone")]
    Abandoned,
}

/// Becomes a monitor: makes a shell, does what the daemon says on `control`, runs guests to their end.
///
/// It takes the whole process over, which should have only just begun: it closes every descriptor but `control` and the
/// standard streams, gives up all privileges, and ends at once when the daemon's end of `control` is closed.
///
/// How it ended goes to the daemon as [`Report::Ended`]; the exit status is for whoever starts a monitor by hand.
#[must_use]
pub fn run(control: OwnedFd) -> ExitCode {
    match Groundwork::lay(control.as_fd()) {
        Ok(groundwork) => live(control, &groundwork),
        Err(error) => {
            let ending = Ending::Failed(chain(&error));
            // If the daemon is gone there is nobody to tell.
            let _ = send_report(control.as_fd(), &Report::Ended(ending), SendFlags::empty());
            ExitCode::FAILURE
        }
    }
}

/// What is the same for every monitor, and can be done before there is one.
pub(crate) struct Groundwork {
    host: Host,
    filter: BpfProgram,
}

impl Groundwork {
    /// Leaves the process nothing but `control`, the standard streams, and KVM.
    pub(crate) fn lay(control: BorrowedFd<'_>) -> Result<Self, ControlError> {
        sandbox::close_descriptors(control)?;
        let host = Host::open()?;
        let filter = sandbox::filter()?;
        sandbox::drop_privileges()?;
        Ok(Self { host, filter })
    }
}

/// Lives as a monitor to the end.
pub(crate) fn live(control: OwnedFd, groundwork: &Groundwork) -> ExitCode {
    let control = Arc::new(control);
    let mut talk = Talk { control: control.clone(), buffer: vec![0; MAX_MESSAGE] };
    let ending = match talk.live(groundwork) {
        Ok(ending) => ending,
        Err(error) => Ending::Failed(chain(&error)),
    };
    // Before the VM is taken apart: the daemon need not wait for that. If it is gone there is nobody to tell.
    let code = match &ending {
        Ending::Halted { status: 0, .. } => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    let _ = send_report(control.as_fd(), &Report::Ended(ending), SendFlags::empty());
    code
}

/// What the daemon wants of a guest as soon as that rests.
enum Wish {
    Recycle,
    Suspend(OwnedFd),
}

/// What became of an instance.
enum After {
    Ended(Ending),
    Parked,
}

/// The conversation with the daemon.
struct Talk {
    control: Arc<OwnedFd>,
    buffer: Vec<u8>,
}

impl Talk {
    fn live(&mut self, groundwork: &Groundwork) -> Result<Ending, ControlError> {
        let mut shell = Shell::new(&groundwork.host)?;
        shell.listen(self.control.as_fd())?;
        let shutdown = ShutdownRequest::new()?;
        let process = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
        self.say(&Report::ShellReady { process })?;
        let (request, image) = self.wait_for_image()?;
        let shell = shell.prepare(request, &image)?;
        drop(image);
        sandbox::install(&groundwork.filter)?;
        self.say(&Report::Prepared)?;
        let mut vm = self.boot(shell, shutdown)?;
        loop {
            match self.watch(&mut vm)? {
                After::Ended(ending) => return Ok(ending),
                After::Parked => self.boot_again(&mut vm)?,
            }
        }
    }

    fn wait_for_image(&mut self) -> Result<(PrepareRequest, OwnedFd), ControlError> {
        match self.wait()? {
            (Request::Prepare(request), descriptors) => {
                let image = descriptors.into_iter().next();
                Ok((request, image.ok_or(ControlError::Order("an image without its file"))?))
            }
            _ => Err(ControlError::Order("something before there was an image")),
        }
    }

    fn boot(
        &mut self,
        shell: PreparedShell,
        shutdown: Arc<ShutdownRequest>,
    ) -> Result<RunningVm, ControlError> {
        let (request, port, file) = self.wait_for_boot()?;
        Ok(shell.boot(&request, port, file, self.control.clone(), shutdown)?)
    }

    fn boot_again(&mut self, vm: &mut RunningVm) -> Result<(), ControlError> {
        let (request, port, _) = self.wait_for_boot()?;
        Ok(vm.boot_again(&request, port)?)
    }

    fn wait_for_boot(&mut self) -> Result<(BootRequest, OwnedFd, Option<OwnedFd>), ControlError> {
        match self.wait()? {
            (Request::Boot(request), descriptors) => {
                let mut descriptors = descriptors.into_iter();
                let port =
                    descriptors.next().ok_or(ControlError::Order("a boot without a port"))?;
                Ok((request, port, descriptors.next()))
            }
            _ => Err(ControlError::Order("something else than a boot")),
        }
    }

    /// Runs the guest until it ends or is parked.
    fn watch(&mut self, vm: &mut RunningVm) -> Result<After, ControlError> {
        vm.arm(true)?;
        let mut wish = None;
        loop {
            // Before the guest runs: what was said before the signal was on has raised none.
            self.listen(vm, &mut wish)?;
            if wish.is_some() && vm.rest() {
                match wish.take() {
                    Some(Wish::Recycle) => {
                        if !vm.recycle()? {
                            return Err(ControlError::Order(
                                "a guest back that came from no snapshot",
                            ));
                        }
                        vm.arm(false)?;
                        self.say(&Report::Parked)?;
                        return Ok(After::Parked);
                    }
                    Some(Wish::Suspend(file)) => {
                        let length = vm.suspend(file.as_fd())?;
                        self.say(&Report::Captured { length })?;
                        return Ok(After::Ended(Ending::Suspended));
                    }
                    None => {}
                }
            }
            match vm.run() {
                Pause::Ended(ending) => return Ok(After::Ended(ending)),
                Pause::Told => {}
            }
        }
    }

    /// Takes everything in that the daemon has said.
    fn listen(&mut self, vm: &RunningVm, wish: &mut Option<Wish>) -> Result<(), ControlError> {
        loop {
            match self.receive(RecvFlags::DONTWAIT) {
                Ok((Request::Shutdown, _)) => vm.ask_to_shut_down(),
                Ok((Request::Recycle, _)) => *wish = Some(Wish::Recycle),
                Ok((Request::Suspend, descriptors)) => {
                    let file = descriptors.into_iter().next();
                    *wish = Some(Wish::Suspend(
                        file.ok_or(ControlError::Order("a state without a file"))?,
                    ));
                }
                Ok((Request::Prepare(_) | Request::Boot(_), _)) => {
                    return Err(ControlError::Order("a second guest"));
                }
                Err(ControlError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn wait(&mut self) -> Result<(Request, Vec<OwnedFd>), ControlError> {
        self.receive(RecvFlags::empty())
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<(Request, Vec<OwnedFd>), ControlError> {
        recv_request(self.control.as_fd(), &mut self.buffer, flags)?.ok_or(ControlError::Abandoned)
    }

    fn say(&self, report: &Report) -> io::Result<()> {
        send_report(self.control.as_fd(), report, SendFlags::empty())
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let next = source.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = source.source();
    }
    text
}
