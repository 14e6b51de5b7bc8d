//! Segmentation for the uplink: the kernel hands over and takes many segments of a flow as one packet of up to 64 KiB, so
//! that they cost one system call and one way through its network stack; the switch sees and sends plain packets.
//!
//! ```text
//!   kernel --one large packet--> split --packets--> switch --packets--> merge --one large packet--> kernel
//! ```
//!
//! Required reading: virtio 1.3, section 5.1.6 (the header before each packet), RFC 9293 (TCP), RFC 1071 and 1624
//! (checksums), RFC 6864 (the IPv4 identification). Whatever cannot be merged goes its way as it is; a packet waits for
//! others only until the end of the burst that it came in.
//!
//! No system call is here: [`BulkTun`](crate::BulkTun) makes those.

mod checksum;
mod header;
mod merge;
mod packet;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use header::{HEADER, Header};
pub(crate) use merge::{Merger, Write};
pub(crate) use split::Split;

/// The longest packet that the kernel hands over or takes: an IPv6 payload and its header.
pub(crate) const LARGEST: usize = 40 + 0xffff;
