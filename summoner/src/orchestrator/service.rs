//! What the orchestrator keeps of one service.

use std::collections::VecDeque;
use std::sync::Arc;

use lifecycle::{Lifecycle, State, Timing};
use policies::admission::HostFacts;
use policies::{Generation, Instant, ServiceId};
use synjitsu_device::guest_port::GuestPort;
use tokio::sync::oneshot;

use super::console::Console;
use super::timeline::Timeline;
use crate::config;
use crate::config::addresses::Assigned;
use crate::dns::ServiceSignal;
use crate::engine::Template;

/// Who waits for a service to be ready, at the most; beyond, a waiter is told at once that it is not.
const WAITERS: usize = 4096;

/// A configured service: its settings, checked, with everything that they name at hand.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The service's number.
    pub id: ServiceId,
    /// Its settings.
    pub settings: config::Service,
    /// Its addresses.
    pub addresses: Assigned,
    /// What DNS and the orchestrator tell each other about it.
    pub signal: Arc<ServiceSignal>,
    /// What its instances have in common.
    pub template: Arc<Template>,
}

impl Deployment {
    /// What the lifecycle needs to know.
    pub(super) fn timing(&self) -> Timing {
        Timing {
            boot_timeout: self.settings.boot_timeout,
            backoff: self.settings.backoff,
            stop: self.settings.stop,
        }
    }

    /// Whether a running guest of `self` may stay when the service becomes `other`.
    pub(super) fn boots_the_same(&self, other: &Self) -> bool {
        self.template.key == other.template.key && self.addresses == other.addresses
    }
}

/// What the switch last said about a running instance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Activity {
    pub(super) last_packet: Option<Instant>,
    pub(super) open_connections: u32,
}

/// Why an instance is being stopped, for the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    Idle,
    Admin,
    Changed,
    Removed,
    Forgotten,
    Shutdown,
    BootTimeout,
    Exit,
}

impl StopReason {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Admin => "admin",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Forgotten => "forgotten",
            Self::Shutdown => "shutdown",
            Self::BootTimeout => "boot_timeout",
            Self::Exit => "exit",
        }
    }
}

/// A service, its life and who waits for it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) deployment: Deployment,
    pub(super) lifecycle: Lifecycle,
    /// The switch's end of the summoned guest's port, until the port is opened.
    pub(super) port: Option<(Generation, GuestPort)>,
    pub(super) process: Option<u32>,
    pub(super) timeline: Timeline,
    /// The newest summon that is over, for `summoner ps`.
    pub(super) last_timeline: Option<Timeline>,
    pub(super) summary_written: bool,
    pub(super) activity: Activity,
    /// Packets of clients that the switch holds, as it last said.
    pub(super) held: u32,
    /// Wakes that were over budget.
    pub(super) refused_wakes: u64,
    /// The instance whose activity was asked for to answer the idle question.
    pub(super) idle_question: Option<Generation>,
    /// How often the switch was asked for this service's activity, and has answered; answers come in order.
    pub(super) reports_asked: u64,
    pub(super) reports_heard: u64,
    pub(super) stop_reason: Option<StopReason>,
    pub(super) console: Console,
    pub(super) ready_waiters: VecDeque<oneshot::Sender<()>>,
    pub(super) wake_waiters: Vec<oneshot::Sender<Result<Timeline, String>>>,
    pub(super) stop_waiters: Vec<oneshot::Sender<()>>,
    /// The point at which this service stands in the timer table.
    pub(super) scheduled: Option<Instant>,
    /// No longer configured: forgotten as soon as it is cold.
    pub(super) removed: bool,
    /// The guest's memory as it was booted with, in octets; 0 while nothing holds memory.
    pub(super) memory_held: u64,
    /// Its part of what is in use on the host, as last counted.
    pub(super) counted: HostFacts,
}

impl Service {
    pub(super) fn new(deployment: Deployment, first: Generation) -> Self {
        let lifecycle = Lifecycle::new(first, deployment.timing());
        Self {
            deployment,
            lifecycle,
            port: None,
            process: None,
            timeline: Timeline::default(),
            last_timeline: None,
            summary_written: false,
            activity: Activity::default(),
            held: 0,
            refused_wakes: 0,
            idle_question: None,
            reports_asked: 0,
            reports_heard: 0,
            stop_reason: None,
            console: Console::default(),
            ready_waiters: VecDeque::new(),
            wake_waiters: Vec::new(),
            stop_waiters: Vec::new(),
            scheduled: None,
            removed: false,
            memory_held: 0,
            counted: HostFacts::default(),
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.deployment.settings.key
    }

    /// Its name in metrics: of a service that was made, its template's, because its own was chosen by a client.
    pub(super) fn label(&self) -> &str {
        self.deployment.settings.template.as_deref().unwrap_or_else(|| self.key())
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.lifecycle.state(), State::Running { .. })
    }

    /// Remembers somebody who wants to know when the guest is ready.
    pub(super) fn wait_until_ready(&mut self, waiter: oneshot::Sender<()>) {
        if self.is_running() {
            let _ = waiter.send(());
            return;
        }
        // Those who gave up are at the front: waiters leave in the order in which they came.
        while self.ready_waiters.front().is_some_and(oneshot::Sender::is_closed) {
            self.ready_waiters.pop_front();
        }
        if self.ready_waiters.len() < WAITERS {
            self.ready_waiters.push_back(waiter);
        }
    }

    /// Ends the record of a summon: what happens from now on belongs to the next one.
    pub(super) fn close_timeline(&mut self) {
        if self.timeline.generation.is_some() {
            self.last_timeline = Some(std::mem::take(&mut self.timeline));
            self.summary_written = false;
        }
    }
}

/// The word for a state in metrics, `ps` and logs.
#[must_use]
pub(super) const fn state_label(state: &State) -> &'static str {
    match state {
        State::Cold => "cold",
        State::Wanted => "wanted",
        State::Summoning { .. } => "summoning",
        State::Running { .. } => "running",
        State::Closing { .. } => "closing",
        State::Draining { .. } => "draining",
        State::Backoff { .. } => "backoff",
    }
}
