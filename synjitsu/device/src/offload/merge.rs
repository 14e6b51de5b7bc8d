//! Segments of a flow that follow each other become one large packet for the kernel.
//!
//! Only what the kernel would split into the very same segments is merged: the same headers but for sequence numbers,
//! lengths and checksums, all of the same size but the last, and FIN or PSH on the last alone. Each checksum is looked at
//! before, because the large packet has none: what was damaged must arrive damaged, not mended.

use super::LARGEST;
use super::checksum::Sum;
use super::header::{HEADER, Header, Kind};
use super::packet::{
    ACK, CWR, ECE, FIN, PSH, TCP, TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER, TCP_OFFSET, TCP_SEQ,
    V4_CHECKSUM, V4_FRAGMENT, V4_HEADER, V4_ID, V4_LENGTH, V6_HEADER, V6_LENGTH, get16, get32,
    length, put,
};

/// Flows whose segments are merged at the same time.
const FLOWS: usize = 8;
/// The most octets of a large packet: what an IPv4 header can tell.
const MOST: usize = 0xffff;
/// "Don't fragment".
const DF: u16 = 0x4000;

/// Takes what is to be written to the kernel.
pub(crate) trait Write {
    /// Writes the kernel's header and a packet, or loses them; `packets` says how many segments are in it.
    fn write(&mut self, header: &[u8], packet: &[u8], packets: u64);
}

/// Merges segments. What it was given is written at [`flush`](Self::flush) at the latest.
#[derive(Debug)]
pub(crate) struct Merger {
    /// Large packets to be, oldest first; those from `used` on wait for their next use.
    joins: Vec<Join>,
    used: usize,
    /// For a packet that goes its way alone.
    single: Vec<u8>,
}

/// A segment that may be merged with others: complete, right, with data, and with no flag that says anything else than
/// "here are the data".
#[derive(Debug, Clone, Copy)]
struct Segment {
    tcp: usize,
    payload: usize,
    /// Octets of payload.
    len: usize,
    seq: u32,
    flags: u8,
}

#[derive(Debug)]
struct Join {
    /// The kernel's header and the packet.
    octets: Vec<u8>,
    first: Segment,
    count: u16,
    next_seq: u32,
}

impl Merger {
    pub(crate) fn new() -> Self {
        Self { joins: Vec::with_capacity(FLOWS), used: 0, single: Vec::new() }
    }

    /// Takes a packet in two parts. Packets of one flow are written in the order in which they were taken.
    pub(crate) fn push(&mut self, head: &[u8], body: &[u8], out: &mut impl Write) {
        if head.is_empty() {
            self.push_whole(body, out);
        } else {
            let mut whole = std::mem::take(&mut self.single);
            whole.clear();
            whole.extend_from_slice(head);
            whole.extend_from_slice(body);
            self.push_whole(&whole, out);
            self.single = whole;
        }
    }

    fn push_whole(&mut self, packet: &[u8], out: &mut impl Write) {
        let Some((start, end)) = flow(packet) else {
            return write_plain(packet, out);
        };
        let of_flow = |join: &Join| {
            let other = &join.octets[HEADER..];
            flow(other).is_some_and(|(s, e)| {
                other[s..e] == packet[start..end] && ports(other) == ports(packet)
            })
        };
        let place = self.joins[..self.used].iter().position(of_flow);
        let segment = Segment::parse(packet);
        if let (Some(place), Some(segment)) = (place, &segment)
            && self.joins[place].take(packet, segment)
        {
            if !self.joins[place].is_open(segment.len) {
                self.write(place, out);
            }
            return;
        }
        if let Some(place) = place {
            self.write(place, out);
        }
        match segment {
            Some(segment) if segment.flags & (FIN | PSH) == 0 => {
                if self.used == FLOWS {
                    self.write(0, out);
                }
                self.begin(packet, segment);
            }
            _ => write_plain(packet, out),
        }
    }

    /// Writes everything that is left.
    pub(crate) fn flush(&mut self, out: &mut impl Write) {
        while self.used > 0 {
            self.write(0, out);
        }
    }

    fn begin(&mut self, packet: &[u8], first: Segment) {
        let next_seq = first.seq.wrapping_add(u32::from(length(first.len)));
        if self.used == self.joins.len() {
            let octets = Vec::with_capacity(HEADER + LARGEST);
            self.joins.push(Join { octets, first, count: 0, next_seq });
        }
        let join = &mut self.joins[self.used];
        self.used += 1;
        join.octets.clear();
        join.octets.extend_from_slice(&Header::PLAIN.to_bytes());
        join.octets.extend_from_slice(packet);
        (join.first, join.count, join.next_seq) = (first, 1, next_seq);
    }

    /// Writes the large packet in a place; the others keep their order.
    fn write(&mut self, place: usize, out: &mut impl Write) {
        let join = &mut self.joins[place];
        join.finish();
        let (header, packet) = join.octets.split_at(HEADER);
        out.write(header, packet, join.count.into());
        self.joins[place..self.used].rotate_left(1);
        self.used -= 1;
    }
}

fn write_plain(packet: &[u8], out: &mut impl Write) {
    out.write(&Header::PLAIN.to_bytes(), packet, 1);
}

impl Join {
    /// Takes a segment, if it continues this one in all that matters.
    fn take(&mut self, packet: &[u8], segment: &Segment) -> bool {
        let own = &self.octets[HEADER..];
        let fits = segment.seq == self.next_seq
            && segment.len <= self.first.len
            && own.len() + segment.len <= MOST
            && segment.flags & !(FIN | PSH) == self.first.flags & !CWR
            && has_same_headers(own, packet, &self.first, segment, self.count);
        if fits {
            self.octets.extend_from_slice(&packet[segment.payload..]);
            self.octets[HEADER + self.first.tcp + TCP_FLAGS] |= segment.flags & (FIN | PSH);
            self.next_seq = self.next_seq.wrapping_add(u32::from(length(segment.len)));
            self.count += 1;
        }
        fits
    }

    /// Whether another segment might follow the one that was taken last, which had so many octets.
    fn is_open(&self, len: usize) -> bool {
        let flags = self.octets[HEADER + self.first.tcp + TCP_FLAGS];
        let room = self.octets.len() - HEADER + self.first.len <= MOST;
        len == self.first.len && flags & (FIN | PSH) == 0 && room
    }

    /// Writes what a large packet has in its headers.
    fn finish(&mut self) {
        if self.count == 1 {
            return;
        }
        let Segment { tcp, payload, len, flags, .. } = self.first;
        let (header, packet) = self.octets.split_at_mut(HEADER);
        let whole = length(packet.len() - tcp);
        let (kind, addresses) = if packet[0] >> 4 == 4 {
            let octets = length(packet.len());
            put(packet, V4_LENGTH, &octets.to_be_bytes());
            put(packet, V4_CHECKSUM, &[0; 2]);
            let checksum = Sum::default().add(&packet[..tcp]).checksum();
            put(packet, V4_CHECKSUM, &checksum);
            (Kind::TcpV4, 12..V4_HEADER)
        } else {
            let octets = length(packet.len() - V6_HEADER);
            put(packet, V6_LENGTH, &octets.to_be_bytes());
            (Kind::TcpV6, 8..V6_HEADER)
        };
        let pseudo = Sum::default().add(&packet[addresses]).add_number(TCP.into());
        put(packet, tcp + TCP_CHECKSUM, &pseudo.add_number(whole).partial());
        let kernel = Header {
            kind,
            ecn: flags & CWR != 0,
            needs_checksum: true,
            headers: length(payload),
            size: length(len),
            checksum_start: length(tcp),
            checksum_offset: length(TCP_CHECKSUM),
        };
        header.copy_from_slice(&kernel.to_bytes());
    }
}

/// Where the addresses are, if the packet is a TCP segment that is no fragment and has its ports, over IPv4, or over IPv6
/// without extension headers.
fn flow(packet: &[u8]) -> Option<(usize, usize)> {
    match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 15) * 4;
            let is_tcp = packet.len() >= header + 4 && header >= V4_HEADER && packet[9] == TCP;
            let whole = is_tcp && get16(packet, V4_FRAGMENT) & !DF == 0;
            whole.then_some((12, V4_HEADER))
        }
        6 => (packet.len() >= V6_HEADER + 4 && packet[6] == TCP).then_some((8, V6_HEADER)),
        _ => None,
    }
}

/// The ports of a packet that has a [`flow`].
fn ports(packet: &[u8]) -> u32 {
    let header = if packet[0] >> 4 == 4 { usize::from(packet[0] & 15) * 4 } else { V6_HEADER };
    get32(packet, header)
}

/// Whether a segment has the headers that the kernel would give it, had it the place `count` in a large packet that begins
/// with `own`. Sequence number, flags and what depends on the length are looked at elsewhere.
fn has_same_headers(
    own: &[u8],
    packet: &[u8],
    first: &Segment,
    segment: &Segment,
    count: u16,
) -> bool {
    let tcp = first.tcp;
    if segment.tcp != tcp || segment.payload != first.payload {
        return false;
    }
    let ip = if own[0] >> 4 == 4 {
        let id = get16(own, V4_ID).wrapping_add(count);
        // Where nothing is ever fragmented the number means nothing (RFC 6864, section 4.1).
        let has_id = get16(packet, V4_ID) == id || get16(own, V4_FRAGMENT) & DF != 0;
        // Without length, number and checksum.
        has_id
            && own[..2] == packet[..2]
            && own[6..10] == packet[6..10]
            && own[12..tcp] == packet[12..tcp]
    } else {
        // Without length.
        own[0] == packet[0] && own[1..4] == packet[1..4] && own[6..tcp] == packet[6..tcp]
    };
    // Ports, acknowledgment, length of the header; window; urgent pointer and options.
    let same =
        |from: usize, until: usize| own[tcp + from..tcp + until] == packet[tcp + from..tcp + until];
    ip && same(0, 4)
        && same(8, 13)
        && same(14, 16)
        && own[tcp + 18..first.payload] == packet[tcp + 18..first.payload]
}

impl Segment {
    fn parse(packet: &[u8]) -> Option<Self> {
        let tcp = if packet.first()? >> 4 == 4 {
            // Options are rare, and some must not be repeated.
            if packet[0] & 15 != 5 || packet.len() != usize::from(get16(packet, V4_LENGTH)) {
                return None;
            }
            if !Sum::default().add(&packet[..V4_HEADER]).is_right() {
                return None;
            }
            V4_HEADER
        } else {
            if packet.len() != V6_HEADER + usize::from(get16(packet, V6_LENGTH)) {
                return None;
            }
            V6_HEADER
        };
        if packet.len() < tcp + TCP_HEADER {
            return None;
        }
        let payload = tcp + usize::from(packet[tcp + TCP_OFFSET] >> 4) * 4;
        let len = packet.len().checked_sub(payload)?;
        let flags = packet[tcp + TCP_FLAGS];
        let is_data = len > 0 && payload >= tcp + TCP_HEADER && flags & ACK != 0;
        // ECE goes along with all of them, or none (RFC 3168, section 6.1.3).
        if !is_data || flags & !(ACK | PSH | FIN | ECE | CWR) != 0 {
            return None;
        }
        let addresses = if tcp == V4_HEADER { 12..V4_HEADER } else { 8..V6_HEADER };
        let sum = Sum::default().add(&packet[addresses]).add_number(TCP.into());
        let sum = sum.add_number(length(packet.len() - tcp)).add(&packet[tcp..]);
        let seq = get32(packet, tcp + TCP_SEQ);
        sum.is_right().then_some(Self { tcp, payload, len, seq, flags })
    }
}
