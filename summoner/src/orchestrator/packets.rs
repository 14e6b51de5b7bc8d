//! What the switch tells, and what follows from it.

use lifecycle::{Event, State};
use policies::idle::{self, IdleFacts, IdlePolicy, IdleVerdict};
use policies::{Generation, Instant, ServiceId};
use synjitsu::{Event as PacketEvent, HoldOutcome, MilestoneKind};

use super::Orchestrator;
use super::service::{Activity, StopReason};
use super::wakes::Wake;
use crate::metrics::Metrics;

impl Orchestrator {
    /// The switch saw something.
    pub fn handle_packets(&mut self, now: Instant, event: PacketEvent) {
        match event {
            PacketEvent::Wake { service, trigger, source, .. } => {
                self.wake(now, service, &Wake::by_packet(trigger, source));
            }
            PacketEvent::Closed { service, generation } => {
                self.drive(now, service, Event::PortClosed(generation));
            }
            PacketEvent::CloseRefused { service, generation } => {
                self.handle_close_refused(now, service, generation);
            }
            PacketEvent::Activity { service, generation, last_packet, open_connections, held } => {
                let activity = Activity { last_packet, open_connections };
                self.handle_activity(now, service, generation, activity, held);
            }
            PacketEvent::Milestone { service, generation, at, what } => {
                self.handle_milestone(service, generation, at, what);
            }
            PacketEvent::HoldEnded { service, outcome, waited } => {
                let Some(service) = self.services.get(&service) else { return };
                let outcome = outcome_label(outcome);
                self.metrics.holds.with_label_values(&[service.label(), outcome]).inc();
                Metrics::observe(&self.metrics.hold_seconds, outcome, waited);
            }
        }
        self.admit(now);
    }

    fn handle_close_refused(&mut self, now: Instant, id: ServiceId, generation: Generation) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if service.lifecycle.generation() == Some(generation) {
            service.stop_reason = None;
        }
        self.drive(now, id, Event::PortInUse(generation));
        let Some(service) = self.services.get(&id) else { return };
        if service.is_running() {
            service.deployment.signal.set_awake(true);
        }
    }

    fn handle_activity(
        &mut self,
        now: Instant,
        id: ServiceId,
        generation: Option<Generation>,
        activity: Activity,
        held: u32,
    ) {
        let Some(service) = self.services.get_mut(&id) else {
            // It was removed after it was asked about.
            return self.list_heard_of(now, id);
        };
        service.held = held;
        service.reports_heard = service.reports_asked.min(service.reports_heard + 1);
        if generation.is_some() && generation == service.lifecycle.generation() {
            service.activity = activity;
        }
        if let Some(asked) = service.idle_question
            && generation == Some(asked)
        {
            service.idle_question = None;
            self.answer_idle_question(now, id, asked);
        }
        self.list_heard_of(now, id);
    }

    /// Asks the idle policy about a running instance, with facts that are fresh now.
    fn answer_idle_question(&mut self, now: Instant, id: ServiceId, generation: Generation) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let State::Running { ready_at, .. } = *service.lifecycle.state() else { return };
        let settings = &service.deployment.settings;
        let policy = IdlePolicy {
            idle: settings.idle,
            count_open_connections: settings.count_open_connections,
            minimum_uptime: settings.minimum_uptime,
        };
        let signal = service.deployment.signal.clone();
        let facts = |last_query| IdleFacts {
            ready_at,
            last_packet: service.activity.last_packet,
            last_query,
            open_connections: service.activity.open_connections,
        };
        let mut verdict = idle::decide(&policy, &facts(signal.last_query()), now);
        if verdict == IdleVerdict::Stop {
            // A query stores its stamp and then looks whether the guest is awake; here it is the other way
            // round. So of a query and this verdict at the same moment at least one sees the other.
            signal.set_awake(false);
            verdict = idle::decide(&policy, &facts(signal.last_query()), now);
            if verdict != IdleVerdict::Stop {
                signal.set_awake(true);
            }
        }
        match verdict {
            IdleVerdict::Keep { until } => self.drive(now, id, Event::Busy { generation, until }),
            IdleVerdict::Stop => {
                service.stop_reason = Some(StopReason::Idle);
                self.drive(now, id, Event::Idle(generation));
            }
        }
    }

    fn handle_milestone(
        &mut self,
        id: ServiceId,
        generation: Option<Generation>,
        at: Instant,
        what: MilestoneKind,
    ) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if generation.is_some() && generation != service.lifecycle.generation() {
            return;
        }
        let timeline = &mut service.timeline;
        match what {
            MilestoneKind::Held => timeline.held = timeline.held.or(Some(at)),
            MilestoneKind::Replayed => timeline.replayed = Some(at),
            // The port was open already: the SYN came and went on in one moment.
            MilestoneKind::Passed => {
                timeline.held = timeline.held.or(Some(at));
                timeline.replayed = Some(at);
            }
            MilestoneKind::HandedOver => timeline.handed_over = Some(at),
            MilestoneKind::FirstByte => {
                timeline.first_byte = Some(at);
                self.write_summary(id);
            }
        }
    }
}

const fn outcome_label(outcome: HoldOutcome) -> &'static str {
    match outcome {
        HoldOutcome::HandedOver => "handed_over",
        HoldOutcome::Delivered => "delivered",
        HoldOutcome::Expired => "expired",
        HoldOutcome::Overflow => "overflow",
        HoldOutcome::Refused => "refused",
        HoldOutcome::ClientGone => "client_gone",
    }
}
