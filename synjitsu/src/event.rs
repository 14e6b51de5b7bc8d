//! What the switch is asked, and what it tells.

use std::net::IpAddr;
use std::time::Duration;

use policies::{Generation, Instant, ServiceId};

use crate::ServicePort;

/// A change to the switch's table, or a question about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Adds a service or takes over its new settings; an open port stays open.
    ///
    /// What is held or connected under an address that the service no longer has is reset.
    Attach(ServicePort),
    /// Forgets a service: its clients are reset, held ones too, and its port is closed.
    Detach(ServiceId),
    /// The guest of `generation` listens, or is about to: give it what is held, and everything from now on.
    ///
    /// A generation not newer than the newest one that the service had open is a late message and ignored.
    Open {
        /// Whose port.
        service: ServiceId,
        /// Of which boot.
        generation: Generation,
    },
    /// From now on the guest gets nothing; new clients are held again.
    Close {
        /// Whose port.
        service: ServiceId,
        /// Of which boot; any other open generation stays open.
        generation: Generation,
        /// Compare-and-close: refuse if a packet was seen after this stamp or a client is waiting for the
        /// guest to listen. `None` closes in any case.
        only_if_idle_since: Option<Instant>,
    },
    /// Answered with [`Event::Activity`], also for a service that is not attached.
    Report(ServiceId),
}

/// What the switch tells its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A packet asks for a service whose port is closed.
    ///
    /// Told once until the port opens or closes, and again when further packets arrive, but at most once per
    /// second: so a wake that led to nothing is repeated.
    Wake {
        /// The service that is needed.
        service: ServiceId,
        /// By what kind of packet.
        trigger: Trigger,
        /// Who sent it; forgeable.
        source: IpAddr,
        /// When it arrived.
        at: Instant,
    },
    /// The answer to [`Command::Close`]: the port of that generation is closed.
    Closed {
        /// Whose port.
        service: ServiceId,
        /// Of which boot.
        generation: Generation,
    },
    /// The answer to [`Command::Close`]: the port was used in the meantime and stays open.
    CloseRefused {
        /// Whose port.
        service: ServiceId,
        /// Of which boot.
        generation: Generation,
    },
    /// The answer to [`Command::Report`].
    Activity {
        /// About which service.
        service: ServiceId,
        /// The boot whose port is open, if any.
        generation: Option<Generation>,
        /// When the last packet of that boot was forwarded or a client's packet held for it.
        last_packet: Option<Instant>,
        /// Connections of that boot, from SYN-ACK to the last acknowledged FIN or a RST.
        open_connections: u32,
        /// Flows and datagrams held for the service, those included whose SYN the guest got already.
        held: u32,
    },
    /// The first TCP flow since the port was last closed came a step further; once for each step.
    ///
    /// If it ends before the guest answers, the oldest one that waits takes its place, or the next one to come.
    Milestone {
        /// Whose flow.
        service: ServiceId,
        /// The boot whose port is open, if any.
        generation: Option<Generation>,
        /// When it happened.
        at: Instant,
        /// What happened.
        what: MilestoneKind,
    },
    /// A packet is no longer held.
    ///
    /// There is exactly one such event for every held packet. Packets that were refused because a bound was
    /// reached are told with [`HoldOutcome::Overflow`] up to a fixed rate and counted beyond it, because
    /// whoever floods the switch must not flood its owner.
    HoldEnded {
        /// For whom it was held.
        service: ServiceId,
        /// Why it no longer is.
        outcome: HoldOutcome,
        /// How long it was held.
        waited: Duration,
    },
}

/// The kind of packet that woke a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The first segment of a TCP connection; its source may be forged.
    TcpSyn,
    /// The third segment of a TCP handshake with the switch: its source has seen the second one.
    TcpHandshake,
    /// A UDP datagram.
    Udp,
    /// An ICMP or ICMPv6 echo request.
    IcmpEcho,
}

/// A step of the first flow: `Held` and `Replayed`, or else `Passed`, then the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MilestoneKind {
    /// The client's SYN arrived, and had to wait: the port was closed.
    Held,
    /// The held SYN was given to the guest for the first time.
    Replayed,
    /// The client's SYN arrived, and went to the guest at once: the port was open.
    Passed,
    /// The guest's SYN-ACK was passed to the client.
    HandedOver,
    /// The first payload of the guest was passed to the client.
    FirstByte,
}

/// Why a packet is no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldOutcome {
    /// The guest answered the SYN; the connection is the guest's.
    HandedOver,
    /// The datagram was given to the guest.
    Delivered,
    /// The hold time passed, the port closed for good, or the address was taken from the service.
    Expired,
    /// A bound was reached; the packet was not held at all.
    Overflow,
    /// The hold time passed and the guest had only refused the connection.
    Refused,
    /// The client gave up, or began anew from the same source port.
    ClientGone,
}
