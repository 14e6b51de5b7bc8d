//! What an honest guest does.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::hint::black_box;
use core::time::Duration;

use hvt_abi::boot_info::Features;
use hvt_abi::hypercall::{HALT_COOKIE_SIZE, Halt, Hypercall};
use hvt_abi::ring::RESERVED;
use unikernel::{Guest, hypercall, println};

use crate::raw;

/// The number that a value holds.
pub(crate) fn number(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("`{value}` is not a number"))
}

/// The first address where no memory is: behind the ring, if there is one.
pub(crate) fn memory_end(guest: &Guest) -> u64 {
    let has_ring = guest.features().contains(Features::SHARED_RING);
    guest.memory_size() + if has_ring { RESERVED } else { 0 }
}

pub(crate) fn halt(_: &'static Guest, value: &str) -> Result<(), String> {
    let status = value.parse().map_err(|_| format!("`{value}` is not a status"))?;
    hypercall::halt(status)
}

pub(crate) fn halt_cookie(_: &'static Guest, _: &str) -> Result<(), String> {
    let cookie = vec![0xa5_u8; HALT_COOKIE_SIZE];
    let cookie = cookie.as_ptr().expose_provenance() as u64;
    raw::call_with(Hypercall::Halt, &mut Halt { cookie, exit_status: 0 });
    Err("came back from a halt".into())
}

pub(crate) fn puts(_: &'static Guest, value: &str) -> Result<(), String> {
    println!("{value}");
    Ok(())
}

pub(crate) fn facts(guest: &'static Guest, _: &str) -> Result<(), String> {
    println!("command line: {}", guest.command_line().as_str());
    println!("memory: {} heap: {}", guest.memory_size(), guest.heap_size());
    println!("generation: {:?} features: {:#x}", guest.generation(), guest.features().0);
    println!("net: {:?}", guest.net("service"));
    println!("random: {:016x}", guest.entropy().word());
    Ok(())
}

/// The bits of the Leibniz series for π after a thousand terms, added up in order.
const LEIBNIZ_1000: u64 = 0x4009_1fef_0a92_65eb;

pub(crate) fn sse(_: &'static Guest, _: &str) -> Result<(), String> {
    // The Leibniz series with a fixed number of terms: rounded the same on every processor that follows
    // IEEE 754, so the last bit counts.
    let mut sum = 0.0_f64;
    for term in 0..black_box(1000_u32) {
        let part = 4.0 / f64::from(2 * term + 1);
        sum += if term % 2 == 0 { part } else { -part };
    }
    let bits = sum.to_bits();
    if bits == LEIBNIZ_1000 { Ok(()) } else { Err(format!("{sum} ({bits:#x})")) }
}

pub(crate) fn memory(guest: &'static Guest, _: &str) -> Result<(), String> {
    let len = usize::try_from(guest.heap_size() / 2).map_err(|_| "no heap")?;
    let mut octets = vec![0_u8; len];
    if octets.iter().any(|octet| *octet != 0) {
        return Err("zeroed memory is not zero".into());
    }
    fill(&mut octets);
    check(black_box(&octets))
}

pub(crate) fn stack(_: &'static Guest, _: &str) -> Result<(), String> {
    let mut octets = [0_u8; 200 * 1024];
    fill(&mut octets);
    check(black_box(&octets))
}

fn fill(octets: &mut [u8]) {
    for (octet, value) in octets.iter_mut().zip((0..=250).cycle()) {
        *octet = value;
    }
}

fn check(octets: &[u8]) -> Result<(), String> {
    match octets.iter().zip((0..=250).cycle()).position(|(octet, value)| *octet != value) {
        None => Ok(()),
        Some(index) => Err(format!("octet {index} is not what was written")),
    }
}

pub(crate) fn walltime(_: &'static Guest, _: &str) -> Result<(), String> {
    const YEAR_2020: Duration = Duration::from_secs(1_577_836_800);
    let first = hypercall::walltime();
    let second = hypercall::walltime();
    println!("{} seconds since 1970", first.as_secs());
    if first > YEAR_2020 && second >= first {
        Ok(())
    } else {
        Err(format!("{first:?}, then {second:?}"))
    }
}

pub(crate) fn poll(guest: &'static Guest, value: &str) -> Result<(), String> {
    let timeout = Duration::from_millis(number(value)?);
    let start = guest.clock.now();
    let ready = hypercall::poll(timeout);
    let slept = guest.clock.now() - start;
    println!("slept {slept:?}, ready {:#x}", ready.devices);
    // A frame or a request ends the sleep rightly.
    let woken = ready.devices != 0 || ready.shutdown;
    if woken || slept >= timeout { Ok(()) } else { Err(format!("woke after {slept:?}")) }
}

pub(crate) fn poll_once(_: &'static Guest, _: &str) -> Result<(), String> {
    let ready = hypercall::poll(Duration::ZERO);
    println!("ready {:#x}", ready.devices);
    Ok(())
}

pub(crate) fn wait(_: &'static Guest, _: &str) -> Result<(), String> {
    // The longest time there is: an overflow in the host's deadline would show.
    while !hypercall::poll(Duration::MAX).shutdown {}
    println!("asked to shut down");
    Ok(())
}

pub(crate) fn deaf(_: &'static Guest, _: &str) -> Result<(), String> {
    loop {
        let _ = hypercall::poll(Duration::from_secs(3600));
    }
}

pub(crate) fn spin(_: &'static Guest, _: &str) -> Result<(), String> {
    loop {
        core::hint::spin_loop();
    }
}

pub(crate) fn panic(_: &'static Guest, _: &str) -> Result<(), String> {
    panic!("on purpose")
}
