//! What the switch is told once, and what it is told about each service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use policies::ServiceId;

/// What holds for the whole switch and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchConfig {
    /// The link-layer address under which guests reach everything outside themselves.
    pub gateway_mac: [u8; 6],
    /// The largest IP packet that is carried, in octets.
    pub mtu: u16,
    /// Bounds on what is held for all services together.
    pub hold: HoldLimits,
    /// Bounds on what is held for the clients of one source prefix (/24 of IPv4, /56 of IPv6), of all services
    /// together.
    pub prefix_hold: HoldLimits,
    /// The key of initial sequence numbers and SYN cookies (RFC 6528, RFC 4987): random, and nobody else's.
    pub secret: [u8; 16],
}

impl SwitchConfig {
    /// The largest segment whose packet fits the network, in octets of data (RFC 9293, section 3.7.1).
    pub(crate) const fn max_mss(&self, v6: bool) -> u16 {
        let headers = if v6 { 60 } else { 40 };
        self.mtu.saturating_sub(headers)
    }
}

/// Bounds on held packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldLimits {
    /// Held TCP flows and held datagrams, counted together.
    pub flows: u32,
    /// Octets of the held IP packets.
    pub bytes: u64,
}

/// A service as the switch knows it: where it lives and how its clients are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePort {
    /// Whose port this is.
    pub service: ServiceId,
    /// The service's IPv4 address, if it has one.
    pub ipv4: Option<Ipv4Addr>,
    /// The service's IPv6 address, if it has one.
    pub ipv6: Option<Ipv6Addr>,
    /// The link-layer address of its guest.
    pub mac: [u8; 6],
    /// Whether a packet may wake the service. If not, SYNs are held all the same (a query may have woken it
    /// already) but cause no [`Wake`](crate::Event::Wake), and datagrams are dropped.
    pub wake_on_packet: bool,
    /// Whether an echo request may wake the service and is held until its guest can answer it. Pings are sent by
    /// those who look around, so this is a choice of its own.
    pub wake_on_echo: bool,
    /// What the guest boots from: services of the same number have the same network stack. What one of them was seen to
    /// offer in its SYN-ACK is offered in the name of the others.
    pub image: u64,
    /// How its clients' first packets are held.
    pub hold: HoldPolicy,
}

impl ServicePort {
    /// Whether `address` is one of the service's own.
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.ipv4 == Some(address),
            IpAddr::V6(address) => self.ipv6 == Some(address),
        }
    }

    /// The service's addresses, IPv4 first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// How the first packets of a service's clients are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldPolicy {
    /// What the client of a TCP connection sees meanwhile.
    pub mode: HoldMode,
    /// How long a packet is held at most, from its arrival.
    pub time: Duration,
    /// How many TCP flows and datagrams are held at most, counted together.
    pub flows: u32,
    /// How many octets are held at most: of IP packets, and of what clients sent early.
    pub bytes: u64,
    /// How many octets one client may send before the guest takes them, in [`HoldMode::Handshake`].
    pub buffer: u32,
    /// What happens to a packet that would exceed a bound.
    pub overflow: Overflow,
}

impl From<&HoldPolicy> for HoldLimits {
    fn from(policy: &HoldPolicy) -> Self {
        Self { flows: policy.flows, bytes: policy.bytes }
    }
}

/// What the client of a held TCP connection sees until the guest listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldMode {
    /// Nothing: its first SYN is kept and given to the guest.
    Syn,
    /// An open connection: its SYN is answered at once and its data are taken. Later the same connection is opened to the
    /// guest, and from then on the numbers in its segments are translated by constants.
    Handshake,
}

/// What happens to a packet that cannot be held because a bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Nothing is said; the client sends it again by itself.
    Drop,
    /// The client is told at once: a RST, or destination unreachable for a datagram.
    Reset,
}
