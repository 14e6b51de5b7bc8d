//! The life of a monitor process: a shell, a guest, an end; watched by a thread that listens to the daemon.
#![expect(
    unsafe_code,
    reason = "the process must be able to end at once, whatever its other thread does"
)]

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::net::SendFlags;

use crate::devices::{ShutdownRequest, monotonic};
use crate::ending::Ending;
use crate::protocol::{
    BOOT_DESCRIPTORS, BootRequest, MAX_MESSAGE, Report, Request, recv_request, send_report,
};
use crate::sandbox::{self, SandboxError};
use crate::shell::{Shell, ShellError};

/// Why a monitor ended before its guest ran.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error(transparent)]
    Shell(#[from] ShellError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot talk to the daemon")]
    Socket(#[from] std::io::Error),
    #[error("a boot request came without the image and the port")]
    Descriptors,
}

/// A boot request with what came beside it.
struct Boot {
    request: Box<BootRequest>,
    image: OwnedFd,
    port: OwnedFd,
}

/// Becomes a monitor: makes a shell, waits on `control` for a boot request, runs the guest to its end.
///
/// It takes the whole process over, which should have only just begun: it closes every descriptor but `control` and the
/// standard streams, gives up all privileges, and ends at once when the daemon's end of `control` is closed.
///
/// How it ended goes to the daemon as [`Report::Ended`]; the exit status is for whoever starts a monitor by hand.
#[must_use]
pub fn run(control: OwnedFd) -> ExitCode {
    let control = Arc::new(control);
    match prepare(&control) {
        Ok(Ending::Halted { status: 0, .. }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            // If the daemon is gone there is nobody to tell.
            let ending = Ending::Failed(chain(&error));
            let _ = send_report(control.as_fd(), &Report::Ended(ending), SendFlags::empty());
            ExitCode::FAILURE
        }
    }
}

fn prepare(control: &Arc<OwnedFd>) -> Result<Ending, ControlError> {
    sandbox::close_descriptors(control.as_fd())?;
    let shell = Shell::new()?;
    let filter = sandbox::filter()?;
    let shutdown = ShutdownRequest::new()?;
    sandbox::drop_privileges()?;
    let (boots, boot) = sync_channel(1);
    let listener = Listener { control: control.clone(), shutdown: shutdown.clone(), boots };
    std::thread::Builder::new()
        .name("control".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || listener.run())?;
    send_report(control.as_fd(), &Report::ShellReady, SendFlags::empty())?;
    let Some(Boot { request, image, port }) = wait(&boot) else {
        return Err(ControlError::Descriptors);
    };
    let loaded = shell.load(&request, &image, port, control.clone(), shutdown)?;
    drop(image);
    send_report(control.as_fd(), &Report::Loaded { at: monotonic() }, SendFlags::empty())?;
    let mut vm = loaded.start();
    sandbox::install(&filter)?;
    send_report(vm.reports(), &Report::Entered { at: monotonic() }, SendFlags::empty())?;
    let ending = vm.run();
    // Before the VM is taken apart: the daemon need not wait for that.
    send_report(vm.reports(), &Report::Ended(ending.clone()), SendFlags::empty())?;
    Ok(ending)
}

fn wait(boot: &Receiver<Boot>) -> Option<Boot> {
    // The listener hangs up only after a boot request without descriptors.
    boot.recv().ok()
}

/// Listens to the daemon, from before the guest until the end.
struct Listener {
    control: Arc<OwnedFd>,
    shutdown: Arc<ShutdownRequest>,
    boots: SyncSender<Boot>,
}

impl Listener {
    fn run(self) {
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut boots = Some(self.boots);
        loop {
            match recv_request(self.control.as_fd(), &mut buffer) {
                Ok(Some((Request::Shutdown, _))) => self.shutdown.make(),
                Ok(Some((Request::Boot(request), descriptors))) => {
                    let descriptors: Result<[OwnedFd; BOOT_DESCRIPTORS], _> =
                        descriptors.try_into();
                    // A second request finds no taker; a monitor boots once.
                    if let (Some(boots), Ok([image, port])) = (boots.take(), descriptors) {
                        let _ = boots.send(Boot { request: Box::new(request), image, port });
                    }
                }
                // The daemon is gone, or talks nonsense: nobody may be left with a guest that nobody knows.
                Ok(None) | Err(_) => end(),
            }
        }
    }
}

/// Ends the process at once, also while the other thread is in the guest.
fn end() -> ! {
    // SAFETY: `_exit` has no preconditions; nothing of this process outlives it that would need a destructor.
    unsafe { libc::_exit(1) }
}

fn chain(error: &dyn std::error::Error) -> String {
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
