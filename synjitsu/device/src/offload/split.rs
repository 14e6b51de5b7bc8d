//! A large packet of the kernel becomes those that it stands for, and every packet gets its checksum.

use super::checksum::Sum;
use super::header::{Header, Kind};
use super::packet::{
    CWR, FIN, PSH, TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER, TCP_OFFSET, TCP_SEQ, UDP_CHECKSUM,
    UDP_HEADER, UDP_LENGTH, V4_CHECKSUM, V4_HEADER, V4_ID, V4_LENGTH, V6_HEADER, V6_LENGTH, get16,
    get32, length, put,
};

/// A large packet that is being split; the octets lie with whoever has read them.
#[derive(Debug)]
pub(crate) struct Split {
    kind: Kind,
    /// Where the transport's header begins, and where the payload.
    transport: usize,
    payload: usize,
    /// Octets of payload in each packet but the last.
    size: usize,
    /// The next packet.
    next: usize,
    count: usize,
}

impl Split {
    /// Looks at a packet that the kernel handed over with `header`, and gives it its checksum if it needs one. `None`: it is
    /// not to be split. So is one that makes no sense: whoever takes it in finds that it is too long.
    pub(crate) fn new(header: Header, packet: &mut [u8]) -> Option<Self> {
        if header.kind == Kind::None {
            if header.needs_checksum {
                complete(header, packet);
            }
            return None;
        }
        let transport = usize::from(header.checksum_start);
        let least = if packet.first()? >> 4 == 4 { V4_HEADER } else { V6_HEADER };
        let fixed = if header.kind == Kind::Udp { UDP_HEADER } else { TCP_HEADER };
        if transport < least || packet.len() < transport + fixed {
            return None;
        }
        let payload = transport
            + match header.kind {
                Kind::Udp => UDP_HEADER,
                Kind::None | Kind::TcpV4 | Kind::TcpV6 => {
                    usize::from(packet[transport + TCP_OFFSET] >> 4) * 4
                }
            };
        let octets = packet.len().checked_sub(payload)?;
        let size = usize::from(header.size);
        if size == 0 || payload < transport + fixed {
            return None;
        }
        let count = octets.div_ceil(size).max(1);
        Some(Self { kind: header.kind, transport, payload, size, next: 0, count })
    }

    /// Whether there is another packet.
    pub(crate) const fn has_more(&self) -> bool {
        self.next < self.count
    }

    /// Writes the next packet, as far as there is room, and says how long it is.
    pub(crate) fn next(&mut self, large: &[u8], room: &mut [u8]) -> usize {
        let index = self.next;
        self.next += 1;
        let from = self.payload + index * self.size;
        let until = (from + self.size).min(large.len());
        let whole = self.payload + (until - from);
        let Some(packet) = room.get_mut(..whole) else { return 0 };
        packet[..self.payload].copy_from_slice(&large[..self.payload]);
        packet[self.payload..].copy_from_slice(&large[from..until]);
        self.write_ip(index, packet);
        match self.kind {
            Kind::Udp => self.write_udp(large.len(), packet),
            Kind::None | Kind::TcpV4 | Kind::TcpV6 => self.write_tcp(index, large.len(), packet),
        }
        whole
    }

    fn write_ip(&self, index: usize, packet: &mut [u8]) {
        if packet[0] >> 4 != 4 {
            let octets = length(packet.len() - V6_HEADER);
            put(packet, V6_LENGTH, &octets.to_be_bytes());
            return;
        }
        let octets = length(packet.len());
        put(packet, V4_LENGTH, &octets.to_be_bytes());
        // One number each, as if they had been sent one by one.
        let id = get16(packet, V4_ID).wrapping_add(length(index));
        put(packet, V4_ID, &id.to_be_bytes());
        put(packet, V4_CHECKSUM, &[0; 2]);
        let checksum = Sum::default().add(&packet[..self.transport]).checksum();
        put(packet, V4_CHECKSUM, &checksum);
    }

    fn write_tcp(&self, index: usize, large: usize, packet: &mut [u8]) {
        let tcp = self.transport;
        // A large packet has less than 2^16 octets.
        let ahead = u32::from(length(index * self.size));
        let seq = get32(packet, tcp + TCP_SEQ).wrapping_add(ahead);
        put(packet, tcp + TCP_SEQ, &seq.to_be_bytes());
        let flags = &mut packet[tcp + TCP_FLAGS];
        if index + 1 < self.count {
            *flags &= !(FIN | PSH);
        }
        if index > 0 {
            *flags &= !CWR;
        }
        let checksum = self.checksum(large, packet);
        put(packet, tcp + TCP_CHECKSUM, &checksum);
    }

    fn write_udp(&self, large: usize, packet: &mut [u8]) {
        let udp = self.transport;
        let octets = length(packet.len() - udp);
        put(packet, udp + UDP_LENGTH, &octets.to_be_bytes());
        let checksum = self.checksum(large, packet);
        put(packet, udp + UDP_CHECKSUM, &never_zero(checksum));
    }

    /// The checksum of a packet whose field still has the large packet's sum over the pseudo-header. Only the length differs
    /// there, so that the addresses need not be known (RFC 1624).
    fn checksum(&self, large: usize, packet: &[u8]) -> [u8; 2] {
        Sum::default()
            .add(&packet[self.transport..])
            .subtract_number(length(large - self.transport))
            .add_number(length(packet.len() - self.transport))
            .checksum()
    }
}

/// Completes a checksum of which only the pseudo-header's sum is there.
fn complete(header: Header, packet: &mut [u8]) {
    let start = usize::from(header.checksum_start);
    let field = start + usize::from(header.checksum_offset);
    if packet.len() < field + 2 {
        return;
    }
    let checksum = Sum::default().add(&packet[start..]).checksum();
    let is_udp = usize::from(header.checksum_offset) == UDP_CHECKSUM;
    put(packet, field, &if is_udp { never_zero(checksum) } else { checksum });
}

/// In UDP, zero means that there is no checksum (RFC 768).
fn never_zero(checksum: [u8; 2]) -> [u8; 2] {
    if checksum == [0; 2] { [0xff; 2] } else { checksum }
}
