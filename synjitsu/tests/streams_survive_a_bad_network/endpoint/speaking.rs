//! What an endpoint says, and when.

use policies::Instant;

use super::sender::{Overdue, Piece};
use super::{Cause, Endpoint, KEEP_ALIVE, State};
use crate::segment::Segment;

impl Endpoint {
    /// Does what is due, and gives out what is to be sent.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Segment> {
        if self.aborts_at.is_some_and(|at| at <= now) {
            self.aborts_at = None;
            self.abort();
        }
        match self.state {
            State::SynSent | State::SynReceived => self.poll_opening(now),
            State::Established => self.poll_established(now),
            State::Done | State::Closed(_) => {}
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            let bare = self.segment(now, self.sender.max, &[], false);
            self.out.push(bare);
        }
        std::mem::take(&mut self.out)
    }

    /// The application gives up; the other side is told if it can know of the connection.
    fn abort(&mut self) {
        if matches!(self.state, State::SynReceived | State::Established) {
            let ack = Some(self.peer_number(self.receiver.nxt));
            let seq = self.own_number(self.sender.max);
            self.out.push(Segment { seq, ack, rst: true, ..Segment::default() });
        }
        if !self.is_over() {
            self.close(Cause::Aborted);
        }
    }

    fn poll_opening(&mut self, now: Instant) {
        if self.sender.max == 0 {
            self.speak_syn(now);
        } else if self.sender.due.is_some_and(|due| due <= now) {
            let _ = self.sender.overdue(now, &mut self.random);
            self.speak_syn(now);
        }
    }

    fn poll_established(&mut self, now: Instant) {
        if self.tick_at.is_some_and(|at| at <= now) {
            self.tick(now);
        } else {
            self.sender.closing = self.application.closes_first || self.receiver.is_complete();
        }
        if self.sender.due.is_some_and(|due| due <= now) {
            match self.sender.overdue(now, &mut self.random) {
                Overdue::Probe => self.speak_probe(now),
                Overdue::Resend => {}
            }
        }
        let (most, any) = (self.room(), self.stack.random_sizes);
        loop {
            let random = &mut self.random;
            let size =
                || if any { 1 + random.below(most.cast_unsigned()).cast_signed() } else { most };
            let Some(piece) = self.sender.next_piece(now, size) else { break };
            self.speak(now, piece);
        }
        if self.heard + KEEP_ALIVE <= now {
            self.heard = now;
            let old = self.sender.max - 1;
            let keep_alive = self.segment(now, old, &[], false);
            self.out.push(keep_alive);
        }
    }

    /// Octets of payload that go into the next segment beside the options.
    fn room(&self) -> i64 {
        let options = self.dressed(Segment::default()).options_length();
        let room = self.agreed.mss.saturating_sub(options).max(1);
        i64::try_from(room).expect("an MSS is small")
    }

    /// The SYN or SYN-ACK, for the first time or once more.
    pub(super) fn speak_syn(&mut self, now: Instant) {
        let answers = self.state == State::SynReceived;
        let agreed = self.agreed;
        let syn = Segment {
            seq: self.isn,
            ack: answers.then(|| self.peer_number(1)),
            syn: true,
            window: self.receiver.window(0),
            mss: Some(self.stack.mss),
            // The answer repeats what was offered, as far as it is wanted.
            window_scale: self.stack.window_scale.filter(|_| !answers || agreed.scaled),
            sack_permitted: if answers { agreed.sack } else { self.stack.sack },
            timestamps: (if answers { agreed.timestamps } else { self.stack.timestamps })
                .then(|| (clock(now), self.ts_recent)),
            padding: self.stack.padding,
            ..Segment::default()
        };
        if self.sender.max == 0 {
            self.sender.sent(now, 1);
        }
        self.out.push(syn);
    }

    fn speak(&mut self, now: Instant, Piece { from, to, fin }: Piece) {
        let payload = self.sender.stream.octets(from - 1, to - 1);
        let segment = self.segment(now, from, &payload, fin);
        self.out.push(segment);
    }

    pub(super) fn speak_hole(&mut self, now: Instant, hole: i64) {
        let size = self.room();
        let piece = self.sender.fill(hole, size);
        self.speak(now, piece);
    }

    /// Asks whether the window is still closed.
    fn speak_probe(&mut self, now: Instant) {
        let una = self.sender.una;
        if self.stack.probes_with_octet && una <= self.sender.written {
            self.sender.sent(now, una + 1);
            self.speak(now, Piece { from: una, to: una + 1, fin: false });
        } else {
            let probe = self.segment(now, una - 1, &[], false);
            self.out.push(probe);
        }
    }

    /// The next [`poll`](Self::poll) acknowledges, unless data go out that do it as well.
    pub(super) fn acknowledge_at_once(&mut self, now: Instant) {
        self.ack_at = Some(now);
    }

    /// A segment of the open connection; it acknowledges what came.
    fn segment(&mut self, now: Instant, place: i64, payload: &[u8], fin: bool) -> Segment {
        (self.ack_at, self.unacknowledged) = (None, 0);
        let plain = Segment {
            seq: self.own_number(place),
            ack: Some(self.peer_number(self.receiver.nxt)),
            fin,
            window: self.receiver.window(self.agreed.scale),
            payload: payload.to_vec(),
            timestamps: Some((clock(now), self.ts_recent)),
            ..Segment::default()
        };
        self.dressed(plain)
    }

    /// With the options that go with every segment, as far as they were agreed on.
    fn dressed(&self, segment: Segment) -> Segment {
        let most = if self.agreed.timestamps { 3 } else { 4 };
        let blocks = if self.agreed.sack { self.receiver.blocks(most) } else { Vec::new() };
        let sack = blocks
            .into_iter()
            .map(|(from, to)| (self.peer_number(from), self.peer_number(to)))
            .collect();
        let timestamps = self.agreed.timestamps.then(|| segment.timestamps.unwrap_or_default());
        let padding = self.stack.padding;
        let mut dressed = Segment { sack, timestamps, padding, ..segment };
        // Only as many no-operations as there is room for, and none where there is nothing to align.
        if dressed.sack.is_empty() && dressed.timestamps.is_none() {
            dressed.padding = 0;
        }
        while dressed.options_length() > 40 {
            dressed.padding -= 1;
        }
        dressed
    }

    pub(super) fn own_number(&self, place: i64) -> u32 {
        number(self.isn, place)
    }

    pub(super) fn peer_number(&self, place: i64) -> u32 {
        number(self.irs, place)
    }

    pub(super) fn own_place(&self, number: u32) -> i64 {
        number.wrapping_sub(self.isn).cast_signed().into()
    }

    pub(super) fn peer_place(&self, number: u32) -> i64 {
        number.wrapping_sub(self.irs).cast_signed().into()
    }
}

/// The number of a place, on the circle.
fn number(first: u32, place: i64) -> u32 {
    let place = place.rem_euclid(1 << 32);
    first.wrapping_add(u32::try_from(place).expect("the remainder has 32 bits"))
}

/// The clock of timestamps: milliseconds.
pub(super) fn clock(now: Instant) -> u32 {
    u32::try_from(now.as_nanos() / 1_000_000 % (1 << 32)).expect("the remainder has 32 bits")
}
