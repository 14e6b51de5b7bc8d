//! What is kept for one service while its guest does not answer yet.
//!
//! Two things can be held: the SYN of a TCP flow ([`syn`]), and whole datagrams. Everything has a
//! place in the order of arrival, a deadline, and counts against the bounds of its service and of the switch.
//! SYNs that went straight to a guest are kept in the same way, apart from those that are held.

mod syn;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use policies::Instant;

use crate::flow::FlowKey;
use crate::frame::Packet;
use crate::{HoldLimits, Trigger};

pub(crate) use syn::HeldSyn;

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
    pub(crate) kind: Kind,
}

impl Held {
    /// A packet that has just arrived.
    pub(crate) fn new(now: Instant, deadline: Instant, packet: &Packet<'_>, kind: Kind) -> Self {
        Self {
            packet: packet.bytes.to_vec(),
            source: packet.source,
            destination: packet.destination,
            since: now,
            deadline: Some(deadline),
            kind,
        }
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
    pub(crate) const fn trigger(&self) -> Trigger {
        match self {
            Self::Syn(_) => Trigger::TcpSyn,
            Self::Datagram(trigger) => *trigger,
        }
    }
}

/// How much is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) flows: u32,
    pub(crate) bytes: u64,
}

impl Usage {
    /// With one packet of `length` octets more.
    const fn with(self, length: u64) -> Self {
        Self { flows: self.flows.saturating_add(1), bytes: self.bytes.saturating_add(length) }
    }

    /// Without one packet of `length` octets that was counted before.
    const fn without(self, length: u64) -> Self {
        Self { flows: self.flows - 1, bytes: self.bytes - length }
    }

    const fn fits(self, limits: HoldLimits) -> bool {
        self.flows <= limits.flows && self.bytes <= limits.bytes
    }
}

/// What is held for one service.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    entries: BTreeMap<Serial, Held>,
    by_flow: HashMap<FlowKey, Serial>,
    usage: Usage,
}

impl Hold {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Held flows and datagrams.
    pub(crate) const fn len(&self) -> u32 {
        self.usage.flows
    }

    /// Whether a packet of `length` octets fits the service's `limits` and the switch's `total`.
    pub(crate) fn has_room(
        &self,
        length: usize,
        limits: HoldLimits,
        total: (Usage, HoldLimits),
    ) -> bool {
        let (total, total_limits) = total;
        self.usage.with(octets(length)).fits(limits)
            && total.with(octets(length)).fits(total_limits)
    }

    pub(crate) fn insert(&mut self, serial: Serial, held: Held, total: &mut Usage) {
        let length = octets(held.packet.len());
        (self.usage, *total) = (self.usage.with(length), total.with(length));
        if let Kind::Syn(syn) = &held.kind {
            let before = self.by_flow.insert(syn.key, serial);
            debug_assert!(before.is_none(), "a flow is held at most once");
        }
        self.entries.insert(serial, held);
    }

    pub(crate) fn remove(&mut self, serial: Serial, total: &mut Usage) -> Option<Held> {
        let held = self.entries.remove(&serial)?;
        if let Kind::Syn(syn) = &held.kind {
            self.by_flow.remove(&syn.key);
        }
        let length = octets(held.packet.len());
        (self.usage, *total) = (self.usage.without(length), total.without(length));
        Some(held)
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
