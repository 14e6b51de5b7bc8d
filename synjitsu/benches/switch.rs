//! What the switch itself takes for a packet, without any system call: `cargo bench -p synjitsu`.
//!
//! Segments of 1448 octets of connections that are open, by the number of services and of connections; segments of
//! connections that were handed over and are translated; and what nobody runs for.
#![allow(clippy::unwrap_used, reason = "a measurement that fails shall say where")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};
use policies::{Generation, Instant, ServiceId};
use synjitsu::{
    Command, FrameSink, HoldLimits, HoldMode, HoldPolicy, Overflow, PortId, ServicePort, Switch,
    SwitchConfig,
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const NOW: Instant = Instant::from_nanos(1_000_000_000);
const DATA: usize = 1448;
/// Initial sequence numbers of clients and guests.
const CLIENT_ISS: u32 = 1000;
const GUEST_ISS: u32 = 500_000;

/// Takes everything, remembers the last.
#[derive(Default)]
struct Last(Vec<u8>);

impl FrameSink for Last {
    fn send(&mut self, _: PortId, head: &[u8], body: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(head);
        self.0.extend_from_slice(body);
    }
}

struct Nowhere;

impl FrameSink for Nowhere {
    fn send(&mut self, _: PortId, head: &[u8], body: &[u8]) {
        black_box((head, body));
    }
}

fn address(service: u16) -> Ipv4Addr {
    let [high, low] = service.to_be_bytes();
    Ipv4Addr::new(10, 9, high, low)
}

fn guest(service: u16) -> PortId {
    PortId::Guest { service: ServiceId(service.into()), generation: Generation(service.into()) }
}

/// A TCP segment's varying parts.
#[derive(Clone, Copy)]
struct Segment {
    seq: u32,
    ack: Option<u32>,
    syn: bool,
    data: usize,
}

fn to_service(service: u16, port: u16, segment: Segment) -> Vec<u8> {
    let ip = PacketBuilder::ipv4(CLIENT.octets(), address(service).octets(), 64);
    let mut packet = Vec::new();
    finish(ip.tcp(port, 80, segment.seq, 64_000), segment, &mut packet);
    packet
}

fn from_service(service: u16, port: u16, segment: Segment) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(MAC, MAC);
    let ip = ethernet.ipv4(address(service).octets(), CLIENT.octets(), 64);
    let mut frame = Vec::new();
    finish(ip.tcp(80, port, segment.seq, 64_000), segment, &mut frame);
    frame
}

fn finish(
    tcp: etherparse::PacketBuilderStep<etherparse::TcpHeader>,
    segment: Segment,
    into: &mut Vec<u8>,
) {
    let tcp = match segment.ack {
        Some(ack) => tcp.ack(ack),
        None => tcp,
    };
    let tcp = match segment.syn {
        true => tcp.syn().options(&[TcpOptionElement::MaximumSegmentSize(1460)]).unwrap(),
        false => tcp,
    };
    tcp.write(into, &vec![b'x'; segment.data]).unwrap();
}

/// A switch, and a segment each way for each of its connections.
struct World {
    switch: Switch,
    to_guests: Vec<Vec<u8>>,
    from_guests: Vec<(PortId, Vec<u8>)>,
}

impl World {
    fn new(mode: HoldMode, services: u16, connections: u16) -> Self {
        let hold = HoldLimits { flows: 100_000, bytes: 1 << 30 };
        let mut world = Self {
            switch: Switch::new(SwitchConfig {
                gateway_mac: MAC,
                mtu: 1500,
                hold,
                prefix_hold: hold,
                secret: [7; 16],
            }),
            to_guests: Vec::new(),
            from_guests: Vec::new(),
        };
        for service in 1..=services {
            world.attach(service, mode);
            if mode == HoldMode::Syn {
                world.open(service);
            }
        }
        for connection in 0..connections {
            for service in 1..=services {
                world.connect(mode, service, 10_000 + connection);
            }
        }
        while world.switch.poll_event().is_some() {}
        world
    }

    fn attach(&mut self, service: u16, mode: HoldMode) {
        let hold = HoldPolicy {
            mode,
            time: Duration::from_secs(3600),
            flows: 100,
            bytes: 1 << 20,
            buffer: 1 << 14,
            overflow: Overflow::Drop,
        };
        let settings = ServicePort {
            service: ServiceId(service.into()),
            ipv4: Some(address(service)),
            ipv6: None,
            mac: MAC,
            wake_on_packet: true,
            wake_on_echo: true,
            image: 1,
            hold,
        };
        self.switch.handle_command(NOW, Command::Attach(settings), &mut Nowhere);
    }

    fn open(&mut self, service: u16) {
        let (service, generation) = (ServiceId(service.into()), Generation(service.into()));
        self.switch.handle_command(NOW, Command::Open { service, generation }, &mut Nowhere);
    }

    /// Makes a connection; in the mode `handshake` by a client who comes before the guest.
    fn connect(&mut self, mode: HoldMode, service: u16, port: u16) {
        let mut last = Last::default();
        let syn = Segment { seq: CLIENT_ISS, ack: None, syn: true, data: 0 };
        self.switch.handle_frame(NOW, PortId::Uplink, &to_service(service, port, syn), &mut last);
        let mut server_iss = GUEST_ISS;
        if mode == HoldMode::Handshake {
            // The switch has answered in the service's name.
            server_iss = seq_of(&last.0);
            self.acknowledge(service, port, server_iss);
            self.open(service);
        }
        let accept = Segment { seq: GUEST_ISS, ack: Some(CLIENT_ISS + 1), syn: true, data: 0 };
        let accept = from_service(service, port, accept);
        self.switch.handle_frame(NOW, guest(service), &accept, &mut last);
        self.acknowledge(service, port, server_iss);
        let to = Segment {
            seq: CLIENT_ISS + 1,
            ack: Some(server_iss.wrapping_add(1)),
            syn: false,
            data: DATA,
        };
        self.to_guests.push(to_service(service, port, to));
        let from =
            Segment { seq: GUEST_ISS + 1, ack: Some(CLIENT_ISS + 1), syn: false, data: DATA };
        self.from_guests.push((guest(service), from_service(service, port, from)));
    }

    fn acknowledge(&mut self, service: u16, port: u16, server_iss: u32) {
        let ack = Segment {
            seq: CLIENT_ISS + 1,
            ack: Some(server_iss.wrapping_add(1)),
            syn: false,
            data: 0,
        };
        let packet = to_service(service, port, ack);
        self.switch.handle_frame(NOW, PortId::Uplink, &packet, &mut Nowhere);
    }

    fn inbound(mut self, bencher: &mut Bencher<'_>) {
        self.expect("forwarded_to_guests");
        let mut next = (0..self.to_guests.len()).cycle();
        bencher.iter(|| {
            let packet = &self.to_guests[next.next().unwrap()];
            self.switch.handle_frame(NOW, PortId::Uplink, black_box(packet), &mut Nowhere);
        });
    }

    fn outbound(mut self, bencher: &mut Bencher<'_>) {
        let mut next = (0..self.from_guests.len()).cycle();
        bencher.iter(|| {
            let (port, frame) = &self.from_guests[next.next().unwrap()];
            self.switch.handle_frame(NOW, *port, black_box(frame), &mut Nowhere);
        });
        let counters = self.switch.counters();
        let forwarded = counters.iter().find(|(name, _)| *name == "forwarded_to_uplink").unwrap().1;
        assert!(forwarded > 0, "{counters:?}");
    }

    /// Each connection's segment goes where it should, or what is measured is something else.
    fn expect(&mut self, counter: &str) {
        let count = |switch: &Switch| {
            switch.counters().iter().find(|(name, _)| *name == counter).unwrap().1
        };
        let before = count(&self.switch);
        for packet in &self.to_guests {
            self.switch.handle_frame(NOW, PortId::Uplink, packet, &mut Nowhere);
        }
        let after = count(&self.switch);
        assert_eq!(after - before, u64::try_from(self.to_guests.len()).unwrap(), "{counter}");
    }

    /// The packet again and again.
    fn same(mut self, packet: &[u8], bencher: &mut Bencher<'_>) {
        bencher.iter(|| {
            self.switch.handle_frame(NOW, PortId::Uplink, black_box(packet), &mut Nowhere);
            while self.switch.poll_event().is_some() {}
        });
    }
}

/// The sequence number of an IP packet's TCP segment.
fn seq_of(packet: &[u8]) -> u32 {
    match SlicedPacket::from_ip(packet).unwrap().transport {
        Some(TransportSlice::Tcp(tcp)) => tcp.sequence_number(),
        other => panic!("{other:?} is no TCP segment"),
    }
}

fn connections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    group.throughput(Throughput::Elements(1));
    for (services, connections) in [(1, 1), (1000, 1), (1, 10_000)] {
        let world = || World::new(HoldMode::Syn, services, connections);
        let name = |way: &str| format!("{way}/{services} services, {connections} connections each");
        group.bench_function(name("to guest"), |bencher| world().inbound(bencher));
        group.bench_function(name("from guest"), |bencher| world().outbound(bencher));
    }
    group.finish();
    let mut group = criterion.benchmark_group("translated");
    group.throughput(Throughput::Elements(1));
    for services in [1, 1000] {
        let world = || World::new(HoldMode::Handshake, services, 1);
        group.bench_function(format!("to guest/{services} services"), |bencher| {
            world().inbound(bencher);
        });
        group.bench_function(format!("from guest/{services} services"), |bencher| {
            world().outbound(bencher);
        });
    }
    group.finish();
}

fn nobody(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nobody runs");
    group.throughput(Throughput::Elements(1));
    let syn = Segment { seq: CLIENT_ISS, ack: None, syn: true, data: 0 };
    let closed = |mode| {
        let mut world = World::new(HoldMode::Syn, 0, 0);
        for service in 1..=1000 {
            world.attach(service, mode);
        }
        world
    };
    for (name, mode) in [("syn", HoldMode::Syn), ("handshake", HoldMode::Handshake)] {
        group.bench_function(format!("SYN again, mode {name}"), |bencher| {
            closed(mode).same(&to_service(1, 10_000, syn), bencher);
        });
        group.bench_function(format!("SYN beyond the bound, mode {name}"), |bencher| {
            let mut world = closed(mode);
            for port in 10_000..10_200 {
                let packet = to_service(1, port, syn);
                world.switch.handle_frame(NOW, PortId::Uplink, &packet, &mut Nowhere);
            }
            world.same(&to_service(1, 20_000, syn), bencher);
        });
    }
    group.bench_function("unknown destination", |bencher| {
        closed(HoldMode::Syn).same(&to_service(2000, 10_000, syn), bencher);
    });
    group.finish();
}

criterion_group!(benches, connections, nobody);
criterion_main!(benches);
