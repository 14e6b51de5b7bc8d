//! The guest of one boot: what it says to segments before and after it listens.

use policies::{Generation, Instant};

use super::{Attempt, Flow, World};
use crate::endpoint::{Cause, Endpoint, State};
use crate::random::Random;
use crate::segment::{Checked, Segment, ensure};

#[derive(Debug)]
pub(super) struct Guest {
    pub(super) generation: Generation,
    pub(super) opened_at: Instant,
    listens_at: Instant,
    refuses: bool,
}

impl Guest {
    pub(super) const fn new(
        opened_at: Instant,
        generation: Generation,
        listens_at: Instant,
        refuses: bool,
    ) -> Self {
        Self { generation, opened_at, listens_at, refuses }
    }
}

impl World {
    pub(super) fn guest_gets(&mut self, packet: &[u8]) -> Checked {
        let (client, service, segment) = Segment::parse(packet)?;
        let flow = Flow { client, service };
        self.trace.segment(self.now, "         -> guest", client, &segment);
        let Some(guest) = &self.guest else { return Ok(()) };
        let listens = guest.listens_at <= self.now;
        let (generation, speaks) = (guest.generation, listens || guest.refuses);
        let place = self.attempts.iter().position(|attempt| {
            attempt.flow == flow
                && attempt.guest.as_ref().is_some_and(|end| {
                    let is_anew = segment.is_first_syn() && end.irs() != segment.seq;
                    match end.state {
                        State::Closed(_) => false,
                        State::Done => !is_anew,
                        State::SynSent | State::SynReceived | State::Established => true,
                    }
                })
        });
        if let Some(index) = place {
            return self.guest_end_gets(index, &segment);
        }
        if listens && segment.is_first_syn() {
            return self.guest_accepts(flow, &segment);
        }
        if let Some(reset) = segment.reset().filter(|_| speaks) {
            self.trace.segment(self.now, "         <- guest", client, &reset);
            self.from_guest.send(self.now, (generation, reset.packet(service, client)));
        }
        Ok(())
    }

    fn guest_end_gets(&mut self, index: usize, segment: &Segment) -> Checked {
        let flow = self.attempts[index].flow;
        let is_anew = self.attempts.iter().filter(|attempt| attempt.flow == flow).count() > 1;
        let attempt = &mut self.attempts[index];
        let is_aborted = attempt.is_aborted();
        let Some(end) = &mut attempt.guest else { return Ok(()) };
        let before = end.state;
        let judged = end.handle(self.now, segment, is_anew);
        // Of a client that has gone, late segments may come as they are.
        if !is_aborted {
            judged.map_err(|what| {
                format!("the guest of {} was sent {segment:?}: {what}", attempt.flow.client)
            })?;
        }
        if end.state == State::Closed(Cause::Reset) && before != end.state {
            let hold_time = self.scenario.hold_time;
            return attempt.explain_guest_reset(self.now, hold_time);
        }
        Ok(())
    }

    fn guest_accepts(&mut self, flow: Flow, segment: &Segment) -> Checked {
        // What was there before under these addresses and ports is over.
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.flow == flow) {
            attempt.guest = None;
        }
        let is_its = |attempt: &Attempt| attempt.flow == flow && attempt.isn == segment.seq;
        let Some(attempt) = self.attempts.iter_mut().find(|attempt| is_its(attempt)) else {
            return Err(format!("the guest was sent {segment:?}, which no client has sent"));
        };
        ensure!(!attempt.seen.withdrawn, "the guest hears of a client that has gone: {segment:?}");
        let plan = self.scenario.plans[attempt.plan];
        let offers = plan.stack.over(plan.v6);
        ensure!(
            segment.mss.is_some_and(|mss| mss <= offers.mss)
                && (segment.window_scale.is_none() || segment.window_scale == offers.window_scale)
                && (offers.sack || !segment.sack_permitted)
                && (offers.timestamps || segment.timestamps.is_none())
                && segment.payload.is_empty(),
            "the guest was sent {segment:?}, which is not what the client offers: {offers:?}"
        );
        let generation = self.guest.as_ref().map_or(0, |guest| guest.generation.0);
        let (says, hears) = attempt.streams;
        // Every boot has other numbers, and every connection.
        let boot = u32::try_from(generation).unwrap_or(0) << 27;
        let isn = plan.isn.1.wrapping_add(boot).wrapping_add(attempt.streams.0.name << 23);
        let seed = Random::part(self.scenario.seed, 1_000 + u64::from(isn)).next();
        let settings = (self.scenario.guest.over(plan.v6), plan.guest);
        let mut end = Endpoint::accept(self.now, settings, (hears, says), isn, seed, segment);
        if let Some(shown) = attempt.seen.shown {
            end.set_early(shown.early);
        }
        attempt.guest = Some(end);
        Ok(())
    }
}
