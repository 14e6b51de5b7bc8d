//! Answers that take a while: because a guest has to be ready first, or a service has to be made.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use policies::access::Access;
use policies::budget::Credibility;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use zone::Unmade;

use super::render::Draft;
use super::responder::{Asked, metadata, refuse, write};
use super::{Arrival, Outcome, Published, Reply, Responder};
use crate::templates::Request;

/// How long a service may take to be made: it is only entered in tables. Then the answer is SERVFAIL, and the client asks again.
const MAKING: Duration = Duration::from_secs(5);

/// A query that is answered when a service has been made.
#[derive(Debug)]
pub struct Later {
    /// Makes nothing: a query is asked for at most once.
    responder: Responder,
    query: Vec<u8>,
    arrival: Arrival,
    made: oneshot::Receiver<()>,
}

impl Later {
    /// The same, for the query with these octets.
    pub(super) fn with(self, query: &[u8]) -> Self {
        Self { query: query.to_vec(), ..self }
    }

    /// What to do, when the service has been made or cannot be.
    pub async fn outcome(self) -> Outcome {
        // Not to be made, or too late: then the answer is that it is not.
        let _ = timeout(MAKING, self.made).await;
        self.responder.respond(&self.query, &self.arrival)
    }
}

impl Outcome {
    /// Waits for what it waits for, and gives the one message to send, if there is one.
    pub async fn settle(self) -> Option<Reply> {
        let mut outcome = self;
        loop {
            match outcome {
                // Only connections that can carry them ask for transfers, and take them before.
                Self::Silence | Self::Transfer(_) => return None,
                Self::Send(reply) => return Some(reply),
                Self::Wait { reply, ready, cap } => {
                    // Ready, not to be ready, or too late: it is answered in any case.
                    let _ = timeout(cap, ready).await;
                    return Some(reply);
                }
                Self::Later(later) => outcome = later.outcome().await,
            }
        }
    }
}

impl Responder {
    /// The same, which has services made that templates could make.
    #[must_use]
    pub fn that_makes(mut self, makers: mpsc::Sender<Request>) -> Self {
        self.makers = Some(makers);
        self
    }

    /// The same, which makes do with what there is.
    fn that_makes_none(&self) -> Self {
        let mut responder = self.clone();
        responder.makers = None;
        responder
    }

    /// Has a service made, if who asks is no forgery and may wake; `None` if it cannot be.
    pub(super) fn make(
        &self,
        unmade: &Unmade<'_>,
        asked: &Asked<'_>,
        published: &Published,
    ) -> Option<Outcome> {
        let makers = self.makers.as_ref()?;
        let arrival = asked.arrival;
        let source = arrival.source.ip();
        if published.access.access(source) == Access::Denied {
            self.metrics().unmade("denied");
            return Some(refuse(asked, ResponseCode::Refused));
        }
        let credibility = arrival.credibility();
        if credibility == Credibility::Forgeable {
            // Nothing is made, or kept, for who may be forged. A real resolver comes back by TCP.
            self.metrics().unmade("unproven");
            let mut metadata = metadata(asked.query, ResponseCode::NoError, true);
            metadata.truncation = true;
            let question = asked.query.queries.first().cloned();
            return Some(write(Draft::empty(metadata, question), asked));
        }
        let (sender, made) = oneshot::channel();
        let (template, name) = (unmade.template.clone(), unmade.name.clone());
        let request = Request { template, name, source, credibility, made: sender };
        if makers.try_send(request).is_err() {
            self.metrics().unmade("queue_full");
            return None;
        }
        self.metrics().unmade("asked");
        let responder = self.that_makes_none();
        // The octets of the query are added by who has them.
        Some(Outcome::Later(Later { responder, query: Vec::new(), arrival, made }))
    }
}
