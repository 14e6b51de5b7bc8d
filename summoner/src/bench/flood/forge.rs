//! SYNs that nobody sent: from random addresses and ports, well-formed and with right checksums.
//!
//! A switch that checks nothing would hold them as it holds any client's, and a client's is what they are meant to look
//! like: MSS, window scale and SACK-permitted among their options (RFC 9293, RFC 7323, RFC 2018).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bench::random::Random;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 32;
const IPPROTO_TCP: u8 = 6;
/// MSS 1460, SACK permitted, window scale 7, and what makes them a multiple of four.
const OPTIONS: [u8; 12] = [2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 1, 0];
/// First octets of IPv4 networks that are nobody's or somebody's own (RFC 6890), and of this experiment.
const NOT_GLOBAL: [u8; 9] = [0, 10, 100, 127, 169, 172, 192, 198, 203];

/// A packet, of either family.
#[derive(Debug, Clone)]
pub struct Packet {
    octets: [u8; IPV6_HEADER + TCP_HEADER],
    length: usize,
}

impl Packet {
    /// From the first octet of the IP header.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// Makes them.
#[derive(Debug)]
pub struct Forger {
    random: Random,
}

impl Forger {
    /// One whose packets `seed` brings back.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { random: Random::new(seed) }
    }

    /// A SYN to `target` from anywhere.
    pub fn syn(&mut self, target: SocketAddr) -> Packet {
        let tcp = self.tcp(target.port());
        match target.ip() {
            IpAddr::V4(to) => {
                let from = self.source4();
                let total = IPV4_HEADER + TCP_HEADER;
                let mut head = [0; IPV4_HEADER];
                head[0] = 0x45;
                head[2..4].copy_from_slice(&length(total));
                head[4..6].copy_from_slice(&self.two());
                head[6] = 0x40;
                head[8] = 52;
                head[9] = IPPROTO_TCP;
                head[12..16].copy_from_slice(&from.octets());
                head[16..20].copy_from_slice(&to.octets());
                let sum = checksum(&[&head]);
                head[10..12].copy_from_slice(&sum);
                packet(&head, &[&from.octets(), &to.octets()], tcp)
            }
            IpAddr::V6(to) => {
                let from = self.source6();
                let mut head = [0; IPV6_HEADER];
                head[0] = 0x60;
                head[4..6].copy_from_slice(&length(TCP_HEADER));
                head[6] = IPPROTO_TCP;
                head[7] = 52;
                head[8..24].copy_from_slice(&from.octets());
                head[24..40].copy_from_slice(&to.octets());
                packet(&head, &[&from.octets(), &to.octets()], tcp)
            }
        }
    }

    /// The segment, its checksum still missing.
    fn tcp(&mut self, port: u16) -> [u8; TCP_HEADER] {
        let mut tcp = [0; TCP_HEADER];
        let from = 1024 + u16::try_from(self.random.below(64_512)).unwrap_or(0);
        tcp[0..2].copy_from_slice(&from.to_be_bytes());
        tcp[2..4].copy_from_slice(&port.to_be_bytes());
        tcp[4..8].copy_from_slice(&self.random.bits().to_be_bytes()[..4]);
        tcp[12] = 0x80;
        tcp[13] = 0x02;
        tcp[14..16].copy_from_slice(&64_240_u16.to_be_bytes());
        tcp[20..].copy_from_slice(&OPTIONS);
        tcp
    }

    fn two(&mut self) -> [u8; 2] {
        let bits = self.random.bits().to_be_bytes();
        [bits[0], bits[1]]
    }

    fn source4(&mut self) -> Ipv4Addr {
        loop {
            let [a, b, c, d, ..] = self.random.bits().to_be_bytes();
            if (1..224).contains(&a) && !NOT_GLOBAL.contains(&a) {
                return Ipv4Addr::new(a, b, c, d);
            }
        }
    }

    /// In 2a00::/16.
    fn source6(&mut self) -> Ipv6Addr {
        let (high, low) = (self.random.bits(), self.random.bits());
        let bits = (u128::from(high) << 64 | u128::from(low)) >> 16;
        Ipv6Addr::from_bits(0x2a00 << 112 | bits)
    }
}

/// Puts the parts together; the TCP checksum also covers the addresses, the protocol and the length (RFC 9293, section 3.1).
fn packet(head: &[u8], addresses: &[&[u8]; 2], mut tcp: [u8; TCP_HEADER]) -> Packet {
    let [from, to] = addresses;
    let pseudo = [length(TCP_HEADER), [0, IPPROTO_TCP]].concat();
    let sum = checksum(&[from, to, &pseudo, &tcp]);
    tcp[16..18].copy_from_slice(&sum);
    let mut packet = Packet { octets: [0; _], length: head.len() + TCP_HEADER };
    packet.octets[..head.len()].copy_from_slice(head);
    packet.octets[head.len()..packet.length].copy_from_slice(&tcp);
    packet
}

/// The Internet checksum (RFC 1071) of parts of even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    [high, low]
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn checksums_are_right() {
        let mut forger = Forger::new(7);
        for target in ["10.9.0.7:80", "[fd77::7]:80"] {
            let target: SocketAddr = target.parse().unwrap();
            let packet = forger.syn(target);
            let octets = packet.octets();
            // A sum over everything that has its checksum in it is nothing.
            let (addresses, tcp) = if target.is_ipv4() {
                assert_eq!(checksum(&[&octets[..20]]), [0, 0]);
                (&octets[12..20], &octets[20..])
            } else {
                (&octets[8..40], &octets[40..])
            };
            assert_eq!(checksum(&[addresses, &[0, 32, 0, 6], tcp]), [0, 0]);
            assert_eq!((tcp[12] >> 4, tcp[13], &tcp[2..4]), (8, 2, [0, 80].as_slice()));
        }
        // RFC 1071, section 3.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), [0x22, 0x0d]);
    }

    #[test]
    fn sources_are_everywhere_but_at_home() {
        let mut forger = Forger::new(1);
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let from = forger.source4();
            assert!(!from.is_private() && !from.is_loopback() && !from.is_multicast(), "{from}");
            seen.insert(from.octets()[0]);
            let from = forger.source6();
            assert_eq!(from.segments()[0], 0x2a00);
        }
        assert!(seen.len() > 150);
    }
}
