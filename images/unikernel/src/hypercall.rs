//! The hypercalls that a guest may make, as safe functions.
#![expect(unsafe_code, reason = "passes addresses to the host")]

use core::time::Duration;

use hvt_abi::boot_info::SHUTDOWN_REQUEST_BIT;
use hvt_abi::hypercall::{CallResult, Halt, Hypercall, NetRead, NetWrite, Poll, Puts, Walltime};

use crate::arch;

/// What ended a [`poll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Bit `h` is set when the device with handle `h` has input.
    pub devices: u64,
    /// The host asks the guest to shut down.
    pub shutdown: bool,
}

/// The time since 1970-01-01 00:00 UTC.
#[must_use]
pub fn walltime() -> Duration {
    let mut argument = Walltime::default();
    // SAFETY: the argument is the call's own structure and holds no address.
    unsafe { arch::hypercall(Hypercall::Walltime, (&raw mut argument).cast()) };
    Duration::from_nanos(argument.nsecs)
}

/// Writes octets to the console.
pub fn puts(text: &[u8]) {
    let data = text.as_ptr().expose_provenance() as u64;
    let mut argument = Puts { data, len: text.len() as u64 };
    // SAFETY: the argument is the call's own structure; the text it names is readable.
    unsafe { arch::hypercall(Hypercall::Puts, (&raw mut argument).cast()) };
}

/// Sleeps until a device has input, the host asks for the guest's end, or `timeout` has passed. Afterwards the guest
/// may be another instance: [`Guest::poll`](crate::Guest::poll) looks.
#[must_use]
pub fn poll(timeout: Duration) -> Ready {
    let timeout_nsecs = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    let mut argument = Poll { timeout_nsecs, ..Poll::default() };
    // SAFETY: the argument is the call's own structure and holds no address.
    unsafe { arch::hypercall(Hypercall::Poll, (&raw mut argument).cast()) };
    Ready {
        devices: argument.ready_set & !SHUTDOWN_REQUEST_BIT,
        shutdown: argument.ready_set & SHUTDOWN_REQUEST_BIT != 0,
    }
}

/// Sends one Ethernet frame by the device `handle`.
#[must_use]
pub fn net_write(handle: u64, frame: &[u8]) -> CallResult {
    let data = frame.as_ptr().expose_provenance() as u64;
    let mut argument = NetWrite { handle, data, len: frame.len() as u64, ret: 0 };
    // SAFETY: the argument is the call's own structure; the frame it names is readable.
    unsafe { arch::hypercall(Hypercall::NetWrite, (&raw mut argument).cast()) };
    CallResult::from_code(argument.ret)
}

/// Takes one Ethernet frame from the device `handle` into `buffer` and returns its length.
///
/// # Errors
/// With [`CallResult::Again`] when there is none; with the others when the host cannot serve the call.
pub fn net_read(handle: u64, buffer: &mut [u8]) -> Result<usize, CallResult> {
    let data = buffer.as_mut_ptr().expose_provenance() as u64;
    let mut argument = NetRead { handle, data, len: buffer.len() as u64, ret: 0 };
    // SAFETY: the argument is the call's own structure; the buffer it names is writable.
    unsafe { arch::hypercall(Hypercall::NetRead, (&raw mut argument).cast()) };
    match CallResult::from_code(argument.ret) {
        // The host never says more than it was given room for; if it does, the rest is not there.
        CallResult::Ok => {
            Ok(usize::try_from(argument.len).map_or(buffer.len(), |len| len.min(buffer.len())))
        }
        other => Err(other),
    }
}

/// Ends the guest.
pub fn halt(exit_status: i32) -> ! {
    let mut argument = Halt { cookie: 0, exit_status };
    loop {
        // SAFETY: the argument is the call's own structure; a cookie of 0 names nothing.
        unsafe { arch::hypercall(Hypercall::Halt, (&raw mut argument).cast()) };
    }
}
