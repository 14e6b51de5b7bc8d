//! Services on an Ethernet segment that others live on too: the house's own network.
//!
//! [`Lan`] stands between such a segment and the switch's uplink. It turns the frames that are for a service into the
//! bare IP packets that the [`Switch`](crate::Switch) takes, and the switch's packets into frames for the right
//! neighbour. Like the switch it is a value: frames, commands and the time go in, frames and events come out.
//!
//! # Its own addresses
//!
//! ```text
//!                      three probes,              two
//!     claim, link up   nobody minds   announcing  announcements
//!     --------------> probing -------------------> held
//!                        |  ^                        |  another host claims it:
//!         another host   |  | after a while,         |  announced again, at most every 10 s;
//!         claims it      v  | not all at once        |  never given up (RFC 5227, section 2.4, (c))
//!                       lost                         v
//! ```
//!
//! Who asks for an address is answered in every stage but `lost`, while the probes are still out too: a service must
//! not be away for seconds because its daemon was started again (the idea is RFC 4429's). What is not done before
//! nobody has objected is to change what others know: announcements overwrite, answers only tell who asked, and in
//! IPv6 without the override flag.
//!
//! # Neighbours
//!
//! A neighbour's link-layer address is taken from the answer to our question. It is also taken from its own question about
//! one of our addresses (RFC 826; RFC 4861, section 7.2.3), but only where nothing confirmed is overwritten: an entry
//! that its owner confirmed in the last 30 seconds stays as it is, and the owner is asked. What only pretends to be an answer
//! changes nothing. So whoever wants to take a neighbour's packets has to silence it first; ARP can give no more.
//!
//! An entry in use is confirmed every 30 seconds by a question to the neighbour itself, which costs nothing that waits.
//! Packets for a neighbour that is not known yet wait for the answer, in a bounded queue: of one neighbour's the oldest gives
//! way (RFC 4861, section 7.2.2), beyond the bound on all of them the newest is dropped. After three questions, one a
//! second, they are dropped. All tables are bounded; a neighbour that nobody asked for never displaces one that is known.
//!
//! # Required reading
//!
//! RFC 826 and 5227 (ARP and its conflicts), RFC 4861 and 4862 (neighbours, duplicate addresses), RFC 3810
//! (groups, as switches that snoop must be told of them).

mod arp;
mod claims;
mod counters;
mod discovery;
mod groups;
mod neighbours;
pub mod offload;
mod prefix;
mod segment;
#[cfg(test)]
mod tests;

pub use counters::LanCounters;
pub use prefix::Prefix;
pub use segment::{Lan, LanConfig, LanEvent, SegmentSink};

/// A link-layer address (IEEE 802 MAC-48).
pub type Mac = [u8; 6];

/// A link-layer address for the services, beside that of the interface that they are reached by: the same one at each start,
/// so that what neighbours remember stays right.
///
/// Locally administered (IEEE 802: the second-lowest bit of the first octet).
#[must_use]
pub fn services_mac(interface: Mac) -> Mac {
    let [a, b, c, d, ..] = spread(interface, b"services").to_be_bytes();
    [0x02, 0x47, a, b, c, d]
}

/// Everybody on the segment.
const BROADCAST: Mac = [0xff; 6];
const ETHERNET_HEADER: usize = 14;

/// Whether frames can come from here: not a group's address, and not that of nobody.
const fn is_station(mac: Mac) -> bool {
    mac[0] & 1 == 0 && !matches!(mac, [0, 0, 0, 0, 0, 0])
}

/// A number that differs from station to station and from address to address: so that what many do is not done by
/// all of them at once. FNV-1a; nothing depends on its being unpredictable.
fn spread(mac: Mac, salt: &[u8]) -> u64 {
    mac.iter().chain(salt).fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}
