//! The half of an endpoint that sends: what is in flight, what the other side takes, what it has.
//!
//! Places are counted from the initial sequence number: the SYN has 0, the stream begins at 1, the FIN comes
//! right after it.

use std::time::Duration;

use policies::Instant;

use crate::random::Random;
use crate::stream::Stream;

/// Until a SYN is sent again (RFC 6298, section 2).
const SYN_TIMEOUT: Duration = Duration::from_secs(1);
/// The first and the longest time until something else is sent again.
const FIRST_TIMEOUT: Duration = Duration::from_millis(250);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Octets that are to be sent, and whether the FIN comes with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) fin: bool,
}

#[derive(Debug)]
pub(super) struct Sender {
    pub(super) stream: Stream,
    pub(super) una: i64,
    pub(super) nxt: i64,
    /// After everything that was ever sent.
    pub(super) max: i64,
    /// The right edge of the other side's window.
    edge: i64,
    /// The place in the other side's stream and the acknowledgment that the edge was taken from.
    edge_from: (i64, i64),
    /// Octets in flight at most.
    flight: i64,
    /// How much of the stream the application has written.
    pub(super) written: i64,
    /// Whether the application wants the FIN to follow.
    pub(super) closing: bool,
    sacked: Vec<(i64, i64)>,
    duplicates: u32,
    /// Up to where holes were filled since the duplicates began.
    filled: i64,
    pub(super) due: Option<Instant>,
    timeout: Duration,
    probing: bool,
}

/// What to do when nothing came back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Everything is sent again from here.
    Resend,
    /// The window is closed: ask whether it still is.
    Probe,
}

impl Sender {
    pub(super) fn new(stream: Stream, flight: u32) -> Self {
        Self {
            stream,
            una: 0,
            nxt: 0,
            max: 0,
            edge: 0,
            edge_from: (-1, -1),
            flight: flight.into(),
            written: 0,
            closing: false,
            sacked: Vec::new(),
            duplicates: 0,
            filled: 0,
            due: None,
            timeout: SYN_TIMEOUT,
            probing: false,
        }
    }

    /// The place of the FIN.
    const fn fin(&self) -> i64 {
        self.stream.length + 1
    }

    /// Whether all was said and heard.
    pub(super) const fn is_finished(&self) -> bool {
        self.una > self.fin()
    }

    const fn is_fin_ready(&self) -> bool {
        self.closing && self.written == self.stream.length
    }

    /// After the last place that may be sent now as far as the application goes.
    const fn ready(&self) -> i64 {
        self.written + 1 + if self.is_fin_ready() { 1 } else { 0 }
    }

    /// An acknowledgment with a window, in a segment that begins at `seq`. Returns a hole that is to be filled.
    pub(super) fn acknowledged(
        &mut self,
        now: Instant,
        (seq, ack): (i64, i64),
        window: i64,
        blocks: &[(i64, i64)],
        is_bare: bool,
    ) -> Option<i64> {
        if ack < self.una {
            return None;
        }
        let before = self.edge;
        if self.edge_from <= (seq, ack) {
            self.edge_from = (seq, ack);
            self.edge = ack + window;
            if self.edge > before && std::mem::take(&mut self.probing) {
                self.nxt = self.una.max(ack);
            }
        }
        self.sacked.extend(blocks.iter().filter(|block| block.0 > ack));
        self.sacked.sort_unstable();
        if ack > self.una {
            self.una = ack;
            self.nxt = self.nxt.max(ack);
            self.sacked.retain(|block| block.1 > ack);
            (self.duplicates, self.filled) = (0, ack);
            self.timeout = FIRST_TIMEOUT;
            self.due = None;
            self.start_timer(now);
            return None;
        }
        if is_bare && self.edge == before && self.una < self.max {
            self.duplicates += 1;
            return if self.duplicates >= 3 { self.next_hole() } else { None };
        }
        None
    }

    /// Where something is missing on the other side that was not sent again yet.
    fn next_hole(&mut self) -> Option<i64> {
        let mut hole = self.filled.max(self.una);
        for (from, to) in &self.sacked {
            if (*from..*to).contains(&hole) {
                hole = *to;
            }
        }
        let is_known = self.sacked.last().is_some_and(|(from, _)| hole < *from);
        if !is_known && (hole != self.una || self.duplicates > 3) {
            return None;
        }
        self.filled = hole + 1;
        Some(hole)
    }

    /// The octets at a hole, up to what the other side has.
    pub(super) fn fill(&mut self, hole: i64, size: i64) -> Piece {
        let next = self.sacked.iter().map(|(from, _)| *from).find(|from| *from > hole);
        let end = self.max.min(next.unwrap_or(i64::MAX)).min(self.fin());
        let to = end.min(hole + size).max(hole);
        self.filled = self.filled.max(to);
        Piece { from: hole, to, fin: to == self.fin() && self.max > self.fin() }
    }

    /// What is to be sent next, if the window lets it go; `size` is asked for how large the piece may be.
    pub(super) fn next_piece(&mut self, now: Instant, size: impl FnOnce() -> i64) -> Option<Piece> {
        while let Some(block) =
            self.sacked.iter().find(|block| block.0 <= self.nxt && self.nxt < block.1)
        {
            self.nxt = block.1;
        }
        let stop = self.sacked.iter().map(|(from, _)| *from).find(|from| *from > self.nxt);
        let limit = self.edge.min(self.una + self.flight).min(self.written + 1);
        let limit = limit.min(stop.unwrap_or(i64::MAX));
        let from = self.nxt;
        let to = if from < limit { limit.min(from + size().max(1)) } else { from };
        // A FIN needs no room of its own, as with most stacks, but all before it must have had it.
        let fin = to == self.fin() && self.is_fin_ready() && self.edge >= to;
        if from == to && !fin {
            self.start_timer(now);
            return None;
        }
        self.sent(now, to + i64::from(fin));
        Some(Piece { from, to, fin })
    }

    /// Everything up to here is in flight.
    pub(super) fn sent(&mut self, now: Instant, nxt: i64) {
        self.nxt = nxt;
        self.max = self.max.max(nxt);
        self.start_timer(now);
    }

    fn start_timer(&mut self, now: Instant) {
        if self.una >= self.max.max(self.ready()) {
            self.due = None;
        } else if self.due.is_none() {
            self.due = Some(now + self.timeout);
        }
    }

    /// The timer is due: what is in flight may be lost, or the window's opening was.
    pub(super) fn overdue(&mut self, now: Instant, random: &mut Random) -> Overdue {
        self.timeout = (self.timeout * 2).min(LONGEST_TIMEOUT);
        self.due = Some(now + self.timeout + Duration::from_millis(random.below(20)));
        self.nxt = self.una;
        // The other side may have thrown away what it reported (RFC 2018, section 8).
        self.sacked.clear();
        self.duplicates = 0;
        if self.una > 0 && self.edge <= self.una && self.una < self.fin() {
            self.probing = true;
            Overdue::Probe
        } else {
            Overdue::Resend
        }
    }

    /// Puts down what the other side says in its SYN or SYN-ACK.
    pub(super) fn opened(&mut self, window: i64) {
        (self.edge, self.edge_from) = (window, (0, 0));
    }

    /// Begins with the stream; the SYN is acknowledged.
    pub(super) fn established(&mut self, window: i64) {
        (self.una, self.nxt, self.max) = (1, 1, 1);
        (self.edge, self.edge_from) = (1 + window, (0, 1));
        (self.timeout, self.due) = (FIRST_TIMEOUT, None);
    }
}
