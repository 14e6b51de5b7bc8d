//! The switch itself: which port a frame belongs to, and where what follows goes.

use std::collections::HashMap;
use std::net::IpAddr;

use etherparse::{EtherType, Ethernet2Slice};
use policies::{Generation, Instant, ServiceId};

use crate::frame::{Packet, Transport};
use crate::neighbour::{self, Unanswered};
use crate::port::{Port, Verdict};
use crate::shared::Shared;
use crate::tcp::{Offer, Rewrite};
use crate::timer::Timer;
use crate::{
    Command, Counters, Event, FrameSink, HoldLimits, PortId, ServicePort, SwitchConfig, icmp,
};

/// Between the uplink and the guests of all services.
///
/// See the [crate's page](crate) for what it does. It does no I/O: a driver hands in what arrived together with
/// the time, takes what is to be sent by its [`FrameSink`], fetches the events, and comes back at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Switch {
    ports: HashMap<ServiceId, Port>,
    by_address: HashMap<IpAddr, ServiceId>,
    shared: Shared,
}

impl Switch {
    /// A switch without services.
    #[must_use]
    pub fn new(config: SwitchConfig) -> Self {
        Self { ports: HashMap::new(), by_address: HashMap::new(), shared: Shared::new(config) }
    }

    /// Takes an IP packet (from the uplink) or an Ethernet frame (from a guest) and sends what follows from it.
    ///
    /// Nothing in `frame` is trusted; what cannot be used is counted.
    pub fn handle_frame(
        &mut self,
        now: Instant,
        from: PortId,
        frame: &[u8],
        out: &mut impl FrameSink,
    ) {
        match from {
            PortId::Uplink => self.handle_uplink(now, frame, out),
            PortId::Guest { service, generation } => {
                self.handle_guest(now, service, generation, frame, out);
            }
        }
        self.send_replies(now, out);
    }

    /// Carries out a command.
    pub fn handle_command(&mut self, now: Instant, command: Command, out: &mut impl FrameSink) {
        match command {
            Command::Attach(settings) => self.attach(now, settings, out),
            Command::Detach(service) => self.detach(now, service, out),
            Command::Open { service, generation } => {
                let port = self.ports.get_mut(&service);
                if !port.is_some_and(|port| port.open(now, generation, &mut self.shared, out)) {
                    self.shared.counters.stale_commands += 1;
                }
            }
            Command::Close { service, generation, only_if_idle_since } => {
                self.close(now, service, generation, only_if_idle_since);
            }
            Command::Report(service) => {
                let activity = self.ports.get(&service).map_or(
                    Event::Activity {
                        service,
                        generation: None,
                        last_packet: None,
                        open_connections: 0,
                        held: 0,
                    },
                    Port::activity,
                );
                self.shared.tell(activity);
            }
        }
        self.send_replies(now, out);
    }

    /// Does everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl FrameSink) {
        while let Some(timer) = self.shared.timers.pop_due(now) {
            let service = timer.service();
            let Some(port) = self.ports.get_mut(&service) else { continue };
            match timer {
                Timer::Expire(_, serial) => port.expire(now, serial, &mut self.shared, out),
                Timer::Replay(_, serial) => port.replay(now, serial, &mut self.shared, out),
                Timer::Answer(_, serial) => port.answer_again(now, serial, &mut self.shared),
                Timer::Splice(_, key) => port.tend_splice(now, &key, &mut self.shared, out),
                Timer::Wake(_) => port.wake_again(now, &mut self.shared),
                Timer::Forget(_, key) => port.forget(&key, &mut self.shared),
            }
        }
        self.send_replies(now, out);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.shared.timers.next()
    }

    /// The next thing to tell the owner, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// What happened so far, by reason.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What is held now, for all services together: flows and datagrams, and octets (early data of clients included).
    #[must_use]
    pub const fn held(&self) -> HoldLimits {
        self.shared.held.total()
    }

    fn handle_uplink(&mut self, now: Instant, bytes: &[u8], out: &mut impl FrameSink) {
        self.shared.counters.received_uplink += 1;
        let Some(packet) = self.parse(bytes) else { return };
        let mut clamped = Vec::new();
        let packet = self.clamp(packet, &mut clamped);
        // A service's packets come from its guest. From outside they could make two services talk to each other
        // for ever.
        if !is_client(packet.source) || self.by_address.contains_key(&packet.source) {
            self.shared.counters.dropped_martian_source += 1;
            return;
        }
        let to = self.by_address.get(&packet.destination);
        if to.is_some() && self.is_oversized(&packet) {
            self.refuse_oversized(now, &packet);
            return;
        }
        match to.and_then(|service| self.ports.get_mut(service)) {
            Some(port) => port.handle_inbound(now, &packet, &mut self.shared, out),
            None => self.shared.counters.dropped_unknown_destination += 1,
        }
    }

    fn handle_guest(
        &mut self,
        now: Instant,
        service: ServiceId,
        generation: Generation,
        frame: &[u8],
        out: &mut impl FrameSink,
    ) {
        self.shared.counters.received_guests += 1;
        let Some(port) =
            self.ports.get(&service).filter(|port| port.generation() == Some(generation))
        else {
            self.shared.counters.dropped_stale_port += 1;
            return;
        };
        let settings = *port.settings();
        let Ok(ethernet) = Ethernet2Slice::from_slice_without_fcs(frame) else {
            self.shared.counters.dropped_malformed += 1;
            return;
        };
        let payload = ethernet.payload().payload;
        let sender = Sender { settings, generation };
        match ethernet.ether_type() {
            EtherType::ARP => self.handle_arp(&sender, payload, out),
            EtherType::IPV4 | EtherType::IPV6
                if ethernet.ether_type() != neighbour::ether_type(payload) =>
            {
                self.shared.counters.dropped_malformed += 1;
            }
            EtherType::IPV4 | EtherType::IPV6 => {
                self.handle_guest_packet(now, &sender, payload, out);
            }
            _ => self.shared.counters.dropped_ether_type += 1,
        }
    }

    fn handle_arp(&mut self, sender: &Sender, payload: &[u8], out: &mut impl FrameSink) {
        let gateway_mac = self.shared.config.gateway_mac;
        match neighbour::answer_arp(&sender.settings, gateway_mac, payload) {
            Ok(reply) => {
                self.shared.counters.neighbours_answered += 1;
                let mac = sender.settings.mac;
                let head = neighbour::ethernet_header(mac, gateway_mac, EtherType::ARP);
                out.send(sender.port(), &head, &reply);
            }
            Err(reason) => self.count_unanswered(reason),
        }
    }

    fn handle_guest_packet(
        &mut self,
        now: Instant,
        sender: &Sender,
        bytes: &[u8],
        out: &mut impl FrameSink,
    ) {
        let Some(packet) = self.parse(bytes) else { return };
        if let Transport::Icmp(icmp) = &packet.transport
            && icmp.is_link_business()
        {
            let gateway_mac = self.shared.config.gateway_mac;
            match neighbour::answer_solicitation(&sender.settings, gateway_mac, &packet, icmp) {
                Ok(reply) => {
                    self.shared.counters.neighbours_answered += 1;
                    self.shared.send_to_guest(&sender.settings, sender.generation, &reply, out);
                }
                Err(reason) => self.count_unanswered(reason),
            }
            return;
        }
        if self.is_oversized(&packet) {
            if sender.settings.owns(packet.source) {
                self.refuse_oversized(now, &packet);
            } else {
                self.shared.counters.dropped_spoofed_source += 1;
            }
            return;
        }
        let mut clamped = Vec::new();
        let packet = self.clamp(packet, &mut clamped);
        let Some(port) = self.ports.get_mut(&sender.settings.service) else { return };
        match port.handle_outbound(now, &packet, &mut self.shared, out) {
            Verdict::Stop => {}
            Verdict::Forward => self.forward(now, &packet, out),
            Verdict::ForwardScratch => {
                let scratch = std::mem::take(&mut self.shared.scratch);
                match Packet::parse(&scratch) {
                    Ok(packet) => self.forward(now, &packet, out),
                    Err(_) => self.shared.counters.dropped_malformed += 1,
                }
                self.shared.scratch = scratch;
            }
        }
    }

    /// Gives a guest's packet to whoever has its destination address.
    fn forward(&mut self, now: Instant, packet: &Packet<'_>, out: &mut impl FrameSink) {
        let to = self.by_address.get(&packet.destination);
        match to.and_then(|service| self.ports.get_mut(service)) {
            Some(port) => {
                self.shared.counters.between_guests += 1;
                port.handle_inbound(now, packet, &mut self.shared, out);
            }
            None => {
                self.shared.counters.forwarded_to_uplink += 1;
                out.send(PortId::Uplink, &[], packet.bytes);
            }
        }
    }

    /// The packet in `bytes`; what is none is counted.
    fn parse<'a>(&mut self, bytes: &'a [u8]) -> Option<Packet<'a>> {
        let packet = Packet::parse(bytes).ok();
        if packet.is_none() {
            self.shared.counters.dropped_malformed += 1;
        }
        packet
    }

    fn is_oversized(&self, packet: &Packet<'_>) -> bool {
        packet.bytes.len() > usize::from(self.shared.config.mtu)
    }

    /// A packet is too long for the network; its sender is told, if it wants to know (RFC 1191; RFC 8201).
    fn refuse_oversized(&mut self, now: Instant, packet: &Packet<'_>) {
        self.shared.counters.dropped_oversized += 1;
        let answerable = !matches!(packet.transport, Transport::Icmp(_));
        if !packet.may_fragment && answerable && self.shared.unreachables.try_take(now) {
            self.shared.counters.too_big_sent += 1;
            self.shared.replies.push_back(icmp::too_big(packet, self.shared.config.mtu));
        }
    }

    /// A SYN that offers segments which do not fit the network, with those that do; written to `copy`.
    fn clamp<'a>(&self, packet: Packet<'a>, copy: &'a mut Vec<u8>) -> Packet<'a> {
        let most = self.shared.config.max_mss(packet.source.is_ipv6());
        let offers = |mss| matches!(mss, Some(mss) if mss > most);
        let is_syn = matches!(packet.transport, Transport::Tcp(segment) if segment.syn);
        if !is_syn || !packet.tcp().is_some_and(|tcp| offers(Offer::of(&tcp).mss)) {
            return packet;
        }
        Rewrite { max_mss: Some(most), ..Rewrite::default() }.write(&packet, copy);
        Packet::parse(copy).unwrap_or(packet)
    }

    fn count_unanswered(&mut self, reason: Unanswered) {
        let counters = &mut self.shared.counters;
        match reason {
            Unanswered::Malformed => counters.dropped_malformed += 1,
            Unanswered::Spoofed => counters.dropped_spoofed_source += 1,
            Unanswered::NotAsked => counters.dropped_neighbour += 1,
        }
    }

    /// Sends what the switch made itself to whoever has its destination: the uplink or a guest.
    fn send_replies(&mut self, now: Instant, out: &mut impl FrameSink) {
        // What is sent here is a RST or an ICMP error, and neither is ever answered: so this ends.
        while let Some(reply) = self.shared.replies.pop_front() {
            let Ok(packet) = Packet::parse(&reply) else { continue };
            let to = self.by_address.get(&packet.destination);
            match to.and_then(|service| self.ports.get_mut(service)) {
                Some(port) => port.handle_inbound(now, &packet, &mut self.shared, out),
                None => out.send(PortId::Uplink, &[], &reply),
            }
        }
    }

    fn attach(&mut self, now: Instant, settings: ServicePort, out: &mut impl FrameSink) {
        for address in settings.addresses() {
            let owner = self.by_address.get(&address).copied();
            if let Some(other) = owner.filter(|owner| *owner != settings.service) {
                self.take_away(now, other, address, out);
            }
        }
        if let Some(port) = self.ports.get(&settings.service) {
            for address in port.settings().addresses() {
                self.by_address.remove(&address);
            }
        }
        for address in settings.addresses() {
            self.by_address.insert(address, settings.service);
        }
        match self.ports.get_mut(&settings.service) {
            Some(port) => port.update(now, settings, &mut self.shared, out),
            None => {
                self.ports.insert(settings.service, Port::new(settings));
            }
        }
    }

    /// An address moves to another service before its owner was told to give it up.
    fn take_away(
        &mut self,
        now: Instant,
        owner: ServiceId,
        address: IpAddr,
        out: &mut impl FrameSink,
    ) {
        let Some(port) = self.ports.get_mut(&owner) else { return };
        let mut settings = *port.settings();
        settings.ipv4 = settings.ipv4.filter(|ipv4| address != IpAddr::V4(*ipv4));
        settings.ipv6 = settings.ipv6.filter(|ipv6| address != IpAddr::V6(*ipv6));
        port.update(now, settings, &mut self.shared, out);
    }

    fn detach(&mut self, now: Instant, service: ServiceId, out: &mut impl FrameSink) {
        let Some(mut port) = self.ports.remove(&service) else {
            self.shared.counters.stale_commands += 1;
            return;
        };
        for address in port.settings().addresses() {
            self.by_address.remove(&address);
        }
        port.detach(now, &mut self.shared, out);
    }

    fn close(
        &mut self,
        now: Instant,
        service: ServiceId,
        generation: Generation,
        only_if_idle_since: Option<Instant>,
    ) {
        let port = self.ports.get_mut(&service);
        match port.filter(|port| port.generation() == Some(generation)) {
            Some(port) if only_if_idle_since.is_some_and(|stamp| port.is_used_since(stamp)) => {
                self.shared.tell(Event::CloseRefused { service, generation });
            }
            Some(port) => {
                port.close(now, generation, &mut self.shared);
            }
            None => {
                self.shared.counters.stale_commands += 1;
                // Whoever asks this question waits for its answer, and the port is closed.
                if only_if_idle_since.is_some() {
                    self.shared.tell(Event::Closed { service, generation });
                }
            }
        }
    }
}

/// The guest that a frame came from.
struct Sender {
    settings: ServicePort,
    generation: Generation,
}

impl Sender {
    const fn port(&self) -> PortId {
        PortId::Guest { service: self.settings.service, generation: self.generation }
    }
}

/// Whether a packet can have come from a client with this address.
fn is_client(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && !address.is_loopback()
        && address != IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}
