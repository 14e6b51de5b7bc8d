//! What a guest may send, and to whom it goes.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{ArpEthIpv4Packet, ArpOperation, Icmpv6Slice, Icmpv6Type, IpSlice, PacketBuilder};
use policies::{Generation, ServiceId};
use support::segment::{ack, rst_ack, syn, syn_ack};
use support::{
    CLIENT_V4, CLIENT_V6, GATEWAY_MAC, GUEST_MAC, SERVICE_V4, SERVICE_V6, Side, World, port,
};
use synjitsu::{Command, Event, HoldOutcome, PortId};

const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1);

fn arp(operation: ArpOperation, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let request = ArpEthIpv4Packet {
        operation,
        sender_mac: GUEST_MAC,
        sender_ipv4: sender.octets(),
        target_mac: [0; 6],
        target_ipv4: target.octets(),
    };
    [&[0xff; 6][..], &GUEST_MAC, &[8, 6], &request.to_bytes()].concat()
}

#[test]
fn arp_is_answered_for_every_address_but_the_guests_own() {
    let mut world = World::running();
    for target in [Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 77)] {
        world.guest_frame(1, &arp(ArpOperation::REQUEST, SERVICE_V4, target));
        let reply = world.guest_got_packets(1).pop().unwrap();
        let expected = ArpEthIpv4Packet {
            operation: ArpOperation::REPLY,
            sender_mac: GATEWAY_MAC,
            sender_ipv4: target.octets(),
            target_mac: GUEST_MAC,
            target_ipv4: SERVICE_V4.octets(),
        };
        assert_eq!(reply, expected.to_bytes());
    }
    let unspecified = Ipv4Addr::UNSPECIFIED;
    world.guest_frame(1, &arp(ArpOperation::REQUEST, unspecified, SERVICE_V4));
    world.guest_frame(1, &arp(ArpOperation::REQUEST, SERVICE_V4, SERVICE_V4));
    world.guest_frame(1, &arp(ArpOperation::REPLY, SERVICE_V4, CLIENT_V4));
    assert_eq!(world.counter("dropped_neighbour"), 3);
    world.guest_frame(1, &arp(ArpOperation::REQUEST, CLIENT_V4, Ipv4Addr::new(10, 9, 0, 1)));
    assert_eq!(world.counter("dropped_spoofed_source"), 1);
    assert_eq!(world.out.0, []);
}

fn solicitation(source: Ipv6Addr, target: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, target.segments()[7]);
    let mut payload = target.octets().to_vec();
    payload.extend([1, 1]);
    payload.extend(GUEST_MAC);
    let mut packet = Vec::new();
    PacketBuilder::ipv6(source.octets(), group.octets(), hop_limit)
        .icmpv6(Icmpv6Type::NeighborSolicitation)
        .write(&mut packet, &payload)
        .expect("a Vec takes everything");
    packet
}

#[test]
fn neighbour_solicitations_are_answered_for_every_address_but_the_guests_own() {
    let mut world = World::running();
    let link_local: Ipv6Addr = "fe80::2".parse().unwrap();
    for source in [SERVICE_V6, link_local] {
        world.guest_packet(1, &solicitation(source, GATEWAY_V6, 255));
        let reply = world.guest_got_packets(1).pop().unwrap();
        let ip = IpSlice::from_slice(&reply).unwrap();
        assert_eq!(ip.source_addr(), GATEWAY_V6);
        assert_eq!(ip.destination_addr(), source);
        assert_eq!(ip.ipv6().unwrap().header().hop_limit(), 255);
        let icmp = Icmpv6Slice::from_slice(ip.payload().payload).unwrap();
        assert!(icmp.is_checksum_valid(GATEWAY_V6.octets(), source.octets()));
        let flags = NeighborAdvertisementHeader { router: true, solicited: true, r#override: true };
        assert_eq!(icmp.icmp_type(), Icmpv6Type::NeighborAdvertisement(flags));
        let rest = [&GATEWAY_V6.octets()[..], &[2, 1], &GATEWAY_MAC].concat();
        assert_eq!(icmp.payload(), rest);
    }
    world.guest_packet(1, &solicitation(Ipv6Addr::UNSPECIFIED, SERVICE_V6, 255));
    world.guest_packet(1, &solicitation(Ipv6Addr::UNSPECIFIED, GATEWAY_V6, 255));
    world.guest_packet(1, &solicitation(SERVICE_V6, SERVICE_V6, 255));
    assert_eq!(world.counter("dropped_neighbour"), 3);
    world.guest_packet(1, &solicitation(SERVICE_V6, GATEWAY_V6, 64));
    assert_eq!(world.counter("dropped_malformed"), 1, "a router has touched it");
    world.guest_packet(1, &solicitation(CLIENT_V6, GATEWAY_V6, 255));
    assert_eq!(world.counter("dropped_spoofed_source"), 1);
    assert_eq!(world.out.0, []);
}

#[test]
fn packets_under_a_foreign_address_go_nowhere() {
    let mut world = World::running();
    world.guest_packet(1, &ack(1, 2).between(CLIENT_V4.into(), CLIENT_V4.into(), (1, 2)));
    let link_local: IpAddr = "fe80::2".parse().unwrap();
    world.guest_packet(1, &ack(1, 2).between(link_local, CLIENT_V6.into(), (1, 2)));
    assert_eq!(world.counter("dropped_spoofed_source"), 2);
    let destinations = ["224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", "10.9.0.2"];
    for destination in destinations {
        let destination = destination.parse().unwrap();
        world.guest_packet(1, &ack(1, 2).between(SERVICE_V4.into(), destination, (1, 2)));
    }
    for destination in ["ff02::1", "::", "::1", "fe80::1"] {
        let destination = destination.parse().unwrap();
        world.guest_packet(1, &ack(1, 2).between(SERVICE_V6.into(), destination, (1, 2)));
    }
    assert_eq!(world.counter("dropped_destination"), 9);
    assert_eq!(world.out.0, []);
}

#[test]
fn frames_that_are_no_ip_go_nowhere() {
    let mut world = World::running();
    let packet = ack(1, 2).packet(Side::Guest);
    let frame = |ether_type: [u8; 2]| [&GATEWAY_MAC[..], &GUEST_MAC, &ether_type, &packet].concat();
    world.guest_frame(1, &frame([0x88, 0xcc]));
    assert_eq!(world.counter("dropped_ether_type"), 1);
    world.guest_frame(1, &frame([0x86, 0xdd]));
    world.guest_frame(1, &[1, 2, 3]);
    world.guest_frame(1, &[]);
    assert_eq!(world.counter("dropped_malformed"), 3);
    assert_eq!(world.out.0, []);
    let padded = [&frame([8, 0])[..], &[0; 20]].concat();
    world.guest_frame(1, &padded);
    assert_eq!(
        world.clients_got(),
        std::slice::from_ref(&packet),
        "without what fills up the frame"
    );
    world.guest_packet(1, &ack(1, 2).with(1461).packet(Side::Guest));
    assert_eq!(world.counter("dropped_oversized"), 1);
}

#[test]
fn frames_of_a_closed_port_go_nowhere() {
    let mut world = World::running();
    world.guest(2, ack(9001, 1001));
    world.close(1);
    world.forget();
    world.guest(1, ack(9001, 1001));
    world.guest_frame(1, &arp(ArpOperation::REQUEST, SERVICE_V4, CLIENT_V4));
    assert_eq!(world.out.0, []);
    assert_eq!(world.counter("dropped_stale_port"), 3);
}

#[test]
fn packets_from_outside_cannot_pose_as_a_services() {
    let mut world = World::new();
    let sources = ["10.9.0.2", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"];
    for source in sources {
        world.uplink(&syn(1).between(source.parse().unwrap(), SERVICE_V4.into(), (1, 2)));
    }
    assert_eq!(world.counter("dropped_martian_source"), 5);
    world.uplink(&syn(1).between(CLIENT_V4.into(), "10.9.0.3".parse().unwrap(), (1, 2)));
    assert_eq!(world.counter("dropped_unknown_destination"), 1);
    assert_eq!(world.events, []);
}

const OTHER: ServiceId = ServiceId(8);
const OTHER_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];

/// Sends a segment of the other service's guest to the usual client's place, or takes what it got.
fn other_guest(world: &mut World, packet: &[u8]) {
    let from = PortId::Guest { service: OTHER, generation: Generation(1) };
    let frame = [&GATEWAY_MAC[..], &OTHER_MAC, &[8, 0], packet].concat();
    world.switch.handle_frame(world.now, from, &frame, &mut world.out);
    while let Some(event) = world.switch.poll_event() {
        world.events.push(event);
    }
}

#[test]
fn services_reach_and_wake_each_other() {
    let mut world = World::running();
    let settings = synjitsu::ServicePort {
        service: OTHER,
        ipv4: Some(OTHER_V4),
        ipv6: None,
        mac: OTHER_MAC,
        ..port()
    };
    world.command(Command::Attach(settings));
    let call = syn(10).between(SERVICE_V4.into(), OTHER_V4.into(), (3000, 80));
    world.guest_packet(1, &call);
    assert_eq!(world.out.0, [], "held, and not sent to the uplink");
    assert!(matches!(
        world.events[..],
        [Event::Milestone { service: OTHER, .. }, Event::Wake { service: OTHER, source, .. }]
            if source == IpAddr::V4(SERVICE_V4)
    ));
    world.command(Command::Open { service: OTHER, generation: Generation(1) });
    let to_other = PortId::Guest { service: OTHER, generation: Generation(1) };
    let header = [&OTHER_MAC[..], &GATEWAY_MAC, &[8, 0]].concat();
    assert_eq!(world.out.0, [(to_other, [header, call].concat())]);

    world.forget();
    let answer = syn_ack(20, 11).between(OTHER_V4.into(), SERVICE_V4.into(), (80, 3000));
    other_guest(&mut world, &answer);
    assert_eq!(world.guest_got_packets(1), [answer]);
    assert_eq!(world.outcomes(), [HoldOutcome::HandedOver]);
    assert_eq!(world.activity().1, 2, "the caller's connection is open too");

    world.command(Command::Close {
        service: OTHER,
        generation: Generation(1),
        only_if_idle_since: None,
    });
    let reset = rst_ack(21, 11).between(OTHER_V4.into(), SERVICE_V4.into(), (80, 3000));
    let got = world.guest_got_packets(1);
    assert_eq!(got.len(), 1);
    let flags = |packet: &[u8]| packet[20..34].to_vec();
    assert_eq!(flags(&got[0]), flags(&reset), "the caller is told when the other guest goes away");
    assert_eq!(world.activity().1, 1);
    assert_eq!(world.clients_got(), [[0_u8; 0]; 0]);
}
