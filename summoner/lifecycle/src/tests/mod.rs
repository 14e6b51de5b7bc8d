//! The machine over all its reachable states, next to a world that knows the truth; and seeded faults, to see that
//! the exploration would notice.

mod explore;
mod faults;
mod world;

use std::time::Duration;

use policies::backoff::BackoffPolicy;
use policies::stop::StopMode;
use policies::{Generation, Instant};

use crate::{Action, Event, Lifecycle, State, Timing};
use explore::explore;
use faults::{Fault, Faulty};

/// One tick of the exploration's clock.
pub(super) const TICK: Duration = Duration::from_millis(1);

fn timing(stop: StopMode) -> Timing {
    let backoff = BackoffPolicy { initial: TICK, max: 2 * TICK, stable_after: 2 * TICK };
    Timing { boot_timeout: 2 * TICK, backoff, stop }
}

const SHUTDOWN: StopMode = StopMode::Shutdown { grace: TICK };
const SUSPEND: StopMode = StopMode::Suspend { grace: TICK };
/// Every mode that there is.
const MODES: [StopMode; 3] = [StopMode::Destroy, SHUTDOWN, SUSPEND];

#[test]
fn every_reachable_state_keeps_every_promise() {
    for stop in MODES {
        let reached = explore(&Faulty::sound(Lifecycle::new(Generation(1), timing(stop))))
            .unwrap_or_else(|broken| panic!("{stop:?}: {broken}"));
        // A change that makes the exploration look at next to nothing must not pass.
        assert!(reached > 100, "only {reached} states were reached");
    }
}

#[test]
fn every_seeded_fault_is_noticed() {
    let unnoticed: Vec<_> = Fault::ALL
        .into_iter()
        .filter(|fault| {
            MODES.into_iter().all(|stop| {
                explore(&Faulty::new(Lifecycle::new(Generation(1), timing(stop)), *fault)).is_ok()
            })
        })
        .collect();
    assert!(unnoticed.is_empty(), "an invariant is missing: nobody noticed {unnoticed:?}");
}

#[test]
fn a_whole_life_reads_like_the_papers() {
    let now = Instant::from_nanos(1_000);
    let g = Generation(7);
    let mut service = Lifecycle::new(g, timing(SHUTDOWN));
    assert_eq!(service.handle(now, Event::Wake), [Action::RequestAdmission]);
    assert_eq!(service.handle(now, Event::Wake), [], "single flight");
    assert_eq!(service.handle(now, Event::Admitted), [Action::Summon(g)]);
    assert_eq!(service.handle(now, Event::Wake), []);
    assert_eq!(service.handle(now, Event::Ready(g)), [Action::OpenPort(g), Action::CheckIdle(g)]);
    assert_eq!(
        service.handle(now, Event::Idle(g)),
        [Action::ClosePort { generation: g, only_if_idle: true }]
    );
    let stop = Action::StopInstance { generation: g, mode: SHUTDOWN };
    assert_eq!(service.handle(now, Event::PortClosed(g)), [stop]);
    assert_eq!(service.handle(now, Event::Wake), [], "remembered");
    assert_eq!(service.handle(now, Event::Exited(g)), [Action::RequestAdmission]);
    assert_eq!(service.handle(now, Event::Admitted), [Action::Summon(g.next())]);
}

#[test]
fn a_wake_during_a_suspension_wins_and_one_that_takes_too_long_is_given_up() {
    let mut now = Instant::from_nanos(1_000);
    let g = Generation(7);
    let running = || {
        let mut service = Lifecycle::new(g, timing(SUSPEND));
        service.handle(now, Event::Wake);
        service.handle(now, Event::Admitted);
        service.handle(now, Event::Ready(g));
        service.handle(now, Event::Idle(g));
        let suspend = Action::StopInstance { generation: g, mode: SUSPEND };
        assert_eq!(service.handle(now, Event::PortClosed(g)), [suspend]);
        service
    };
    let mut kept = running();
    assert_eq!(kept.handle(now, Event::Wake), [], "not before its snapshot is stored");
    assert_eq!(kept.handle(now, Event::Exited(g)), [Action::RequestAdmission]);

    let mut stuck = running();
    now = now + TICK;
    assert_eq!(stuck.poll_timeout(), Some(now));
    let destroy = Action::StopInstance { generation: g, mode: StopMode::Destroy };
    assert_eq!(stuck.handle_timeout(now), [destroy]);
    assert_eq!(stuck.handle(now, Event::Exited(g)), []);
    assert_eq!(*stuck.state(), State::Cold, "not being kept is not a failed boot");
}

#[test]
fn failures_in_a_row_wait_longer_and_a_stable_life_ends_the_row() {
    let mut service = Lifecycle::new(Generation(1), timing(StopMode::Destroy));
    let mut now = Instant::from_nanos(0);
    let fail = |service: &mut Lifecycle, now: &mut Instant| {
        service.handle(*now, Event::Wake);
        service.handle(*now, Event::Admitted);
        let g = service.generation().expect("it boots");
        service.handle(*now, Event::Exited(g));
        let State::Backoff { until, .. } = *service.state() else { panic!("{service:?}") };
        let wait = until.saturating_since(*now);
        *now = until;
        service.handle_timeout(*now);
        wait
    };
    let waits: Vec<_> = (0..3).map(|_| fail(&mut service, &mut now)).collect();
    assert_eq!(waits, [TICK, 2 * TICK, 2 * TICK]);
    service.handle(now, Event::Wake);
    service.handle(now, Event::Admitted);
    let g = service.generation().expect("it boots");
    service.handle(now, Event::Ready(g));
    now = now + 5 * TICK;
    service.handle(now, Event::Exited(g));
    assert_eq!(*service.state(), State::Cold);
    assert_eq!(fail(&mut service, &mut now), TICK);
}
