//! One connection of one client, with everything that is known of it on all sides.

use std::net::SocketAddr;

use policies::{Generation, Instant};

use crate::endpoint::{Early, Endpoint};
use crate::segment::Segment;
use crate::stream::Stream;

/// The two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) client: SocketAddr,
    pub(crate) service: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Attempt {
    /// Which plan it carries out, by its place in the scenario.
    pub(crate) plan: usize,
    pub(crate) flow: Flow,
    pub(crate) isn: u32,
    /// What the client says, and what the guest says.
    pub(crate) streams: (Stream, Stream),
    pub(crate) client: Endpoint,
    /// The guest's end, if the guest that lives has one.
    pub(crate) guest: Option<Endpoint>,
    pub(crate) seen: Seen,
}

/// What passed the switch.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When the client's first SYN came.
    pub(crate) syn_at: Option<Instant>,
    /// How far the client's stream came without a gap, as a place; and what came beyond.
    pub(crate) delivered: i64,
    beyond: Vec<(i64, i64)>,
    /// Whether the client's own RST came and no SYN after it.
    pub(crate) withdrawn: bool,
    /// Since when a guest has answered, and which one.
    pub(crate) answered: Option<(Instant, Generation)>,
    /// The furthest place that the guest acknowledged.
    pub(crate) guest_ack: i64,
    /// What the client was shown.
    pub(crate) shown: Option<Shown>,
    /// A guest that had answered is gone.
    pub(crate) cut: bool,
    /// A guest refused that had had time enough to listen.
    pub(crate) refused: bool,
    /// The SYN of an attempt before this one came after its own, and took its place.
    pub(crate) overtook: bool,
    /// Its SYN got two different answers, because not even the first one could be remembered.
    pub(crate) answered_twice: bool,
}

/// What the client was shown since the SYN-ACK.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) iss: u32,
    /// The window scale, if both sides have one.
    pub(crate) scale: u8,
    pub(crate) ack: i64,
    /// The furthest right edge, and whether it is a guest's.
    pub(crate) edge: i64,
    pub(crate) edge_is_guests: bool,
    /// The furthest right edge while no guest had answered, and what was acknowledged then.
    pub(crate) early: Early,
}

impl Seen {
    /// A segment of the client with stream octets came to the switch.
    pub(crate) fn deliver(&mut self, from: i64, to: i64) {
        self.delivered = self.delivered.max(1);
        self.beyond.push((from, to));
        while let Some(index) = self.beyond.iter().position(|(from, _)| *from <= self.delivered) {
            let (_, to) = self.beyond.swap_remove(index);
            self.delivered = self.delivered.max(to);
        }
    }

    /// Octets that the switch has acknowledged and the guest has not.
    pub(crate) fn early(&self, stream: Stream) -> i64 {
        let shown = self.shown.map_or(1, |shown| shown.ack).min(stream.length + 1);
        (shown - self.guest_ack.max(1)).max(0)
    }
}

impl Attempt {
    /// The place of a number in the client's space; numbers of other attempts are far away.
    pub(crate) fn place(&self, number: u32) -> i64 {
        number.wrapping_sub(self.isn).cast_signed().into()
    }

    /// Whether a segment to the client is about this attempt.
    pub(crate) fn is_meant(&self, segment: &Segment) -> bool {
        match (segment.ack, self.seen.shown) {
            (Some(ack), _) => self.place(ack).unsigned_abs() < 1 << 22,
            (None, Some(shown)) => {
                i64::from(segment.seq.wrapping_sub(shown.iss).cast_signed()).unsigned_abs()
                    < 1 << 22
            }
            (None, None) => false,
        }
    }
}
