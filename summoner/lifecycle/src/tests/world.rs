//! The world around a lifecycle: processes, the switch, admission, people. It knows the truth and complains.

use policies::stop::StopMode;
use policies::{Generation, Instant};

use super::TICK;
use super::faults::Faulty;
use crate::{Action, Event, State};

/// A promise that was broken, as a sentence.
pub(super) type Broken = String;

/// The instance's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) generation: Generation,
    pub(super) ready: bool,
    /// Destroyed: its exit is only a matter of time.
    pub(super) doomed: bool,
}

/// What is true, whatever the machine believes.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) machine: Faulty,
    pub(super) now: Instant,
    pub(super) process: Option<Process>,
    pub(super) port: Option<Generation>,
    /// Somebody needs the service and has not been served, refused, or failed.
    pub(super) wanted: bool,
    /// Admission was asked and has not answered.
    pub(super) asked_admission: bool,
    pub(super) idle_question: Option<Generation>,
    pub(super) close_question: Option<Generation>,
    /// The newest generation that was summoned.
    pub(super) newest: Generation,
    /// Before then no boot may begin.
    pub(super) boots_from: Instant,
}

/// Something that the world may do next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Wake,
    Stop,
    Admit,
    Refuse,
    Ready,
    Exit,
    Busy,
    Idle,
    CloseNow,
    CloseRefused,
    Tick,
    Timer,
}

pub(super) const STEPS: [Step; 12] = [
    Step::Wake,
    Step::Stop,
    Step::Admit,
    Step::Refuse,
    Step::Ready,
    Step::Exit,
    Step::Busy,
    Step::Idle,
    Step::CloseNow,
    Step::CloseRefused,
    Step::Tick,
    Step::Timer,
];

macro_rules! promise {
    ($holds:expr, $($sentence:tt)+) => {
        if !$holds {
            return Err(format!($($sentence)+));
        }
    };
}

impl World {
    pub(super) fn new(machine: Faulty) -> Self {
        Self {
            machine,
            now: Instant::from_nanos(1_000_000_000),
            process: None,
            port: None,
            wanted: false,
            asked_admission: false,
            idle_question: None,
            close_question: None,
            newest: Generation(0),
            boots_from: Instant::ZERO,
        }
    }

    /// Does a step; `Ok(None)` if the world cannot do it now.
    pub(super) fn step(&self, step: Step) -> Result<Option<Self>, Broken> {
        let mut next = self.clone();
        match next.act(step) {
            Ok(true) => next.check().map(|()| Some(next)),
            Ok(false) => Ok(None),
            Err(broken) => Err(broken),
        }
        .map_err(|broken| format!("{broken}\n  after {step:?} in {self:?}"))
    }

    fn act(&mut self, step: Step) -> Result<bool, Broken> {
        let event = match step {
            Step::Wake => {
                self.wanted = true;
                Event::Wake
            }
            Step::Stop => {
                self.wanted = false;
                Event::Stop
            }
            Step::Admit | Step::Refuse if !self.asked_admission => return Ok(false),
            // Admission looks whether the service still wants to boot, as the orchestrator's queue does.
            Step::Admit | Step::Refuse if *self.machine.state() != State::Wanted => {
                self.asked_admission = false;
                return Ok(true);
            }
            Step::Admit => {
                self.asked_admission = false;
                return self.deliver(Event::Admitted, true).map(|()| true);
            }
            Step::Refuse => {
                self.asked_admission = false;
                self.wanted = false;
                Event::Refused
            }
            Step::Ready => match &mut self.process {
                Some(process) if !process.ready => {
                    process.ready = true;
                    Event::Ready(process.generation)
                }
                Some(_) | None => return Ok(false),
            },
            Step::Exit => {
                let Some(process) = self.process.take() else { return Ok(false) };
                self.note_failure(process);
                Event::Exited(process.generation)
            }
            Step::Busy => match self.idle_question.take() {
                Some(generation) => Event::Busy { generation, until: self.now + TICK },
                None => return Ok(false),
            },
            Step::Idle => match self.idle_question.take() {
                Some(generation) => Event::Idle(generation),
                None => return Ok(false),
            },
            Step::CloseNow => match self.close_question.take() {
                Some(generation) => {
                    if self.port == Some(generation) {
                        self.port = None;
                    }
                    Event::PortClosed(generation)
                }
                None => return Ok(false),
            },
            Step::CloseRefused => match self.close_question.take() {
                // The switch refuses only for a port that is open.
                Some(generation) if self.port == Some(generation) => Event::PortInUse(generation),
                Some(_) | None => return Ok(false),
            },
            Step::Tick => {
                self.now = self.now + TICK;
                return Ok(true);
            }
            Step::Timer => return self.fire_timer().map(|()| true),
        };
        self.deliver(event, false)?;
        Ok(true)
    }

    /// Whoever waited for a boot that failed has had their answer; the next boot has to wait.
    fn note_failure(&mut self, process: Process) {
        let early = match *self.machine.state() {
            State::Summoning { .. } => true,
            State::Draining { failed, .. } => failed,
            State::Running { ready_at, .. } | State::Closing { ready_at, .. } => {
                process.ready && self.now.saturating_since(ready_at) < 2 * TICK
            }
            State::Cold | State::Wanted | State::Backoff { .. } => false,
        };
        if early {
            self.boots_from = self.now + TICK;
        }
        if matches!(self.machine.state(), State::Summoning { .. }) {
            self.wanted = false;
        }
    }

    fn fire_timer(&mut self) -> Result<(), Broken> {
        let before = self.machine.clone();
        let due = self.machine.poll_timeout();
        // A boot that takes too long fails those who waited for it.
        if due.is_some_and(|due| due <= self.now)
            && matches!(before.state(), State::Summoning { .. })
        {
            self.wanted = false;
        }
        let actions = self.machine.handle_timeout(self.now);
        let changed = self.machine != before || !actions.is_empty();
        match due {
            Some(due) if due <= self.now => promise!(changed, "a timer fired for nothing"),
            Some(_) | None => promise!(!changed, "a timer did something before its time"),
        }
        self.carry_out(&actions, false)
    }

    fn deliver(&mut self, event: Event, admitted: bool) -> Result<(), Broken> {
        let actions = self.machine.handle(self.now, event);
        self.carry_out(&actions, admitted)
    }

    fn carry_out(&mut self, actions: &[Action], admitted: bool) -> Result<(), Broken> {
        for action in actions {
            match *action {
                Action::RequestAdmission => {
                    // A request that a stop made void may still lie in the queue: then there are two, as one.
                    self.asked_admission = true;
                }
                Action::Summon(generation) => {
                    promise!(admitted, "summoned without admission");
                    promise!(self.process.is_none(), "two instances: {generation} beside another");
                    promise!(generation > self.newest, "generation {generation} is used again");
                    promise!(self.wanted, "a boot for nobody");
                    promise!(self.now >= self.boots_from, "a boot during the back-off");
                    self.newest = generation;
                    self.process = Some(Process { generation, ready: false, doomed: false });
                }
                Action::OpenPort(generation) => {
                    let ready = self.process.is_some_and(|p| p.generation == generation && p.ready);
                    promise!(ready, "the port is opened for a guest that is not ready");
                    promise!(self.port.is_none(), "the port is opened twice");
                    self.port = Some(generation);
                }
                Action::CheckIdle(generation) => {
                    promise!(self.port == Some(generation), "an idle question about a closed port");
                    promise!(self.idle_question.is_none(), "two idle questions at once");
                    self.idle_question = Some(generation);
                }
                Action::ClosePort { generation, only_if_idle: true } => {
                    promise!(self.port == Some(generation), "a closed port is to be closed");
                    self.close_question = Some(generation);
                }
                Action::ClosePort { generation, only_if_idle: false } => {
                    if self.port == Some(generation) {
                        self.port = None;
                        // What the switch has been asked about this port, it need not answer any more.
                        self.close_question = None;
                        self.idle_question = None;
                    }
                }
                Action::StopInstance { generation, mode } => {
                    promise!(self.port.is_none(), "the guest is stopped while its port is open");
                    let process =
                        self.process.as_mut().filter(|process| process.generation == generation);
                    match process {
                        Some(process) => {
                            promise!(
                                process.ready || mode == StopMode::Destroy,
                                "{mode:?} of a guest that was never up"
                            );
                            process.doomed |= mode == StopMode::Destroy;
                        }
                        None => promise!(false, "an instance that does not exist is stopped"),
                    }
                }
            }
        }
        if self.port.is_none() {
            self.idle_question = None;
        }
        Ok(())
    }

    /// What must hold between steps.
    fn check(&mut self) -> Result<(), Broken> {
        let known = self.machine.generation();
        let exists = self.process.map(|process| process.generation);
        promise!(known == exists, "an orphan: {exists:?} exists, {known:?} is known");
        if let Some(port) = self.port {
            let serving =
                matches!(*self.machine.state(), State::Running { .. } | State::Closing { .. });
            promise!(
                serving && exists == Some(port),
                "the port is open for {port}, the guest is {exists:?}"
            );
        }
        // Served: the guest runs and its port is open.
        if matches!(self.machine.state(), State::Running { .. }) {
            promise!(self.port == exists, "it runs, but nobody can reach it");
            self.wanted = false;
        }
        let remembered = match *self.machine.state() {
            State::Cold => false,
            State::Wanted | State::Summoning { .. } | State::Running { .. } => true,
            State::Closing { wake_pending, .. }
            | State::Draining { wake_pending, .. }
            | State::Backoff { wake_pending, .. } => wake_pending,
        };
        promise!(!self.wanted || remembered, "a wake is forgotten");
        promise!(self.wanted || !waits_for_nobody(&self.machine), "it wants to boot for nobody");
        let waiting_for_the_world = match *self.machine.state() {
            State::Cold => true,
            State::Wanted => self.asked_admission,
            State::Running { check_at: None, .. } => self.idle_question.is_some(),
            State::Closing { .. } => self.close_question.is_some(),
            State::Draining { deadline: None, .. } => {
                self.process.is_some_and(|process| process.doomed)
            }
            State::Summoning { .. }
            | State::Running { .. }
            | State::Draining { .. }
            | State::Backoff { .. } => self.machine.poll_timeout().is_some(),
        };
        promise!(waiting_for_the_world, "a dead end: nothing will ever happen");
        self.stale_messages_change_nothing()
    }

    fn stale_messages_change_nothing(&self) -> Result<(), Broken> {
        let current = self.machine.generation();
        let others =
            [self.newest.0.saturating_sub(1), self.newest.0, self.newest.0 + 1].map(Generation);
        for generation in others.into_iter().filter(|generation| Some(*generation) != current) {
            for event in [
                Event::Ready(generation),
                Event::Exited(generation),
                Event::Busy { generation, until: self.now + TICK },
                Event::Idle(generation),
                Event::PortClosed(generation),
                Event::PortInUse(generation),
            ] {
                let mut machine = self.machine.clone();
                let actions = machine.handle(self.now, event);
                promise!(
                    actions.is_empty() && machine == self.machine,
                    "a stale {event:?} changed something"
                );
            }
        }
        Ok(())
    }
}

fn waits_for_nobody(machine: &Faulty) -> bool {
    match *machine.state() {
        State::Wanted | State::Summoning { .. } => true,
        State::Closing { wake_pending, .. }
        | State::Draining { wake_pending, .. }
        | State::Backoff { wake_pending, .. } => wake_pending,
        State::Cold | State::Running { .. } => false,
    }
}
