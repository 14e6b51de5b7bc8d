//! The eight hypercalls (Solo5 hvt ABI 2), without a vCPU: tested and attacked without `/dev/kvm`.
//!
//! An argument is copied in once and only the copy is used: the guest's memory is the guest's, and it may change between
//! two looks. Every address and length is checked; a bad one ends the guest, never the monitor.

use std::time::Duration;

use hvt_abi::boot_info::SHUTDOWN_REQUEST_BIT;
use hvt_abi::hypercall::{
    BlockRead, BlockWrite, CallResult, HALT_COOKIE_SIZE, Halt, Hypercall, NetRead, NetWrite, Poll,
    Puts, Walltime,
};

pub use crate::devices::{Devices, Found, ShutdownRequest};
use crate::ending::Ending;
use crate::memory::{Forbidden, GuestMemory, Need};
use crate::ring::{RingError, Unserved};

/// What follows from a hypercall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The guest goes on.
    Continue,
    /// It goes on waiting in its poll, but the daemon has something to say.
    Rest,
    /// The guest is over.
    End(Ending),
}

/// Why a guest is ended.
#[derive(Debug)]
struct Violation(String);

impl From<RingError> for Violation {
    fn from(error: RingError) -> Self {
        Self(format!("the ring: {error}"))
    }
}

/// Carries out a hypercall whose argument is at `argument`.
pub fn handle(
    devices: &mut Devices,
    memory: &GuestMemory,
    call: Hypercall,
    argument: u64,
) -> Outcome {
    devices.note_exit();
    let result = match call {
        Hypercall::Walltime => walltime(devices, memory, argument),
        Hypercall::Puts => puts(devices, memory, argument),
        Hypercall::Poll => match poll(devices, memory, argument) {
            Ok(true) => Ok(()),
            Ok(false) => return Outcome::Rest,
            Err(violation) => Err(violation),
        },
        Hypercall::BlockWrite => block_write(memory, argument),
        Hypercall::BlockRead => block_read(memory, argument),
        Hypercall::NetWrite => net_write(devices, memory, argument),
        Hypercall::NetRead => net_read(devices, memory, argument),
        Hypercall::Halt => match halt(memory, argument) {
            Ok(ending) => return Outcome::End(ending),
            Err(violation) => Err(violation),
        },
    };
    match result {
        Ok(()) => Outcome::Continue,
        Err(Violation(what)) => Outcome::End(Ending::Violation(format!("{call}: {what}"))),
    }
}

/// The guest asks for its ring to be served.
pub(crate) fn kick(devices: &mut Devices, memory: &GuestMemory) -> Outcome {
    devices.note_exit();
    let served = match devices.ring() {
        None => Err(Violation("there is no ring; it was not offered".to_owned())),
        Some(_) => serve(devices, memory),
    };
    match served {
        Ok(()) => Outcome::Continue,
        Err(Violation(what)) => Outcome::End(Ending::Violation(format!("ring kick: {what}"))),
    }
}

/// Carries out what is submitted, and completes every read: who kicks may not know that reads can wait for a poll.
fn serve(devices: &mut Devices, memory: &GuestMemory) -> Result<(), Violation> {
    devices.take_submissions(memory)?;
    devices.complete_reads(memory, Unserved::Again)?;
    Ok(())
}

fn read<const N: usize>(memory: &GuestMemory, argument: u64) -> Result<[u8; N], Violation> {
    let mut octets = [0; N];
    memory.read(argument, &mut octets).map_err(|error| bad("the argument", error))?;
    Ok(octets)
}

fn write(memory: &GuestMemory, argument: u64, octets: &[u8]) -> Result<(), Violation> {
    memory.write(argument, octets).map_err(|error| bad("the argument", error))
}

fn bad(what: &str, error: Forbidden) -> Violation {
    Violation(format!("{what}: {error}"))
}

fn walltime(devices: &Devices, memory: &GuestMemory, argument: u64) -> Result<(), Violation> {
    write(memory, argument, &Walltime { nsecs: devices.walltime() }.to_bytes())
}

fn puts(devices: &mut Devices, memory: &GuestMemory, argument: u64) -> Result<(), Violation> {
    let Puts { data, len } = Puts::from_bytes(&read(memory, argument)?);
    memory.check(data, len, Need::Read).map_err(|error| bad("the text", error))?;
    devices.puts(len, |offset, into| {
        // In bounds, as the whole is; memory does not shrink.
        let _ = memory.read(data + offset, into);
    });
    Ok(())
}

/// Whether the poll is over.
fn poll(devices: &mut Devices, memory: &GuestMemory, argument: u64) -> Result<bool, Violation> {
    let poll = Poll::from_bytes(&read(memory, argument)?);
    devices.take_submissions(memory)?;
    devices.note_wait();
    let found = devices.poll(memory, Duration::from_nanos(poll.timeout_nsecs))?;
    if found == (Found { told: true, ..Found::default() }) {
        return Ok(false);
    }
    finish_poll(memory, argument, poll, found)?;
    Ok(true)
}

/// Ends the poll whose argument is at `argument`, with nothing found.
pub(crate) fn end_poll(memory: &GuestMemory, argument: u64) -> Outcome {
    let result = read(memory, argument).and_then(|octets| {
        finish_poll(memory, argument, Poll::from_bytes(&octets), Found::default())
    });
    match result {
        Ok(()) => Outcome::Continue,
        Err(Violation(what)) => {
            Outcome::End(Ending::Violation(format!("{}: {what}", Hypercall::Poll)))
        }
    }
}

fn finish_poll(
    memory: &GuestMemory,
    argument: u64,
    poll: Poll,
    found: Found,
) -> Result<(), Violation> {
    // A handle is below 64: a manifest has at most 64 entries.
    let net = found.net.map_or(0, |handle| 1_u64.wrapping_shl(u32::try_from(handle).unwrap_or(0)));
    let shutdown = if found.shutdown { SHUTDOWN_REQUEST_BIT } else { 0 };
    let ready_set = net | shutdown;
    let ret = i32::try_from(ready_set.count_ones()).unwrap_or(0);
    write(memory, argument, &Poll { ready_set, ret, ..poll }.to_bytes())
}

/// No block device is ever attached, so no handle is one.
fn block_write(memory: &GuestMemory, argument: u64) -> Result<(), Violation> {
    let call = BlockWrite::from_bytes(&read(memory, argument)?);
    let ret = CallResult::InvalidArgument.code();
    write(memory, argument, &BlockWrite { ret, ..call }.to_bytes())
}

fn block_read(memory: &GuestMemory, argument: u64) -> Result<(), Violation> {
    let call = BlockRead::from_bytes(&read(memory, argument)?);
    let ret = CallResult::InvalidArgument.code();
    write(memory, argument, &BlockRead { ret, ..call }.to_bytes())
}

fn net_write(devices: &mut Devices, memory: &GuestMemory, argument: u64) -> Result<(), Violation> {
    let call = NetWrite::from_bytes(&read(memory, argument)?);
    memory.check(call.data, call.len, Need::Read).map_err(|error| bad("the frame", error))?;
    let result = match devices.net() {
        Some((net, buffer)) if net.is_frame(call.handle, call.len) => {
            // It fits: a frame is not longer than the longest.
            let length = usize::try_from(call.len).unwrap_or(usize::MAX).min(buffer.len());
            let frame = &mut buffer[..length];
            memory.read(call.data, frame).map_err(|error| bad("the frame", error))?;
            net.send(frame);
            CallResult::Ok
        }
        _ => CallResult::InvalidArgument,
    };
    write(memory, argument, &NetWrite { ret: result.code(), ..call }.to_bytes())
}

fn net_read(devices: &mut Devices, memory: &GuestMemory, argument: u64) -> Result<(), Violation> {
    let call = NetRead::from_bytes(&read(memory, argument)?);
    memory.check(call.data, call.len, Need::Write).map_err(|error| bad("the buffer", error))?;
    devices.note_wait();
    let (result, len) = match devices.net() {
        Some((net, buffer)) if net.has_use_for(call.handle, call.len) => {
            let room = usize::try_from(call.len).unwrap_or(usize::MAX).min(buffer.len());
            match net.receive(&mut buffer[..room]) {
                Some(length) => {
                    let frame = &buffer[..length];
                    memory.write(call.data, frame).map_err(|error| bad("the buffer", error))?;
                    (CallResult::Ok, length as u64)
                }
                None => (CallResult::Again, call.len),
            }
        }
        _ => (CallResult::InvalidArgument, call.len),
    };
    write(memory, argument, &NetRead { len, ret: result.code(), ..call }.to_bytes())
}

fn halt(memory: &GuestMemory, argument: u64) -> Result<Ending, Violation> {
    let Halt { cookie, exit_status } = Halt::from_bytes(&read(memory, argument)?);
    let mut octets = Vec::new();
    if cookie != 0 {
        octets.resize(HALT_COOKIE_SIZE, 0);
        memory.read(cookie, &mut octets).map_err(|error| bad("the cookie", error))?;
    }
    Ok(Ending::Halted { status: exit_status, cookie: octets })
}

#[cfg(test)]
mod tests;
