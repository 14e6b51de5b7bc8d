//! States, events, actions and the one table of transitions.

use std::time::Duration;

use policies::backoff::{self, BackoffPolicy};
use policies::stop::StopMode;
use policies::{Generation, Instant};

/// The times that a lifecycle goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a guest may take from the summon until it is ready.
    pub boot_timeout: Duration,
    /// The wait after a failed boot.
    pub backoff: BackoffPolicy,
    /// How an instance is made to end.
    pub stop: StopMode,
}

/// Where a service is in its life. What exists only in a state is in that state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No instance, and nobody wants one.
    Cold,
    /// Somebody wants it; admission has not let it boot yet.
    Wanted,
    /// An instance boots.
    Summoning {
        /// The instance.
        generation: Generation,
        /// When it has taken too long.
        deadline: Instant,
    },
    /// The guest is ready and its port is open.
    Running {
        /// The instance.
        generation: Generation,
        /// When it was ready.
        ready_at: Instant,
        /// When to ask next whether it is idle; `None` while the question is open.
        check_at: Option<Instant>,
    },
    /// Found idle; the switch is closing the port, unless it was used since.
    Closing {
        /// The instance.
        generation: Generation,
        /// When it was ready.
        ready_at: Instant,
        /// Whether somebody wants the service since.
        wake_pending: bool,
    },
    /// The port is closed and the instance is made to end: destroyed, asked, or kept as a snapshot first.
    Draining {
        /// The instance.
        generation: Generation,
        /// When its grace is over; `None` once it is being destroyed.
        deadline: Option<Instant>,
        /// Whether somebody wants the service since.
        wake_pending: bool,
        /// Whether it ends because its boot failed.
        failed: bool,
    },
    /// A boot failed; the next has to wait.
    Backoff {
        /// Until when.
        until: Instant,
        /// Whether somebody wants the service since.
        wake_pending: bool,
    },
}

/// What can happen to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody needs it: a query, a packet, an administrator.
    Wake,
    /// Admission lets it boot now.
    Admitted,
    /// Admission can never let it boot.
    Refused,
    /// The guest waits for input for the first time.
    Ready(Generation),
    /// The instance is gone, however that came.
    Exited(Generation),
    /// Answer to [`Action::CheckIdle`]: in use; ask again then.
    Busy {
        /// The instance asked about.
        generation: Generation,
        /// When to ask again.
        until: Instant,
    },
    /// Answer to [`Action::CheckIdle`]: idle.
    Idle(Generation),
    /// Answer to [`Action::ClosePort`] with `only_if_idle`: closed.
    PortClosed(Generation),
    /// Answer to [`Action::ClosePort`] with `only_if_idle`: used since, and left open.
    PortInUse(Generation),
    /// An administrator, or the end of the service, wants it down: nobody who woke it before counts any more.
    Stop,
}

/// What is to be done, in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask admission; answer with [`Event::Admitted`] or [`Event::Refused`], possibly much later.
    RequestAdmission,
    /// Boot an instance.
    Summon(Generation),
    /// Let the switch give the instance its packets: the hand-over.
    OpenPort(Generation),
    /// Find out whether the instance is idle; answer with [`Event::Busy`] or [`Event::Idle`].
    CheckIdle(Generation),
    /// Let the switch hold packets again.
    ClosePort {
        /// The instance whose port it is.
        generation: Generation,
        /// Only if the port was not used since the idle verdict; then an answer is due.
        only_if_idle: bool,
    },
    /// Make the instance end.
    StopInstance {
        /// The instance.
        generation: Generation,
        /// How.
        mode: StopMode,
    },
}

/// The life of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    pub(crate) state: State,
    /// The generation of the next instance.
    pub(crate) next: Generation,
    /// Boots that failed in a row.
    pub(crate) failures: u32,
    timing: Timing,
}

impl Lifecycle {
    /// A cold service whose first instance will be `first`.
    #[must_use]
    pub const fn new(first: Generation, timing: Timing) -> Self {
        Self { state: State::Cold, next: first, failures: 0, timing }
    }

    /// Changes the times; deadlines that are set already stay.
    pub const fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Where it is.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The instance that holds resources, if there is one.
    #[must_use]
    pub const fn generation(&self) -> Option<Generation> {
        match self.state {
            State::Summoning { generation, .. }
            | State::Running { generation, .. }
            | State::Closing { generation, .. }
            | State::Draining { generation, .. } => Some(generation),
            State::Cold | State::Wanted | State::Backoff { .. } => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, if nothing happens before.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Summoning { deadline, .. } => Some(deadline),
            State::Running { check_at, .. } => check_at,
            State::Draining { deadline, .. } => deadline,
            State::Backoff { until, .. } => Some(until),
            State::Cold | State::Wanted | State::Closing { .. } => None,
        }
    }

    /// Takes what happened; returns what is to be done.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        use Event::{
            Admitted, Busy, Exited, Idle, PortClosed, PortInUse, Ready, Refused, Stop, Wake,
        };
        use State::{Backoff, Closing, Cold, Draining, Running, Summoning, Wanted};
        match (self.state, event) {
            (Cold, Wake) => self.want(),
            (Closing { generation, ready_at, .. }, Wake) => {
                self.enter(Closing { generation, ready_at, wake_pending: true }, [])
            }
            (Draining { generation, deadline, failed, .. }, Wake) => {
                self.enter(Draining { generation, deadline, wake_pending: true, failed }, [])
            }
            (Backoff { until, .. }, Wake) => self.enter(Backoff { until, wake_pending: true }, []),

            (Wanted, Admitted) => self.summon(now),
            (Wanted, Refused) => self.enter(Cold, []),

            (Summoning { generation, .. }, Ready(g)) if g == generation => self.enter(
                Running { generation, ready_at: now, check_at: None },
                [Action::OpenPort(generation), Action::CheckIdle(generation)],
            ),
            (Summoning { generation, .. }, Exited(g)) if g == generation => {
                self.back_off(now, false, [])
            }

            (Running { generation, ready_at, check_at: None }, Busy { generation: g, until })
                if g == generation =>
            {
                self.enter(Running { generation, ready_at, check_at: Some(until) }, [])
            }
            (Running { generation, ready_at, check_at: None }, Idle(g)) if g == generation => self
                .enter(
                    Closing { generation, ready_at, wake_pending: false },
                    [Action::ClosePort { generation, only_if_idle: true }],
                ),
            (Running { generation, ready_at, .. }, Exited(g)) if g == generation => {
                self.ended_by_itself(now, generation, ready_at, false)
            }

            (Closing { generation, wake_pending, .. }, PortClosed(g)) if g == generation => {
                self.drain(now, generation, wake_pending, [])
            }
            // Who woke it meanwhile is served by the guest that stays.
            (Closing { generation, ready_at, .. }, PortInUse(g)) if g == generation => self.enter(
                Running { generation, ready_at, check_at: None },
                [Action::CheckIdle(generation)],
            ),
            (Closing { generation, ready_at, wake_pending }, Exited(g)) if g == generation => {
                self.ended_by_itself(now, generation, ready_at, wake_pending)
            }

            (Draining { generation, wake_pending, failed, .. }, Exited(g)) if g == generation => {
                match (failed, wake_pending) {
                    (true, _) => self.back_off(now, wake_pending, []),
                    (false, true) => self.want(),
                    (false, false) => self.enter(Cold, []),
                }
            }

            (Wanted, Stop) => self.enter(Cold, []),
            // Nothing can be asked of a guest that is not up, and nothing of it is worth keeping: it is destroyed
            // whatever the stop mode.
            (Summoning { generation, .. }, Stop) => self.destroy(generation, false),
            (Running { generation, .. } | Closing { generation, .. }, Stop) => {
                // First the switch holds again, then the guest is told.
                self.drain(
                    now,
                    generation,
                    false,
                    [Action::ClosePort { generation, only_if_idle: false }],
                )
            }
            (Draining { generation, deadline, failed, .. }, Stop) => {
                self.enter(Draining { generation, deadline, wake_pending: false, failed }, [])
            }
            (Backoff { until, .. }, Stop) => self.enter(Backoff { until, wake_pending: false }, []),

            // Listed, so that a new state or event does not compile until it is thought about: a wake that joins,
            // answers that come too late, and everything about another generation.
            (Wanted | Summoning { .. } | Running { .. }, Wake)
            | (Cold, Stop)
            | (
                Cold
                | Summoning { .. }
                | Running { .. }
                | Closing { .. }
                | Draining { .. }
                | Backoff { .. },
                Admitted | Refused,
            )
            | (
                Cold
                | Wanted
                | Summoning { .. }
                | Running { .. }
                | Closing { .. }
                | Draining { .. }
                | Backoff { .. },
                Ready(_) | Exited(_) | Busy { .. } | Idle(_) | PortClosed(_) | PortInUse(_),
            ) => Vec::new(),
        }
    }

    /// Lets time pass: acts if the deadline of [`poll_timeout`](Self::poll_timeout) is reached.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Vec::new();
        }
        match self.state {
            State::Summoning { generation, .. } => self.destroy(generation, true),
            State::Running { generation, ready_at, .. } => self.enter(
                State::Running { generation, ready_at, check_at: None },
                [Action::CheckIdle(generation)],
            ),
            State::Draining { generation, wake_pending, failed, .. } => self.enter(
                State::Draining { generation, deadline: None, wake_pending, failed },
                [Action::StopInstance { generation, mode: StopMode::Destroy }],
            ),
            State::Backoff { wake_pending: true, .. } => self.want(),
            State::Backoff { wake_pending: false, .. } => self.enter(State::Cold, []),
            State::Cold | State::Wanted | State::Closing { .. } => Vec::new(),
        }
    }

    fn enter<const N: usize>(&mut self, state: State, actions: [Action; N]) -> Vec<Action> {
        self.state = state;
        actions.into()
    }

    fn want(&mut self) -> Vec<Action> {
        self.enter(State::Wanted, [Action::RequestAdmission])
    }

    fn summon(&mut self, now: Instant) -> Vec<Action> {
        let generation = self.next;
        self.next = generation.next();
        let deadline = now + self.timing.boot_timeout;
        self.enter(State::Summoning { generation, deadline }, [Action::Summon(generation)])
    }

    /// A boot failed, once more.
    fn back_off<const N: usize>(
        &mut self,
        now: Instant,
        wake_pending: bool,
        actions: [Action; N],
    ) -> Vec<Action> {
        self.failures = self.failures.saturating_add(1);
        let until = now + backoff::delay(&self.timing.backoff, self.failures);
        self.enter(State::Backoff { until, wake_pending }, actions)
    }

    /// The guest ended though nobody asked it to.
    fn ended_by_itself(
        &mut self,
        now: Instant,
        generation: Generation,
        ready_at: Instant,
        wake_pending: bool,
    ) -> Vec<Action> {
        let close = Action::ClosePort { generation, only_if_idle: false };
        if backoff::is_failed_boot(&self.timing.backoff, ready_at, now) {
            return self.back_off(now, wake_pending, [close]);
        }
        self.failures = 0;
        if wake_pending {
            self.enter(State::Wanted, [close, Action::RequestAdmission])
        } else {
            self.enter(State::Cold, [close])
        }
    }

    /// Makes a guest that was up end, in the configured way, after `first`.
    fn drain<const N: usize>(
        &mut self,
        now: Instant,
        generation: Generation,
        wake_pending: bool,
        first: [Action; N],
    ) -> Vec<Action> {
        self.failures = 0;
        let mode = self.timing.stop;
        let deadline = mode.deadline(now);
        let mut actions = self
            .enter(State::Draining { generation, deadline, wake_pending, failed: false }, first);
        actions.push(Action::StopInstance { generation, mode });
        actions
    }

    /// Makes a guest that never was up end.
    fn destroy(&mut self, generation: Generation, failed: bool) -> Vec<Action> {
        self.enter(
            State::Draining { generation, deadline: None, wake_pending: false, failed },
            [Action::StopInstance { generation, mode: StopMode::Destroy }],
        )
    }
}
