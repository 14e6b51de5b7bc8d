//! What a worker does about a query: an answer that is ready, or the responder's; within the rate of who asks.

use std::sync::Arc;

use arc_swap::Guard;
use policies::Instant;
use policies::budget::Credibility;
use policies::response_rate::{ResponseClass, Verdict};
use synjitsu_device::datagrams::Batch;

use super::super::cookies::Cookies;
use super::super::limit::{RateLimiter, slipped};
use super::super::uses::{Aftermath, turn};
use super::super::{Arrival, Outcome, Published, Reply, Responder};
use super::counts::Counts;
use super::plain::Plain;
use super::prepared::Prepared;
use crate::clock;

/// Answers queries. What it remembers is its thread's alone.
pub(super) struct Answerer {
    responder: Responder,
    cookies: Option<Arc<Cookies>>,
    limiter: Option<RateLimiter>,
    prepared: Prepared,
    counts: Counts,
    /// What the answers of this batch lead to.
    after: Aftermath,
}

/// What is the same for all queries of a batch.
pub(super) struct Now {
    published: Guard<Arc<Published>>,
    pub(super) received_at: Instant,
    turn: u32,
}

impl Answerer {
    pub(super) fn new(responder: Responder) -> Self {
        Self {
            cookies: responder.cookies(),
            limiter: responder.settings().rate_limit.clone().map(RateLimiter::new),
            prepared: Prepared::default(),
            counts: Counts::default(),
            after: Aftermath::default(),
            responder,
        }
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self, received_at: Instant) -> Now {
        let published = self.responder.published();
        self.prepared.follow(&published);
        Now { published, received_at, turn: turn(received_at) }
    }

    /// Answers the query in a slot, in the slot; gives what has to wait.
    pub(super) fn answer(
        &mut self,
        batch: &mut Batch,
        slot: usize,
        arrival: Arrival,
        now: &Now,
    ) -> Option<Outcome> {
        let plain = Plain::read(batch.datagram(slot));
        if let Some(plain) = &plain
            && let Some(done) = self.answer_again(batch, slot, plain, arrival, now)
        {
            return done;
        }
        let outcome = self.responder.respond(batch.datagram(slot), &arrival);
        let reply = match &outcome {
            // A transfer is never given to UDP.
            Outcome::Silence | Outcome::Transfer(_) => return None,
            // Of a service that is being made: only who is proven is promised an answer, and he has no rate.
            Outcome::Later(_) => return Some(outcome),
            Outcome::Send(reply) | Outcome::Wait { reply, .. } => reply,
        };
        if let Some(plain) = &plain {
            self.prepared.learn(plain, reply);
        }
        match verdict(&mut self.limiter, &arrival, reply.class, reply.credibility) {
            Verdict::Send => {}
            // It wakes nobody then: that is up to the query by TCP, or the packet, of a client that is there.
            Verdict::Drop => return None,
            Verdict::Slip => {
                slip(batch, slot, &reply.message);
                return None;
            }
        }
        match outcome {
            Outcome::Send(reply) => {
                batch.answer_with(slot, &reply.message);
                self.after.append(reply);
                None
            }
            outcome => Some(outcome),
        }
    }

    /// Ends a batch, which has been sent.
    pub(super) fn end(&mut self) {
        self.responder.settle(&mut self.after);
        self.counts.show();
        if let Some(limiter) = &mut self.limiter {
            limiter.report(self.responder.metrics());
        }
    }

    /// How many answers are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.prepared.len()
    }

    /// Answers a query with what was answered before. `None` if nothing can be used, and then nothing is changed.
    #[expect(clippy::option_option, reason = "whether it was done, and what is left of it")]
    fn answer_again(
        &mut self,
        batch: &mut Batch,
        slot: usize,
        plain: &Plain,
        mut arrival: Arrival,
        now: &Now,
    ) -> Option<Option<Outcome>> {
        let known = self.prepared.get(plain, now.turn)?;
        let (room, _) = batch.room(slot);
        let mut cookie = None;
        if let (Some(cookies), Some(place)) = (&self.cookies, plain.cookie.clone()) {
            let (time, source) = (clock::unix_seconds(), arrival.source.ip());
            let checked = cookies.check(time, source, room.get(place)?).ok()?;
            arrival.proven |= checked.proven;
            cookie = Some(checked.answer);
        }
        let length = known.write(room, plain.end, plain.limit, cookie.as_ref())?;
        self.counts.query(known.labels, self.responder.metrics());
        let (class, credibility) = (known.class, arrival.credibility());
        match verdict(&mut self.limiter, &arrival, class, credibility) {
            Verdict::Send => {}
            Verdict::Drop => return Some(None),
            Verdict::Slip => {
                let response = room[..length].to_vec();
                slip(batch, slot, &response);
                return Some(None);
            }
        }
        match self.responder.note(&now.published, &known.uses, &arrival, &mut self.after) {
            None => {
                batch.answer(slot, length);
                Some(None)
            }
            Some((ready, cap)) => {
                let reply = Reply::again(room[..length].to_vec(), class, credibility);
                Some(Some(Outcome::Wait { reply, ready, cap }))
            }
        }
    }
}

/// What becomes of a response, by the rate of who gets it.
fn verdict(
    limiter: &mut Option<RateLimiter>,
    arrival: &Arrival,
    class: ResponseClass,
    credibility: Credibility,
) -> Verdict {
    let Some(limiter) = limiter else { return Verdict::Send };
    let proven = credibility == Credibility::Proven;
    limiter.verdict(arrival.received_at, arrival.source.ip(), class, proven)
}

fn slip(batch: &mut Batch, slot: usize, response: &[u8]) {
    if let Some(short) = slipped(response) {
        batch.answer_with(slot, &short);
    }
}
