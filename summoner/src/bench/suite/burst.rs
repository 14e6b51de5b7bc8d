//! Many cold names at the same instant, beside a warm service that is asked steadily.

use std::thread;
use std::time::Duration;

use super::Suite;
use super::world::{Running, World};
use crate::bench::BenchError;
use crate::bench::client::Client;
use crate::bench::load::{self, Done};
use crate::bench::report::goals::row;
use crate::bench::schedule::{Arrivals, Rate};
use crate::clock::now;

/// Cold names at once.
const SIZE: usize = 100;
/// The warm service's place, after the cold ones.
const WARM: usize = SIZE;
/// From one question to it to the next.
const WARM_GAP: Duration = Duration::from_millis(5);
/// From the start of a round to its burst, and from there to its end.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(2);
/// Cold requests one at a time, for comparison.
const SINGLES: usize = 30;
/// Before each of them, and before a round.
const SETTLE: Duration = Duration::from_millis(20);
/// Threads for the warm service.
const WARM_WORKERS: usize = 32;

/// The scenario `burst`.
pub(super) fn run(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    let world = World { name: row::BURST, services: SIZE + 1, idle: "1h", set: &[] };
    let running = world.start(suite)?;
    running.during(suite, |suite, running| {
        running.prime(suite, 0..SIZE)?;
        let mut client = running.one_client()?;
        for ask in &running.asks[..SINGLES] {
            thread::sleep(SETTLE);
            let outcome = client.request(ask, now());
            suite.recorder.plan(row::BURST_SINGLE, 1);
            suite.recorder.outcome(row::BURST_SINGLE, row::BURST_SINGLE, &outcome);
        }
        let rounds = suite.options.bursts;
        (suite.progress)(&format!("burst: {rounds} times {SIZE} cold names at once"));
        for _ in 0..rounds {
            running.cool(0..SIZE)?;
            running.admin.wake(&running.keys[WARM])?;
            thread::sleep(SETTLE);
            round(suite, running)?;
        }
        Ok(())
    })
}

/// One burst, and the warm service before and during it.
fn round(suite: &mut Suite<'_>, running: &Running) -> Result<(), BenchError> {
    let warm = Arrivals::Constant(Rate::every(WARM_GAP)).times(BEFORE + AFTER, &mut suite.random);
    let mut jobs: Vec<(Duration, usize)> = warm.into_iter().map(|at| (at, WARM)).collect();
    jobs.extend((0..SIZE).map(|service| (BEFORE, service)));
    jobs.sort_by_key(|(at, _)| *at);
    let times: Vec<Duration> = jobs.iter().map(|(at, _)| *at).collect();
    let work = |client: &mut Client, index: usize, intended| {
        client.request(&running.asks[jobs[index].1], intended)
    };
    let workers = SIZE + WARM_WORKERS;
    let done = load::run(&times, workers, |index| running.client(index), work)?;

    let mut burst = None;
    let mut over = None;
    for (Done { intended, value, .. }, _) in of(&done, &jobs, |service| service != WARM) {
        burst = Some(*intended);
        let length = value.result.map(|stamps| stamps.last_byte).unwrap_or_default();
        over = over.max(Some(*intended + length));
    }
    for (done, _) in of(&done, &jobs, |service| service != WARM) {
        suite.recorder.plan(row::BURST, 1);
        suite.recorder.done(row::BURST, row::BURST, done);
    }
    for (done, _) in of(&done, &jobs, |service| service == WARM) {
        let row = match (Some(done.intended) < burst, Some(done.intended) <= over) {
            (true, _) => row::BURST_WARM_BEFORE,
            (false, true) => row::BURST_WARM_DURING,
            (false, false) => "burst_warm_after",
        };
        suite.recorder.plan(row, 1);
        suite.recorder.done(row, row, done);
    }
    Ok(())
}

fn of<'a, T>(
    done: &'a [Done<T>],
    jobs: &'a [(Duration, usize)],
    wanted: impl Fn(usize) -> bool + 'a,
) -> impl Iterator<Item = (&'a Done<T>, usize)> + 'a {
    let services = jobs.iter().map(|(_, service)| *service);
    done.iter().zip(services).filter(move |(_, service)| wanted(*service))
}
