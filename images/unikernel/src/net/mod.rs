//! The network: a smoltcp interface on the guest's network device.

use alloc::vec::Vec;
use core::time::Duration;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress};

use crate::boot::{Guest, NetPort};
use crate::hypercall::Ready;

mod addressing;
mod calls;
mod device;
mod neighbour;
mod ring;

pub use addressing::{Addressing, AddressingError};
pub use device::{Received, Sending, Wire};
pub(crate) use ring::Ring;

/// The longest sleep; nothing depends on it.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A network interface and its sockets.
#[expect(missing_debug_implementations, reason = "smoltcp's interface has none")]
pub struct Stack {
    guest: &'static Guest,
    interface: Interface,
    wire: Wire,
    addressing: Addressing,
    mac: EthernetAddress,
    /// The instance that the interface's random numbers belong to.
    generation: Option<u64>,
    /// The sockets; add and remove at will.
    pub sockets: SocketSet<'static>,
}

impl Stack {
    /// An interface with these addresses on `port`, with sequence numbers that no other instance uses, and room
    /// for that many sockets (there may be more, but then their table moves).
    #[must_use]
    pub fn new(
        guest: &'static Guest,
        port: NetPort,
        addressing: &Addressing,
        sockets: usize,
    ) -> Self {
        let mac = EthernetAddress(port.mac);
        let mut wire = Wire::new(guest, port, addressing.clone());
        let interface = interface(guest, mac, addressing, &mut wire);
        Self {
            guest,
            interface,
            wire,
            addressing: addressing.clone(),
            mac,
            generation: guest.generation(),
            sockets: SocketSet::new(Vec::with_capacity(sockets)),
        }
    }

    /// Whether asking for a frame costs nothing, because all that there are came with the last sleep.
    #[must_use]
    pub const fn is_batched(&self) -> bool {
        self.wire.is_batched()
    }

    /// Takes in at most one frame; whether there was one.
    pub fn receive(&mut self) -> bool {
        let now = instant(self.guest.clock.now());
        let result = self.interface.poll_ingress_single(now, &mut self.wire, &mut self.sockets);
        result != PollIngressSingleResult::None
    }

    /// Sends everything that the sockets may send now.
    pub fn send(&mut self) {
        loop {
            let now = instant(self.guest.clock.now());
            let sent = self.interface.poll_egress(now, &mut self.wire, &mut self.sockets);
            if sent == PollResult::None {
                return;
            }
        }
    }

    /// Sleeps until a frame arrives, a socket has something to do, or `until` (time since the guest's entry)
    /// has come; not at all if one of these is now. In batches, frames are sent and received by this only.
    pub fn sleep(&mut self, until: Option<Duration>) -> Ready {
        let now = self.guest.clock.now();
        let caller = until.map(|until| until.saturating_sub(now));
        // While the host has no room for a frame, no socket can do anything, however much it has to do.
        let stack = self
            .wire
            .retry_after()
            .or_else(|| self.interface.poll_delay(instant(now), &self.sockets).map(Duration::from));
        let timeout = [stack, caller].into_iter().flatten().min().unwrap_or(DAY);
        // In batches, it is the sleep that sends what is to be sent.
        if timeout.is_zero() && !self.is_batched() {
            return Ready { devices: 0, shutdown: false };
        }
        let ready = self.guest.poll(timeout.min(DAY));
        if self.generation != self.guest.generation() {
            self.renew();
        }
        ready
    }

    /// Begins anew with random numbers, as another instance. The interface has its numbers from when it is made, so
    /// another one takes its place; connections, if there are any, live in the sockets and go on.
    fn renew(&mut self) {
        self.generation = self.guest.generation();
        self.interface = interface(self.guest, self.mac, &self.addressing, &mut self.wire);
        self.wire.forget_neighbours();
    }
}

fn interface(
    guest: &'static Guest,
    mac: EthernetAddress,
    addressing: &Addressing,
    wire: &mut Wire,
) -> Interface {
    let mut config = Config::new(HardwareAddress::Ethernet(mac));
    config.random_seed = guest.entropy().word();
    let mut interface = Interface::new(config, wire, instant(guest.clock.now()));
    addressing.apply(&mut interface);
    interface
}

/// smoltcp's form of a time since the guest's entry.
#[must_use]
pub fn instant(since_entry: Duration) -> Instant {
    Instant::from_micros(i64::try_from(since_entry.as_micros()).unwrap_or(i64::MAX))
}
