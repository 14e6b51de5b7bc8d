//! TCP segments and datagrams of one client, to and from octets.

use std::net::IpAddr;

use etherparse::{
    IpNumber, PacketBuilder, PacketBuilderStep, SlicedPacket, TcpOptionElement, TransportSlice,
};

use super::{CLIENT_V4, SERVICE_V4, addresses};

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Guest,
}

/// A TCP segment between the client's `client_port` and the guest's `guest_port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub v6: bool,
    pub client_port: u16,
    pub guest_port: u16,
    pub seq: u32,
    pub ack: Option<u32>,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub payload: usize,
}

const PLAIN: Segment = Segment {
    v6: false,
    client_port: 40_000,
    guest_port: 80,
    seq: 0,
    ack: None,
    syn: false,
    fin: false,
    rst: false,
    payload: 0,
};

pub const fn syn(seq: u32) -> Segment {
    Segment { seq, syn: true, ..PLAIN }
}

pub const fn syn_ack(seq: u32, ack: u32) -> Segment {
    Segment { seq, ack: Some(ack), syn: true, ..PLAIN }
}

pub const fn ack(seq: u32, ack: u32) -> Segment {
    Segment { seq, ack: Some(ack), ..PLAIN }
}

pub const fn fin(seq: u32, ack: u32) -> Segment {
    Segment { seq, ack: Some(ack), fin: true, ..PLAIN }
}

pub const fn rst(seq: u32) -> Segment {
    Segment { seq, rst: true, ..PLAIN }
}

pub const fn rst_ack(seq: u32, ack: u32) -> Segment {
    Segment { seq, ack: Some(ack), rst: true, ..PLAIN }
}

impl Segment {
    pub const fn on_port(self, client_port: u16) -> Self {
        Self { client_port, ..self }
    }

    pub const fn to_port(self, guest_port: u16) -> Self {
        Self { guest_port, ..self }
    }

    pub const fn over_v6(self) -> Self {
        Self { v6: true, ..self }
    }

    pub const fn with(self, payload: usize) -> Self {
        Self { payload, ..self }
    }

    /// The IP packet with this segment.
    pub fn packet(&self, from: Side) -> Vec<u8> {
        let (client, guest) = addresses(self.v6);
        let (source, destination, ports) = match from {
            Side::Client => (client, guest, (self.client_port, self.guest_port)),
            Side::Guest => (guest, client, (self.guest_port, self.client_port)),
        };
        self.between(source, destination, ports)
    }

    pub fn between(&self, source: IpAddr, destination: IpAddr, ports: (u16, u16)) -> Vec<u8> {
        let mut tcp = ip(source, destination).tcp(ports.0, ports.1, self.seq, 64_000);
        if let Some(ack) = self.ack {
            tcp = tcp.ack(ack);
        }
        if self.syn {
            tcp = tcp.syn();
        }
        if self.syn && self.ack.is_some() {
            // As every guest does; without it, the largest segment would be 536 octets.
            tcp = tcp.options(&[TcpOptionElement::MaximumSegmentSize(1460)]).unwrap();
        }
        if self.fin {
            tcp = tcp.fin();
        }
        if self.rst {
            tcp = tcp.rst();
        }
        let mut packet = Vec::new();
        tcp.write(&mut packet, &vec![b'x'; self.payload]).unwrap();
        packet
    }

    /// Takes an IP packet apart and checks its checksums.
    pub fn parse(packet: &[u8]) -> Self {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
            panic!("not a TCP segment: {packet:?}")
        };
        let ip = etherparse::IpSlice::from_slice(packet).unwrap();
        let (source, destination) = (ip.source_addr(), ip.destination_addr());
        let sum = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                tcp.calc_checksum_ipv4(source.octets(), destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                tcp.calc_checksum_ipv6(source.octets(), destination.octets())
            }
            _ => unreachable!("one packet, one family"),
        };
        assert_eq!(tcp.checksum(), sum.unwrap());
        let v6 = source.is_ipv6();
        let (client, guest) = addresses(v6);
        let (client_port, guest_port) = if (source, destination) == (client, guest) {
            (tcp.source_port(), tcp.destination_port())
        } else {
            assert_eq!((source, destination), (guest, client));
            (tcp.destination_port(), tcp.source_port())
        };
        Self {
            v6,
            client_port,
            guest_port,
            seq: tcp.sequence_number(),
            ack: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload: tcp.payload().len(),
        }
    }
}

fn ip(source: IpAddr, destination: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    let header = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => etherparse::IpHeaders::Ipv4(
            etherparse::Ipv4Header::new(
                0,
                64,
                IpNumber::TCP,
                source.octets(),
                destination.octets(),
            )
            .unwrap(),
            etherparse::Ipv4Extensions::default(),
        ),
        (IpAddr::V6(source), IpAddr::V6(destination)) => etherparse::IpHeaders::Ipv6(
            etherparse::Ipv6Header {
                hop_limit: 64,
                source: source.octets(),
                destination: destination.octets(),
                ..Default::default()
            },
            etherparse::Ipv6Extensions::default(),
        ),
        _ => panic!("one packet, one family"),
    };
    PacketBuilder::ip(header)
}

/// A UDP datagram from the client to the service.
pub fn udp(v6: bool, payload: &[u8]) -> Vec<u8> {
    let (client, guest) = addresses(v6);
    let mut packet = Vec::new();
    ip(client, guest).udp(5000, 53).write(&mut packet, payload).unwrap();
    packet
}

/// An echo request from the client to the service.
pub fn echo(v6: bool, payload: &[u8]) -> Vec<u8> {
    let (client, guest) = addresses(v6);
    let mut packet = Vec::new();
    let ip = ip(client, guest);
    let echo = if v6 { ip.icmpv6_echo_request(1, 2) } else { return echo_v4(ip, payload) };
    echo.write(&mut packet, payload).unwrap();
    packet
}

fn echo_v4(ip: PacketBuilderStep<etherparse::IpHeaders>, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    ip.icmpv4_echo_request(1, 2).write(&mut packet, payload).unwrap();
    packet
}

/// The part of a datagram that begins after `offset` units of eight octets.
pub fn fragment(id: u16, offset: u16, more: bool) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut header =
        etherparse::Ipv4Header::new(8, 64, IpNumber::UDP, CLIENT_V4.octets(), SERVICE_V4.octets())
            .unwrap();
    (header.more_fragments, header.identification) = (more, id);
    header.fragment_offset = offset.try_into().unwrap();
    header.write(&mut packet).unwrap();
    packet.extend([0, 80, 0, 80, 0, 24, 0, 0]);
    packet
}
