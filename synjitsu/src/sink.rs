//! Where frames come from and go to.

use policies::{Generation, ServiceId};

/// One side of the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortId {
    /// The way to the clients; carries bare IP packets.
    Uplink,
    /// The guest of one boot of one service; carries Ethernet frames.
    Guest {
        /// Whose guest.
        service: ServiceId,
        /// Which boot.
        generation: Generation,
    },
}

/// Takes what the switch sends.
///
/// The driver's implementation writes to descriptors, the tests' one remembers.
pub trait FrameSink {
    /// Sends `head` followed by `body` as one packet (uplink) or frame (guest).
    ///
    /// Two parts, so that a link-layer header is put before a packet without copying it. A full descriptor
    /// loses the frame, as a network may.
    fn send(&mut self, to: PortId, head: &[u8], body: &[u8]);
}
