//! The zygote: a process that has done everything that all monitors have in common, and becomes one by forking.
//!
//! Starting a program costs more than making a VM in it (`boot_times` prints both). A zygote is started once: it has its
//! descriptors closed, its privileges given up, `/dev/kvm` open, the processor's features looked up and the filter
//! translated. Each request brings the control socket of a new monitor; the child that is forked for it goes on from there.
//!
//! The children are the daemon's, not the zygote's (CLONE_PARENT): the daemon can wait for them, and so be sure whom it
//! kills.
#![expect(
    unsafe_code,
    reason = "a process is cloned as its parent's child, which no library offers"
)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::net::SendFlags;

use crate::control::{self, Groundwork};
use crate::ending::Ending;
use crate::protocol::{Report, recv_fork, send_report};

/// How much less of a busy processor the making of shells gets than the daemon (nice(2)): about a tenth. Names must be answered
/// and guests must run while many shells are made; on a processor that is not busy it makes no difference. A daemon that
/// may gives a shell its own share once it is made.
const YIELDING: i32 = 10;

/// Becomes a zygote: forks a monitor for each socket that comes by `control`, until that is closed.
///
/// It takes the whole process over, which should have only just begun and must have one thread. In each child it returns
/// when that monitor is over.
#[must_use]
pub fn run(control: OwnedFd) -> ExitCode {
    // Taking less than one is entitled to is always allowed; if it fails, nothing but fairness is lost.
    let _ = rustix::process::nice(YIELDING);
    let groundwork = Groundwork::lay(control.as_fd());
    loop {
        let socket = match recv_fork(control.as_fd()) {
            Ok(Some(socket)) => socket,
            // The daemon is gone; so will be the children, each by its own socket.
            Ok(None) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        };
        let refused = match &groundwork {
            Ok(groundwork) => match fork() {
                Ok(Fork::Child) => {
                    drop(control);
                    return control::live(socket, groundwork);
                }
                Ok(Fork::Parent) => continue,
                Err(error) => format!("cannot fork; is the limit on processes reached? ({error})"),
            },
            Err(error) => control::chain(error),
        };
        // If nobody listens any more, nobody wants it.
        let _ = send_report(
            socket.as_fd(),
            &Report::Ended(Ending::Failed(refused)),
            SendFlags::empty(),
        );
    }
}

enum Fork {
    Parent,
    Child,
}

fn fork() -> io::Result<Fork> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: no memory is shared with the child, which goes on with a copy of this one's stack (no new one is given). The
    // process has a single thread, so no lock is held and no data is half-changed in the copy. What the C library keeps of
    // the thread's number is the parent's in the child; a monitor sends itself no signals by it.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match result {
        0 => Ok(Fork::Child),
        1.. => Ok(Fork::Parent),
        _ => Err(io::Error::last_os_error()),
    }
}
