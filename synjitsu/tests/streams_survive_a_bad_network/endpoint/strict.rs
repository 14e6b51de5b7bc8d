//! What a correct other end never sends.

use policies::Instant;

use super::speaking::clock;
use super::{Endpoint, State};
use crate::segment::{Checked, Segment, ensure};

/// What of a client's stream the switch has acknowledged by itself, and up to where it has let the client send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Early {
    /// After the last octet that it acknowledged.
    pub(crate) acknowledged: i64,
    /// The furthest right edge that it showed.
    pub(crate) edge: i64,
    /// How large it said that segments may be.
    pub(crate) mss: u16,
}

impl Endpoint {
    /// Judges a SYN-ACK that answers the own SYN.
    pub(super) fn judge_answer(&self, segment: &Segment) -> Checked {
        let offered = self.stack;
        ensure!(!segment.fin && segment.payload.is_empty(), "a SYN-ACK that says more");
        ensure!(
            segment.window_scale.is_none() || offered.window_scale.is_some(),
            "window scale was not offered"
        );
        ensure!(!segment.sack_permitted || offered.sack, "SACK was not offered");
        ensure!(segment.timestamps.is_none() || offered.timestamps, "timestamps were not offered");
        ensure!(segment.mss.is_some_and(|mss| mss >= 64), "an MSS of {:?}", segment.mss);
        Ok(())
    }

    /// Whether the numbers of a segment are those of another connection: they are far away, as initial numbers
    /// of one pair of ports always are here.
    pub(super) fn is_strange(&self, segment: &Segment) -> bool {
        let is_far = |place: i64| place.unsigned_abs() >= 1 << 22;
        is_far(self.peer_place(segment.seq))
            || segment.ack.is_some_and(|ack| is_far(self.own_place(ack)))
    }

    /// Judges a segment of the open connection that is neither SYN nor RST.
    pub(super) fn judge(&self, now: Instant, segment: &Segment) -> Checked {
        let Some(ack) = segment.ack else { return Err("a segment without ACK".into()) };
        let (ack, max) = (self.own_place(ack), self.sender.max);
        ensure!((0..=max).contains(&ack), "acknowledges {ack} of {max} sent");
        self.judge_options(now, segment, ack)?;

        let expected = self.receiver.stream;
        let from = self.peer_place(segment.seq);
        let to = from + i64::from(segment.length());
        let end = expected.length + 1;
        // After a FIN an acknowledgment is one further.
        let last = end + i64::from(segment.space() == 0);
        ensure!(from >= 0 && to <= last, "octets {from}..{to} of a stream that has 1..{end}");
        ensure!(!segment.fin || to == end, "a FIN at {to} of a stream that ends at {end}");
        if !segment.payload.is_empty() {
            // A keep-alive may have a senseless octet before the stream (RFC 9293, section 3.8.4).
            ensure!(from >= 1, "an octet in the SYN's place");
            let difference = expected.difference(from - 1, &segment.payload);
            ensure!(difference.is_none(), "octet {difference:?} is another one than was sent");
        }
        let size = segment.payload.len() + segment.options_length();
        // A client that was answered in this end's name was told another MSS, and that cannot be taken back.
        let mss = self.early.map_or(0, |early| early.mss).max(self.stack.mss);
        ensure!(size <= mss.into(), "{size} octets for an MSS of {mss}");
        self.judge_window(from, to)
    }

    fn judge_options(&self, now: Instant, segment: &Segment, ack: i64) -> Checked {
        let agreed = self.agreed;
        ensure!(
            segment.timestamps.is_some() == agreed.timestamps,
            "timestamps {:?}, agreed: {}",
            segment.timestamps,
            agreed.timestamps
        );
        if let Some((_, echo)) = segment.timestamps {
            let age = clock(now).wrapping_sub(echo).cast_signed();
            ensure!(age >= 0, "echoes a timestamp of the future: {echo}");
        }
        ensure!(segment.sack.is_empty() || agreed.sack, "SACK was not agreed on");
        for (from, to) in &segment.sack {
            let (from, to) = (self.own_place(*from), self.own_place(*to));
            ensure!(from < to && to <= self.sender.max, "SACK of {from}..{to}, which was not sent");
            // No end here reports duplicates (RFC 2883).
            ensure!(from > ack, "SACK of {from}..{to}, which is acknowledged by {ack}");
        }
        Ok(())
    }

    fn judge_window(&self, from: i64, to: i64) -> Checked {
        let promised = self.receiver.promised;
        // A closed window is probed with one octet (RFC 9293, section 3.8.6.1).
        if to <= promised || to - from <= 1 {
            return Ok(());
        }
        // What a client sent before it could know this window comes as it is; what the switch has taken over
        // is the switch's to cut.
        let may_exceed = |early: Early| to <= early.edge && to > early.acknowledged;
        ensure!(
            self.early.is_some_and(may_exceed),
            "octets {from}..{to} beyond the window, which ends at {promised}; early: {:?}",
            self.early
        );
        Ok(())
    }

    /// A word about it for a trace.
    pub(crate) fn describe(&self) -> String {
        let State::Closed(cause) = self.state else {
            return format!(
                "{:?}: sent {}, acknowledged {}, of {}; received {} of {}, promised {}",
                self.state,
                self.sender.max,
                self.sender.una,
                self.sender.stream.length,
                self.received(),
                self.receiver.stream.length,
                self.receiver.promised,
            );
        };
        format!("closed: {cause:?}")
    }
}
