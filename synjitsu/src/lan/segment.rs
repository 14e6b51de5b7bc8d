//! Between the frames of a segment and the packets of the switch.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use etherparse::EtherType;
use policies::{Instant, ServiceId};

use super::arp::{Arp, Kind};
use super::claims::{Claims, Dispute, Say};
use super::discovery::{self, Message};
use super::groups;
use super::neighbours::{Ask, Due, Learnt, Neighbours, Said, Way};
use super::{BROADCAST, ETHERNET_HEADER, LanCounters, Mac, Prefix, is_station, spread};

/// Things to tell that wait; beyond, they are only counted.
const EVENTS: usize = 4096;

/// Services often come many at once; one report is for all of them. Shorter than it takes until an address is announced.
const REPORT_DELAY: Duration = Duration::from_millis(100);

/// What holds for a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanConfig {
    /// The link-layer address that the services are at.
    pub mac: Mac,
    /// What is reached without a router. Link-local addresses of IPv6 are, in any case.
    pub on_link: Vec<Prefix>,
    /// Routers to everything else; of each family the first one is used.
    pub gateways: Vec<IpAddr>,
}

/// Takes the frames for the segment.
pub trait SegmentSink {
    /// Sends three parts as one Ethernet frame: so a packet gets its header without being copied.
    fn transmit(&mut self, parts: [&[u8]; 3]);
}

/// What the owner should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LanEvent {
    /// Nobody minded: the address is announced.
    Announced {
        /// Which.
        address: IpAddr,
    },
    /// Another station claims a service's address.
    Conflict {
        /// Which.
        address: IpAddr,
        /// Who.
        by: Mac,
        /// Whether it was there first, so that the address is not used for now. Otherwise it is defended.
        lost: bool,
    },
}

/// Services on a segment; see the [module's page](super).
#[derive(Debug)]
pub struct Lan {
    config: LanConfig,
    claims: Claims,
    neighbours: Neighbours,
    counters: LanCounters,
    events: VecDeque<LanEvent>,
    /// When the groups are to be reported next.
    report: Option<Instant>,
}

impl Lan {
    /// A segment without services.
    #[must_use]
    pub fn new(config: LanConfig) -> Self {
        Self {
            claims: Claims::new(config.mac),
            config,
            neighbours: Neighbours::default(),
            counters: LanCounters::default(),
            events: VecDeque::new(),
            report: None,
        }
    }

    /// Gives a service these addresses and no others; new ones are probed and announced.
    pub fn set_addresses(
        &mut self,
        now: Instant,
        service: ServiceId,
        addresses: &[IpAddr],
        out: &mut impl SegmentSink,
    ) {
        self.claims.set(now, service, addresses);
        self.report_groups(now);
        self.handle_timeout(now, out);
    }

    /// The segment's routers have changed.
    pub fn set_gateways(&mut self, gateways: Vec<IpAddr>) {
        self.config.gateways = gateways;
    }

    /// The services are at another link-layer address from now on; [`handle_link_up`](Self::handle_link_up) tells others.
    pub fn set_mac(&mut self, mac: Mac) {
        self.config.mac = mac;
    }

    /// The link came back: perhaps to another segment, and at best to one that has forgotten.
    pub fn handle_link_up(&mut self, now: Instant, out: &mut impl SegmentSink) {
        self.claims.restart(now);
        self.report_groups(now);
        self.handle_timeout(now, out);
    }

    /// Every address of the services.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.claims.all()
    }

    /// The link-layer addresses of the groups that concern the services, each once.
    #[must_use]
    pub fn groups(&self) -> Vec<Mac> {
        let mut groups: Vec<_> = self
            .groups_listened_to()
            .map(discovery::group_mac)
            .chain([discovery::group_mac(discovery::ALL_NODES)])
            .collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.len() == 1 { Vec::new() } else { groups }
    }

    /// Takes a frame, and returns the packet in it if it is one for the switch.
    ///
    /// Nothing in `frame` is trusted; what cannot be used is counted.
    pub fn handle_frame<'a>(
        &mut self,
        now: Instant,
        frame: &'a [u8],
        out: &mut impl SegmentSink,
    ) -> Option<&'a [u8]> {
        self.counters.received += 1;
        let Some((header, payload)) = frame.split_first_chunk::<ETHERNET_HEADER>() else {
            self.counters.dropped_malformed += 1;
            return None;
        };
        let [t0, t1, t2, t3, t4, t5, s0, s1, s2, s3, s4, s5, kind @ ..] = *header;
        let (to, from) = ([t0, t1, t2, t3, t4, t5], [s0, s1, s2, s3, s4, s5]);
        let to_us = to == self.config.mac;
        // Our own frames come back where a bridge has a loop.
        if !(to_us || to[0] & 1 == 1) || from == self.config.mac {
            self.counters.dropped_foreign += 1;
            return None;
        }
        if !is_station(from) {
            self.counters.dropped_malformed += 1;
            return None;
        }
        match EtherType(u16::from_be_bytes(kind)) {
            EtherType::ARP => {
                self.handle_arp(now, payload, out);
                None
            }
            EtherType::IPV4 => self.handle_ipv4(to_us, payload),
            EtherType::IPV6 => self.handle_ipv6(now, to_us, from, payload, out),
            _ => {
                self.counters.dropped_foreign += 1;
                None
            }
        }
    }

    /// Sends a packet of the switch, in two parts, to whom it is for; or keeps it until it is known where that is.
    pub fn send(&mut self, now: Instant, head: &[u8], body: &[u8], out: &mut impl SegmentSink) {
        let Some((source, destination)) = addresses(head, body) else {
            self.counters.dropped_unsendable += 1;
            return;
        };
        if !self.claims.has(source) || !self.is_neighbourly(destination) {
            self.counters.dropped_unsendable += 1;
            return;
        }
        let Some(next_hop) = self.next_hop(destination) else {
            self.counters.dropped_no_router += 1;
            return;
        };
        let copy = || [head, body].concat().into_boxed_slice();
        let length = head.len() + body.len();
        let sending = self.neighbours.send(now, next_hop, source, length, copy);
        self.counters.dropped_overflow += sending.displaced;
        match sending.way {
            Way::There(mac) => {
                let header = self.header(mac, ether_type(destination));
                out.transmit([&header, head, body]);
                self.counters.sent += 1;
            }
            Way::Waits => {}
            Way::Full => self.counters.dropped_overflow += 1,
        }
        if let Some(ask) = sending.ask {
            self.ask(ask, out);
        }
    }

    /// Does everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl SegmentSink) {
        if self.report.is_some_and(|at| at <= now) {
            self.report = None;
            let groups: Vec<_> = self.groups_listened_to().collect();
            let header = self.header(discovery::group_mac(groups::REPORTS), EtherType::IPV6);
            for report in groups::reports(&groups) {
                out.transmit([&header, &report, &[]]);
            }
        }
        while let Some(say) = self.claims.poll(now) {
            match say {
                Say::Probe { address } => self.probe(address, out),
                Say::Announce { address, first } => {
                    if first {
                        self.tell(LanEvent::Announced { address });
                    }
                    self.announce(address, out);
                }
            }
        }
        while let Some(due) = self.neighbours.poll(now) {
            match due {
                Due::Ask(ask) => self.ask(ask, out),
                Due::Silent(packets) => {
                    self.counters.silent_neighbours += 1;
                    self.counters.dropped_silent += u64::try_from(packets).unwrap_or(u64::MAX);
                }
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.report, self.claims.next(), self.neighbours.next()].into_iter().flatten().min()
    }

    /// The next thing to tell the owner, oldest first.
    pub fn poll_event(&mut self) -> Option<LanEvent> {
        self.events.pop_front()
    }

    /// What happened so far, by reason.
    #[must_use]
    pub const fn counters(&self) -> &LanCounters {
        &self.counters
    }

    fn groups_listened_to(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.claims.all().filter_map(|address| match address {
            IpAddr::V6(address) => Some(discovery::solicited_node(address)),
            IpAddr::V4(_) => None,
        })
    }

    fn handle_arp(&mut self, now: Instant, payload: &[u8], out: &mut impl SegmentSink) {
        let Some(arp) = Arp::parse(payload).filter(|arp| is_station(arp.sender_mac)) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        let (sender, target) = (IpAddr::V4(arp.sender), IpAddr::V4(arp.target));
        if arp.sender_mac == self.config.mac {
            // Ours, come back inside of another station's frame.
            self.counters.dropped_idle += 1;
        } else if self.claims.knows(sender) {
            self.handle_claim(now, sender, arp.sender_mac, out);
        } else if !self.claims.has(target) {
            self.counters.dropped_foreign += 1;
        } else if arp.kind == Kind::Request {
            let header = self.header(arp.sender_mac, EtherType::ARP);
            out.transmit([&header, &arp.answer(self.config.mac).to_bytes(), &[]]);
            self.counters.answered += 1;
            // Unspecified: a probe, whose sender does not have an address yet.
            self.learn(now, sender, arp.sender_mac, Said::Question, out);
        } else {
            self.learn(now, sender, arp.sender_mac, Said::Answer, out);
        }
    }

    fn handle_ipv4<'a>(&mut self, to_us: bool, packet: &'a [u8]) -> Option<&'a [u8]> {
        // Only the version and the destination: the switch looks at the rest.
        let destination =
            addresses(packet, &[]).map(|(_, to)| to).filter(|to| to_us && to.is_ipv4());
        self.deliver(destination, packet)
    }

    fn handle_ipv6<'a>(
        &mut self,
        now: Instant,
        to_us: bool,
        from: Mac,
        packet: &'a [u8],
        out: &mut impl SegmentSink,
    ) -> Option<&'a [u8]> {
        let Some((_, destination @ IpAddr::V6(_))) = addresses(packet, &[]) else {
            self.counters.dropped_malformed += 1;
            return None;
        };
        // TCP and UDP, as by far the most: nothing else can be meant for us and the segment.
        let plain = packet.get(6).is_some_and(|next| matches!(next, 6 | 17));
        let message = if plain { Some(Message::NotOurs) } else { discovery::parse(packet) };
        match message {
            None => self.counters.dropped_malformed += 1,
            Some(Message::NotOurs) => {
                return self.deliver(Some(destination).filter(|_| to_us), packet);
            }
            Some(Message::OtherLinkBusiness) => self.counters.dropped_idle += 1,
            Some(Message::ListenerQuery) => {
                let delay = spread(self.config.mac, &now.as_nanos().to_be_bytes());
                let most = u64::try_from(groups::LONGEST_DELAY.as_nanos()).unwrap_or(u64::MAX);
                let at = now + Duration::from_nanos(delay % most);
                self.report = Some(self.report.map_or(at, |report| report.min(at)));
            }
            Some(Message::Solicitation { source, target, mac }) => {
                self.handle_solicitation(now, source, target, mac.unwrap_or(from), out);
            }
            Some(Message::Advertisement { target, mac, solicited }) => {
                let mac = mac.unwrap_or(from);
                let target = IpAddr::V6(target);
                if mac == self.config.mac || !is_station(mac) {
                    self.counters.dropped_idle += 1;
                } else if self.claims.knows(target) {
                    self.handle_claim(now, target, mac, out);
                } else {
                    let said = if solicited { Said::Answer } else { Said::Announcement };
                    self.learn(now, target, mac, said, out);
                }
            }
        }
        None
    }

    fn handle_solicitation(
        &mut self,
        now: Instant,
        source: Ipv6Addr,
        target: Ipv6Addr,
        mac: Mac,
        out: &mut impl SegmentSink,
    ) {
        if mac == self.config.mac || !is_station(mac) {
            self.counters.dropped_idle += 1;
            return;
        }
        if self.claims.knows(IpAddr::V6(source)) {
            self.handle_claim(now, IpAddr::V6(source), mac, out);
            return;
        }
        if !self.claims.has(IpAddr::V6(target)) {
            self.counters.dropped_foreign += 1;
            return;
        }
        let own = self.config.mac;
        let sure = self.claims.is_sure(IpAddr::V6(target));
        if source.is_unspecified() {
            // Somebody would like to have it: everybody is told that it is taken (RFC 4861, section 7.2.4).
            let header = self.header(discovery::group_mac(discovery::ALL_NODES), EtherType::IPV6);
            out.transmit([&header, &discovery::advertisement(own, target, None, sure), &[]]);
        } else {
            let header = self.header(mac, EtherType::IPV6);
            let answer = discovery::advertisement(own, target, Some(source), sure);
            out.transmit([&header, &answer, &[]]);
            self.learn(now, IpAddr::V6(source), mac, Said::Question, out);
        }
        self.counters.answered += 1;
    }

    /// Another station says that `address`, which is ours, is its own.
    fn handle_claim(&mut self, now: Instant, address: IpAddr, by: Mac, out: &mut impl SegmentSink) {
        self.counters.conflicts += 1;
        match self.claims.dispute(now, address) {
            Dispute::None | Dispute::Defended => {}
            Dispute::GivenUp => self.tell(LanEvent::Conflict { address, by, lost: true }),
            Dispute::Defend => {
                self.tell(LanEvent::Conflict { address, by, lost: false });
                self.announce(address, out);
            }
        }
    }

    fn learn(
        &mut self,
        now: Instant,
        from: IpAddr,
        mac: Mac,
        said: Said,
        out: &mut impl SegmentSink,
    ) {
        // A station that is reached by a router is no neighbour, whatever it says.
        if !self.is_neighbourly(from) || self.next_hop(from) != Some(from) {
            self.counters.dropped_idle += 1;
            return;
        }
        match self.neighbours.learn(now, from, mac, said) {
            Learnt::Nothing => {}
            Learnt::Doubted(ask) => {
                self.counters.doubted += 1;
                if let Some(ask) = ask {
                    self.ask(ask, out);
                }
            }
            Learnt::Found(packets) => {
                let header = self.header(mac, ether_type(from));
                for packet in packets {
                    out.transmit([&header, &packet, &[]]);
                    self.counters.sent += 1;
                }
            }
        }
    }

    fn deliver<'a>(&mut self, to: Option<IpAddr>, packet: &'a [u8]) -> Option<&'a [u8]> {
        if to.is_some_and(|to| self.claims.has(to)) {
            self.counters.delivered += 1;
            Some(packet)
        } else {
            self.counters.dropped_foreign += 1;
            None
        }
    }

    fn probe(&self, address: IpAddr, out: &mut impl SegmentSink) {
        let mac = self.config.mac;
        match address {
            IpAddr::V4(address) => {
                let probe = Arp::question(mac, Ipv4Addr::UNSPECIFIED, address);
                out.transmit([&self.header(BROADCAST, EtherType::ARP), &probe.to_bytes(), &[]]);
            }
            IpAddr::V6(address) => {
                let group = discovery::group_mac(discovery::solicited_node(address));
                let probe = discovery::solicitation(mac, Ipv6Addr::UNSPECIFIED, address, None);
                out.transmit([&self.header(group, EtherType::IPV6), &probe, &[]]);
            }
        }
    }

    fn announce(&mut self, address: IpAddr, out: &mut impl SegmentSink) {
        self.counters.announcements += 1;
        let mac = self.config.mac;
        match address {
            IpAddr::V4(address) => {
                let header = self.header(BROADCAST, EtherType::ARP);
                out.transmit([&header, &Arp::announcement(mac, address).to_bytes(), &[]]);
            }
            IpAddr::V6(address) => {
                let group = discovery::group_mac(discovery::ALL_NODES);
                let told = discovery::advertisement(mac, address, None, true);
                out.transmit([&self.header(group, EtherType::IPV6), &told, &[]]);
            }
        }
    }

    fn ask(&mut self, ask: Ask, out: &mut impl SegmentSink) {
        let Ask { about, source, whom } = ask;
        // The service may have lost its address since; any other of ours can ask as well.
        let source = Some(source).filter(|source| self.claims.has(*source));
        let source = source.or_else(|| self.claims.any_of_family(about));
        let mac = self.config.mac;
        match (about, source) {
            (IpAddr::V4(about), Some(IpAddr::V4(source))) => {
                let header = self.header(whom.unwrap_or(BROADCAST), EtherType::ARP);
                out.transmit([&header, &Arp::question(mac, source, about).to_bytes(), &[]]);
            }
            (IpAddr::V6(about), Some(IpAddr::V6(source))) => {
                let group = discovery::group_mac(discovery::solicited_node(about));
                let header = self.header(whom.unwrap_or(group), EtherType::IPV6);
                let to = whom.map(|_| about);
                out.transmit([&header, &discovery::solicitation(mac, source, about, to), &[]]);
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => return,
        }
        self.counters.asked += 1;
    }

    /// Whether one station can be meant.
    fn is_neighbourly(&self, address: IpAddr) -> bool {
        let everybody = match address {
            IpAddr::V4(address) => {
                let mut prefixes = self.config.on_link.iter();
                address.is_broadcast() || prefixes.any(|net| net.broadcast() == Some(address))
            }
            IpAddr::V6(_) => false,
        };
        !everybody
            && !address.is_unspecified()
            && !address.is_multicast()
            && !address.is_loopback()
            && !self.claims.knows(address)
    }

    /// To whom a packet for `destination` goes next.
    fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        let link_local =
            matches!(destination, IpAddr::V6(address) if address.is_unicast_link_local());
        let on_link = link_local
            || self.config.gateways.contains(&destination)
            || self.config.on_link.iter().any(|prefix| prefix.contains(destination));
        if on_link {
            return Some(destination);
        }
        let same_family = |gateway: &&IpAddr| gateway.is_ipv4() == destination.is_ipv4();
        self.config.gateways.iter().find(same_family).copied()
    }

    fn report_groups(&mut self, now: Instant) {
        let at = now + REPORT_DELAY;
        if self.claims.all().any(|address| address.is_ipv6()) {
            self.report = Some(self.report.map_or(at, |report| report.min(at)));
        }
    }

    fn tell(&mut self, event: LanEvent) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }

    fn header(&self, to: Mac, kind: EtherType) -> [u8; ETHERNET_HEADER] {
        crate::neighbour::ethernet_header(to, self.config.mac, kind)
    }

    /// What must hold after every step.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.claims.check();
        self.neighbours.check();
        assert!(self.events.len() <= EVENTS);
    }

    #[cfg(test)]
    pub(super) fn mac_of(&self, address: IpAddr) -> Option<Mac> {
        self.neighbours.mac(address)
    }
}

const fn ether_type(address: IpAddr) -> EtherType {
    match address {
        IpAddr::V4(_) => EtherType::IPV4,
        IpAddr::V6(_) => EtherType::IPV6,
    }
}

/// Source and destination of a packet in two parts; `None` if it is too short to have any.
fn addresses(head: &[u8], body: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let mut start = [0; 40];
    let mut length = 0;
    for (place, octet) in start.iter_mut().zip(head.iter().chain(body)) {
        *place = *octet;
        length += 1;
    }
    let four = |at: usize| <[u8; 4]>::try_from(&start[at..at + 4]).ok();
    let sixteen = |at: usize| <[u8; 16]>::try_from(&start[at..at + 16]).ok();
    match start[0] >> 4 {
        4 if length >= 20 => Some((four(12)?.into(), four(16)?.into())),
        6 if length >= 40 => Some((sixteen(8)?.into(), sixteen(24)?.into())),
        _ => None,
    }
}
