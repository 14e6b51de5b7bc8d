//! What passes the switch, and whether it may.

use std::time::Duration;

use policies::{Generation, Instant};
use synjitsu::{Command, Event, PortId};

use super::attempt::Shown;
use super::{Attempt, Flow, World};
use crate::endpoint::{Cause, Early, Endpoint, State};
use crate::segment::{Checked, Segment, ensure};
use crate::support::SERVICE;

impl World {
    /// A client's packet comes to the switch.
    pub(super) fn note_inbound(&mut self, packet: &[u8]) -> Checked {
        let (client, service, segment) = Segment::parse(packet)?;
        self.trace.segment(self.now, "       -> switch", client, &segment);
        let flow = Flow { client, service };
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.flow == flow) {
            let from = attempt.place(segment.seq);
            let is_other = segment.is_first_syn() && from != 0;
            attempt.seen.overtook |= is_other && attempt.seen.syn_at.is_some();
            if segment.is_first_syn() {
                let is_its = from == 0;
                if is_its {
                    attempt.seen.syn_at.get_or_insert(self.now);
                }
                attempt.seen.withdrawn &= !is_its;
            } else if segment.rst {
                // To the octet, or else it may be forged (RFC 5961).
                let next = attempt.seen.shown.map_or(1, |shown| shown.ack);
                attempt.seen.withdrawn |= from == next && attempt.seen.syn_at.is_some();
            } else if (0..1 << 22).contains(&from) {
                attempt.seen.deliver(from, from + i64::from(segment.space()));
            }
        }
        Ok(())
    }

    /// A guest's packet comes to the switch.
    pub(super) fn note_outbound(&mut self, generation: Generation, packet: &[u8]) -> Checked {
        let (service, client, segment) = Segment::parse(packet)?;
        self.trace.segment(self.now, "  switch <-", client, &segment);
        let Some(guest) = self.guest.as_ref().filter(|guest| guest.generation == generation) else {
            return Ok(());
        };
        let settled = guest.opened_at + self.scenario.hold_time <= self.now;
        let flow = Flow { client, service };
        let hold_time = self.scenario.hold_time;
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.flow == flow) {
            let Some(ack) = segment.ack.map(|ack| attempt.place(ack)) else { continue };
            if segment.rst && ack == 1 {
                let late = attempt.seen.syn_at.is_some_and(|at| at + hold_time <= self.now);
                attempt.seen.refused |= settled || late;
            } else if !segment.rst && (1..1 << 22).contains(&ack) {
                attempt.seen.guest_ack = attempt.seen.guest_ack.max(ack);
                if segment.syn {
                    attempt.seen.answered.get_or_insert((self.now, generation));
                }
            }
        }
        Ok(())
    }

    /// Takes what the switch sent and told, and judges it.
    pub(super) fn observe(&mut self) -> Checked {
        for (to, frame) in std::mem::take(&mut self.out.0) {
            match to {
                PortId::Uplink => {
                    self.judge_uplink(&frame)?;
                    self.down.send(self.now, frame);
                }
                PortId::Guest { service, generation } => {
                    let open = self.guest.as_ref().map(|guest| guest.generation);
                    ensure!(
                        service == SERVICE && open == Some(generation),
                        "a frame for {generation:?} while {open:?} is open: {frame:?}"
                    );
                    let (client, _, segment) = Segment::parse(&frame[14..])?;
                    self.trace.segment(self.now, "  switch ->", client, &segment);
                    self.to_guest.send(self.now, frame[14..].to_vec());
                }
            }
        }
        self.judge_bounds()
    }

    /// The switch sent something to a client.
    fn judge_uplink(&mut self, packet: &[u8]) -> Checked {
        let (service, client, segment) = Segment::parse(packet)?;
        self.trace.segment(self.now, "       <- switch", client, &segment);
        let flow = Flow { client, service };
        let (buffer, mode) = (i64::from(self.scenario.buffer), self.scenario.mode);
        let is_crowded = self.is_crowded();
        let rounding = 1 << self.scenario.guest.window_scale.unwrap_or(0);
        let is_meant = |attempt: &&mut Attempt| attempt.flow == flow && attempt.is_meant(&segment);
        let Some(attempt) = self.attempts.iter_mut().rfind(is_meant) else {
            // A word about an attempt that the switch cannot know any more: the client will not mind.
            return Ok(());
        };
        if segment.rst {
            attempt.seen.shown = attempt.seen.shown.filter(|_| attempt.seen.answered.is_some());
            return Ok(());
        }
        if mode == synjitsu::HoldMode::Syn {
            ensure!(attempt.seen.answered.is_some(), "an answer that no guest gave: {segment:?}");
        }
        if is_crowded && segment.syn {
            // An answer that was not remembered is another one the next time; the client takes what comes first.
            let known = attempt.seen.shown.is_some_and(|shown| shown.iss != segment.seq);
            attempt.seen.answered_twice |= known;
            attempt.seen.shown = attempt.seen.shown.filter(|_| !known);
        }
        let shown = attempt.show(&segment, buffer, rounding);
        // A client that has gone may be told anything.
        if attempt.is_aborted() {
            return Ok(());
        }
        shown.map_err(|what| format!("{client} is sent {segment:?}: {what}"))
    }

    /// What is true at all times.
    fn judge_bounds(&mut self) -> Checked {
        self.switch.handle_command(self.now, Command::Report(SERVICE), &mut self.out);
        let mut held = None;
        while let Some(event) = self.switch.poll_event() {
            match event {
                Event::Activity { held: now_held, generation, .. } => {
                    held = Some(now_held);
                    let open = self.guest.as_ref().map(|guest| guest.generation);
                    ensure!(generation == open, "{generation:?} is open, not {open:?}");
                }
                Event::HoldEnded { .. } | Event::Milestone { .. } | Event::Wake { .. } => {
                    self.trace.note(self.now, format!("{event:?}"));
                }
                Event::Closed { .. } | Event::CloseRefused { .. } => {}
            }
        }
        let Some(held) = held else { return Err("a report is not answered".into()) };
        ensure!(held <= self.scenario.flows, "{held} held of {}", self.scenario.flows);
        if held > 0 {
            ensure!(self.switch.poll_timeout().is_some(), "held without a deadline");
        }
        let lives = |attempt: &&Attempt| !attempt.client.is_over() && !attempt.seen.withdrawn;
        let mut total = 0;
        for attempt in self.attempts.iter().filter(lives) {
            let early = attempt.seen.early(attempt.streams.0);
            ensure!(
                early <= self.scenario.buffer.into(),
                "{early} octets of {} are kept",
                attempt.flow.client
            );
            total += early.cast_unsigned();
        }
        ensure!(total <= self.scenario.bytes, "{total} octets are kept");
        Ok(())
    }
}

impl Attempt {
    /// The client is shown a segment that is not a RST.
    fn show(&mut self, segment: &Segment, buffer: i64, rounding: i64) -> Checked {
        let Some(ack) = segment.ack.map(|ack| self.place(ack)) else {
            return Err("no acknowledgment".into());
        };
        let answered = self.seen.answered.is_some();
        if segment.syn {
            let known = self.seen.shown.map(|shown| shown.iss);
            ensure!(known.is_none_or(|iss| iss == segment.seq), "another answer than {known:?}");
        }
        let offered = self.client_scale();
        let scale = segment.window_scale.filter(|_| offered).unwrap_or(0);
        let early = Early { acknowledged: 1, edge: 1, mss: segment.mss.unwrap_or(0) };
        let shown = self.seen.shown.get_or_insert(Shown {
            iss: segment.seq,
            scale,
            ack: 1,
            edge: 1,
            edge_is_guests: answered,
            early,
        });
        let window = i64::from(segment.window) << if segment.syn { 0 } else { shown.scale };
        let edge = ack + window;
        if answered && !shown.edge_is_guests {
            // The guest's window may be smaller than what the switch could keep, and nobody can help that.
            (shown.edge_is_guests, shown.edge) = (true, edge);
        }
        ensure!(segment.syn || ack >= shown.ack, "acknowledges {ack} after {}", shown.ack);
        let unit = rounding + (1 << shown.scale);
        // Once everything has come, a window says nothing.
        let is_open = ack < self.streams.0.length + 2;
        if !segment.syn && is_open {
            let kept = edge > shown.edge - unit;
            ensure!(kept, "the window shrinks from {} to {edge}", shown.edge);
        }
        shown.edge = shown.edge.max(edge);
        shown.ack = shown.ack.max(ack);
        if !answered {
            ensure!(
                ack <= self.seen.delivered.max(1),
                "acknowledges {ack}, but only {} came without a gap",
                self.seen.delivered
            );
            ensure!(!is_open || edge <= 1 + buffer, "lets the client send up to {edge}");
            shown.early = Early { acknowledged: shown.ack, edge: shown.edge, ..shown.early };
        }
        Ok(())
    }

    const fn client_scale(&self) -> bool {
        self.client.offers_scale()
    }

    /// A client whose connection was reset needs a reason.
    pub(super) fn explain_reset(&self, now: Instant, hold_time: Duration) -> Checked {
        let seen = &self.seen;
        let expired = seen.syn_at.is_some_and(|at| {
            at + hold_time <= now
                && seen.answered.is_none_or(|(answer, _)| at + hold_time <= answer)
        });
        ensure!(
            expired || seen.cut || seen.refused || seen.overtook || seen.answered_twice,
            "the connection of {} was reset without need",
            self.flow.client
        );
        Ok(())
    }

    /// A guest whose connection was reset needs one, too.
    pub(super) fn explain_guest_reset(&self, now: Instant, hold_time: Duration) -> Checked {
        let gone = matches!(self.client.state, State::Closed(_));
        ensure!(
            gone || self.explain_reset(now, hold_time).is_ok(),
            "the guest's connection with {} was reset without need",
            self.flow.client
        );
        Ok(())
    }

    /// Whether both ends have come to their end.
    pub(super) fn is_over(&self) -> bool {
        self.client.is_over() && self.guest.as_ref().is_none_or(Endpoint::is_over)
    }

    /// Whether the client has given up.
    pub(super) fn is_aborted(&self) -> bool {
        self.client.state == State::Closed(Cause::Aborted)
    }

    /// Whether the client was reset although nobody gave up.
    pub(super) fn is_reset(&self) -> bool {
        self.client.state == State::Closed(Cause::Reset)
    }
}
