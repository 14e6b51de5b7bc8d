//! Guests that send back what they get, as soon as they can.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use etherparse::{Ethernet2Slice, IpSlice, PacketBuilder, TcpSlice};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::load::take_places;
use crate::settings::Place;
use crate::stamps::{GUEST_HAS, GUEST_SENDS};

const TCP: u8 = 6;

/// A guest with a thread of its own; it ends with its port.
pub(crate) fn spawn(end: OwnedFd, place: Place) {
    std::thread::spawn(move || {
        take_places(place);
        let mut frame = [0; 2048];
        while let Ok((_, length)) = recv(&end, &mut frame, RecvFlags::empty()) {
            if length == 0 {
                return;
            }
            GUEST_HAS.set();
            if let Some(answer) = answer(&mut frame[..length]) {
                GUEST_SENDS.set();
                let _ = send(&end, &answer, SendFlags::NOSIGNAL);
            }
        }
    });
}

/// Guests that share a thread.
pub(crate) struct Guests {
    epoll: Arc<OwnedFd>,
    ends: Arc<Mutex<Vec<Option<OwnedFd>>>>,
}

impl Guests {
    pub(crate) fn start() -> Self {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
        let ends = Arc::<Mutex<Vec<Option<OwnedFd>>>>::default();
        let of_thread = (epoll.clone(), ends.clone());
        std::thread::spawn(move || serve(&of_thread.0, &of_thread.1));
        Self { epoll, ends }
    }

    pub(crate) fn attach(&self, end: OwnedFd) {
        let mut ends = self.ends.lock().unwrap();
        let token = EventData::new_u64(u64::try_from(ends.len()).unwrap());
        epoll::add(&self.epoll, &end, token, EventFlags::IN).unwrap();
        ends.push(Some(end));
    }
}

fn serve(epoll: &OwnedFd, ends: &Mutex<Vec<Option<OwnedFd>>>) {
    let mut ready = Vec::with_capacity(256);
    let mut frame = [0; 2048];
    loop {
        ready.clear();
        if epoll::wait(epoll, rustix::buffer::spare_capacity(&mut ready), None).is_err() {
            continue;
        }
        let mut ends = ends.lock().unwrap();
        for event in &ready {
            let place = &mut ends[usize::try_from(event.data.u64()).unwrap()];
            let Some(end) = place.as_ref() else { continue };
            match recv(end, &mut frame, RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => *place = None,
                Ok((_, length)) => {
                    if let Some(answer) = answer(&mut frame[..length]) {
                        let _ = send(end, &answer, SendFlags::NOSIGNAL);
                    }
                }
                Err(_) => {}
            }
        }
    }
}

/// The datagram sent back, or the SYN-ACK to a SYN.
fn answer(frame: &mut [u8]) -> Option<Vec<u8>> {
    let packet = Ethernet2Slice::from_slice_without_fcs(frame).ok()?.payload().payload;
    let IpSlice::Ipv4(ip) = IpSlice::from_slice(packet).ok()? else { return None };
    if ip.header().protocol().0 == TCP {
        let tcp = TcpSlice::from_slice(ip.payload().payload).ok()?;
        if !tcp.syn() {
            return None;
        }
        let (client, service) = (ip.header().source(), ip.header().destination());
        let builder =
            PacketBuilder::ethernet2(frame[..6].try_into().ok()?, frame[6..12].try_into().ok()?);
        let mut answer = Vec::with_capacity(64);
        builder
            .ipv4(service, client, 64)
            .tcp(tcp.destination_port(), tcp.source_port(), 77, 64_000)
            .syn()
            .ack(tcp.sequence_number().wrapping_add(1))
            .write(&mut answer, &[])
            .ok()?;
        return Some(answer);
    }
    // A checksum does not change when source and destination change places.
    let (head, ip) = frame.split_at_mut(14);
    let (to, from) = head.split_at_mut(6);
    to.swap_with_slice(&mut from[..6]);
    let (source, destination) = ip[12..20].split_at_mut(4);
    source.swap_with_slice(destination);
    let (source_port, destination_port) = ip.get_mut(20..24)?.split_at_mut(2);
    source_port.swap_with_slice(destination_port);
    Some(frame.to_vec())
}
