//! Frames of a segment that others live on too.
//!
//! Each record is a control octet, a length, and as many octets as that says. The control octet chooses what they are: a frame
//! as it is, a frame to the services' address, to everybody or to a group, a packet that the switch sends; or what else happens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use policies::{Instant, ServiceId};
use synjitsu::lan::{Lan, LanConfig, Prefix, SegmentSink, services_mac};

use super::input::Input;
use super::packet;

const OURS: [u8; 6] = [2, 0x47, 0, 0, 0, 1];
const ADDRESS_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 200);
const ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x200);

/// Takes what is sent, which must be frames of ours.
#[derive(Debug, Default)]
struct Wire {
    mac: [u8; 6],
    frames: usize,
}

impl SegmentSink for Wire {
    fn transmit(&mut self, parts: [&[u8]; 3]) {
        let frame = parts.concat();
        assert!(frame.len() >= 14 + 20, "a short frame: {frame:02x?}");
        assert_eq!(frame[6..12], self.mac);
        match frame[12..14] {
            [8, 6] => assert_eq!(frame.len(), 14 + 28),
            [8, 0] => assert_eq!(frame[14] >> 4, 4),
            [0x86, 0xdd] => {
                assert_eq!(frame[14] >> 4, 6);
                // What the segment says itself, and not the switch, is right in every octet.
                if frame[21] == 255 {
                    assert_ne!(packet::is_right(&frame[14..]), Some(false), "{frame:02x?}");
                }
            }
            _ => panic!("a frame of no kind: {frame:02x?}"),
        }
        self.frames += 1;
    }
}

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let prefix = |address: IpAddr, length| Prefix::new(address, length).unwrap();
    let mut lan = Lan::new(LanConfig {
        mac: OURS,
        on_link: vec![
            prefix(Ipv4Addr::new(192, 168, 1, 0).into(), 24),
            prefix(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0).into(), 64),
        ],
        gateways: vec![Ipv4Addr::new(192, 168, 1, 1).into()],
    });
    let mut wire = Wire { mac: OURS, frames: 0 };
    let mut now = Instant::from_nanos(1_000_000_000);
    lan.set_addresses(now, ServiceId(1), &[ADDRESS_V4.into(), ADDRESS_V6.into()], &mut wire);
    if input.octet() & 1 == 0 {
        pass(&mut lan, &mut now, Duration::from_secs(10), &mut wire);
    }
    while !input.is_over() {
        let (control, length) = (input.octet(), input.octet());
        let octets = input.take(length.into());
        let sent = wire.frames;
        match control & 7 {
            0 => hear(&mut lan, now, octets, &mut wire),
            1 => hear(&mut lan, now, &[&OURS[..], octets].concat(), &mut wire),
            2 => hear(&mut lan, now, &[&[0xff; 6][..], octets].concat(), &mut wire),
            3 => hear(&mut lan, now, &[&[0x33, 0x33, 0, 0, 0, 1][..], octets].concat(), &mut wire),
            4 => {
                let mut octets = octets.to_vec();
                packet::repair(&mut octets);
                let kind = if octets.first() == Some(&0x60) { [0x86, 0xdd] } else { [8, 0] };
                let frame = [&OURS[..], &[2, 0, 0, 0, 0, 0xa], &kind, &octets].concat();
                hear(&mut lan, now, &frame, &mut wire);
            }
            5 => {
                let (head, body) =
                    octets.split_at(octets.len().min(usize::from(control >> 6) * 20));
                lan.send(now, head, body, &mut wire);
            }
            6 => change(&mut lan, now, control >> 3, &mut wire),
            _ => {}
        }
        // What one frame makes is bounded: the answer, the question and what waited for one neighbour.
        assert!(wire.frames - sent < 300, "{} frames for one", wire.frames - sent);
        let wait = [0, 1, 200, 1000, 31_000].map(Duration::from_millis);
        pass(&mut lan, &mut now, wait[usize::from(control >> 3) % wait.len()], &mut wire);
        while lan.poll_event().is_some() {}
    }
    for service in [1, 2] {
        lan.set_addresses(now, ServiceId(service), &[], &mut wire);
    }
    assert_eq!(lan.addresses().count(), 0);
    // Neighbours are forgotten in the end, as nobody sends anything.
    pass(&mut lan, &mut now, Duration::from_secs(86_400), &mut wire);
}

fn hear(lan: &mut Lan, now: Instant, frame: &[u8], wire: &mut Wire) {
    if let Some(packet) = lan.handle_frame(now, frame, wire) {
        let whole = frame.as_ptr_range();
        let part = packet.as_ptr_range();
        assert!(whole.start <= part.start && part.end <= whole.end);
        assert!(!packet.is_empty(), "a packet of nothing");
    }
}

fn change(lan: &mut Lan, now: Instant, choice: u8, wire: &mut Wire) {
    let other = Ipv4Addr::new(192, 168, 1, 201);
    match choice & 7 {
        0 => lan.handle_link_up(now, wire),
        1 => lan.set_gateways(Vec::new()),
        2 => lan.set_gateways(vec![Ipv4Addr::new(192, 168, 1, 1).into()]),
        3 => {
            wire.mac = services_mac(wire.mac);
            lan.set_mac(wire.mac);
            lan.handle_link_up(now, wire);
        }
        4 => lan.set_addresses(now, ServiceId(2), &[other.into()], wire),
        5 => lan.set_addresses(now, ServiceId(2), &[], wire),
        6 => lan.set_addresses(now, ServiceId(2), &[ADDRESS_V4.into()], wire),
        _ => lan.set_addresses(now, ServiceId(1), &[ADDRESS_V4.into()], wire),
    }
    assert!(lan.groups().len() <= 8);
}

fn pass(lan: &mut Lan, now: &mut Instant, time: Duration, wire: &mut Wire) {
    let end = *now + time;
    let mut fired = 0;
    while let Some(due) = lan.poll_timeout().filter(|due| *due <= end) {
        *now = due.max(*now);
        lan.handle_timeout(*now, wire);
        assert!(lan.poll_timeout().is_none_or(|next| next > *now), "a timer is stuck");
        fired += 1;
        assert!(fired < 100_000, "it never rests");
    }
    *now = end;
}
