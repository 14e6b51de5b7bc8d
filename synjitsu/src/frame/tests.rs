use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{Icmpv6Type, PacketBuilder};

use super::*;

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVICE: [u8; 4] = [10, 0, 0, 2];

fn syn() -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(CLIENT, SERVICE, 64)
        .tcp(4000, 80, 99, 1000)
        .syn()
        .write(&mut packet, b"abc")
        .unwrap();
    packet
}

#[test]
fn a_segment_is_taken_apart() {
    let packet = syn();
    let parsed = Packet::parse(&packet).unwrap();
    assert_eq!((parsed.source, parsed.destination), (CLIENT.into(), SERVICE.into()));
    let Transport::Tcp(segment) = parsed.transport else { panic!("{parsed:?}") };
    assert!(segment.is_first_syn());
    assert_eq!((segment.source_port, segment.destination_port), (4000, 80));
    assert_eq!((segment.seq, segment.len(), segment.end()), (SeqNumber(99), 4, SeqNumber(103)));
}

#[test]
fn only_a_syn_alone_is_a_first_syn() {
    let packet = syn();
    let Transport::Tcp(segment) = Packet::parse(&packet).unwrap().transport else { panic!() };
    let others = [
        Segment { ack: Some(SeqNumber(0)), ..segment },
        Segment { rst: true, ..segment },
        Segment { fin: true, ..segment },
        Segment { syn: false, ..segment },
    ];
    assert!(others.iter().all(|segment| !segment.is_first_syn()));
}

#[test]
fn what_follows_the_packet_is_left_out() {
    let packet = syn();
    let padded = [&packet[..], &[0; 9]].concat();
    assert_eq!(Packet::parse(&padded).unwrap().bytes, packet);
}

#[test]
fn every_shorter_packet_is_malformed() {
    let packet = syn();
    for length in 0..packet.len() {
        assert!(Packet::parse(&packet[..length]).is_err(), "{length} octets");
    }
}

#[test]
fn a_jumbogram_is_malformed() {
    let mut packet = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(1, 2).write(&mut packet, &[0; 8]).unwrap();
    assert!(Packet::parse(&packet).is_ok());
    packet[4..6].copy_from_slice(&[0, 0]);
    let parsed = Packet::parse(&packet);
    assert!(parsed.is_err(), "{parsed:?}");
}

#[test]
fn fragments_are_not_looked_into() {
    let mut packet = syn();
    packet[6] |= 0x20;
    let fragment = |packet: &[u8]| match Packet::parse(packet).unwrap().transport {
        Transport::Fragment(fragment) => fragment,
        other => panic!("{other:?} is no fragment"),
    };
    assert!(fragment(&packet).first && fragment(&packet).protocol == IpNumber::TCP);
    packet[4..8].copy_from_slice(&[3, 4, 0, 5]);
    assert!(!fragment(&packet).first);
    assert_eq!(fragment(&packet).id, 0x304);
}

#[test]
fn an_unreachable_message_names_the_flow_it_is_about() {
    let mut quoted = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64)
        .tcp(4000, 80, 99, 1000)
        .write(&mut quoted, &[])
        .unwrap();
    let expected = FlowKey {
        local: [2; 16].into(),
        local_port: 80,
        remote: [1; 16].into(),
        remote_port: 4000,
    };
    for (length, expected) in [(60, Some(expected)), (44, Some(expected)), (43, None), (0, None)] {
        let mut message = Vec::new();
        PacketBuilder::ipv6([2; 16], [1; 16], 64)
            .icmpv6(Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Port))
            .write(&mut message, &quoted[..length])
            .unwrap();
        let Transport::Icmp(icmp) = Packet::parse(&message).unwrap().transport else { panic!() };
        let flow = icmp.quotation().map(|quoted| quoted.sent_by_client());
        assert_eq!(flow, expected, "{length} octets quoted");
        assert!(icmp.is_unreachable());
    }
}
