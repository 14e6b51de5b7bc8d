//! Places in IP, TCP and UDP headers. Each is read or written only after the packet was found to be long enough.

pub(super) const TCP: u8 = 6;

/// TCP flags (RFC 9293, section 3.1, octet 13).
pub(super) const FIN: u8 = 1;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;
pub(super) const ECE: u8 = 64;
pub(super) const CWR: u8 = 128;

/// From a TCP header's beginning.
pub(super) const TCP_SEQ: usize = 4;
pub(super) const TCP_OFFSET: usize = 12;
pub(super) const TCP_FLAGS: usize = 13;
pub(super) const TCP_CHECKSUM: usize = 16;
pub(super) const TCP_HEADER: usize = 20;

/// From a UDP header's beginning.
pub(super) const UDP_LENGTH: usize = 4;
pub(super) const UDP_CHECKSUM: usize = 6;
pub(super) const UDP_HEADER: usize = 8;

/// From an IPv4 header's beginning.
pub(super) const V4_LENGTH: usize = 2;
pub(super) const V4_ID: usize = 4;
pub(super) const V4_FRAGMENT: usize = 6;
pub(super) const V4_CHECKSUM: usize = 10;
pub(super) const V4_HEADER: usize = 20;

/// From an IPv6 header's beginning.
pub(super) const V6_LENGTH: usize = 4;
pub(super) const V6_HEADER: usize = 40;

pub(super) fn get16(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

pub(super) fn get32(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

pub(super) fn put(octets: &mut [u8], at: usize, value: &[u8]) {
    octets[at..at + value.len()].copy_from_slice(value);
}

/// A length in a header; packets are at most [`LARGEST`](super::LARGEST) long.
pub(super) fn length(octets: usize) -> u16 {
    u16::try_from(octets).unwrap_or(u16::MAX)
}
