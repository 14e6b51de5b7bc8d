//! What is kept for one service while its guest does not answer yet.
//!
//! Two things can be held: the SYN of a TCP flow ([`syn`]), and whole datagrams. Everything has a
//! place in the order of arrival, a deadline, and counts against the bounds of its service, of its source and of the
//! switch ([`ledger`]).
//! SYNs that went straight to a guest are kept in the same way, apart from those that are held.

mod ledger;
mod syn;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use policies::Instant;

use crate::flow::FlowKey;
use crate::frame::Packet;
use crate::{HoldLimits, Trigger};

pub(crate) use ledger::{Ledger, Usage};
pub(crate) use syn::{Answered, HeldSyn};

/// A held packet's place in the order of arrival, over all services; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Serial(pub(crate) u64);

/// A packet that is kept.
#[derive(Debug)]
pub(crate) struct Held {
    /// The whole IP packet.
    pub(crate) packet: Vec<u8>,
    /// Who sent it.
    pub(crate) source: IpAddr,
    /// To which of the service's addresses.
    pub(crate) destination: IpAddr,
    pub(crate) since: Instant,
    /// When it has been held long enough; `None` once that is so.
    pub(crate) deadline: Option<Instant>,
    /// The octets that it takes, of the packet and of what its client has sent since.
    charge: u64,
    pub(crate) kind: Kind,
}

impl Held {
    /// A packet that has just arrived.
    pub(crate) fn new(now: Instant, deadline: Instant, packet: &Packet<'_>, kind: Kind) -> Self {
        let ends = (packet.source, packet.destination);
        Self::made(now, deadline, packet.bytes.to_vec(), ends, kind)
    }

    /// A packet that was made for a guest, from and to these addresses.
    pub(crate) fn made(
        now: Instant,
        deadline: Instant,
        packet: Vec<u8>,
        (source, destination): (IpAddr, IpAddr),
        kind: Kind,
    ) -> Self {
        let charge = octets(packet.len());
        let deadline = Some(deadline);
        Self { packet, source, destination, since: now, deadline, charge, kind }
    }

    /// Whether this is a client that was answered and has not said anything since.
    fn is_half_open(&self) -> bool {
        matches!(&self.kind, Kind::Syn(syn) if syn.is_half_open())
    }
}

/// What kind of packet is kept, with what is remembered of it.
#[derive(Debug)]
pub(crate) enum Kind {
    /// The first segment of a connection.
    Syn(HeldSyn),
    /// A UDP datagram or echo request; given to the guest once.
    Datagram(Trigger),
}

impl Kind {
    /// What this tells the owner when it wakes the service.
    pub(crate) fn trigger(&self) -> Trigger {
        match self {
            Self::Syn(syn) if syn.is_proven() => Trigger::TcpHandshake,
            Self::Syn(_) => Trigger::TcpSyn,
            Self::Datagram(trigger) => *trigger,
        }
    }
}

/// What the parts of one packet have in common (RFC 791, section 3.2).
pub(crate) type PacketId = (IpAddr, IpAddr, u32);

/// What is held for one service.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    entries: BTreeMap<Serial, Held>,
    by_flow: HashMap<FlowKey, Serial>,
    usage: Usage,
    half_open: u32,
    /// Source, destination and number of packets of which the first part is held, with its place.
    first_parts: HashMap<PacketId, Serial>,
}

impl Hold {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Held flows and datagrams.
    pub(crate) const fn len(&self) -> u32 {
        self.usage.flows
    }

    /// Whether a packet of `length` octets from `source` fits the service's `limits` and everybody's.
    pub(crate) fn has_room(
        &self,
        source: IpAddr,
        length: usize,
        limits: HoldLimits,
        ledger: &Ledger,
    ) -> bool {
        let more = Usage { flows: 1, bytes: octets(length) };
        self.usage.with(more).fits(limits) && ledger.has_room(source, more)
    }

    /// How many octets more may be kept of a client at `source`.
    pub(crate) fn space(&self, source: IpAddr, limits: HoldLimits, ledger: &Ledger) -> usize {
        let space = limits.bytes.saturating_sub(self.usage.bytes).min(ledger.space(source));
        usize::try_from(space).unwrap_or(usize::MAX)
    }

    pub(crate) fn insert(&mut self, serial: Serial, held: Held, ledger: &mut Ledger) {
        let more = Usage { flows: 1, bytes: held.charge };
        self.usage = self.usage.with(more);
        ledger.add(held.source, more);
        self.half_open += u32::from(held.is_half_open());
        if let Kind::Syn(syn) = &held.kind {
            let before = self.by_flow.insert(syn.key, serial);
            debug_assert!(before.is_none(), "a flow is held at most once");
        }
        self.entries.insert(serial, held);
    }

    pub(crate) fn remove(&mut self, serial: Serial, ledger: &mut Ledger) -> Option<Held> {
        let held = self.entries.remove(&serial)?;
        if let Kind::Syn(syn) = &held.kind {
            self.by_flow.remove(&syn.key);
        }
        let less = Usage { flows: 1, bytes: held.charge };
        self.usage = self.usage.without(less);
        ledger.remove(held.source, less);
        self.half_open -= u32::from(held.is_half_open());
        Some(held)
    }

    /// A client that is answered has sent `octets` that were taken; with its first word it is half open no longer.
    pub(crate) fn grow(&mut self, serial: Serial, taken: usize, opened: bool, ledger: &mut Ledger) {
        let Some(held) = self.entries.get_mut(&serial) else { return };
        let more = Usage { flows: 0, bytes: octets(taken) };
        held.charge += more.bytes;
        self.usage = self.usage.with(more);
        ledger.add(held.source, more);
        self.half_open -= u32::from(opened);
    }

    /// A client that is answered has been relieved of octets that were taken before.
    pub(crate) fn shrink(&mut self, serial: Serial, given_up: usize, ledger: &mut Ledger) {
        let Some(held) = self.entries.get_mut(&serial) else { return };
        let less = Usage { flows: 0, bytes: octets(given_up) };
        held.charge -= less.bytes;
        self.usage = self.usage.without(less);
        ledger.remove(held.source, less);
    }

    /// Octets are kept of a client at `source` that is not held itself any more.
    pub(crate) fn lend(&mut self, source: IpAddr, taken: usize, ledger: &mut Ledger) {
        let more = Usage { flows: 0, bytes: octets(taken) };
        self.usage = self.usage.with(more);
        ledger.add(source, more);
    }

    /// Takes back what was [lent](Self::lend).
    pub(crate) fn take_back(&mut self, source: IpAddr, released: usize, ledger: &mut Ledger) {
        let less = Usage { flows: 0, bytes: octets(released) };
        self.usage = self.usage.without(less);
        ledger.remove(source, less);
    }

    /// Whether the first part of a packet is held.
    pub(crate) fn has_first_part(&self, packet: &PacketId) -> bool {
        let place = self.first_parts.get(packet);
        place.is_some_and(|serial| self.entries.contains_key(serial))
    }

    /// What was held last is the first part of a packet.
    pub(crate) fn mark_first_part(&mut self, packet: PacketId) {
        let Some((last, _)) = self.entries.last_key_value() else { return };
        // Those of parts that are gone are forgotten when there are too many.
        if self.first_parts.len() > self.entries.len() {
            self.first_parts.retain(|_, serial| self.entries.contains_key(serial));
        }
        self.first_parts.insert(packet, *last);
    }

    /// Clients that were answered and have not said anything since.
    pub(crate) const fn half_open(&self) -> u32 {
        self.half_open
    }

    /// Where the SYN of a flow is held.
    pub(crate) fn find(&self, key: &FlowKey) -> Option<Serial> {
        // Most packets of a running service come by here, and most of the time nothing is held.
        if self.by_flow.is_empty() { None } else { self.by_flow.get(key).copied() }
    }

    pub(crate) fn get(&self, serial: Serial) -> Option<&Held> {
        self.entries.get(&serial)
    }

    pub(crate) fn get_mut(&mut self, serial: Serial) -> Option<&mut Held> {
        self.entries.get_mut(&serial)
    }

    pub(crate) fn syn_mut(&mut self, serial: Serial) -> Option<(&mut HeldSyn, &[u8])> {
        match self.entries.get_mut(&serial)? {
            Held { kind: Kind::Syn(syn), packet, .. } => Some((syn, packet)),
            Held { kind: Kind::Datagram(_), .. } => None,
        }
    }

    /// Everything held, in the order of arrival.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Serial, &Held)> {
        self.entries.iter().map(|(serial, held)| (*serial, held))
    }

    /// The place of what has been held longest.
    pub(crate) fn oldest(&self) -> Option<Serial> {
        self.entries.first_key_value().map(|(serial, _)| *serial)
    }

    /// The places of everything held, in the order of arrival.
    pub(crate) fn serials(&self) -> Vec<Serial> {
        self.entries.keys().copied().collect()
    }
}

fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
