//! Packets and their checksums, without the help of the switch.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, IpSlice, TcpSlice};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

pub const ICMP: u8 = 1;
const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

/// A TCP segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// A multiple of four octets.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Segment {
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    pub const fn is_first_syn(&self) -> bool {
        self.flags & (SYN | ACK | RST) == SYN
    }

    /// The sequence number after it.
    pub fn end(&self) -> u32 {
        let length = u32::try_from(self.payload.len()).unwrap();
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.seq.wrapping_add(length).wrapping_add(flags)
    }

    fn octets(&self) -> Vec<u8> {
        let words = u8::try_from(5 + self.options.len() / 4).unwrap();
        let mut octets = [self.from.port().to_be_bytes(), self.to.port().to_be_bytes()].concat();
        octets.extend([self.seq.to_be_bytes(), self.ack.to_be_bytes()].concat());
        octets.extend([words << 4, self.flags]);
        octets.extend([self.window.to_be_bytes(), [0; 2], [0; 2]].concat());
        octets.extend(&self.options);
        octets.extend(&self.payload);
        octets
    }

    /// The IP packet that carries it.
    pub fn packet(&self) -> Vec<u8> {
        packet(self.from.ip(), self.to.ip(), TCP, &self.octets())
    }

    /// The segment in an IP packet, if it carries a whole one.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let ip = IpSlice::from_slice(packet).ok()?;
        if ip.payload_ip_number() != IpNumber::TCP || ip.is_fragmenting_payload() {
            return None;
        }
        let tcp = TcpSlice::from_slice(ip.payload().payload).ok()?;
        let flags = [
            (tcp.fin(), FIN),
            (tcp.syn(), SYN),
            (tcp.rst(), RST),
            (tcp.psh(), PSH),
            (tcp.ack(), ACK),
        ];
        Some(Self {
            from: (ip.source_addr(), tcp.source_port()).into(),
            to: (ip.destination_addr(), tcp.destination_port()).into(),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            flags: flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum(),
            window: tcp.window_size(),
            options: tcp.options().to_vec(),
            payload: tcp.payload().to_vec(),
        })
    }
}

/// An IP packet with right checksums.
pub fn packet(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = |more: usize| u16::try_from(payload.len() + more).unwrap().to_be_bytes();
    let mut packet = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = length(20);
            let start = [0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0];
            [&start[..], &from.octets(), &to.octets()].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length(0);
            let start = [0x60, 0, 0, 0, high, low, protocol, 64];
            [&start[..], &from.octets(), &to.octets()].concat()
        }
        _ => panic!("one packet, one family"),
    };
    packet.extend(payload);
    repair(&mut packet);
    packet
}

/// Where the parts are that have a checksum.
struct Sums {
    /// Octets of the header of IPv4.
    header: Option<usize>,
    /// The payload's place, where in it its checksum is, and what is added to its sum.
    transport: Option<(std::ops::Range<usize>, usize, u32)>,
}

fn sums(packet: &[u8]) -> Option<Sums> {
    let ip = IpSlice::from_slice(packet).ok()?;
    let payload = ip.payload().payload;
    let start = payload.as_ptr().addr() - packet.as_ptr().addr();
    let range = start..start + payload.len();
    let header = ip.ipv4().map(|ip| ip.header().slice().len());
    let protocol = ip.payload_ip_number().0;
    let at = match protocol {
        TCP => 16,
        ICMP if header.is_some() => 2,
        ICMPV6 if header.is_none() => 2,
        // UDP is nothing that the switch changes.
        _ => return Some(Sums { header, transport: None }),
    };
    if ip.is_fragmenting_payload() || payload.len() < at + 2 {
        return Some(Sums { header, transport: None });
    }
    let mut pseudo = Vec::new();
    if protocol != ICMP {
        for address in [ip.source_addr(), ip.destination_addr()] {
            match address {
                IpAddr::V4(address) => pseudo.extend(address.octets()),
                IpAddr::V6(address) => pseudo.extend(address.octets()),
            }
        }
        pseudo.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        pseudo.extend([0, protocol]);
    }
    Some(Sums { header, transport: Some((range, at, sum(&pseudo))) })
}

fn sum(octets: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    octets.chunks(2).map(word).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// Whether the checksums of an IP packet are right, those of UDP aside; `None` if it is no packet.
pub fn is_right(packet: &[u8]) -> Option<bool> {
    let Sums { header, transport } = sums(packet)?;
    let header_right = header.is_none_or(|length| fold(sum(&packet[..length])) == 0xffff);
    let transport_right =
        transport.is_none_or(|(range, _, more)| fold(sum(&packet[range]) + more) == 0xffff);
    Some(header_right && transport_right)
}

/// Gives an IP packet right checksums, those of UDP aside; whatever else it is stays as it is.
pub fn repair(packet: &mut [u8]) {
    let Some(Sums { header, transport }) = sums(packet) else { return };
    if let Some(length) = header {
        packet[10..12].fill(0);
        let checksum = !fold(sum(&packet[..length]));
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    if let Some((range, at, more)) = transport {
        let covered = &mut packet[range];
        covered[at..at + 2].fill(0);
        let checksum = !fold(sum(covered) + more);
        covered[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}
