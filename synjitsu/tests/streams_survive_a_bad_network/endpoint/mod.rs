//! One end of a TCP connection, as a value: a stack with its settings and an application on top of it.
//!
//! It does what stacks do, on the simple side where that is allowed, and everything it gets is judged
//! ([`strict`]): whatever a correct other end would never send is a violation.
//!
//! Required reading: RFC 9293 (3.10.7), 7323 (window scale, timestamps), 2018 (SACK), 5961 (blind attacks).

mod receiver;
mod sender;
mod settings;
mod speaking;
mod strict;

use std::time::Duration;

use policies::Instant;

use crate::random::Random;
use crate::segment::{Checked, Segment};
use crate::stream::Stream;
use receiver::Receiver;
use sender::Sender;

pub(crate) use settings::{Application, Stack};
pub(crate) use strict::Early;

/// The application reads and writes so often.
const TICK: Duration = Duration::from_millis(5);
/// A connection on which nothing was heard for so long is asked whether it still is one.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    /// Both streams and both FINs went through; it still answers.
    Done,
    Closed(Cause),
}

/// Why a connection was closed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The other side, or somebody in its name, sent a RST.
    Reset,
    /// The application gave up.
    Aborted,
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, Default)]
struct Agreed {
    /// Whether windows are scaled at all.
    scaled: bool,
    /// Of the own windows.
    scale: u8,
    /// Of the other side's windows.
    peer_scale: u8,
    sack: bool,
    timestamps: bool,
    /// Octets of a segment with its options at most.
    mss: usize,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    stack: Stack,
    application: Application,
    pub(crate) state: State,
    serves: bool,
    isn: u32,
    irs: u32,
    agreed: Agreed,
    sender: Sender,
    receiver: Receiver,
    random: Random,
    /// What was acknowledged early in this end's name, if it is a guest's.
    early: Option<Early>,
    out: Vec<Segment>,
    /// In-order segments that are not acknowledged yet, and until when that may stay so.
    unacknowledged: u32,
    ack_at: Option<Instant>,
    tick_at: Option<Instant>,
    heard: Instant,
    ts_recent: u32,
    aborts_at: Option<Instant>,
}

impl Endpoint {
    /// A client; its SYN is sent when it is polled first.
    pub(crate) fn connect(
        now: Instant,
        (stack, application): (Stack, Application),
        (says, hears): (Stream, Stream),
        isn: u32,
        seed: u64,
    ) -> Self {
        Self {
            stack,
            application,
            state: State::SynSent,
            serves: false,
            isn,
            irs: 0,
            agreed: Agreed::default(),
            sender: Sender::new(says, stack.flight),
            receiver: Receiver::new(hears, stack.buffer, stack.mss, stack.reassembles),
            random: Random::new(seed),
            early: None,
            out: Vec::new(),
            unacknowledged: 0,
            ack_at: None,
            tick_at: None,
            heard: now,
            ts_recent: 0,
            aborts_at: None,
        }
    }

    /// A server that was sent a SYN.
    pub(crate) fn accept(
        now: Instant,
        settings: (Stack, Application),
        streams: (Stream, Stream),
        isn: u32,
        seed: u64,
        syn: &Segment,
    ) -> Self {
        let mut endpoint = Self::connect(now, settings, streams, isn, seed);
        (endpoint.state, endpoint.serves) = (State::SynReceived, true);
        endpoint.agree(syn);
        endpoint
    }

    pub(crate) fn abort_at(&mut self, at: Instant) {
        self.aborts_at = Some(at);
    }

    /// What of the client's stream was acknowledged before this guest had it.
    pub(crate) fn set_early(&mut self, early: Early) {
        self.early = Some(early);
    }

    pub(crate) const fn offers_scale(&self) -> bool {
        self.stack.window_scale.is_some()
    }

    pub(crate) const fn irs(&self) -> u32 {
        self.irs
    }

    /// Octets of the other side's stream that came in order.
    pub(crate) fn received(&self) -> i64 {
        self.receiver.received()
    }

    /// A number that changes when the connection comes further.
    pub(crate) fn progress(&self) -> i64 {
        self.sender.una + self.receiver.nxt + self.sender.written + i64::from(self.is_over())
    }

    /// Whether nothing more is to be done for it.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::Closed(_))
    }

    /// When it wants to be polled next.
    pub(crate) fn poll_at(&self) -> Option<Instant> {
        if self.is_over() {
            return self.ack_at;
        }
        let first = if self.sender.max == 0 { Some(self.heard) } else { None };
        let keep_alive = (self.state == State::Established).then(|| self.heard + KEEP_ALIVE);
        let all = [first, self.sender.due, self.ack_at, self.tick_at, self.aborts_at, keep_alive];
        all.into_iter().flatten().min()
    }

    /// Takes over what a SYN or SYN-ACK says.
    fn agree(&mut self, syn: &Segment) {
        self.irs = syn.seq;
        let scaled = self.stack.window_scale.zip(syn.window_scale);
        let (scale, peer_scale) = scaled.unwrap_or_default();
        self.agreed = Agreed {
            scaled: scaled.is_some(),
            scale,
            peer_scale,
            sack: self.stack.sack && syn.sack_permitted,
            timestamps: self.stack.timestamps && syn.timestamps.is_some(),
            // RFC 9293, section 3.7.1: the default of IPv4; smaller than that of IPv6.
            mss: syn.mss.unwrap_or(536).min(self.stack.mss).into(),
        };
        self.ts_recent = syn.timestamps.map_or(0, |(value, _)| value);
        self.receiver.opened();
        // The window of a SYN is never scaled (RFC 7323, section 2.2).
        self.sender.opened(syn.window.into());
    }

    /// A segment came; `is_anew` if there was a connection between the same ports before.
    pub(crate) fn handle(&mut self, now: Instant, segment: &Segment, is_anew: bool) -> Checked {
        let is_synchronized = !matches!(self.state, State::Closed(_) | State::SynSent);
        if is_synchronized && is_anew && !segment.rst && self.is_strange(segment) {
            // Of the connection before; who sent it is told what is true now (RFC 9293, section 3.10.7.4).
            self.acknowledge_at_once(now);
            return Ok(());
        }
        match self.state {
            State::Closed(_) => {
                self.out.extend(segment.reset());
                Ok(())
            }
            State::SynSent => self.handle_in_syn_sent(now, segment),
            State::SynReceived | State::Established | State::Done => {
                self.handle_synchronized(now, segment)
            }
        }
    }

    fn handle_in_syn_sent(&mut self, now: Instant, segment: &Segment) -> Checked {
        if segment.ack != Some(self.isn.wrapping_add(1)) {
            // Of another attempt; whoever sent it must learn that (RFC 9293, section 3.10.7.3).
            self.out.extend(segment.reset());
            return Ok(());
        }
        if segment.rst {
            self.close(Cause::Reset);
            return Ok(());
        }
        if !segment.syn {
            return Ok(());
        }
        self.judge_answer(segment)?;
        self.agree(segment);
        self.sender.established(segment.window.into());
        self.state = State::Established;
        self.heard = now;
        self.tick(now);
        if !(self.stack.eager && self.sender.written > 0) {
            self.acknowledge_at_once(now);
        }
        Ok(())
    }

    fn handle_synchronized(&mut self, now: Instant, segment: &Segment) -> Checked {
        if segment.syn {
            match self.state {
                // The SYN-ACK was lost; the timer may be far away.
                State::SynReceived if segment.seq == self.irs => self.speak_syn(now),
                // A challenge (RFC 5961, section 4): who lives knows better.
                _ => self.acknowledge_at_once(now),
            }
            return Ok(());
        }
        if segment.rst {
            return self.handle_reset(now, segment);
        }
        let ack = self.own_place(segment.ack.unwrap_or_default());
        if self.state == State::SynReceived && ack != 1 {
            // Nobody answers this end: the SYN was an old one (RFC 9293, section 3.10.7.4).
            self.out.extend(segment.reset());
            self.close(Cause::Aborted);
            return Ok(());
        }
        self.judge(now, segment)?;
        self.heard = now;
        let from = self.peer_place(segment.seq);
        let window = i64::from(segment.window) << self.agreed.peer_scale;
        if self.state == State::SynReceived {
            self.state = State::Established;
            self.sender.established(window);
            self.tick(now);
        }
        if from > self.receiver.promised.max(self.receiver.nxt) {
            // Nothing in it counts (RFC 9293, section 3.10.7.4).
            self.acknowledge_at_once(now);
            return Ok(());
        }
        if let Some((value, _)) = segment.timestamps
            && from <= self.receiver.nxt
        {
            self.ts_recent = self.ts_recent.max(value);
        }
        let blocks: Vec<_> = segment
            .sack
            .iter()
            .map(|(from, to)| (self.own_place(*from), self.own_place(*to)))
            .collect();
        let is_bare = segment.space() == 0;
        if let Some(hole) = self.sender.acknowledged(now, (from, ack), window, &blocks, is_bare) {
            self.speak_hole(now, hole);
        }
        self.take_payload(now, from, segment);
        self.notice_end();
        Ok(())
    }

    fn take_payload(&mut self, now: Instant, from: i64, segment: &Segment) {
        let to = from + i64::from(segment.space());
        if from == to {
            // A pure acknowledgment; an old number asks for an answer, as a keep-alive does.
            if from < self.receiver.nxt {
                self.acknowledge_at_once(now);
            }
            return;
        }
        let is_next = self.receiver.accept(from, to);
        self.unacknowledged += 1;
        if !is_next || segment.fin || self.receiver.has_gaps() || self.unacknowledged >= 2 {
            self.acknowledge_at_once(now);
        } else if self.ack_at.is_none() {
            self.ack_at = Some(now + self.stack.ack_delay);
        }
        if self.tick_at.is_none() {
            self.tick_at = Some(now + TICK);
        }
    }

    fn handle_reset(&mut self, now: Instant, segment: &Segment) -> Checked {
        let distance = segment.seq.wrapping_sub(self.peer_number(self.receiver.nxt));
        let window = u32::try_from(self.receiver.promised - self.receiver.nxt).unwrap_or(0);
        match self.state {
            State::Done => {}
            _ if distance == 0 => self.close(Cause::Reset),
            // Nearly right is not right (RFC 5961, section 3).
            _ if distance <= window => self.acknowledge_at_once(now),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, cause: Cause) {
        self.state = State::Closed(cause);
        (self.ack_at, self.tick_at) = (None, None);
    }

    fn notice_end(&mut self) {
        let heard_all = self.receiver.is_complete() && self.receiver.unread() == 0;
        if self.state == State::Established && heard_all && self.sender.is_finished() {
            self.state = State::Done;
        }
    }

    /// The application reads and writes.
    fn tick(&mut self, now: Instant) {
        self.tick_at = None;
        if self.state != State::Established {
            return;
        }
        self.receiver.take(self.application.reads);
        let left = self.application.octets - self.sender.written;
        let writes = self.application.writes;
        self.sender.written += if writes == 0 { left } else { left.min(writes) };
        self.sender.closing = self.application.closes_first || self.receiver.is_complete();
        if self.sender.written < self.application.octets || self.receiver.unread() > 0 {
            self.tick_at = Some(now + TICK);
        }
        if self.receiver.has_news(self.agreed.scale) {
            self.acknowledge_at_once(now);
        }
        self.notice_end();
    }
}
