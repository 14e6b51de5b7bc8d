//! What a sender leaves to its network card, done after the fact.
//!
//! A frame on a packet socket may never have been on a wire: a neighbouring container's kernel hands over segments of up
//! to 64 KiB with half a checksum, and our own merges those that a card received (GRO). A guest takes neither. The kernel says with
//! each frame what is left to do (`virtio_net_hdr`, Virtio 1.2, section 5.1.6); here it is done.

use etherparse::IpNumber;
use etherparse::checksum::u64_16bit_word;

/// The octets of a `virtio_net_hdr` without the number of merged buffers, as `PACKET_VNET_HDR` puts it before frames.
pub const HEADER: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// A TCP segment whose CWR bit belongs to its first part only (RFC 3168).
const GSO_ECN: u8 = 0x80;

/// Where it is in a UDP header; nothing else that is left to a card has it there.
const UDP_CHECKSUM: u16 = 6;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// What is left to do for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// The checksum: the sum from `start` to the frame's end, to be put `offset` after that.
    Checksum {
        /// From the frame's beginning.
        start: u16,
        /// From there.
        offset: u16,
    },
    /// To cut it into segments of so many octets of data.
    Segments {
        /// Octets of data in each part but the last.
        size: u16,
    },
    /// Something that was not asked for and cannot be done.
    Unknown,
}

impl Left {
    /// Reads a `virtio_net_hdr` in the machine's own byte order, as packet sockets have it.
    #[must_use]
    pub const fn parse(header: [u8; HEADER]) -> Self {
        let [flags, kind, _, _, s0, s1, c0, c1, o0, o1] = header;
        match kind & !GSO_ECN {
            0 if flags & NEEDS_CHECKSUM != 0 => Self::Checksum {
                start: u16::from_ne_bytes([c0, c1]),
                offset: u16::from_ne_bytes([o0, o1]),
            },
            0 => Self::Nothing,
            GSO_TCPV4 | GSO_TCPV6 | GSO_UDP_L4 => {
                Self::Segments { size: u16::from_ne_bytes([s0, s1]) }
            }
            _ => Self::Unknown,
        }
    }
}

/// Completes a checksum whose field holds the sum of the pseudo-header so far; false if it would lie outside of `frame`.
#[must_use]
pub fn complete_checksum(frame: &mut [u8], start: u16, offset: u16) -> bool {
    let Some(part) = frame.get_mut(usize::from(start)..) else { return false };
    let sum = checksum(u64_16bit_word::add_slice(0, part));
    let at = usize::from(offset);
    let Some(field) = part.get_mut(at..at + 2) else { return false };
    let sum = if offset == UDP_CHECKSUM { not_none(sum) } else { sum };
    field.copy_from_slice(&sum.to_be_bytes());
    true
}

/// In UDP a checksum of zero means that there is none (RFC 768).
const fn not_none(sum: u16) -> u16 {
    if sum == 0 { 0xffff } else { sum }
}

fn checksum(sum: u64) -> u16 {
    u64_16bit_word::ones_complement(sum).to_be()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

/// A large packet on its way to being many.
///
/// Holds no octets: each call of [`next`](Self::next) is given the same packet again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    v4: bool,
    transport: Transport,
    /// Octets of the IP header, and of both headers.
    ip: usize,
    headers: usize,
    /// Octets of data in each part, where the next one starts, and where the last one ends, from the packet's start.
    size: usize,
    at: usize,
    end: usize,
    count: u16,
}

impl Segments {
    /// Prepares to cut `packet`, a TCP segment or a row of UDP datagrams with one header, into parts with `size` octets
    /// of data. `None` if it is none such, or would make no progress.
    #[must_use]
    pub fn new(packet: &[u8], size: u16) -> Option<Self> {
        let field = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let first = *packet.first()?;
        let (v4, ip, protocol, end) = match first >> 4 {
            4 => {
                let ip = usize::from(first & 0xf) * 4;
                // A fragment has no header to repeat.
                if ip < 20 || field(6)? & 0x3fff != 0 {
                    return None;
                }
                (true, ip, *packet.get(9)?, usize::from(field(2)?))
            }
            // With extension headers in between nothing is merged by the kernel.
            6 => (false, 40, *packet.get(6)?, usize::from(field(4)?) + 40),
            _ => return None,
        };
        let (transport, headers) = match IpNumber(protocol) {
            IpNumber::TCP => (Transport::Tcp, ip + usize::from(*packet.get(ip + 12)? >> 4) * 4),
            IpNumber::UDP => (Transport::Udp, ip + 8),
            _ => return None,
        };
        let smallest = ip + if transport == Transport::Tcp { 20 } else { 8 };
        if size == 0 || headers < smallest || headers > end || end > packet.len() {
            return None;
        }
        let size = usize::from(size);
        Some(Self { v4, transport, ip, headers, size, at: headers, end, count: 0 })
    }

    /// Whether all parts were made.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.count > 0 && self.at >= self.end
    }

    /// Writes the next part to `out` and returns its length; `None` after the last one, or if it does not fit.
    pub fn next(&mut self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        if self.is_done() {
            return None;
        }
        let until = (self.at + self.size).min(self.end);
        let data = packet.get(self.at..until)?;
        let length = self.headers + data.len();
        let out = out.get_mut(..length)?;
        let (head, body) = out.split_at_mut(self.headers);
        head.copy_from_slice(packet.get(..self.headers)?);
        body.copy_from_slice(data);
        let first = self.count == 0;
        let last = until == self.end;
        self.write_ip(out, length);
        self.write_transport(out, first, last);
        (self.at, self.count) = (until, self.count.wrapping_add(1));
        Some(length)
    }

    fn write_ip(&self, out: &mut [u8], length: usize) {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        if self.v4 {
            put(out, 2, length);
            let id = get(out, 4).wrapping_add(self.count);
            put(out, 4, id);
            put(out, 10, 0);
            let sum = checksum(u64_16bit_word::add_slice(0, &out[..self.ip]));
            put(out, 10, sum);
        } else {
            put(out, 4, length.saturating_sub(40));
        }
    }

    fn write_transport(&self, out: &mut [u8], first: bool, last: bool) {
        let upper = out.len() - self.ip;
        let upper = u16::try_from(upper).unwrap_or(u16::MAX);
        let (field, protocol) = match self.transport {
            Transport::Tcp => {
                let before = u32::try_from(self.at - self.headers).unwrap_or(u32::MAX);
                let [a, b, c, d] = [4, 5, 6, 7].map(|at| out[self.ip + at]);
                let seq = u32::from_be_bytes([a, b, c, d]).wrapping_add(before);
                out[self.ip + 4..self.ip + 8].copy_from_slice(&seq.to_be_bytes());
                let mut taken = 0;
                if !last {
                    taken |= FIN | PSH;
                }
                if !first {
                    taken |= CWR;
                }
                out[self.ip + 13] &= !taken;
                (self.ip + 16, 6)
            }
            Transport::Udp => {
                put(out, self.ip + 4, upper);
                (self.ip + usize::from(UDP_CHECKSUM), 17)
            }
        };
        put(out, field, 0);
        let addresses = if self.v4 { 12..20 } else { 8..40 };
        let mut sum = u64_16bit_word::add_slice(0, &out[self.ip..]);
        sum = u64_16bit_word::add_slice(sum, &out[addresses]);
        sum = u64_16bit_word::add_2bytes(sum, [0, protocol]);
        sum = u64_16bit_word::add_2bytes(sum, upper.to_be_bytes());
        let sum = checksum(sum);
        put(out, field, if self.transport == Transport::Udp { not_none(sum) } else { sum });
    }
}

fn get(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn put(octets: &mut [u8], at: usize, value: u16) {
    octets[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::*;

    const FOUR: ([u8; 4], [u8; 4]) = ([192, 168, 1, 2], [192, 168, 1, 200]);
    const SIX: ([u8; 16], [u8; 16]) = ([0xfd; 16], [0xfe; 16]);

    fn tcp(v4: bool, data: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = if v4 {
            PacketBuilder::ipv4(FOUR.0, FOUR.1, 64)
        } else {
            PacketBuilder::ipv6(SIX.0, SIX.1, 64)
        };
        let tcp = builder.tcp(40_000, 80, u32::MAX - 100, 1000).ack(7).psh().fin();
        tcp.write(&mut packet, data).unwrap();
        packet
    }

    /// Checks every checksum, and returns flags, sequence number and data.
    fn read(packet: &[u8]) -> (bool, bool, u32, Vec<u8>) {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("not TCP") };
        let sum = match packet[0] >> 4 {
            4 => {
                let mut header = packet[..20].to_vec();
                header[10..12].fill(0);
                assert_eq!(checksum(u64_16bit_word::add_slice(0, &header)), get(packet, 10));
                tcp.calc_checksum_ipv4(FOUR.0, FOUR.1)
            }
            _ => tcp.calc_checksum_ipv6(SIX.0, SIX.1),
        };
        assert_eq!(sum.unwrap(), tcp.checksum());
        (tcp.psh(), tcp.fin(), tcp.sequence_number(), tcp.payload().to_vec())
    }

    #[test]
    fn a_large_segment_becomes_small_ones() {
        let data: Vec<u8> = (0..10_001_u32).map(|number| number.to_le_bytes()[0]).collect();
        for v4 in [true, false] {
            let packet = tcp(v4, &data);
            let mut segments = Segments::new(&packet, 1448).unwrap();
            let (mut out, mut seen, mut count) = ([0; 2000], Vec::new(), 0);
            while let Some(length) = segments.next(&packet, &mut out) {
                let (psh, fin, seq, part) = read(&out[..length]);
                let before = u32::try_from(seen.len()).unwrap();
                assert_eq!(seq, (u32::MAX - 100).wrapping_add(before));
                seen.extend(part);
                count += 1;
                let last = seen.len() == data.len();
                assert_eq!((psh, fin), (last, last), "they belong to the last octet");
                if v4 {
                    assert_eq!(get(&out, 4), get(&packet, 4).wrapping_add(count - 1));
                }
            }
            assert_eq!((seen == data, count), (true, 7));
        }
    }

    #[test]
    fn a_row_of_datagrams_becomes_datagrams() {
        let mut packet = Vec::new();
        let data = [7; 2500];
        PacketBuilder::ipv4(FOUR.0, FOUR.1, 64).udp(1, 2).write(&mut packet, &data).unwrap();
        let mut segments = Segments::new(&packet, 1000).unwrap();
        let (mut out, mut lengths) = ([0; 2000], Vec::new());
        while let Some(length) = segments.next(&packet, &mut out) {
            let sliced = SlicedPacket::from_ip(&out[..length]).unwrap();
            let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!("not UDP") };
            let header = udp.to_header();
            assert_eq!(
                header.calc_checksum_ipv4_raw(FOUR.0, FOUR.1, udp.payload()),
                Ok(header.checksum)
            );
            lengths.push(udp.payload().len());
        }
        assert_eq!(lengths, [1000, 1000, 500]);
    }

    #[test]
    fn half_a_checksum_becomes_a_whole_one() {
        for v4 in [true, false] {
            let mut packet = tcp(v4, b"odd");
            let whole = packet.clone();
            let ip = if v4 { 20 } else { 40 };
            let addresses = if v4 { 12..20 } else { 8..40 };
            let length = u16::try_from(packet.len() - ip).unwrap();
            let mut sum = u64_16bit_word::add_slice(0, &packet[addresses]);
            sum = u64_16bit_word::add_2bytes(sum, [0, 6]);
            sum = u64_16bit_word::add_2bytes(sum, length.to_be_bytes());
            put(&mut packet, ip + 16, !checksum(sum));
            let start = u16::try_from(ip).unwrap();
            assert!(complete_checksum(&mut packet, start, 16));
            assert_eq!(packet, whole);
        }
    }

    #[test]
    fn the_kernel_s_header_is_read() {
        let [s0, s1] = 34_u16.to_ne_bytes();
        let [o0, o1] = 16_u16.to_ne_bytes();
        let [z0, z1] = 1448_u16.to_ne_bytes();
        let parse = |flags, kind| Left::parse([flags, kind, 0, 0, z0, z1, s0, s1, o0, o1]);
        assert_eq!(parse(0, 0), Left::Nothing);
        assert_eq!(parse(2, 0), Left::Nothing, "valid already");
        assert_eq!(parse(1, 0), Left::Checksum { start: 34, offset: 16 });
        for kind in [1, 4, 5, 0x81] {
            assert_eq!(parse(1, kind), Left::Segments { size: 1448 });
        }
        assert_eq!(parse(1, 3), Left::Unknown);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_octets_are_a_panic(
            mut frame in proptest::collection::vec(any::<u8>(), 0..200),
            header in any::<[u8; HEADER]>(),
            (start, offset, size) in any::<(u16, u16, u16)>(),
            version in prop_oneof![Just(0x45), Just(0x60), any::<u8>()],
            protocol in prop_oneof![Just(6), Just(17), any::<u8>()],
        ) {
            let _ = Left::parse(header);
            let _ = complete_checksum(&mut frame, start % 256, offset % 256);
            if frame.len() > 40 {
                frame[0] = version;
                frame[if version == 0x60 { 6 } else { 9 }] = protocol;
                frame[if version == 0x60 { 4 } else { 2 }] = 0;
            }
            for size in [size, size % 64] {
                if let Some(mut segments) = Segments::new(&frame, size) {
                    let (mut out, mut parts) = ([0; 256], 0);
                    while segments.next(&frame, &mut out).is_some() {
                        parts += 1;
                        prop_assert!(parts <= frame.len());
                    }
                    prop_assert!(segments.is_done());
                }
            }
        }
    }
}
