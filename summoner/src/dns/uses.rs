//! Of whose use a question is a sign, and what a response leads to: stamps and wakes, before and after it has left.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use policies::access::Access;
use policies::{Instant, ServiceId};
use tokio::sync::oneshot;
use zone::{Answer, Kind, Placed};

use super::{Arrival, Published, QueryWake, Reply, Responder, ServiceSignal};
use crate::clock;
use crate::config::AnswerMode;

/// What responses lead to when they have left.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// Whom they may wake, to be told: for the time from a wake to its answer.
    signals: Vec<Arc<ServiceSignal>>,
    /// Whom they wake.
    wakes: Vec<QueryWake>,
}

impl Aftermath {
    /// Nothing.
    pub(super) const NOTHING: Self = Self { signals: Vec::new(), wakes: Vec::new() };

    /// Adds what a reply leads to.
    pub(super) fn append(&mut self, reply: Reply) {
        self.signals.extend(reply.after.signals);
        self.wakes.extend(reply.after.wakes);
    }
}

/// What has to be known to use a response again, for a query that differs in nothing that its octets depend on.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// Whom it concerns.
    pub(super) uses: Uses,
    /// The only [`turn`] in which it is of use, if records or services take turns.
    pub(super) turn: Option<u32>,
}

/// Of which services a question is a sign of use.
#[derive(Debug, Clone)]
pub(super) struct Uses {
    wakes: Vec<ServiceId>,
    qtype: RecordType,
    /// How long a cache keeps the answer.
    ttl: Duration,
}

impl Responder {
    /// Notes a question that is a sign of use. Says for whom the answer has to wait, and how long at most.
    pub(super) fn note(
        &self,
        published: &Published,
        answer: &Uses,
        arrival: &Arrival,
        after: &mut Aftermath,
    ) -> Option<(oneshot::Receiver<()>, Duration)> {
        let mut awaited = None;
        if answer.wakes.is_empty() {
            return awaited;
        }
        if published.access.access(arrival.source.ip()) == Access::Denied {
            for id in &answer.wakes {
                let Some(service) = published.services.get(id) else { continue };
                service.signal.note_withheld(arrival.received_at);
                self.metrics().wake_withheld("denied");
            }
            return awaited;
        }
        for id in &answer.wakes {
            let Some(service) = published.services.get(id) else { continue };
            if !service.wake_on_refresh && self.is_refresh(*id, answer, arrival) {
                service.signal.note_withheld(arrival.received_at);
                self.metrics().wake_withheld("refresh");
                continue;
            }
            if service.signal.note_query(arrival.received_at) {
                continue;
            }
            after.signals.push(service.signal.clone());
            let wake = |ready| QueryWake {
                service: *id,
                received_at: arrival.received_at,
                qtype: answer.qtype,
                source: arrival.source.ip(),
                credibility: arrival.credibility(),
                ready,
            };
            match service.answer {
                AnswerMode::Ready { cap } if awaited.is_none() => {
                    let (sender, receiver) = oneshot::channel();
                    self.wake(wake(Some(sender)));
                    awaited = Some((receiver, cap));
                }
                AnswerMode::Now | AnswerMode::Ready { .. } => after.wakes.push(wake(None)),
            }
        }
        awaited
    }

    /// Whether a question only keeps a cache fresh.
    fn is_refresh(&self, service: ServiceId, answer: &Uses, arrival: &Arrival) -> bool {
        let (now, source) = (arrival.received_at, arrival.source.ip());
        let mut refreshes = self.refreshes.lock().unwrap_or_else(PoisonError::into_inner);
        refreshes.is_refresh(now, source, service, answer.qtype.into(), answer.ttl)
    }

    /// To be called when a reply has been handed to its socket. A boot must not take the processor that the client
    /// needs to read the answer, so wakes come after it.
    pub fn sent(&self, reply: Reply) {
        let mut after = reply.after;
        self.settle(&mut after);
    }

    /// The same, for all replies of a batch.
    pub(super) fn settle(&self, after: &mut Aftermath) {
        after.wakes.drain(..).for_each(|wake| self.wake(wake));
        if !after.signals.is_empty() {
            let now = clock::now();
            after.signals.drain(..).for_each(|signal| signal.note_answer(now));
        }
    }

    fn wake(&self, wake: QueryWake) {
        if self.wakes.try_send(wake).is_err() {
            // Full: thousands of wakes wait. The client's packet will wake it.
            self.metrics().wake_dropped();
        }
    }
}

impl Uses {
    /// What a question of type `qtype` with this answer is a sign of.
    pub(super) fn of(answer: &Answer<'_>, qtype: RecordType) -> Self {
        // A cache keeps all that led to the answer, or that there is none.
        let kept = if answer.answers.is_empty() { &answer.authorities } else { &answer.answers };
        let ttl = kept.iter().map(|placed| placed.rrset.ttl()).min().unwrap_or_default();
        Self { wakes: answer.wakes.clone(), qtype, ttl: Duration::from_secs(u64::from(ttl)) }
    }
}

/// Whether an answer is of use for other queries: its name exists, so there is a bound to how many such answers there are.
pub(super) fn is_of_use(answer: &Answer<'_>) -> bool {
    let is_redirection = |placed: &Placed<'_>| placed.rrset.record_type == RecordType::DNAME;
    let exists = match answer.kind {
        Kind::Data | Kind::NoData => {
            answer.closest_encloser.is_none() && !answer.answers.iter().any(is_redirection)
        }
        Kind::NxDomain | Kind::Referral | Kind::Refused => false,
    };
    exists && answer.rcode == ResponseCode::NoError
}

/// Which of several records comes first: the same for questions of the same second, so that A and AAAA agree.
pub(super) fn turn(received_at: Instant) -> u32 {
    u32::try_from(received_at.as_nanos() / 1_000_000_000).unwrap_or_default()
}
