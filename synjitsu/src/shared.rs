//! What all ports of the switch share: clocks, bounds, counters and the things to tell.

use std::collections::VecDeque;
use std::time::Duration;

use policies::{Generation, Instant, ServiceId};

use crate::budget::Budget;
use crate::flow::{FlowKey, Tracked};
use crate::handshake::{Cookies, Learned, Numbers};
use crate::hold::{Ledger, Serial};
use crate::icmp::{self, Datagram};
use crate::neighbour::{ether_type, ethernet_header};
use crate::timer::{Timer, Timers};
use crate::{Counters, Event, FrameSink, PortId, ServicePort, SwitchConfig};

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: SwitchConfig,
    /// What is held for all services together.
    pub(crate) held: Ledger,
    /// What is kept of SYNs that went straight to guests, for all services together; as much again.
    pub(crate) passed: Ledger,
    /// Initial sequence numbers.
    pub(crate) numbers: Numbers,
    pub(crate) cookies: Cookies,
    pub(crate) learned: Learned,
    /// Where a packet is written before it is sent changed; empty between packets.
    pub(crate) scratch: Vec<u8>,
    pub(crate) timers: Timers,
    pub(crate) events: VecDeque<Event>,
    pub(crate) counters: Counters,
    /// Packets that the switch made itself, to be sent to wherever their destination is.
    pub(crate) replies: VecDeque<Vec<u8>>,
    /// RSTs for segments of nothing.
    pub(crate) resets: Budget,
    /// Destination unreachable messages.
    pub(crate) unreachables: Budget,
    /// Events about packets that were not held.
    pub(crate) overflows: Budget,
    arrivals: u64,
}

impl Shared {
    pub(crate) fn new(config: SwitchConfig) -> Self {
        let numbers = Numbers::new(config.secret);
        Self {
            config,
            held: Ledger::new(config.hold, config.prefix_hold),
            passed: Ledger::new(config.hold, config.prefix_hold),
            numbers,
            cookies: Cookies::new(numbers),
            learned: Learned::default(),
            scratch: Vec::new(),
            timers: Timers::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
            replies: VecDeque::new(),
            resets: Budget::new(1000, Duration::from_millis(1)),
            unreachables: Budget::new(100, Duration::from_millis(10)),
            overflows: Budget::new(100, Duration::from_millis(10)),
            arrivals: 0,
        }
    }

    /// The next place in the order of arrival.
    pub(crate) fn next_serial(&mut self) -> Serial {
        self.arrivals += 1;
        Serial(self.arrivals)
    }

    /// Sends a RST to a client.
    pub(crate) fn reset(&mut self, packet: Vec<u8>) {
        self.counters.resets_sent += 1;
        self.replies.push_back(packet);
    }

    /// Sets the timer of a connection as its last segment says.
    pub(crate) fn note_flow(&mut self, service: ServiceId, key: FlowKey, tracked: Tracked) {
        let timer = Timer::Forget(service, key);
        match tracked {
            Tracked::Unknown => {}
            Tracked::Alive { before, after } => {
                if before == Some(after) {
                    return;
                }
                if let Some(before) = before {
                    self.timers.clear(before, timer);
                }
                self.timers.set(after, timer);
            }
            Tracked::Ended(deadline) => self.timers.clear(deadline, timer),
        }
    }

    /// Puts a link-layer header before a packet and sends both to a guest.
    pub(crate) fn send_to_guest(
        &self,
        port: &ServicePort,
        generation: Generation,
        packet: &[u8],
        out: &mut impl FrameSink,
    ) {
        let head = ethernet_header(port.mac, self.config.gateway_mac, ether_type(packet));
        out.send(PortId::Guest { service: port.service, generation }, &head, packet);
    }

    /// Tells the owner something.
    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Tells the sender of a datagram that nobody takes it, if that is not said too often.
    pub(crate) fn tell_unreachable(&mut self, now: Instant, datagram: &Datagram<'_>) {
        if self.unreachables.try_take(now) {
            self.counters.unreachables_sent += 1;
            self.replies.push_back(icmp::unreachable(datagram));
        }
    }
}
