//! More of everything than anybody wants.

use alloc::string::String;
use alloc::vec::Vec;

use unikernel::{Guest, hypercall, println};

use crate::plain::number;

pub(crate) fn console(_: &'static Guest, value: &str) -> Result<(), String> {
    for line in 0..number(value)? {
        println!(
            "line {line} of a flood, which is long enough to be a nuisance in anybody's log file"
        );
    }
    Ok(())
}

pub(crate) fn net(guest: &'static Guest, value: &str) -> Result<(), String> {
    let port = guest.net("service").ok_or("no network device")?;
    // To everybody, from us, of a type for experiments (IEEE 802.1, 88-b5).
    let mut frame = [0_u8; 1514];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&port.mac);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    for _ in 0..number(value)? {
        let _ = hypercall::net_write(port.handle, &frame);
    }
    Ok(())
}

pub(crate) fn heap(_: &'static Guest, _: &str) -> Result<(), String> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    loop {
        parts.push(Vec::with_capacity(64 * 1024));
    }
}
