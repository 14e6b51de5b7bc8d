//! What the switch itself takes for a segment of a connection that is open, without any system call.

use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::PacketBuilder;
use policies::{Generation, Instant, ServiceId};
use synjitsu::{
    Command, FrameSink, HoldLimits, HoldMode, HoldPolicy, Overflow, PortId, ServicePort, Switch,
    SwitchConfig,
};

use crate::stamps::nanos;
use crate::table::{Lengths, head, line};
use crate::world::address;

struct Nowhere;

impl FrameSink for Nowhere {
    fn send(&mut self, _: PortId, head: &[u8], body: &[u8]) {
        std::hint::black_box((head, body));
    }
}

pub(crate) fn run() {
    head("the core alone, a segment of 100 octets");
    for services in [1_u16, 1000] {
        let (mut there, mut back) = measure(services);
        line(&format!("to a guest, one of {services}"), &mut there, None);
        line(&format!("from a guest, one of {services}"), &mut back, None);
    }
}

fn measure(services: u16) -> (Lengths, Lengths) {
    let hold = HoldLimits { flows: 1000, bytes: 1 << 20 };
    let mut switch = Switch::new(SwitchConfig {
        gateway_mac: [2; 6],
        mtu: 1500,
        hold,
        prefix_hold: hold,
        secret: [0; 16],
    });
    let now = Instant::from_nanos(1);
    let out = &mut Nowhere;
    for service in 1..=services {
        let (id, hold) = (
            ServiceId(service.into()),
            HoldPolicy {
                mode: HoldMode::Syn,
                time: Duration::from_secs(5),
                flows: 100,
                bytes: 1 << 16,
                buffer: 1 << 14,
                overflow: Overflow::Drop,
            },
        );
        let [high, low] = service.to_be_bytes();
        let settings = ServicePort {
            service: id,
            ipv4: Some(address(service)),
            ipv6: None,
            mac: [2, 0, 0, 1, high, low],
            wake_on_packet: true,
            wake_on_echo: true,
            image: 1,
            hold,
        };
        switch.handle_command(now, Command::Attach(settings), out);
        let generation = Generation(service.into());
        switch.handle_command(now, Command::Open { service: id, generation }, out);
        switch.handle_frame(now, PortId::Uplink, &to_guest(service, true), out);
        let guest = PortId::Guest { service: id, generation };
        switch.handle_frame(now, guest, &from_guest(service, true), out);
    }
    while switch.poll_event().is_some() {}
    let (mut there, mut back) = (Lengths::default(), Lengths::default());
    let segments: Vec<_> = (1..=services)
        .map(|service| (service, to_guest(service, false), from_guest(service, false)))
        .collect();
    // A clock reading costs as much as a segment: many at a time.
    const AT_ONCE: usize = 100;
    let mut next = segments.iter().cycle();
    for _ in 0..2000 {
        let batch: Vec<_> = next.by_ref().take(AT_ONCE).collect();
        let begun = nanos();
        for (_, segment, _) in &batch {
            switch.handle_frame(now, PortId::Uplink, segment, out);
        }
        let between = nanos();
        for (service, _, segment) in &batch {
            let (service, generation) =
                (ServiceId((*service).into()), Generation((*service).into()));
            switch.handle_frame(now, PortId::Guest { service, generation }, segment, out);
        }
        let ended = nanos();
        there.add((between - begun) / AT_ONCE as u64);
        back.add((ended - between) / AT_ONCE as u64);
    }
    (there, back)
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn to_guest(service: u16, syn: bool) -> Vec<u8> {
    let ip = PacketBuilder::ipv4(CLIENT.octets(), address(service).octets(), 64);
    let tcp = ip.tcp(4000, 80, if syn { 1000 } else { 1001 }, 64_000);
    let mut packet = Vec::new();
    match syn {
        true => tcp.syn().write(&mut packet, &[]).unwrap(),
        false => tcp.ack(5001).write(&mut packet, &[b'x'; 100]).unwrap(),
    }
    packet
}

fn from_guest(service: u16, syn: bool) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [2; 6]);
    let ip = ethernet.ipv4(address(service).octets(), CLIENT.octets(), 64);
    let tcp = ip.tcp(80, 4000, if syn { 5000 } else { 5001 }, 64_000).ack(1001);
    let mut frame = Vec::new();
    match syn {
        true => tcp.syn().write(&mut frame, &[]).unwrap(),
        false => tcp.write(&mut frame, &[b'x'; 100]).unwrap(),
    }
    frame
}
