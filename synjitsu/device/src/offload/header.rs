//! What stands before each packet (`struct virtio_net_hdr`, virtio 1.3, section 5.1.6), in the machine's own order of octets.

/// Octets of it.
pub(crate) const HEADER: usize = 10;

/// The checksum is not complete: the field holds the sum of the pseudo-header only.
const NEEDS_CHECKSUM: u8 = 1;
/// With others: the first segment alone has CWR (RFC 3168, section 6.1.2).
const ECN: u8 = 0x80;

/// How a large packet is to be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not at all.
    None,
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP, a datagram each.
    Udp,
}

/// The header, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// CWR is the first segment's alone.
    pub(crate) ecn: bool,
    /// Whether the transport's checksum is not complete.
    pub(crate) needs_checksum: bool,
    /// Octets of IP and transport headers; a hint.
    pub(crate) headers: u16,
    /// Octets of payload in each packet but the last.
    pub(crate) size: u16,
    /// Where the transport's header begins.
    pub(crate) checksum_start: u16,
    /// Where its checksum is, from there.
    pub(crate) checksum_offset: u16,
}

impl Header {
    /// Of a packet that is complete.
    pub(crate) const PLAIN: Self = Self {
        kind: Kind::None,
        ecn: false,
        needs_checksum: false,
        headers: 0,
        size: 0,
        checksum_start: 0,
        checksum_offset: 0,
    };

    /// Reads it; `None` when it asks for what was not agreed on.
    pub(crate) fn from_bytes(octets: [u8; HEADER]) -> Option<Self> {
        let [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1] = octets;
        let number = |first, second| u16::from_ne_bytes([first, second]);
        let ecn = kind & ECN != 0;
        let kind = match kind & !ECN {
            0 => Kind::None,
            1 => Kind::TcpV4,
            4 => Kind::TcpV6,
            5 => Kind::Udp,
            _ => return None,
        };
        Some(Self {
            kind,
            ecn,
            needs_checksum: flags & NEEDS_CHECKSUM != 0,
            headers: number(h0, h1),
            size: number(s0, s1),
            checksum_start: number(c0, c1),
            checksum_offset: number(o0, o1),
        })
    }

    /// Its octets.
    pub(crate) const fn to_bytes(self) -> [u8; HEADER] {
        let kind = match self.kind {
            Kind::None => 0,
            Kind::TcpV4 => 1,
            Kind::TcpV6 => 4,
            Kind::Udp => 5,
        };
        let kind = if self.ecn { kind | ECN } else { kind };
        let flags = if self.needs_checksum { NEEDS_CHECKSUM } else { 0 };
        let [h0, h1] = self.headers.to_ne_bytes();
        let [s0, s1] = self.size.to_ne_bytes();
        let [c0, c1] = self.checksum_start.to_ne_bytes();
        let [o0, o1] = self.checksum_offset.to_ne_bytes();
        [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_kernels_layout() {
        let header = Header {
            kind: Kind::TcpV6,
            ecn: true,
            needs_checksum: true,
            headers: 60,
            size: 1440,
            checksum_start: 40,
            checksum_offset: 16,
        };
        let octets = header.to_bytes();
        assert_eq!(octets[..2], [1, 0x84]);
        assert_eq!(u16::from_ne_bytes([octets[4], octets[5]]), 1440);
        assert_eq!(Header::from_bytes(octets), Some(header));
        assert_eq!(Header::PLAIN.to_bytes(), [0; HEADER]);
        assert_eq!(
            Header::from_bytes([0, 3, 0, 0, 0, 0, 0, 0, 0, 0]),
            None,
            "UFO was not agreed on"
        );
    }
}
