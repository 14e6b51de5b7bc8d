//! The network device as smoltcp wants it.
//!
//! With a host that shares a ring, frames cost nothing until the next poll moves them all; with any other, each is
//! a hypercall.

use core::time::Duration;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::boot::{Guest, NetPort};
use crate::net::Addressing;
use crate::net::calls::{Calls, Sender};
use crate::net::neighbour::Neighbours;
use crate::net::ring::{Frame, Ring, Transmitter};

/// Octets of an Ethernet header.
pub(crate) const ETHERNET_HEADER: usize = 14;

/// The guest's side of its network device.
#[derive(Debug)]
pub struct Wire {
    guest: &'static Guest,
    /// Always there until the wire is dropped.
    link: Option<Link>,
    neighbours: Neighbours,
    /// Octets of the longest frame.
    longest: usize,
}

/// How frames go to the host and come from it; with the frame that waits because something was put before it.
#[derive(Debug)]
enum Link {
    Ring { ring: Ring, waiting: Option<Frame> },
    Calls { calls: Calls, waiting: Option<usize> },
}

impl Wire {
    pub(crate) fn new(guest: &'static Guest, port: NetPort, addressing: Addressing) -> Self {
        let longest = usize::from(port.mtu) + ETHERNET_HEADER;
        let link = match guest.take_ring(port) {
            Some(ring) => Link::Ring { ring, waiting: None },
            None => Link::Calls { calls: Calls::new(port.handle, longest), waiting: None },
        };
        let neighbours = Neighbours::new(port.mac, addressing);
        Self { guest, link: Some(link), neighbours, longest }
    }

    /// Whether frames are exchanged with the host at each poll, and only then.
    pub(crate) const fn is_batched(&self) -> bool {
        matches!(self.link, Some(Link::Ring { .. }))
    }

    /// When to poll again at the latest, for the wire's own sake.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.link.as_ref()? {
            // Frames are left because there was no room for answers; there is after a poll.
            Link::Ring { ring, waiting } => {
                (waiting.is_some() || ring.has_received()).then_some(Duration::ZERO)
            }
            Link::Calls { calls, .. } => calls.retry_after(),
        }
    }

    /// The stack has forgotten its neighbours, and must be told again.
    pub(crate) const fn forget_neighbours(&mut self) {
        self.neighbours.forget();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(Link::Ring { ring, .. }) = self.link.take() {
            self.guest.return_ring(ring);
        }
    }
}

/// What both links can do.
trait Exchange {
    /// Names a frame that was received, until the next one is.
    type Frame: Copy;

    /// Whether a frame could be sent now.
    fn has_room(&mut self) -> bool;

    /// The next frame, if there is one.
    fn receive(&mut self) -> Option<Self::Frame>;

    /// The octets of the frame that was received last, and the way to send one.
    fn open(&mut self, frame: Self::Frame) -> (&[u8], Way<'_>);

    /// The way to send a frame.
    fn way(&mut self) -> Way<'_>;
}

impl Exchange for Ring {
    type Frame = Frame;

    fn has_room(&mut self) -> bool {
        self.transmitter().has_room()
    }

    fn receive(&mut self) -> Option<Frame> {
        Self::receive(self)
    }

    fn open(&mut self, frame: Frame) -> (&[u8], Way<'_>) {
        let (octets, transmitter) = self.open_frame(frame);
        (octets, Way::Ring(transmitter))
    }

    fn way(&mut self) -> Way<'_> {
        Way::Ring(self.transmitter())
    }
}

impl Exchange for Calls {
    type Frame = usize;

    fn has_room(&mut self) -> bool {
        self.sender().has_room()
    }

    fn receive(&mut self) -> Option<usize> {
        Self::receive(self)
    }

    fn open(&mut self, len: usize) -> (&[u8], Way<'_>) {
        let (octets, sender) = self.open_frame(len);
        (octets, Way::Calls(sender))
    }

    fn way(&mut self) -> Way<'_> {
        Way::Calls(self.sender())
    }
}

/// The next frame: what waits, or what has arrived, after a hint if its sender is news.
fn receive<'a, E: Exchange>(
    link: &'a mut E,
    waiting: &mut Option<E::Frame>,
    neighbours: &'a mut Neighbours,
) -> Option<(Received<'a>, Sending<'a>)> {
    // A received frame may be answered at once, so there must be room for the answer.
    if !link.has_room() {
        return None;
    }
    let frame = match waiting.take() {
        Some(frame) => frame,
        None => link.receive()?,
    };
    let (octets, way) = link.open(frame);
    let octets = match neighbours.hint(octets) {
        Some(hint) => {
            *waiting = Some(frame);
            hint
        }
        None => octets,
    };
    Some((Received(octets), Sending(way)))
}

impl Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        match self.link.as_mut()? {
            Link::Ring { ring, waiting } => receive(ring, waiting, &mut self.neighbours),
            Link::Calls { calls, waiting } => receive(calls, waiting, &mut self.neighbours),
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        fn way<E: Exchange>(link: &mut E) -> Option<Sending<'_>> {
            link.has_room().then(|| Sending(link.way()))
        }
        match self.link.as_mut()? {
            Link::Ring { ring, .. } => way(ring),
            Link::Calls { calls, .. } => way(calls),
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.longest;
        capabilities
    }
}

/// A received frame.
#[derive(Debug)]
pub struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// Room for a frame to send.
#[derive(Debug)]
pub struct Sending<'a>(Way<'a>);

#[derive(Debug)]
enum Way<'a> {
    Ring(&'a mut Transmitter),
    Calls(&'a mut Sender),
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        match self.0 {
            Way::Ring(transmitter) => transmitter.send(len, write),
            Way::Calls(sender) => sender.send(len, write),
        }
    }
}
