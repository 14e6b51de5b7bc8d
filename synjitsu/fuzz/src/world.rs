//! A switch with two services, and what must hold after everything that is done to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use etherparse::IpSlice;
use policies::{Generation, Instant, ServiceId};
use synjitsu::{
    Command, Event, FrameSink, HoldLimits, HoldMode, HoldOutcome, HoldPolicy, Overflow, PortId,
    ServicePort, Switch, SwitchConfig,
};

use super::packet;

pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const HOLD_TIME: Duration = Duration::from_secs(5);
const SECRET: [u8; 16] = *b"known to a test.";

/// One of the two services.
pub fn service(index: u8) -> ServiceId {
    ServiceId(index.into())
}

pub fn service_v4(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, 2 + index)
}

pub fn service_v6(index: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2 + u16::from(index))
}

pub fn guest_mac(index: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, index]
}

/// How much there may be of everything.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub flows: u32,
    pub bytes: u64,
    pub buffer: u32,
    pub mtu: u16,
    pub overflow: Overflow,
}

/// The first service answers its clients, the second one keeps their SYNs.
pub fn settings(index: u8, size: Size) -> ServicePort {
    ServicePort {
        service: service(index),
        ipv4: Some(service_v4(index)),
        ipv6: Some(service_v6(index)),
        mac: guest_mac(index),
        wake_on_packet: true,
        wake_on_echo: true,
        image: 1,
        hold: HoldPolicy {
            mode: if index == 0 { HoldMode::Handshake } else { HoldMode::Syn },
            time: HOLD_TIME,
            flows: size.flows,
            bytes: size.bytes,
            buffer: size.buffer,
            overflow: size.overflow,
        },
    }
}

/// What was sent, in order.
#[derive(Debug, Default)]
struct Sent(Vec<(PortId, Vec<u8>)>);

impl FrameSink for Sent {
    fn send(&mut self, to: PortId, head: &[u8], body: &[u8]) {
        self.0.push((to, [head, body].concat()));
    }
}

/// What the switch was told about a port.
#[derive(Debug, Clone, Copy, Default)]
struct Port {
    open: Option<Generation>,
    newest: Option<Generation>,
}

#[derive(Debug)]
pub struct World {
    pub now: Instant,
    switch: Switch,
    limits: HoldLimits,
    service_flows: u32,
    ports: BTreeMap<ServiceId, Port>,
    out: Sent,
    /// Whether nothing with a wrong checksum came in so far.
    clean: bool,
    /// Holds that ended.
    ended: u64,
}

impl World {
    /// Both services are attached and asleep.
    pub fn new(size: Size) -> Self {
        let limits = HoldLimits { flows: size.flows * 3 / 2, bytes: size.bytes * 3 / 2 };
        let config = SwitchConfig {
            gateway_mac: GATEWAY_MAC,
            mtu: size.mtu,
            hold: limits,
            prefix_hold: limits,
            secret: SECRET,
        };
        let mut world = Self {
            now: Instant::from_nanos(1_000_000_000),
            switch: Switch::new(config),
            limits,
            service_flows: size.flows,
            ports: BTreeMap::new(),
            out: Sent::default(),
            clean: true,
            ended: 0,
        };
        for index in [0, 1] {
            world.command(Command::Attach(settings(index, size)));
        }
        world
    }

    /// The generation whose port is open.
    pub fn open_generation(&self, index: u8) -> Option<Generation> {
        self.ports.get(&service(index))?.open
    }

    pub fn is_attached(&self, index: u8) -> bool {
        self.ports.contains_key(&service(index))
    }

    pub fn counter(&self, name: &str) -> u64 {
        let found = self.switch.counters().iter().find(|(known, _)| *known == name);
        found.map(|(_, count)| count).unwrap()
    }

    /// Carries out a command; returns what was sent meanwhile.
    pub fn command(&mut self, command: Command) -> Vec<(PortId, Vec<u8>)> {
        // A new guest may be given something by the command that opens its port, and one that goes by that one.
        match command {
            Command::Attach(settings) => {
                self.ports.entry(settings.service).or_default();
            }
            Command::Open { service, generation } => {
                if let Some(port) = self.ports.get_mut(&service)
                    && port.newest.is_none_or(|newest| newest < generation)
                {
                    *port = Port { open: Some(generation), newest: Some(generation) };
                }
            }
            Command::Detach(_) | Command::Close { .. } | Command::Report(_) => {}
        }
        let ports = self.ports.clone();
        self.switch.handle_command(self.now, command, &mut self.out);
        self.take_events();
        let sent = self.check(&ports);
        if let Command::Detach(service) = command {
            self.ports.remove(&service);
        }
        sent
    }

    /// A packet comes in by the uplink.
    pub fn uplink(&mut self, packet: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        self.clean &= packet::is_right(packet) != Some(false);
        self.switch.handle_frame(self.now, PortId::Uplink, packet, &mut self.out);
        let sent = self.check(&self.ports.clone());
        self.take_events();
        sent
    }

    /// A frame comes in from the guest whose port is open, or else from one that is over.
    pub fn guest_frame(&mut self, index: u8, frame: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        let payload = frame.get(14..).unwrap_or_default();
        self.clean &= packet::is_right(payload) != Some(false);
        let generation = self.open_generation(index).unwrap_or(Generation(0));
        let from = PortId::Guest { service: service(index), generation };
        self.switch.handle_frame(self.now, from, frame, &mut self.out);
        let sent = self.check(&self.ports.clone());
        self.take_events();
        assert!(self.open_generation(index).is_some() || sent.is_empty(), "a guest that is over");
        sent
    }

    /// An IP packet comes in from a guest.
    pub fn guest_packet(&mut self, index: u8, packet: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        self.guest_frame(index, &frame(index, packet))
    }

    /// Time passes; every timer fires when it is due.
    pub fn pass(&mut self, time: Duration) -> Vec<(PortId, Vec<u8>)> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(due) = self.switch.poll_timeout().filter(|due| *due <= end) {
            // What was due when something else happened is late.
            self.now = self.now.max(due);
            sent.extend(self.handle_timeout());
        }
        self.now = end;
        sent
    }

    /// Time passes while nobody looks at the timers.
    pub fn oversleep(&mut self, time: Duration) -> Vec<(PortId, Vec<u8>)> {
        self.now = self.now + time;
        self.handle_timeout()
    }

    fn handle_timeout(&mut self) -> Vec<(PortId, Vec<u8>)> {
        self.switch.handle_timeout(self.now, &mut self.out);
        let next = self.switch.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} at {}", self.now);
        let sent = self.check(&self.ports.clone());
        self.take_events();
        sent
    }

    /// Everything ends, and nothing is left.
    pub fn end(mut self) {
        for index in [0, 1] {
            self.command(Command::Detach(service(index)));
        }
        let held = self.switch.held();
        assert_eq!(held, HoldLimits { flows: 0, bytes: 0 }, "held for nobody");
        self.pass(Duration::from_secs(10));
        assert_eq!(self.switch.poll_timeout(), None, "a timer for nobody");
        let held = self.counter("held_syns") + self.counter("held_datagrams");
        assert_eq!(held, self.ended, "each hold ends once");
    }

    fn take_events(&mut self) {
        while let Some(event) = self.switch.poll_event() {
            match event {
                Event::Closed { service, generation } => {
                    if let Some(port) = self.ports.get_mut(&service)
                        && port.open == Some(generation)
                    {
                        port.open = None;
                    }
                }
                Event::Activity { held, .. } => assert!(held <= self.service_flows, "{held} held"),
                Event::HoldEnded { outcome, .. } if outcome != HoldOutcome::Overflow => {
                    self.ended += 1;
                }
                Event::HoldEnded { .. }
                | Event::Wake { .. }
                | Event::CloseRefused { .. }
                | Event::Milestone { .. } => {}
            }
        }
    }

    /// What must hold after everything; takes what was sent while `ports` were open.
    fn check(&mut self, ports: &BTreeMap<ServiceId, Port>) -> Vec<(PortId, Vec<u8>)> {
        let held = self.switch.held();
        assert!(held.flows <= self.limits.flows, "{held:?} of {:?}", self.limits);
        assert!(held.bytes <= self.limits.bytes, "{held:?} of {:?}", self.limits);
        let sent = std::mem::take(&mut self.out.0);
        for (to, frame) in &sent {
            self.check_sent(*to, frame, ports);
        }
        sent
    }

    fn check_sent(&self, to: PortId, frame: &[u8], ports: &BTreeMap<ServiceId, Port>) {
        let bytes = match to {
            PortId::Uplink => frame,
            PortId::Guest { service, generation } => {
                let open = ports.get(&service).and_then(|port| port.open);
                assert_eq!(open, Some(generation), "sent to a closed port");
                assert_eq!(frame[6..12], GATEWAY_MAC);
                if frame[12..14] == [8, 6] {
                    return;
                }
                &frame[14..]
            }
        };
        let ip = IpSlice::from_slice(bytes);
        let ip = ip.unwrap_or_else(|error| panic!("{error}: {bytes:02x?} to {to:?}"));
        let own = |address: IpAddr| {
            [0, 1]
                .iter()
                .any(|index| address == service_v4(*index) || address == service_v6(*index))
        };
        assert!(to != PortId::Uplink || own(ip.source_addr()), "sent by nobody: {bytes:02x?}");
        if self.clean {
            assert_eq!(packet::is_right(bytes), Some(true), "{bytes:02x?} to {to:?}");
        }
    }
}

/// The frame in which a guest sends a packet.
pub fn frame(index: u8, packet: &[u8]) -> Vec<u8> {
    let v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let kind = if v6 { [0x86, 0xdd] } else { [8, 0] };
    [&GATEWAY_MAC[..], &guest_mac(index), &kind, packet].concat()
}
