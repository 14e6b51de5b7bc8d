//! A world of one switch: what clients and guests send, what they got, what the owner was told.
//!
//! Reads like a ladder diagram: `world.client(SYN)`, `world.open(1)`, `assert_eq!(world.guest_got(), [SYN])`.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "only tests use this")]

pub mod segment;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use policies::{Generation, Instant, ServiceId};
use synjitsu::{
    Command, Event, FrameSink, HoldLimits, HoldMode, HoldOutcome, HoldPolicy, MilestoneKind,
    Overflow, PortId, ServicePort, Switch, SwitchConfig,
};

pub use segment::{Segment, Side};

pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const SERVICE: ServiceId = ServiceId(7);
pub const SERVICE_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub const SERVICE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2);
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10);
pub const SECRET: [u8; 16] = *b"known to a test.";
pub const HOLD_TIME: Duration = Duration::from_secs(5);

/// What was sent, in order.
#[derive(Debug, Default)]
pub struct Sent(pub Vec<(PortId, Vec<u8>)>);

impl FrameSink for Sent {
    fn send(&mut self, to: PortId, head: &[u8], body: &[u8]) {
        self.0.push((to, [head, body].concat()));
    }
}

pub struct World {
    pub switch: Switch,
    pub now: Instant,
    pub out: Sent,
    pub events: Vec<Event>,
}

pub fn config() -> SwitchConfig {
    let hold = HoldLimits { flows: 100, bytes: 100_000 };
    let prefix_hold = hold;
    SwitchConfig { gateway_mac: GATEWAY_MAC, mtu: 1500, hold, prefix_hold, secret: SECRET }
}

pub fn port() -> ServicePort {
    ServicePort {
        service: SERVICE,
        ipv4: Some(SERVICE_V4),
        ipv6: Some(SERVICE_V6),
        mac: GUEST_MAC,
        wake_on_packet: true,
        wake_on_echo: true,
        image: 1,
        hold: HoldPolicy {
            mode: HoldMode::Syn,
            time: HOLD_TIME,
            flows: 50,
            bytes: 50_000,
            buffer: 16_384,
            overflow: Overflow::Drop,
        },
    }
}

impl World {
    /// One service, asleep.
    pub fn new() -> Self {
        Self::with(port())
    }

    pub fn with(port: ServicePort) -> Self {
        let mut world = Self {
            switch: Switch::new(config()),
            now: Instant::from_nanos(1_000_000_000),
            out: Sent::default(),
            events: Vec::new(),
        };
        world.command(Command::Attach(port));
        world
    }

    /// One service whose guest runs and is known to listen on port 80.
    pub fn running() -> Self {
        let mut world = Self::new();
        world.open(1);
        world.client(segment::syn(1000));
        world.guest(1, segment::syn_ack(9000, 1001));
        world.client(segment::ack(1001, 9001));
        world.forget();
        world
    }

    /// Forgets what was sent and told so far.
    pub fn forget(&mut self) {
        self.out.0.clear();
        self.events.clear();
    }

    pub fn command(&mut self, command: Command) {
        self.switch.handle_command(self.now, command, &mut self.out);
        self.collect();
    }

    pub fn open(&mut self, generation: u64) {
        self.command(Command::Open { service: SERVICE, generation: Generation(generation) });
    }

    pub fn close(&mut self, generation: u64) {
        self.close_if(generation, None);
    }

    pub fn close_if(&mut self, generation: u64, only_if_idle_since: Option<Instant>) {
        let generation = Generation(generation);
        self.command(Command::Close { service: SERVICE, generation, only_if_idle_since });
    }

    pub fn uplink(&mut self, packet: &[u8]) {
        self.switch.handle_frame(self.now, PortId::Uplink, packet, &mut self.out);
        self.collect();
    }

    /// The client of the usual flow sends a segment.
    pub fn client(&mut self, segment: Segment) {
        self.uplink(&segment.packet(Side::Client));
    }

    /// The guest sends a segment of the usual flow.
    pub fn guest(&mut self, generation: u64, segment: Segment) {
        self.guest_packet(generation, &segment.packet(Side::Guest));
    }

    pub fn guest_packet(&mut self, generation: u64, packet: &[u8]) {
        let ether_type = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
        let frame = [&GATEWAY_MAC[..], &GUEST_MAC, &ether_type, packet].concat();
        self.guest_frame(generation, &frame);
    }

    pub fn guest_frame(&mut self, generation: u64, frame: &[u8]) {
        let from = PortId::Guest { service: SERVICE, generation: Generation(generation) };
        self.switch.handle_frame(self.now, from, frame, &mut self.out);
        self.collect();
    }

    /// Time passes; every timer fires at its own time.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.switch.poll_timeout().filter(|due| *due <= end) {
            assert!(due >= self.now, "a timer of the past");
            self.now = due;
            self.switch.handle_timeout(due, &mut self.out);
            assert!(self.switch.poll_timeout().is_none_or(|next| next > due), "a timer is stuck");
            self.collect();
        }
        self.now = end;
    }

    fn collect(&mut self) {
        while let Some(event) = self.switch.poll_event() {
            self.events.push(event);
        }
    }

    /// Takes what the clients got.
    pub fn clients_got(&mut self) -> Vec<Vec<u8>> {
        self.take(|to| to == PortId::Uplink)
    }

    /// Takes what guests of `generation` got, without link-layer headers.
    pub fn guest_got_packets(&mut self, generation: u64) -> Vec<Vec<u8>> {
        let generation = Generation(generation);
        self.take(|to| to == PortId::Guest { service: SERVICE, generation })
            .into_iter()
            .map(|frame| {
                assert_eq!(frame[..12], [GUEST_MAC, GATEWAY_MAC].concat());
                frame[14..].to_vec()
            })
            .collect()
    }

    /// Takes the TCP segments that the client of the usual flow got.
    pub fn client_got(&mut self) -> Vec<Segment> {
        self.clients_got().iter().map(|packet| Segment::parse(packet)).collect()
    }

    /// Takes the TCP segments that the guest got.
    pub fn guest_got(&mut self, generation: u64) -> Vec<Segment> {
        self.guest_got_packets(generation).iter().map(|packet| Segment::parse(packet)).collect()
    }

    fn take(&mut self, choose: impl Fn(PortId) -> bool) -> Vec<Vec<u8>> {
        let all = std::mem::take(&mut self.out.0);
        let (taken, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|(to, _)| choose(*to));
        self.out.0 = left;
        taken.into_iter().map(|(_, frame)| frame).collect()
    }

    /// How many wakes were told.
    pub fn wakes(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Wake { .. })).count()
    }

    pub fn outcomes(&self) -> Vec<HoldOutcome> {
        let outcome = |event: &Event| match event {
            Event::HoldEnded { outcome, .. } => Some(*outcome),
            _ => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }

    pub fn milestones(&self) -> Vec<MilestoneKind> {
        let milestone = |event: &Event| match event {
            Event::Milestone { what, .. } => Some(*what),
            _ => None,
        };
        self.events.iter().filter_map(milestone).collect()
    }

    /// Last packet, open connections, held.
    pub fn activity(&mut self) -> (Option<Instant>, u32, u32) {
        self.command(Command::Report(SERVICE));
        match self.events.pop() {
            Some(Event::Activity { last_packet, open_connections, held, .. }) => {
                (last_packet, open_connections, held)
            }
            other => panic!("{other:?} is no answer to a report"),
        }
    }

    pub fn counter(&self, name: &str) -> u64 {
        let found = self.switch.counters().iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no counter {name}")).1
    }
}

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub fn addresses(v6: bool) -> (IpAddr, IpAddr) {
    if v6 { (CLIENT_V6.into(), SERVICE_V6.into()) } else { (CLIENT_V4.into(), SERVICE_V4.into()) }
}
