//! The network device as smoltcp wants it: one hypercall per frame.

use core::time::Duration;

use alloc::boxed::Box;
use alloc::vec;

use hvt_abi::hypercall::CallResult;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::boot::NetPort;
use crate::hypercall::{net_read, net_write};
use crate::net::Addressing;
use crate::net::neighbour::Neighbours;

/// Octets of an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// How long to wait before a frame that the host had no room for is offered again.
const RETRY_AFTER: Duration = Duration::from_micros(200);

/// The guest's side of its network device.
#[derive(Debug)]
pub struct Wire {
    received: Box<[u8]>,
    /// Octets of a frame in `received` that waits because something was put before it.
    waiting: usize,
    neighbours: Neighbours,
    sender: Sender,
}

#[derive(Debug)]
struct Sender {
    port: NetPort,
    frame: Box<[u8]>,
    /// Octets of a frame in `frame` that the host had no room for.
    unsent: usize,
}

impl Wire {
    pub(crate) fn new(port: NetPort, addressing: Addressing) -> Self {
        let frame = vec![0; usize::from(port.mtu) + ETHERNET_HEADER].into_boxed_slice();
        Self {
            received: frame.clone(),
            waiting: 0,
            neighbours: Neighbours::new(port.mac, addressing),
            sender: Sender { port, frame, unsent: 0 },
        }
    }

    /// When to try again, if a frame could not be sent. The host has no way to say that there is room.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        (self.sender.unsent > 0).then_some(RETRY_AFTER)
    }
}

impl Sender {
    /// Whether the next frame can be taken: the last one is gone, possibly just now.
    fn is_free(&mut self) -> bool {
        if self.unsent > 0 {
            self.offer(self.unsent);
        }
        self.unsent == 0
    }

    fn offer(&mut self, len: usize) {
        // What the host refuses for good is lost, as on any wire.
        let again = net_write(self.port.handle, &self.frame[..len]) == CallResult::Again;
        self.unsent = if again { len } else { 0 };
    }
}

impl Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        // A received frame may be answered at once, so there must be room for the answer.
        if !self.sender.is_free() {
            return None;
        }
        let len = match core::mem::take(&mut self.waiting) {
            0 => {
                let len = net_read(self.sender.port.handle, &mut self.received).ok()?;
                if let Some(hint) = self.neighbours.hint(&self.received[..len]) {
                    self.waiting = len;
                    return Some((Received(hint), Sending(&mut self.sender)));
                }
                len
            }
            waiting => waiting,
        };
        Some((Received(&self.received[..len]), Sending(&mut self.sender)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        self.sender.is_free().then_some(Sending(&mut self.sender))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.received.len();
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
pub struct Sending<'a>(&'a mut Sender);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let result = write(&mut self.0.frame[..len]);
        self.0.offer(len);
        result
    }
}
