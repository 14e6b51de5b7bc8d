//! Queries with a signature, and queries for transfers: beside the ordinary path.

use hickory_proto::op::{Message, Query, ResponseCode};

use super::responder::{Asked, limit, refuse};
use super::transfer::Reaction;
use super::tsig::{Checked, Session, unix_seconds};
use super::{Arrival, Outcome, Reply, Responder, labels};

impl Responder {
    /// Answers a query, with a signature if it has a good one (RFC 8945, section 5.3).
    pub(super) fn respond_signed(
        &self,
        octets: &[u8],
        query: &Message,
        arrival: &Arrival,
    ) -> Outcome {
        let mut session = match self.published().transfers.keys.check(octets, query, unix_seconds())
        {
            Checked::Unsigned => None,
            Checked::Signed(session) => Some(session),
            Checked::Refused(refusal) => {
                self.metrics().query("none", labels::rcode(ResponseCode::NotAuth));
                let reply =
                    |octets| Reply::of(octets, ResponseCode::NotAuth, arrival.credibility());
                return refusal.map_or(Outcome::Silence, |octets| Outcome::Send(reply(octets)));
            }
        };
        // Nobody else can have signed it, so it goes to whom it is meant for: its responses have no rate.
        let arrival = &Arrival { proven: arrival.proven || session.is_some(), ..*arrival };
        let outcome = self.respond_to(query, arrival, &mut session);
        match (outcome, session) {
            (outcome, None) => outcome,
            (Outcome::Send(reply), Some(session)) => {
                signed(reply, session, query, arrival).map_or(Outcome::Silence, Outcome::Send)
            }
            (Outcome::Wait { reply, ready, cap }, Some(session)) => {
                signed(reply, session, query, arrival)
                    .map_or(Outcome::Silence, |reply| Outcome::Wait { reply, ready, cap })
            }
            // A transfer has taken its session.
            // What comes later is signed then: the query is read again.
            (outcome @ (Outcome::Silence | Outcome::Transfer(_) | Outcome::Later(_)), Some(_)) => {
                outcome
            }
        }
    }

    /// Answers a query for a transfer.
    pub(super) fn transfer(
        &self,
        asked: &Asked<'_>,
        question: &Query,
        session: &mut Option<Session>,
    ) -> Outcome {
        let published = self.published();
        let (transfer, result) = published.transfers.answer(asked, question, session);
        self.metrics().transfer(labels::qtype(question.query_type()), result);
        match transfer {
            Reaction::Refuse(rcode) => refuse(asked, rcode),
            Reaction::Stream(transfer) => Outcome::Transfer(transfer),
            Reaction::Message(octets) => {
                let credibility = asked.arrival.credibility();
                Outcome::Send(Reply::of(octets, ResponseCode::NoError, credibility))
            }
        }
    }
}

/// A reply with its signature. One that cannot be signed is not sent: its reader would take it for a forgery.
fn signed(
    mut reply: Reply,
    mut session: Session,
    query: &Message,
    arrival: &Arrival,
) -> Option<Reply> {
    let limit = limit(query, arrival);
    let message = std::mem::take(&mut reply.message);
    reply.message = session.sign_within(limit, message, unix_seconds()).ok()?;
    Some(reply)
}
