//! The network: a smoltcp interface on the guest's network device.

use alloc::vec::Vec;
use core::time::Duration;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress};

use crate::boot::{Guest, NetPort};
use crate::hypercall::{self, Ready};

mod addressing;
mod device;
mod neighbour;

pub use addressing::{Addressing, AddressingError};
pub use device::{Received, Sending, Wire};

/// The longest sleep; nothing depends on it.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A network interface and its sockets.
#[expect(missing_debug_implementations, reason = "smoltcp's interface has none")]
pub struct Stack {
    guest: &'static Guest,
    interface: Interface,
    wire: Wire,
    /// The sockets; add and remove at will.
    pub sockets: SocketSet<'static>,
}

impl Stack {
    /// An interface with these addresses on `port`, with sequence numbers that no other boot uses, and room
    /// for that many sockets (there may be more, but then their table moves).
    #[must_use]
    pub fn new(
        guest: &'static Guest,
        port: NetPort,
        addressing: &Addressing,
        sockets: usize,
    ) -> Self {
        let mac = EthernetAddress(port.mac);
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = guest.entropy().word();
        let mut wire = Wire::new(port, addressing.clone());
        let mut interface = Interface::new(config, &mut wire, instant(guest.clock.now()));
        addressing.apply(&mut interface);
        Self { guest, interface, wire, sockets: SocketSet::new(Vec::with_capacity(sockets)) }
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
    /// has come; not at all if one of these is now.
    pub fn sleep(&mut self, until: Option<Duration>) -> Ready {
        let now = self.guest.clock.now();
        let caller = until.map(|until| until.saturating_sub(now));
        // While the host has no room for a frame, no socket can do anything, however much it has to do.
        let stack = self
            .wire
            .retry_after()
            .or_else(|| self.interface.poll_delay(instant(now), &self.sockets).map(Duration::from));
        let timeout = [stack, caller].into_iter().flatten().min().unwrap_or(DAY);
        if timeout.is_zero() {
            return Ready { devices: 0, shutdown: false };
        }
        hypercall::poll(timeout.min(DAY))
    }
}

/// smoltcp's form of a time since the guest's entry.
#[must_use]
pub fn instant(since_entry: Duration) -> Instant {
    Instant::from_micros(i64::try_from(since_entry.as_micros()).unwrap_or(i64::MAX))
}
