//! A lifecycle with a fault seeded into it. The exploration must notice each; one that lives is a missing promise.

use policies::stop::StopMode;
use policies::{Generation, Instant};

use super::TICK;
use crate::{Action, Event, Lifecycle, State};

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    ForgetsWakeWhileClosing,
    ForgetsWakeWhileDraining,
    ForgetsWakeDuringBackoff,
    ForgetsWakeWhenGuestDiesWhileClosing,
    RemembersWakeAfterStop,
    StopsBeforeThePortIsClosed,
    LeavesThePortOpenWhenTheGuestDies,
    OpensThePortAtOnce,
    BelievesEveryGeneration,
    UsesAGenerationAgain,
    BootsWithoutAdmission,
    BootsDuringBackoff,
    NoBackoffAfterAnEarlyCrash,
    NeverAsksAboutIdleness,
    NeverAsksAgainAfterARefusedClose,
    NeverDestroysAfterTheGrace,
    NoBootTimeout,
    FiresEarly,
    KeepsItsTimer,
    BootsForNobodyAfterBackoff,
    LosesTheStopOrder,
    StaysClosingWhenThePortIsClosed,
    AsksAGuestThatWasNeverUp,
}

impl Fault {
    pub(super) const ALL: [Self; 23] = [
        Self::ForgetsWakeWhileClosing,
        Self::ForgetsWakeWhileDraining,
        Self::ForgetsWakeDuringBackoff,
        Self::ForgetsWakeWhenGuestDiesWhileClosing,
        Self::RemembersWakeAfterStop,
        Self::StopsBeforeThePortIsClosed,
        Self::LeavesThePortOpenWhenTheGuestDies,
        Self::OpensThePortAtOnce,
        Self::BelievesEveryGeneration,
        Self::UsesAGenerationAgain,
        Self::BootsWithoutAdmission,
        Self::BootsDuringBackoff,
        Self::NoBackoffAfterAnEarlyCrash,
        Self::NeverAsksAboutIdleness,
        Self::NeverAsksAgainAfterARefusedClose,
        Self::NeverDestroysAfterTheGrace,
        Self::NoBootTimeout,
        Self::FiresEarly,
        Self::KeepsItsTimer,
        Self::BootsForNobodyAfterBackoff,
        Self::LosesTheStopOrder,
        Self::StaysClosingWhenThePortIsClosed,
        Self::AsksAGuestThatWasNeverUp,
    ];
}

/// A lifecycle, with a fault or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Faulty {
    inner: Lifecycle,
    fault: Option<Fault>,
}

impl Faulty {
    pub(super) const fn sound(inner: Lifecycle) -> Self {
        Self { inner, fault: None }
    }

    pub(super) const fn new(inner: Lifecycle, fault: Fault) -> Self {
        Self { inner, fault: Some(fault) }
    }

    pub(super) const fn state(&self) -> &State {
        self.inner.state()
    }

    pub(super) const fn next(&self) -> Generation {
        self.inner.next
    }

    pub(super) const fn failures(&self) -> u32 {
        self.inner.failures
    }

    pub(super) const fn generation(&self) -> Option<Generation> {
        self.inner.generation()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match (self.fault, self.inner.state()) {
            (Some(Fault::NoBootTimeout), State::Summoning { .. }) => None,
            _ => self.inner.poll_timeout(),
        }
    }

    pub(super) fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let Some(fault) = self.fault else { return self.inner.handle(now, event) };
        let before = self.inner.clone();
        let event = mislead(fault, &before, event);
        let mut actions = self.inner.handle(now, event);
        self.spoil(fault, now, &before, event, &mut actions);
        actions
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        let Some(fault) = self.fault else { return self.inner.handle_timeout(now) };
        let before = self.inner.clone();
        match (fault, *before.state()) {
            (Fault::NoBootTimeout, State::Summoning { .. })
            | (Fault::KeepsItsTimer, State::Backoff { .. })
            | (Fault::NeverDestroysAfterTheGrace, State::Draining { .. }) => return Vec::new(),
            (Fault::FiresEarly, _) => {
                return self.inner.handle_timeout(before.poll_timeout().unwrap_or(now));
            }
            (Fault::BootsForNobodyAfterBackoff, State::Backoff { until, .. }) => {
                self.inner.state = State::Backoff { until, wake_pending: true };
            }
            _ => {}
        }
        self.inner.handle_timeout(now)
    }

    fn spoil(
        &mut self,
        fault: Fault,
        now: Instant,
        before: &Lifecycle,
        event: Event,
        actions: &mut Vec<Action>,
    ) {
        let state = &mut self.inner.state;
        let closes =
            |action: &Action| matches!(action, Action::ClosePort { only_if_idle: false, .. });
        match (fault, *before.state(), event) {
            (Fault::ForgetsWakeWhileClosing, State::Closing { .. }, Event::Wake)
            | (Fault::ForgetsWakeWhileDraining, State::Draining { .. }, Event::Wake)
            | (Fault::ForgetsWakeDuringBackoff, State::Backoff { .. }, Event::Wake) => {
                *state = before.state
            }
            (
                Fault::ForgetsWakeWhenGuestDiesWhileClosing,
                State::Closing { .. },
                Event::Exited(_),
            ) => {
                if let State::Backoff { wake_pending, .. } = state {
                    *wake_pending = false;
                }
            }
            (
                Fault::RemembersWakeAfterStop,
                State::Draining { .. } | State::Backoff { .. },
                Event::Stop,
            ) => {
                *state = before.state;
            }
            (Fault::StopsBeforeThePortIsClosed, _, Event::Stop) => actions.reverse(),
            (Fault::LeavesThePortOpenWhenTheGuestDies, _, Event::Exited(_)) => {
                actions.retain(|a| !closes(a))
            }
            (Fault::OpensThePortAtOnce, _, Event::Admitted) => {
                actions.extend(self.inner.generation().map(Action::OpenPort));
            }
            (Fault::UsesAGenerationAgain, _, Event::Admitted) => self.inner.next = before.next,
            (Fault::BootsWithoutAdmission, State::Cold, Event::Wake) => {
                *actions = self.inner.handle(now, Event::Admitted);
            }
            (Fault::BootsDuringBackoff, State::Backoff { .. }, Event::Wake) => {
                *state = State::Wanted;
                *actions = vec![Action::RequestAdmission];
            }
            (Fault::NoBackoffAfterAnEarlyCrash, State::Running { .. }, Event::Exited(_)) => {
                if matches!(state, State::Backoff { .. }) {
                    *state = State::Cold;
                }
            }
            (Fault::NeverAsksAboutIdleness, _, Event::Ready(_))
            | (Fault::NeverAsksAgainAfterARefusedClose, _, Event::PortInUse(_)) => {
                actions.retain(|action| !matches!(action, Action::CheckIdle(_)));
            }
            (Fault::LosesTheStopOrder, _, Event::PortClosed(_)) => {
                actions.retain(|action| {
                    !matches!(action, Action::StopInstance { mode: StopMode::Destroy, .. })
                });
            }
            (Fault::AsksAGuestThatWasNeverUp, State::Summoning { .. }, Event::Stop) => {
                // As if every stop went the configured way.
                for action in actions {
                    if let Action::StopInstance { mode, .. } = action {
                        *mode = StopMode::Suspend { grace: TICK };
                    }
                }
            }
            (Fault::StaysClosingWhenThePortIsClosed, _, Event::PortClosed(_)) => {
                *state = before.state;
                actions.clear();
            }
            _ => {}
        }
    }
}

/// Takes a message about another instance for one about the present one.
fn mislead(fault: Fault, machine: &Lifecycle, event: Event) -> Event {
    let (Fault::BelievesEveryGeneration, Some(current)) = (fault, machine.generation()) else {
        return event;
    };
    match event {
        Event::Ready(_) => Event::Ready(current),
        Event::Exited(_) => Event::Exited(current),
        Event::Idle(_) => Event::Idle(current),
        Event::PortClosed(_) => Event::PortClosed(current),
        Event::PortInUse(_) => Event::PortInUse(current),
        Event::Busy { until, .. } => Event::Busy { generation: current, until },
        event @ (Event::Wake | Event::Admitted | Event::Refused | Event::Stop) => event,
    }
}
