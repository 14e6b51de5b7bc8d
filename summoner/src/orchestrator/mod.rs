//! The one task that owns every service's life.
//!
//! Wakes, the switch's events, the engine's events, timers and administrators all end here, one at a time;
//! nobody else calls [`lifecycle::Lifecycle::handle`]. The module collects facts, asks `policies`, feeds the
//! lifecycle and carries out its actions. It is itself without clock and without waiting, `now` is passed in;
//! [`run`](run::run) is the loop around it.

mod admin;
mod console;
mod made;
mod packets;
mod reload;
mod request;
pub mod run;
mod service;
pub mod timeline;
mod wakes;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use lifecycle::{Action, Event, State};
use policies::admission::{self, Admission, HostFacts};
use policies::{Generation, Instant, ServiceId};
use synjitsu::Command;
use synjitsu_device::guest_port::{self, GuestPort};
use tracing::{info, warn};

pub use made::{Addition, Change};
pub use request::{Request, ServiceStatus, SnapshotStatus};
pub use service::Deployment;
pub use wakes::Limits;

use crate::engine::{
    Ending, Engine, EngineEvent, Happening, InstanceId, InstanceSpec, ShellSource,
};
use crate::metrics::Metrics;
use crate::snapshots::Store;
use service::{Service, StopReason, state_label};
use timeline::{Cause, Timeline};

/// The orchestrator's way to the switch.
pub trait PacketPath: Send {
    /// Gives the switch a command; never waits.
    fn command(&self, command: Command);
    /// Gives the switch a guest's port and opens it: the commit point of the hand-over.
    fn open(&self, instance: InstanceId, port: GuestPort);
}

/// Owner of all services.
pub struct Orchestrator {
    engine: Box<dyn Engine>,
    packets: Box<dyn PacketPath>,
    metrics: Metrics,
    snapshots: Arc<Store>,
    limits: admission::Limits,
    /// What wakes may cost.
    budget: wakes::Budget,
    /// Where new services start to count their generations.
    first_generation: Generation,
    services: HashMap<ServiceId, Service>,
    /// What of the host is in use, kept up with every change: it is asked for at each wake.
    in_use: HostFacts,
    /// Services that want to boot, in the order in which they came to want it.
    admission: VecDeque<ServiceId>,
    timers: BTreeSet<(Instant, ServiceId)>,
    lists: Vec<admin::PendingList>,
}

impl std::fmt::Debug for Orchestrator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orchestrator")
            .field("services", &self.services.len())
            .finish_non_exhaustive()
    }
}

/// What an orchestrator works with.
pub struct Parts {
    /// Boots instances.
    pub engine: Box<dyn Engine>,
    /// Carries packets.
    pub packets: Box<dyn PacketPath>,
    /// Counts.
    pub metrics: Metrics,
    /// Keeps snapshots.
    pub snapshots: Arc<Store>,
    /// What may run, and what wakes may cost.
    pub limits: Limits,
    /// Where generations start; above all that were ever used before.
    pub first_generation: Generation,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Orchestrator {
    /// An orchestrator without services.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { engine, packets, metrics, snapshots, limits, first_generation } = parts;
        Self {
            engine,
            packets,
            metrics,
            snapshots,
            limits: limits.admission,
            budget: wakes::Budget::new(&limits.wakes),
            first_generation,
            services: HashMap::new(),
            in_use: HostFacts::default(),
            admission: VecDeque::new(),
            timers: BTreeSet::new(),
            lists: Vec::new(),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let of_services = self.timers.first().map(|(at, _)| *at);
        of_services.into_iter().chain(self.budget.poll_timeout()).min()
    }

    /// Lets every timer that is due do its work.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(service) = self.services.get_mut(&id) else { continue };
            service.scheduled = None;
            if matches!(service.lifecycle.state(), State::Summoning { .. }) {
                service.stop_reason = Some(StopReason::BootTimeout);
                warn!(service = service.key(), timeout = ?service.deployment.settings.boot_timeout,
                    "the guest did not become ready in time and is destroyed; see its log, or raise `boot_timeout`");
            }
            let before = state_label(service.lifecycle.state());
            let actions = service.lifecycle.handle_timeout(now);
            self.settle(now, id, before, actions);
        }
        if self.budget.poll_timeout().is_some_and(|at| at <= now) {
            self.show_prefixes(now);
        }
        self.admit(now);
    }

    /// Something happened to an instance.
    pub fn handle_engine(&mut self, now: Instant, event: EngineEvent) {
        let EngineEvent { instance: InstanceId { service: id, generation }, what } = event;
        let Some(service) = self.services.get_mut(&id) else { return };
        // What an old instance still has to say is for the log only.
        let current = service.lifecycle.generation() == Some(generation);
        match what {
            Happening::Console(octets) => service.console.write(generation.0, &octets),
            Happening::ShellTaken { at, source, process } if current => {
                service.timeline.shell_taken = Some(at);
                service.timeline.shell = Some(source);
                self.metrics.shells.with_label_values(&[source.label()]).inc();
                service.process = Some(process);
            }
            // A guest at its snapshot listens; that it is not entered yet only means that frames wait a moment in its port.
            Happening::Restored(at) if current => {
                service.timeline.restored = Some(at);
                self.drive(now, id, Event::Ready(generation));
            }
            Happening::Ready(stamps) if current => {
                service.timeline.loaded = Some(stamps.loaded);
                service.timeline.entered = Some(stamps.entered);
                service.timeline.ready = Some(stamps.ready);
                // Of a restored guest this is news for the record only.
                self.drive(now, id, Event::Ready(generation));
                self.announce_ready(id);
            }
            Happening::ShellTaken { .. } | Happening::Restored(_) | Happening::Ready(_) => {}
            Happening::Exited { ending, .. } => self.handle_exit(now, id, generation, &ending),
        }
        self.admit(now);
    }

    fn handle_exit(
        &mut self,
        now: Instant,
        id: ServiceId,
        generation: Generation,
        ending: &Ending,
    ) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if service.lifecycle.generation() != Some(generation) {
            return;
        }
        let expected = matches!(service.lifecycle.state(), State::Draining { .. });
        let reason = service.stop_reason.take().unwrap_or(StopReason::Exit);
        service.process = None;
        service.memory_held = 0;
        service.port = None;
        service.idle_question = None;
        service.activity = service::Activity::default();
        service.deployment.signal.set_awake(false);
        if expected {
            info!(service = service.key(), %generation, reason = reason.label(), how = ending.label(), "stopped");
        } else {
            warn!(service = service.key(), %generation, how = ending.label(), report = %ending, "the guest ended by itself");
        }
        if !matches!(ending, Ending::Destroyed | Ending::Suspended) || !expected {
            service.console.remark(generation.0, &ending.to_string());
        }
        self.metrics.stops.with_label_values(&[service.label(), reason.label()]).inc();
        self.finish_record(id);
        self.drive(now, id, Event::Exited(generation));
        let Some(service) = self.services.get_mut(&id) else { return };
        // It is gone; that somebody has woken the service since, and it will not be cold, is another matter.
        for waiter in service.stop_waiters.drain(..) {
            let _ = waiter.send(());
        }
        // Who waits for a guest that could not boot must hear it now: the next try may be far off.
        if matches!(service.lifecycle.state(), State::Backoff { .. } | State::Cold) {
            service.ready_waiters.clear();
            for waiter in service.wake_waiters.drain(..) {
                let _ = waiter.send(Err(format!("the guest ended before it was ready: {ending}")));
            }
        }
    }

    /// Feeds one event to a service's lifecycle and carries out what follows.
    fn drive(&mut self, now: Instant, id: ServiceId, event: Event) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let before = state_label(service.lifecycle.state());
        let actions = service.lifecycle.handle(now, event);
        self.settle(now, id, before, actions);
    }

    /// After a lifecycle moved: metrics, timers, actions, and forgetting what is removed and cold.
    fn settle(&mut self, now: Instant, id: ServiceId, before: &'static str, actions: Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let after = state_label(service.lifecycle.state());
        if before != after {
            self.metrics.instances.with_label_values(&[before]).dec();
            self.metrics.instances.with_label_values(&[after]).inc();
        }
        let due = service.lifecycle.poll_timeout();
        if due != service.scheduled {
            if let Some(old) = service.scheduled.take() {
                self.timers.remove(&(old, id));
            }
            if let Some(at) = due {
                self.timers.insert((at, id));
            }
            service.scheduled = due;
        }
        for action in actions {
            self.perform(now, id, action);
        }
        self.recount(id);
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if !matches!(service.lifecycle.state(), State::Cold) {
            return;
        }
        for waiter in service.stop_waiters.drain(..) {
            let _ = waiter.send(());
        }
        if service.removed {
            self.metrics.instances.with_label_values(&[state_label(&State::Cold)]).dec();
            self.services.remove(&id);
        }
    }

    fn perform(&mut self, now: Instant, id: ServiceId, action: Action) {
        let Some(service) = self.services.get_mut(&id) else { return };
        match action {
            Action::RequestAdmission => self.admission.push_back(id),
            Action::Summon(generation) => self.summon(now, id, generation),
            Action::OpenPort(generation) => {
                let Some((of, port)) = service.port.take() else { return };
                if of == generation {
                    // Before the port opens: a query that sees `awake` must find a guest.
                    service.deployment.signal.set_awake(true);
                    self.packets.open(InstanceId { service: id, generation }, port);
                }
            }
            Action::CheckIdle(generation) => {
                service.idle_question = Some(generation);
                service.reports_asked += 1;
                self.packets.command(Command::Report(id));
            }
            Action::ClosePort { generation, only_if_idle } => {
                service.deployment.signal.set_awake(false);
                let only_if_idle_since = only_if_idle.then(|| {
                    // Without any packet the port was never used: nothing after the origin is allowed.
                    service.activity.last_packet.unwrap_or(Instant::ZERO)
                });
                self.packets.command(Command::Close {
                    service: id,
                    generation,
                    only_if_idle_since,
                });
            }
            Action::StopInstance { generation, mode } => {
                // The port is closed: a wake from now on is for the next instance.
                self.finish_record(id);
                self.engine.stop(InstanceId { service: id, generation }, mode);
            }
        }
    }

    fn summon(&mut self, now: Instant, id: ServiceId, generation: Generation) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.timeline.generation = Some(generation.0);
        service.timeline.admitted = Some(now);
        service.stop_reason = None;
        let template = service.deployment.template.clone();
        service.memory_held = template.memory;
        let spec = InstanceSpec { id: InstanceId { service: id, generation }, template };
        match guest_port::pair() {
            Ok((ours, theirs)) => {
                service.port = Some((generation, ours));
                self.engine.summon(spec, theirs);
            }
            Err(error) => {
                let report = crate::report(&error);
                self.handle_exit(now, id, generation, &Ending::Failed(report));
            }
        }
    }

    /// Lets waiting services boot, in order, as far as the limits allow.
    ///
    /// Strictly in order: a large service at the head is not overtaken by small ones for ever.
    fn admit(&mut self, now: Instant) {
        while let Some(&id) = self.admission.front() {
            let Some(service) = self.services.get(&id) else {
                self.admission.pop_front();
                continue;
            };
            if !matches!(service.lifecycle.state(), State::Wanted) {
                self.admission.pop_front();
                continue;
            }
            let memory = service.deployment.settings.memory;
            match admission::admit(&self.limits, &self.in_use, memory) {
                Admission::Boot => {
                    self.admission.pop_front();
                    self.drive(now, id, Event::Admitted);
                }
                Admission::Queue(_) => break,
                Admission::Refuse(reason) => {
                    self.admission.pop_front();
                    self.refuse(now, id, &format!("{reason:?}"));
                }
            }
        }
    }

    fn refuse(&mut self, now: Instant, id: ServiceId, reason: &str) {
        let Some(service) = self.services.get_mut(&id) else { return };
        warn!(service = service.key(), reason, "the service can never boot within the limits");
        for waiter in service.wake_waiters.drain(..) {
            let _ =
                waiter.send(Err(format!("the service can never boot within `limits`: {reason}")));
        }
        service.timeline = Timeline::default();
        self.drive(now, id, Event::Refused);
    }

    /// Brings what is in use up to date with one service.
    fn recount(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let holds = service.lifecycle.generation().is_some();
        let counts = HostFacts {
            instances: u32::from(holds),
            memory: if holds { service.memory_held } else { 0 },
            booting: u32::from(matches!(service.lifecycle.state(), State::Summoning { .. })),
        };
        let before = std::mem::replace(&mut service.counted, counts);
        let HostFacts { instances, memory, booting } = &mut self.in_use;
        *instances = *instances + counts.instances - before.instances;
        *memory = *memory + counts.memory - before.memory;
        *booting = *booting + counts.booting - before.booting;
    }

    /// Tells everybody who waited that the guest is ready, and writes the summon's summary if no client is held.
    fn announce_ready(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if !service.is_running() {
            return;
        }
        let signal = &service.deployment.signal;
        if service.timeline.cause == Some(Cause::Query) {
            service.timeline.answer_sent = signal.last_answer();
        }
        for waiter in service.ready_waiters.drain(..) {
            let _ = waiter.send(());
        }
        for waiter in service.wake_waiters.drain(..) {
            let _ = waiter.send(Ok(service.timeline.clone()));
        }
        if service.timeline.held.is_none() {
            self.write_summary(id);
        }
    }

    /// Ends the record of a service's summon, if it has one.
    fn finish_record(&mut self, id: ServiceId) {
        self.write_summary(id);
        if let Some(service) = self.services.get_mut(&id) {
            service.close_timeline();
        }
    }

    /// One line and one set of observations per summon, when its record is complete.
    fn write_summary(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let timeline = &service.timeline;
        if service.summary_written || timeline.ready.is_none() {
            return;
        }
        service.summary_written = true;
        let mut phases = String::new();
        for (phase, length) in timeline.phases() {
            Metrics::observe(&self.metrics.phases, phase, length);
            let separator = if phases.is_empty() { "" } else { " " };
            phases.push_str(&format!("{separator}{phase}={}us", length.as_micros()));
        }
        let ready = timeline.until_ready();
        let first_byte = timeline.until_first_byte();
        for (until, length) in [("ready", ready), ("first_byte", first_byte)] {
            if let Some(length) = length {
                Metrics::observe(&self.metrics.summons, until, length);
            }
        }
        info!(
            service = service.key(),
            generation = timeline.generation,
            cause = timeline.cause.map(Cause::label),
            shell = timeline.shell.map(ShellSource::label),
            phases,
            ready_us = ready.map(|length| length.as_micros()),
            first_byte_us = first_byte.map(|length| length.as_micros()),
            "summoned"
        );
    }
}
