//! UDP datagrams and echo requests wait for the guest as well, each once and in the order of arrival.

mod support;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type, IpSlice, PacketBuilder};
use support::segment::{echo, fragment, syn, udp};
use support::{CLIENT_V4, CLIENT_V6, HOLD_TIME, SERVICE_V4, SERVICE_V6, Side, World, ms, port};
use synjitsu::{Event, HoldOutcome, Overflow, Trigger};

#[test]
fn they_are_delivered_once_in_the_order_of_arrival() {
    let mut world = World::new();
    let packets = [
        udp(false, b"one"),
        echo(true, b"two"),
        syn(3).packet(Side::Client),
        udp(true, b"four"),
        udp(false, b"one"),
    ];
    for packet in &packets {
        world.uplink(packet);
        world.pass(ms(1));
    }
    assert_eq!(world.wakes(), 1);
    assert!(matches!(world.events[0], Event::Wake { trigger: Trigger::Udp, .. }));
    world.open(1);
    assert_eq!(world.guest_got_packets(1), packets);
    assert_eq!(world.outcomes(), [HoldOutcome::Delivered; 4]);
    world.pass(HOLD_TIME);
    let replayed = world.guest_got_packets(1);
    assert!(replayed.iter().all(|packet| *packet == packets[2] || packet.len() == 40));

    let packet = udp(false, b"now");
    world.uplink(&packet);
    assert_eq!(world.guest_got_packets(1), [packet], "an open port holds no datagrams");
}

#[test]
fn their_senders_are_told_when_nobody_comes() {
    let mut world = World::new();
    let packets =
        [udp(false, b"x"), echo(false, &[0; 900]), udp(true, b"x"), echo(true, &[0; 1400])];
    for packet in &packets {
        world.uplink(packet);
    }
    world.pass(HOLD_TIME);
    assert_eq!(world.outcomes(), [HoldOutcome::Expired; 4]);
    let told = world.clients_got();
    let codes = [DestUnreachableHeader::Port, DestUnreachableHeader::Host];
    for ((message, packet), code) in told.iter().zip(&packets).zip(codes) {
        let ip = IpSlice::from_slice(message).unwrap();
        assert_eq!(ip.source_addr(), SERVICE_V4);
        assert_eq!(ip.destination_addr(), CLIENT_V4);
        let icmp = Icmpv4Slice::from_slice(ip.payload().payload).unwrap();
        assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
        assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(code));
        assert!(packet.starts_with(icmp.payload()) && icmp.payload().len() >= 28);
        assert!(message.len() <= 576);
    }
    let codes = [DestUnreachableCode::Port, DestUnreachableCode::Address];
    for ((message, packet), code) in told[2..].iter().zip(&packets[2..]).zip(codes) {
        let ip = IpSlice::from_slice(message).unwrap();
        assert_eq!(ip.source_addr(), SERVICE_V6);
        assert_eq!(ip.destination_addr(), CLIENT_V6);
        let icmp = Icmpv6Slice::from_slice(ip.payload().payload).unwrap();
        assert!(icmp.is_checksum_valid(SERVICE_V6.octets(), CLIENT_V6.octets()));
        assert_eq!(icmp.icmp_type(), Icmpv6Type::DestinationUnreachable(code));
        assert!(packet.starts_with(icmp.payload()) && icmp.payload().len() >= 48);
        assert!(message.len() <= 1280);
    }
    assert_eq!(told.len(), 4);
    assert_eq!(world.activity().2, 0);
}

#[test]
fn a_full_hold_tells_them_as_configured() {
    let mut settings = port();
    settings.hold.flows = 1;
    settings.hold.overflow = Overflow::Reset;
    let mut world = World::with(settings);
    world.uplink(&udp(false, b"x"));
    world.uplink(&udp(false, b"y"));
    assert_eq!(world.clients_got().len(), 1);
    assert_eq!(world.counter("unreachables_sent"), 1);
    for _ in 0..1000 {
        world.uplink(&udp(false, b"y"));
    }
    assert!(world.clients_got().len() < 100, "there is a budget");
    assert!(world.outcomes().len() <= 100, "for the owner as well");
    assert_eq!(world.counter("dropped_overflow"), 1001);
}

#[test]
fn the_total_of_all_services_is_bounded() {
    let mut world = World::new();
    let mut settings = port();
    settings.hold.flows = 1000;
    for service in 0..4_u8 {
        settings.service = policies::ServiceId(service.into());
        settings.ipv4 = Some([10, 9, 1, service].into());
        settings.ipv6 = None;
        world.command(synjitsu::Command::Attach(settings));
        for client_port in 0..40 {
            let to = [10, 9, 1, service].into();
            world.uplink(&syn(1).between(CLIENT_V4.into(), to, (client_port, 80)));
        }
    }
    assert_eq!(world.counter("held_syns"), 100);
    assert_eq!(world.counter("dropped_overflow"), 60);
    assert_eq!(world.wakes(), 4);
    world.pass(HOLD_TIME);
    assert_eq!(world.clients_got().len(), 100);
    assert_eq!(world.outcomes().len(), 160);
    world.uplink(&syn(1).packet(Side::Client));
    assert_eq!(world.counter("held_syns"), 101, "there is room again");
}

#[test]
fn other_packets_wait_for_nobody() {
    let mut world = World::new();
    let fragment = fragment(1, 1, true);
    let mut reply = Vec::new();
    PacketBuilder::ipv4(CLIENT_V4.octets(), SERVICE_V4.octets(), 64)
        .icmpv4_echo_reply(1, 1)
        .write(&mut reply, &[])
        .unwrap();
    world.uplink(&fragment);
    world.uplink(&reply);
    assert_eq!(world.counter("dropped_fragment"), 1);
    assert_eq!(world.counter("dropped_not_holdable"), 1);
    assert_eq!((world.out.0.len(), world.wakes()), (0, 0));
    world.open(1);
    world.uplink(&fragment);
    world.uplink(&reply);
    assert_eq!(world.guest_got_packets(1), [fragment, reply], "a running guest gets everything");
}

#[test]
fn the_parts_of_a_datagram_are_held_together_after_the_first_one() {
    let mut world = World::new();
    world.uplink(&fragment(1, 1, false));
    assert_eq!((world.wakes(), world.counter("dropped_fragment")), (0, 1), "no first part");
    let parts = [fragment(1, 0, true), fragment(1, 2, false), fragment(1, 1, true)];
    for part in &parts {
        world.uplink(part);
    }
    world.uplink(&fragment(2, 1, false));
    assert_eq!((world.wakes(), world.counter("dropped_fragment")), (1, 2));
    world.open(1);
    assert_eq!(world.guest_got_packets(1), parts);
    world.close(1);
    world.uplink(&fragment(1, 1, true));
    assert_eq!(world.counter("dropped_fragment"), 3, "the first part went another way");
}
