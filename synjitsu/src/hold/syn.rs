//! The SYN of a flow, kept until the guest answers it.
//!
//! The first transmission is kept and the others are counted: they say the same. Only the initial sequence
//! number tells a new attempt from the same one.

use std::time::Duration;

use policies::Instant;

use crate::flow::FlowKey;
use crate::frame::Segment;
use crate::handshake::Client;
use crate::replay::Replay;
use crate::seq::SeqNumber;

/// What is remembered of a held SYN beside the packet.
#[derive(Debug)]
pub(crate) struct HeldSyn {
    pub(crate) key: FlowKey,
    pub(crate) segment: Segment,
    /// Whether the guest of the open port, or one before it, refused the connection.
    pub(crate) refused: bool,
    /// How the SYN is being given to the guest, if the port is open.
    pub(crate) replay: Option<Replay>,
    /// The connection with the client, if it was answered already.
    pub(crate) answered: Option<Box<Answered>>,
}

/// A connection that the switch has answered in the guest's name.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) client: Client,
    /// The answer is given once more at the point, unless the client has shown that it got it; and how long the next
    /// wait is (RFC 6298).
    pub(crate) again: Option<(Instant, Duration)>,
}

impl HeldSyn {
    pub(crate) const fn new(key: FlowKey, segment: Segment) -> Self {
        Self { key, segment, refused: false, replay: None, answered: None }
    }

    /// Whether the client was answered and has not said anything since.
    pub(crate) fn is_half_open(&self) -> bool {
        self.answered.as_ref().is_some_and(|answered| !answered.client.is_established())
    }

    /// Whether the client has seen our answer, so that its address is not forged.
    pub(crate) fn is_proven(&self) -> bool {
        self.answered.as_ref().is_some_and(|answered| answered.client.is_established())
    }

    /// What the guest acknowledges with its SYN-ACK, without octets in the SYN (RFC 9293, section 3.5).
    const fn acknowledged(&self) -> SeqNumber {
        self.segment.seq.after(1)
    }

    /// Whether a segment of the client is one more transmission of the held one.
    pub(crate) fn is_same_attempt(&self, segment: &Segment) -> bool {
        segment.is_first_syn() && segment.seq == self.segment.seq
    }

    /// Whether a RST of the client is about this attempt; a forged one has to guess the number.
    pub(crate) fn is_given_up_by(&self, segment: &Segment) -> bool {
        segment.rst && (segment.seq == self.segment.seq || segment.seq == self.acknowledged())
    }

    /// Whether a segment of the guest accepts the connection, with or without the octets in the SYN.
    pub(crate) fn is_accepted_by(&self, segment: &Segment) -> bool {
        let acceptable = [self.acknowledged(), self.segment.end()];
        segment.syn && !segment.rst && segment.ack.is_some_and(|ack| acceptable.contains(&ack))
    }

    /// Whether a segment of the guest refuses the connection.
    pub(crate) fn is_refused_by(&self, segment: &Segment) -> bool {
        let acceptable = [self.acknowledged(), self.segment.end()];
        segment.rst && segment.ack.is_some_and(|ack| acceptable.contains(&ack))
    }

    /// When the next replay is due, if any is.
    pub(crate) fn replay_at(&self) -> Option<Instant> {
        self.replay.as_ref().map(|replay| replay.next)
    }
}
