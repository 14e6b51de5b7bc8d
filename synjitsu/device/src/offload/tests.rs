//! What is split and merged, and merged and split, is what it was; and every packet is right.

use etherparse::{IpHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use proptest::prelude::*;

use super::header::{HEADER, Header, Kind};
use super::merge::{Merger, Write};
use super::packet::{CWR, PSH};
use super::split::Split;

/// Remembers what was written.
#[derive(Debug, Default)]
struct Written(Vec<(Header, Vec<u8>, u64)>);

impl Write for Written {
    fn write(&mut self, header: &[u8], packet: &[u8], packets: u64) {
        let header = Header::from_bytes(header.try_into().unwrap()).unwrap();
        self.0.push((header, packet.to_vec(), packets));
    }
}

impl Written {
    /// What the other side makes of it.
    fn split(&self) -> Vec<Vec<u8>> {
        self.0.iter().flat_map(|(header, packet, _)| split(*header, packet)).collect()
    }
}

fn split(header: Header, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut large = packet.to_vec();
    let Some(mut split) = Split::new(header, &mut large) else { return vec![large] };
    let mut packets = Vec::new();
    let mut room = vec![0; 10_000];
    while split.has_more() {
        let length = split.next(&large, &mut room);
        packets.push(room[..length].to_vec());
    }
    packets
}

fn merge(packets: &[Vec<u8>]) -> Written {
    let mut written = Written::default();
    let mut merger = Merger::new();
    for (index, packet) in packets.iter().enumerate() {
        // However the switch has it in two parts.
        let middle = index * 7 % packet.len();
        merger.push(&packet[..middle], &packet[middle..], &mut written);
    }
    merger.flush(&mut written);
    written
}

/// The IP headers, the TCP header and the payload of a packet whose checksums and lengths are right.
fn checked(packet: &[u8]) -> (IpHeaders, etherparse::TcpHeader, Vec<u8>) {
    let parsed = PacketHeaders::from_ip_slice(packet).unwrap();
    let payload = parsed.payload.slice();
    let Some(TransportHeader::Tcp(tcp)) = parsed.transport else { panic!("no TCP") };
    let ip = match parsed.net.unwrap() {
        etherparse::NetHeaders::Ipv4(header, extensions) => {
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            assert_eq!(tcp.calc_checksum_ipv4(&header, payload).unwrap(), tcp.checksum);
            assert_eq!(usize::from(header.total_len), packet.len());
            IpHeaders::Ipv4(header, extensions)
        }
        etherparse::NetHeaders::Ipv6(header, extensions) => {
            assert_eq!(tcp.calc_checksum_ipv6(&header, payload).unwrap(), tcp.checksum);
            assert_eq!(usize::from(header.payload_length) + 40, packet.len());
            IpHeaders::Ipv6(header, extensions)
        }
        etherparse::NetHeaders::Arp(_) => panic!("no IP"),
    };
    (ip, tcp, payload.to_vec())
}

/// How a segment is made.
#[derive(Debug, Clone)]
struct Recipe {
    v6: bool,
    port: u16,
    seq: u32,
    id: u16,
    flags: u8,
    window: u16,
    ack: u32,
    timestamp: Option<u32>,
    payload: Vec<u8>,
}

impl Recipe {
    fn packet(&self) -> Vec<u8> {
        let ip = match self.v6 {
            false => {
                let mut header = etherparse::Ipv4Header::new(
                    0,
                    61,
                    etherparse::IpNumber::TCP,
                    [10, 0, 0, 1],
                    [192, 0, 2, 1],
                )
                .unwrap();
                header.identification = self.id;
                header.dont_fragment = self.id == 0;
                IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
            }
            true => IpHeaders::Ipv6(
                etherparse::Ipv6Header {
                    hop_limit: 61,
                    source: [0xfd; 16],
                    destination: [0x20; 16],
                    ..etherparse::Ipv6Header::default()
                },
                etherparse::Ipv6Extensions::default(),
            ),
        };
        let mut tcp = PacketBuilder::ip(ip).tcp(80, self.port, self.seq, self.window).ack(self.ack);
        if self.flags & PSH != 0 {
            tcp = tcp.psh();
        }
        if self.flags & 1 != 0 {
            tcp = tcp.fin();
        }
        if self.flags & 2 != 0 {
            tcp = tcp.syn();
        }
        if self.flags & CWR != 0 {
            tcp = tcp.cwr();
        }
        if let Some(value) = self.timestamp {
            let options = [etherparse::TcpOptionElement::Timestamp(value, 7)];
            tcp = tcp.options(&options).unwrap();
        }
        let mut packet = Vec::new();
        tcp.write(&mut packet, &self.payload).unwrap();
        packet
    }
}

/// Segments of two flows, most of which follow each other.
fn segments() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let step = (0..4_u8, any::<bool>(), 1..1400_usize, 0..20_u8, any::<u8>());
    let of_flow = (any::<bool>(), any::<u32>(), prop::option::of(0..3_u32), 0..2_u16);
    (of_flow, prop::collection::vec(step, 1..40), 100..1400_usize).prop_map(
        |((v6, start, timestamp, id), steps, size)| {
            let mut next = [start; 2];
            let mut made = Vec::new();
            for (index, (kind, second, odd, chance, fill)) in steps.into_iter().enumerate() {
                let flow = usize::from(second);
                let len = if kind == 0 { odd } else { size };
                let flags = match chance {
                    0 => PSH,
                    1 => 1,
                    2 => 2,
                    3 => CWR,
                    _ => 0,
                };
                let jump = u32::from(chance == 4);
                let number = u16::try_from(index).unwrap();
                let recipe = Recipe {
                    v6,
                    port: 4000 + u16::from(second),
                    seq: next[flow].wrapping_add(jump),
                    id: if id == 0 { 0 } else { 65_530_u16.wrapping_add(number) },
                    flags,
                    window: if chance == 5 { 2 } else { 1 },
                    ack: if chance == 6 { 2 } else { 1 },
                    timestamp,
                    payload: vec![fill; if chance == 7 { 0 } else { len }],
                };
                let taken = u32::try_from(recipe.payload.len()).unwrap();
                next[flow] = recipe.seq.wrapping_add(taken);
                let mut packet = recipe.packet();
                if chance == 8 {
                    // Damaged on its way: it must stay so.
                    let last = packet.len() - 1;
                    packet[last] ^= 0x40;
                }
                made.push(packet);
            }
            made
        },
    )
}

/// The packets of one flow, in their order; the number of those that are never fragmented means nothing.
fn of_flow(packets: &[Vec<u8>], port: u16) -> Vec<Vec<u8>> {
    let port_of = |packet: &Vec<u8>| {
        let tcp = if packet[0] >> 4 == 4 { 20 } else { 40 };
        u16::from_be_bytes([packet[tcp + 2], packet[tcp + 3]])
    };
    let mut mine: Vec<Vec<u8>> =
        packets.iter().filter(|one| port_of(one) == port).cloned().collect();
    for packet in &mut mine {
        if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
    }
    mine
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_merged_and_split_is_what_it_was(packets in segments()) {
        let written = merge(&packets);
        let count: u64 = written.0.iter().map(|(.., packets)| packets).sum();
        prop_assert_eq!(count, u64::try_from(packets.len()).unwrap());
        let split = written.split();
        for port in [4000, 4001] {
            prop_assert_eq!(of_flow(&split, port), of_flow(&packets, port));
        }
    }

    #[test]
    fn what_is_split_is_right_and_merges_again(
        v6: bool, seq: u32, payload in prop::collection::vec(any::<u8>(), 1..20_000), size in 48..1460_usize, last: bool,
    ) {
        let recipe = |seq: u32, id: usize, payload: &[u8], flags| Recipe {
            v6, port: 5000, seq, id: u16::try_from(id + 1).unwrap(), flags, window: 9, ack: 77, timestamp: Some(1),
            payload: payload.to_vec(),
        };
        let count = payload.len().div_ceil(size);
        let single: Vec<_> = payload.chunks(size).enumerate().map(|(index, chunk)| {
            let flags = if last && index + 1 == count { PSH | 1 } else { 0 };
            recipe(seq.wrapping_add(u32::try_from(index * size).unwrap()), index, chunk, flags).packet()
        }).collect();
        let written = merge(&single);
        prop_assert_eq!(written.0.len(), 1);
        let (header, large, packets) = &written.0[0];
        prop_assert_eq!(usize::try_from(*packets).unwrap(), count);
        prop_assert_eq!(header.kind != Kind::None, count > 1);
        let split = split(*header, large);
        prop_assert_eq!(&split, &single);
        for packet in &split {
            checked(packet);
        }
    }

    #[test]
    fn no_octets_do_harm(header: [u8; HEADER], mut packet in prop::collection::vec(any::<u8>(), 0..200), v6: bool) {
        if let Some(first) = packet.first_mut() {
            *first = if v6 { 0x60 } else { 0x45 };
        }
        if let Some(header) = Header::from_bytes(header) {
            let pieces = split(Header { checksum_start: header.checksum_start % 64, size: header.size % 64, ..header }, &packet);
            prop_assert!(pieces.len() <= 200);
        }
        if !packet.is_empty() {
            merge(&[packet.clone(), packet]);
        }
    }
}

#[test]
fn a_datagram_gets_its_checksum_and_large_ones_are_split() {
    let whole = |payload: &[u8]| {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [192, 0, 2, 1], 64)
            .udp(53, 4000)
            .write(&mut packet, payload)
            .unwrap();
        packet
    };
    let partial = |packet: &mut Vec<u8>| {
        let sum = super::checksum::Sum::default().add(&packet[12..20]).add_number(17);
        let length = u16::try_from(packet.len() - 20).unwrap();
        packet[26..28].copy_from_slice(&sum.add_number(length).partial());
    };
    let kernel =
        Header { needs_checksum: true, checksum_start: 20, checksum_offset: 6, ..Header::PLAIN };
    let expected = whole(b"hello");
    let mut packet = expected.clone();
    partial(&mut packet);
    assert_ne!(packet, expected);
    assert_eq!(split(kernel, &packet), [expected]);

    let mut large = whole(&[7; 2500]);
    partial(&mut large);
    let pieces = split(Header { kind: Kind::Udp, size: 1000, ..kernel }, &large);
    assert_eq!(pieces.len(), 3);
    for (index, (piece, length)) in pieces.iter().zip([1000, 1000, 500]).enumerate() {
        let mut expected = whole(&vec![7; length]);
        expected[4..6].copy_from_slice(&u16::try_from(index).unwrap().to_be_bytes());
        // Of the IP header: looked at by the parser below.
        expected[10..12].copy_from_slice(&piece[10..12]);
        assert_eq!(*piece, expected);
        let parsed = PacketHeaders::from_ip_slice(piece).unwrap();
        let etherparse::NetHeaders::Ipv4(header, _) = parsed.net.unwrap() else {
            panic!("no IPv4")
        };
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
    }
}

#[test]
fn cwr_is_the_first_segments_alone() {
    let recipe = |index: u32, flags| Recipe {
        v6: false,
        port: 1,
        seq: 500 * index,
        id: 0,
        flags,
        window: 1,
        ack: 1,
        timestamp: None,
        payload: vec![1; 500],
    };
    let packets = [recipe(0, CWR).packet(), recipe(1, 0).packet(), recipe(2, CWR).packet()];
    let written = merge(&packets);
    let counts: Vec<u64> = written.0.iter().map(|(.., packets)| *packets).collect();
    assert_eq!(counts, [2, 1]);
    assert!(written.0[0].0.ecn);
    assert_eq!(of_flow(&written.split(), 1), of_flow(&packets, 1));
}

#[test]
fn a_lone_segment_that_pushes_does_not_wait() {
    let recipe = Recipe {
        v6: true,
        port: 1,
        seq: 1,
        id: 0,
        flags: PSH,
        window: 1,
        ack: 1,
        timestamp: None,
        payload: vec![1; 500],
    };
    let mut written = Written::default();
    Merger::new().push(&[], &recipe.packet(), &mut written);
    assert_eq!(written.0.len(), 1);
}
