//! The link over real sockets, with the real timer.

use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::*;
use crate::guest_port;

/// Waits until the port is readable.
fn wait(port: &impl AsFd) {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, port, EventData::new_u64(0), EventFlags::IN).unwrap();
    let mut events = Vec::with_capacity(1);
    let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
    epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&patience)).unwrap();
    assert_eq!(events.len(), 1, "it is never readable");
}

/// The next frame, waited for as a driver does.
fn next(port: &mut impl NetworkPort) -> Vec<u8> {
    let mut buffer = [0; 2048];
    loop {
        wait(port);
        if let Some(length) = port.receive(&mut buffer).unwrap() {
            return buffer[..length].to_vec();
        }
    }
}

#[test]
fn frames_take_their_time_both_ways() {
    let (port, end) = guest_port::pair().unwrap();
    let delay = Duration::from_millis(20);
    let mut link = Faulty::new(port, Link::symmetric(1, Faults::delay(delay))).unwrap();
    let begun = Instant::now();
    send(&end, b"in", SendFlags::empty()).unwrap();
    assert_eq!(next(&mut link), b"in");
    assert!(begun.elapsed() >= delay);
    let begun = Instant::now();
    link.transmit(b"o", b"ut").unwrap();
    // Nothing comes in, but somebody must turn it.
    wait(&link);
    assert_eq!(link.receive(&mut [0; 64]).unwrap(), None);
    let mut buffer = [0; 64];
    let (_, length) = recv(&end, &mut buffer, RecvFlags::empty()).unwrap();
    assert_eq!(&buffer[..length], b"out");
    assert!(begun.elapsed() >= delay);
    let Tallies { inbound, outbound } = link.watch().tallies();
    assert_eq!((inbound.arrived, outbound.arrived), (1, 1));
}

#[test]
fn it_stays_readable_until_the_last_frame_was_read() {
    let (port, end) = guest_port::pair().unwrap();
    let mut link = Faulty::new(port, Link::default()).unwrap();
    let count = 3 * u8::try_from(MOST).unwrap();
    let frames: Vec<[u8; 1]> = (0..count).map(|number| [number]).collect();
    frames.iter().for_each(|frame| {
        send(&end, frame, SendFlags::empty()).unwrap();
    });
    for frame in &frames {
        assert_eq!(next(&mut link), frame);
    }
    assert_eq!(link.receive(&mut [0; 64]).unwrap(), None);
    drop(end);
    wait(&link);
    let error = link.receive(&mut [0; 64]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn an_earlier_frame_outbound_is_not_kept_by_a_later_one_inbound() {
    let (port, end) = guest_port::pair().unwrap();
    let inbound = Faults::delay(Duration::from_secs(3600));
    let outbound = Faults::delay(Duration::from_millis(5));
    let mut link = Faulty::new(port, Link { inbound, outbound, ..Link::default() }).unwrap();
    send(&end, b"in an hour", SendFlags::empty()).unwrap();
    wait(&link);
    assert_eq!(link.receive(&mut [0; 64]).unwrap(), None);
    link.transmit(b"now", b"").unwrap();
    wait(&link);
    assert_eq!(link.receive(&mut [0; 64]).unwrap(), None);
    let mut buffer = [0; 64];
    let (_, length) = recv(&end, &mut buffer, RecvFlags::empty()).unwrap();
    assert_eq!(&buffer[..length], b"now");
}

#[test]
fn what_is_lost_never_comes() {
    let (port, end) = guest_port::pair().unwrap();
    let faults = Faults { loss: Share::percent(100), ..Faults::default() };
    let link = Link { inbound: faults, ..Link::default() };
    let mut link = Faulty::new(port, link).unwrap();
    send(&end, b"gone", SendFlags::empty()).unwrap();
    wait(&link);
    assert_eq!(link.receive(&mut [0; 64]).unwrap(), None);
    assert_eq!(link.watch().tallies().inbound.lost, 1);
}
