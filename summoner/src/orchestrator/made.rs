//! Services that templates have made: they come one by one, after paying for it, and are forgotten when nobody needs them.

use std::net::IpAddr;

use lifecycle::State;
use policies::budget::Credibility;
use policies::{Instant, ServiceId};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::service::{Deployment, StopReason};
use super::{Orchestrator, Service};

/// The word in the place of a wake's trigger: somebody asks for a service that is not made yet.
const TRIGGER: &str = "make";

/// A service to be added, for somebody who pays for it.
#[derive(Debug)]
pub struct Addition {
    /// What is added.
    pub deployment: Deployment,
    /// Who asked.
    pub source: IpAddr,
    /// Whether that is certain.
    pub credibility: Credibility,
}

/// A change of the services that templates have made. The answers are in the order of what is asked.
#[derive(Debug)]
pub enum Change {
    /// Adds each whose asker has a token left.
    Add {
        /// Services that are not there yet.
        services: Vec<Addition>,
        /// Whether each was added.
        done: oneshot::Sender<Vec<bool>>,
    },
    /// Asks who is cold.
    AreCold {
        /// Of these.
        services: Vec<ServiceId>,
        /// Whether each is; one that is not there is.
        done: oneshot::Sender<Vec<bool>>,
    },
    /// Forgets each that is cold and was not asked for since.
    Forget {
        /// No names of theirs are published any more.
        services: Vec<ServiceId>,
        /// A query after this is a reason to keep its service.
        since: Instant,
        /// Whether each is gone.
        done: oneshot::Sender<Vec<bool>>,
    },
}

impl Orchestrator {
    /// Templates have work.
    pub fn handle_change(&mut self, now: Instant, change: Change) {
        // Who asked may have stopped waiting: the daemon goes down.
        match change {
            Change::Add { services, done } => {
                let added = services.into_iter().map(|addition| self.add(now, addition)).collect();
                self.anticipate();
                let _ = done.send(added);
            }
            Change::AreCold { services, done } => {
                let cold = services.iter().map(|id| self.services.get(id).is_none_or(is_cold));
                let _ = done.send(cold.collect());
            }
            Change::Forget { services, since, done } => {
                let gone = services.into_iter().map(|id| self.forget(now, id, since)).collect();
                self.anticipate();
                let _ = done.send(gone);
            }
        }
        self.admit(now);
    }

    fn add(&mut self, now: Instant, addition: Addition) -> bool {
        let Addition { deployment, source, credibility } = addition;
        let taken = self.budget.try_take(now, source, credibility);
        self.show_prefixes(now);
        if let Err(exhausted) = taken {
            let result = if self.budget.is_dry_run() { "dry_run" } else { "refused" };
            let labels = [credibility.label(), exhausted.label(), TRIGGER, result];
            self.metrics.wakes_over_budget.with_label_values(&labels).inc();
            if !self.budget.is_dry_run() {
                return false;
            }
        }
        self.put(now, deployment);
        true
    }

    fn forget(&mut self, now: Instant, id: ServiceId, since: Instant) -> bool {
        let Some(service) = self.services.get_mut(&id) else { return true };
        if !is_cold(service) || service.deployment.signal.last_asked() > Some(since) {
            return false;
        }
        let key = service.key().to_owned();
        info!(service = key, "service forgotten");
        // Its timer, if it has one, finds nobody.
        self.remove(now, id, StopReason::Forgotten);
        if let Err(error) = self.snapshots.remove(&key, None) {
            warn!(service = key, error = %crate::report(&error), "a snapshot of a forgotten service stays");
        }
        true
    }
}

/// Nothing runs, and nobody who is held waits for it.
fn is_cold(service: &Service) -> bool {
    matches!(service.lifecycle.state(), State::Cold) && service.held == 0
}
