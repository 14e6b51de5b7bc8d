//! Attacks on the monitor by hypercall. *Refused* means that the monitor ends the guest with a report and
//! comes to no harm itself.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::time::Duration;

use hvt_abi::boot_info::{BOOT_INFO_ADDRESS, Features};
use hvt_abi::hypercall::{
    BlockRead, BlockWrite, CallResult, Halt, Hypercall, NetRead, NetWrite, PORT_BASE, Puts,
    Walltime,
};
use hvt_abi::memory_map::x86_64::PML4;
use hvt_abi::ring::{GUEST_INDICES, KICK_PORT, Submission};
use unikernel::{Guest, hypercall, println};

use crate::faults::code;
use crate::plain::{memory_end, number};
use crate::raw;

type Outcome = Result<(), String>;

/// The handle of the one network device.
const NET: u64 = 1;

/// Octets of the largest ordinary frame.
const FRAME: u64 = 1514;

/// What an attack returns that should have been refused.
fn not_refused() -> Outcome {
    Err("the monitor did not refuse that".into())
}

fn call_number(value: &str) -> Result<Hypercall, String> {
    u16::try_from(number(value)?)
        .ok()
        .and_then(Hypercall::from_number)
        .ok_or_else(|| format!("there is no hypercall {value}"))
}

pub(crate) fn call_unknown(_: &'static Guest, value: &str) -> Outcome {
    let offset = u16::try_from(number(value)?).map_err(|_| "that is not a port")?;
    let mut argument = Walltime::default();
    let address = (&raw mut argument).expose_provenance();
    raw::out(PORT_BASE.saturating_add(offset), u32::try_from(address).map_err(|_| "not 32 bits")?);
    not_refused()
}

pub(crate) fn call_wide(_: &'static Guest, value: &str) -> Outcome {
    let port = Hypercall::Walltime.port();
    match value {
        "8" => raw::out_byte(port, 0),
        "16" => raw::out_word(port, 0),
        "in" => println!("read {:#x}", raw::input(port)),
        _ => return Err("wanted 8, 16 or in".into()),
    }
    not_refused()
}

pub(crate) fn argument_outside(guest: &'static Guest, value: &str) -> Outcome {
    raw::call(call_number(value)?, memory_end(guest));
    not_refused()
}

pub(crate) fn argument_straddles(guest: &'static Guest, value: &str) -> Outcome {
    raw::call(call_number(value)?, memory_end(guest) - 4);
    not_refused()
}

pub(crate) fn argument_last(_: &'static Guest, value: &str) -> Outcome {
    raw::call(call_number(value)?, u64::from(u32::MAX));
    not_refused()
}

pub(crate) fn argument_in_tables(_: &'static Guest, _: &str) -> Outcome {
    raw::call(Hypercall::Walltime, PML4);
    not_refused()
}

pub(crate) fn argument_in_code(_: &'static Guest, _: &str) -> Outcome {
    raw::call(Hypercall::Walltime, code());
    not_refused()
}

pub(crate) fn argument_misaligned(_: &'static Guest, _: &str) -> Outcome {
    let mut room = Box::new([0_u8; Walltime::SIZE + 1]);
    let address = room.as_mut_ptr().expose_provenance() as u64;
    raw::call(Hypercall::Walltime, address + 1);
    let (_, time) = core::hint::black_box(&room).split_first_chunk::<1>().ok_or("no room")?;
    let time = Walltime::from_bytes(time.try_into().map_err(|_| "no room")?);
    if time.nsecs > 0 { Ok(()) } else { Err("no time was written".into()) }
}

pub(crate) fn argument_overlaps(_: &'static Guest, _: &str) -> Outcome {
    let mut puts = Box::new(Puts { data: 0, len: Puts::SIZE as u64 });
    puts.data = (&raw mut *puts).expose_provenance() as u64;
    raw::call_with(Hypercall::Puts, &mut *puts);

    let mut read = Box::new(NetRead { handle: NET, data: 0, len: NetRead::SIZE as u64, ret: 0 });
    read.data = (&raw mut *read).expose_provenance() as u64;
    raw::call_with(Hypercall::NetRead, &mut *read);
    println!("result {}", read.ret);
    Ok(())
}

fn puts(data: u64, len: u64) {
    raw::call_with(Hypercall::Puts, &mut Puts { data, len });
}

pub(crate) fn puts_outside(guest: &'static Guest, _: &str) -> Outcome {
    puts(memory_end(guest), 16);
    not_refused()
}

pub(crate) fn puts_huge(_: &'static Guest, _: &str) -> Outcome {
    puts(code(), u64::MAX);
    not_refused()
}

pub(crate) fn puts_wraps(_: &'static Guest, _: &str) -> Outcome {
    puts(u64::MAX - 15, 32);
    not_refused()
}

pub(crate) fn puts_tables(_: &'static Guest, _: &str) -> Outcome {
    puts(PML4, 64);
    not_refused()
}

pub(crate) fn puts_nothing(_: &'static Guest, _: &str) -> Outcome {
    puts(u64::MAX, 0);
    Ok(())
}

fn net_write(handle: u64, data: u64, len: u64) -> CallResult {
    let mut argument = NetWrite { handle, data, len, ret: -1 };
    raw::call_with(Hypercall::NetWrite, &mut argument);
    CallResult::from_code(core::hint::black_box(argument).ret)
}

pub(crate) fn net_write_size(_: &'static Guest, value: &str) -> Outcome {
    let len = number(value)?;
    // At least one octet, so that the address is one of the heap even if nothing is sent from there.
    let frame = vec![0xff_u8; usize::try_from(len.max(1)).map_err(|_| "too much")?];
    let result = net_write(NET, frame.as_ptr().expose_provenance() as u64, len);
    println!("result {result:?}");
    let sent = result == CallResult::Ok;
    if sent && (len == 0 || len > FRAME) { Err("that was taken".into()) } else { Ok(()) }
}

pub(crate) fn net_write_outside(guest: &'static Guest, _: &str) -> Outcome {
    let result = net_write(NET, memory_end(guest) - 4, FRAME);
    Err(format!("the monitor did not refuse that: {result:?}"))
}

pub(crate) fn net_write_tables(_: &'static Guest, _: &str) -> Outcome {
    let result = net_write(NET, PML4, FRAME);
    Err(format!("the monitor did not refuse that: {result:?}"))
}

fn net_read(handle: u64, data: u64, len: u64) -> CallResult {
    let mut argument = NetRead { handle, data, len, ret: -1 };
    raw::call_with(Hypercall::NetRead, &mut argument);
    CallResult::from_code(core::hint::black_box(argument).ret)
}

pub(crate) fn net_read_outside(guest: &'static Guest, _: &str) -> Outcome {
    let result = net_read(NET, memory_end(guest) - 4, FRAME);
    Err(format!("the monitor did not refuse that: {result:?}"))
}

pub(crate) fn net_read_tables(_: &'static Guest, _: &str) -> Outcome {
    let result = net_read(NET, PML4, FRAME);
    Err(format!("the monitor did not refuse that: {result:?}"))
}

pub(crate) fn net_read_code(_: &'static Guest, _: &str) -> Outcome {
    let result = net_read(NET, code(), FRAME);
    Err(format!("the monitor did not refuse that: {result:?}"))
}

pub(crate) fn net_read_boot_info(_: &'static Guest, _: &str) -> Outcome {
    let result = net_read(NET, BOOT_INFO_ADDRESS, FRAME);
    Err(format!("the monitor did not refuse that: {result:?}"))
}

pub(crate) fn net_read_huge(_: &'static Guest, _: &str) -> Outcome {
    let mut buffer = [0_u8; 64];
    let result = net_read(NET, buffer.as_mut_ptr().expose_provenance() as u64, u64::MAX);
    Err(format!("the monitor did not refuse that: {result:?}"))
}

pub(crate) fn net_read_short(_: &'static Guest, _: &str) -> Outcome {
    let mut buffer = [0_u8; 1];
    println!("result {:?}", hypercall::net_read(NET, &mut buffer));
    Ok(())
}

pub(crate) fn net_handle(_: &'static Guest, value: &str) -> Outcome {
    let handle = number(value)?;
    let mut frame = [0_u8; 64];
    let data = frame.as_mut_ptr().expose_provenance() as u64;
    expect_invalid("net_write", net_write(handle, data, 64))?;
    expect_invalid("net_read", net_read(handle, data, 64))
}

pub(crate) fn block(_: &'static Guest, _: &str) -> Outcome {
    let mut block = vec![0_u8; 512];
    let data = block.as_mut_ptr().expose_provenance() as u64;
    for handle in [0, 1, 2, 63, 64, u64::MAX] {
        let mut read = BlockRead { handle, offset: 0, data, len: 512, ret: -1 };
        raw::call_with(Hypercall::BlockRead, &mut read);
        expect_invalid("block_read", CallResult::from_code(core::hint::black_box(read).ret))?;
        let mut write = BlockWrite { handle, offset: u64::MAX, data, len: 512, ret: -1 };
        raw::call_with(Hypercall::BlockWrite, &mut write);
        expect_invalid("block_write", CallResult::from_code(core::hint::black_box(write).ret))?;
    }
    Ok(())
}

fn expect_invalid(call: &str, result: CallResult) -> Outcome {
    match result {
        CallResult::InvalidArgument => Ok(()),
        other => Err(format!("{call}: {other:?}, wanted an invalid argument")),
    }
}

pub(crate) fn halt_cookie_outside(guest: &'static Guest, _: &str) -> Outcome {
    let cookie = memory_end(guest) - 4;
    raw::call_with(Hypercall::Halt, &mut Halt { cookie, exit_status: 0 });
    not_refused()
}

pub(crate) fn kick(_: &'static Guest, _: &str) -> Result<(), String> {
    raw::out(KICK_PORT, 0);
    Ok(())
}

pub(crate) fn ring_index(guest: &'static Guest, value: &str) -> Result<(), String> {
    let tail = u32::try_from(number(value)?).map_err(|_| "an index has 32 bits")?;
    raw::write(ring(guest)? + GUEST_INDICES, tail);
    let _ = hypercall::poll(Duration::ZERO);
    Ok(())
}

pub(crate) fn ring_operation(guest: &'static Guest, value: &str) -> Result<(), String> {
    let op = u32::try_from(number(value)?).map_err(|_| "an operation has 32 bits")?;
    let ring = ring(guest)?;
    let (handle, len) = (1, 1514);
    let submission = Submission { op, handle, data: code(), len, id: 0, reserved: 0 };
    raw::write(ring + hvt_abi::ring::submission(0), submission);
    raw::write(ring + GUEST_INDICES, 1_u32);
    let _ = hypercall::poll(Duration::ZERO);
    Err("the monitor did not refuse that".into())
}

/// Where the ring lies, which nobody else uses in these acts.
fn ring(guest: &Guest) -> Result<u64, String> {
    let has_ring = guest.features().contains(Features::SHARED_RING);
    has_ring.then(|| guest.memory_size()).ok_or_else(|| "there is no ring".into())
}
