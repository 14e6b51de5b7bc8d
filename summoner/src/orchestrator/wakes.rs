//! Wakes: what each may cost, and what becomes of those that may not cost a boot any more.
//!
//! Only a wake that leads to a boot which nobody else has asked for yet pays: the first one for a cold service, and the
//! first one during a stop or a back-off. Who joins a boot or wants a guest that runs costs nothing and is never refused.
//!
//! A wake of somebody who may not wake, or beyond the budget, is counted and forgotten. A query is answered all the same; the switch goes on holding what it
//! holds, and asks again, once a second at most, while packets come, and when a client has proven who it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::{Event, State};
use policies::access::{Access, AccessList};
use policies::budget::{Credibility, Exhausted, WakeBudget};
use policies::{Instant, ServiceId, admission};
use synjitsu::Trigger;
use tracing::warn;

use super::Orchestrator;
use super::timeline::{Cause, Timeline};
use crate::config::Wakes;
use crate::dns::QueryWake;

/// Refused wakes are logged at most so often: whoever floods the daemon must not flood its log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What an orchestrator goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What may run.
    pub admission: admission::Limits,
    /// What wakes may cost.
    pub wakes: Wakes,
}

/// Somebody needs a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wake {
    pub(super) cause: Cause,
    /// Who, and whether that is certain; nobody for an administrator, who pays nothing.
    pub(super) source: Option<(IpAddr, Credibility)>,
}

impl Wake {
    /// By a packet.
    pub(super) fn by_packet(trigger: Trigger, source: IpAddr) -> Self {
        let (cause, credibility) = match trigger {
            Trigger::TcpSyn => (Cause::TcpSyn, Credibility::Forgeable),
            Trigger::TcpHandshake => (Cause::TcpHandshake, Credibility::Proven),
            Trigger::Udp => (Cause::Udp, Credibility::Forgeable),
            Trigger::IcmpEcho => (Cause::IcmpEcho, Credibility::Forgeable),
        };
        Self { cause, source: Some((source, credibility)) }
    }

    /// By an administrator.
    pub(super) const fn by_admin() -> Self {
        Self { cause: Cause::Admin, source: None }
    }
}

/// The wakes' budget, and when its refusals were last logged.
#[derive(Debug)]
pub(super) struct Budget {
    wakes: WakeBudget,
    dry_run: bool,
    /// Who may wake at all.
    access: Arc<AccessList>,
    logged: Option<Instant>,
    /// Refusals since then.
    unlogged: u64,
}

impl Budget {
    pub(super) fn new(settings: &Wakes) -> Self {
        let wakes = WakeBudget::new(settings.limits);
        let access = settings.access.clone();
        Self { wakes, dry_run: settings.dry_run, access, logged: None, unlogged: 0 }
    }

    pub(super) fn configure(&mut self, now: Instant, settings: &Wakes) {
        self.wakes.set_limits(now, settings.limits);
        self.dry_run = settings.dry_run;
        self.access = settings.access.clone();
    }

    /// Takes a token for what is not a wake, but leads to one.
    pub(super) fn try_take(
        &mut self,
        now: Instant,
        source: IpAddr,
        credibility: Credibility,
    ) -> Result<(), Exhausted> {
        self.wakes.try_take(now, source, credibility)
    }

    /// Whether what is beyond it is only counted.
    pub(super) const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// When what is shown of it changes by time alone.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.wakes.forgotten_at()
    }

    /// How many refusals there were since the last line of the log, this one included, if another line is due.
    fn log_due(&mut self, now: Instant) -> Option<u64> {
        self.unlogged += 1;
        if self.logged.is_some_and(|last| now.saturating_since(last) < LOG_INTERVAL) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

impl Orchestrator {
    /// A query for a service that was not awake.
    pub fn handle_query(&mut self, now: Instant, query: QueryWake) {
        let id = query.service;
        let source = Some((query.source, query.credibility));
        let wake = Wake { cause: Cause::Query, source };
        if self.refuses(now, id, &wake) {
            // Whoever waits for the guest is told that it will not come by `query.ready` being dropped.
            return;
        }
        let Some(service) = self.services.get_mut(&id) else { return };
        if let Some(waiter) = query.ready {
            service.wait_until_ready(waiter);
        }
        // The client's packet may have overtaken its query on the way here; what came first is the cause.
        let timeline = &mut service.timeline;
        let first = timeline.start().is_none_or(|start| query.received_at < start);
        if first && timeline.query_received.is_none() && timeline.ready.is_none() {
            timeline.query_received = Some(query.received_at);
            timeline.cause = Some(Cause::Query);
        }
        self.accept(now, id, wake.cause);
    }

    /// Wakes a service, if the budget allows it.
    pub(super) fn wake(&mut self, now: Instant, id: ServiceId, wake: &Wake) {
        if !self.refuses(now, id, wake) {
            self.accept(now, id, wake.cause);
        }
    }

    fn accept(&mut self, now: Instant, id: ServiceId, cause: Cause) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let result = match service.lifecycle.state() {
            State::Cold => "summon",
            State::Wanted | State::Summoning { .. } => "join",
            State::Running { .. } => "running",
            State::Closing { .. } | State::Draining { .. } => "after_stop",
            State::Backoff { .. } => "after_backoff",
        };
        self.metrics.wakes.with_label_values(&[service.label(), cause.label(), result]).inc();
        // A wake of a running service starts nothing; the record is for the summon to come.
        if service.timeline.woken.is_none() && !service.is_running() {
            service.timeline.woken = Some(now);
            service.timeline.cause = service.timeline.cause.or(Some(cause));
        }
        self.drive(now, id, Event::Wake);
        self.admit(now);
    }

    /// Lets a wake pay, if it has to; returns whether it is refused.
    fn refuses(&mut self, now: Instant, id: ServiceId, wake: &Wake) -> bool {
        let Some(service) = self.services.get(&id) else { return false };
        let Some((source, credibility)) = wake.source else { return false };
        if self.budget.access.access(source) == Access::Denied {
            // Whatever the state: who may not wake may not ask for the next boot during a stop either.
            let labels = [service.label(), wake.cause.label(), "denied"];
            self.metrics.wakes.with_label_values(&labels).inc();
            return true;
        }
        if !leads_to_a_boot(service.lifecycle.state()) {
            return false;
        }
        let taken = self.budget.wakes.try_take(now, source, credibility);
        self.show_prefixes(now);
        match taken {
            Ok(()) => false,
            Err(exhausted) => self.over_budget(now, id, wake, (source, credibility), exhausted),
        }
    }

    /// A wake is beyond the budget; returns whether that has a consequence.
    fn over_budget(
        &mut self,
        now: Instant,
        id: ServiceId,
        wake: &Wake,
        (source, credibility): (IpAddr, Credibility),
        exhausted: Exhausted,
    ) -> bool {
        let Some(service) = self.services.get_mut(&id) else { return false };
        let dry_run = self.budget.dry_run;
        let (trigger, result) = (wake.cause.label(), if dry_run { "dry_run" } else { "refused" });
        let labels = [credibility.label(), exhausted.label(), trigger, result];
        self.metrics.wakes_over_budget.with_label_values(&labels).inc();
        if let Some(wakes) = self.budget.log_due(now) {
            warn!(service = service.key(), %source, trigger, credibility = credibility.label(),
                budget = exhausted.label(), dry_run, wakes,
                "wakes are over budget; see `limits.wakes`");
        }
        if dry_run {
            return false;
        }
        service.refused_wakes += 1;
        self.metrics.wakes.with_label_values(&[service.label(), trigger, result]).inc();
        if matches!(service.lifecycle.state(), State::Cold) {
            // What was held on this occasion does not belong to the record of a summon that comes later.
            service.timeline = Timeline::default();
        }
        true
    }

    /// Brings the gauge of prefixes up to date.
    pub(super) fn show_prefixes(&mut self, now: Instant) {
        for credibility in Credibility::ALL {
            let count = self.budget.wakes.tracked_prefixes(now, credibility);
            let gauge = self.metrics.wake_prefixes.with_label_values(&[credibility.label()]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// Whether a wake in this state leads to a boot that no wake before it has asked for.
const fn leads_to_a_boot(state: &State) -> bool {
    match *state {
        State::Cold => true,
        State::Closing { wake_pending, .. }
        | State::Draining { wake_pending, .. }
        | State::Backoff { wake_pending, .. } => !wake_pending,
        State::Wanted | State::Summoning { .. } | State::Running { .. } => false,
    }
}
