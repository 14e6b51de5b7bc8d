//! Answers for a warm name, at rest and while guests boot: does what is not asked about pay for what is?

use std::thread;
use std::time::Duration;

use policies::Instant;

use super::Suite;
use super::world::{Running, World};
use crate::bench::BenchError;
use crate::bench::client::Client;
use crate::bench::failure::Failure;
use crate::bench::load::{self, Done};
use crate::bench::report::goals::row;
use crate::bench::schedule::{Arrivals, Rate};

/// Guests that boot at once.
const BOOTS: usize = 64;
/// The warm service's place, after them.
const WARM: usize = BOOTS;
/// From one question to the next.
const GAP: Duration = Duration::from_millis(1);
/// How long a round at rest lasts, and one with boots; from the start of that to the wakes.
const REST: Duration = Duration::from_secs(2);
const ROUND: Duration = Duration::from_secs(2);
const WAKES_AT: Duration = Duration::from_millis(200);
const SETTLE: Duration = Duration::from_millis(100);
/// Threads that ask.
const WORKERS: usize = 16;
/// The daemon that lets all of them boot at the same time, and the default one, which lets some wait.
const WORLDS: [World<'static>; 2] = [
    World {
        name: row::DNS_BOOTS,
        services: BOOTS + 1,
        idle: "1h",
        set: &[("limits.booting", "64")],
    },
    World { name: "dns_while_booting_default", services: BOOTS + 1, idle: "1h", set: &[] },
];

/// The scenario `dns`.
pub(super) fn run(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    for (world, rest) in WORLDS.iter().zip([row::DNS_REST, "dns_rest_default"]) {
        let boots = world.name;
        let running = world.start(suite)?;
        let rounds = suite.options.bursts;
        (suite.progress)(&format!("{boots}: {rounds} times {BOOTS} boots"));
        running.during(suite, |suite, running| {
            running.prime(suite, 0..BOOTS)?;
            running.admin.wake(&running.keys[WARM])?;
            for _ in 0..rounds {
                thread::sleep(SETTLE);
                for done in ask_during(suite, running, REST, None)? {
                    record(suite, rest, &done);
                }
                running.cool(0..BOOTS)?;
                thread::sleep(SETTLE);
                let asked = ask_during(suite, running, ROUND, Some(WAKES_AT))?;
                let window = booting(running)?;
                for done in &asked {
                    let within =
                        window.is_some_and(|(from, to)| (from..=to).contains(&done.intended));
                    record(suite, if within { boots } else { "dns_between" }, done);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

type Answer = Done<Result<Duration, Failure>>;

/// Asks for the warm name at a steady rate; wakes the others at `wakes`, all at once and without waiting.
fn ask_during(
    suite: &mut Suite<'_>,
    running: &Running,
    length: Duration,
    wakes: Option<Duration>,
) -> Result<Vec<Answer>, BenchError> {
    let times = Arrivals::Constant(Rate::every(GAP)).times(length, &mut suite.random);
    let waking = wakes.and_then(|wakes| times.iter().position(|at| *at >= wakes));
    let work = |client: &mut Client, index: usize, intended| {
        if Some(index) == waking {
            // In place of a question.
            let woken =
                running.asks[..BOOTS].iter().try_for_each(|ask| client.send_query(ask).map(drop));
            return Err(woken.err().unwrap_or(Failure::Local));
        }
        client.query(&running.asks[WARM], intended)
    };
    let mut done = load::run(&times, WORKERS, |index| running.client(index), work)?;
    if let Some(waking) = waking {
        done.remove(waking);
    }
    Ok(done)
}

/// From the first wake to the last guest that became ready.
fn booting(running: &Running) -> Result<Option<(Instant, Instant)>, BenchError> {
    let woken = &running.keys[..BOOTS];
    let services = running.admin.wait_for("running", |service| woken.contains(&service.service))?;
    let stamps = services
        .iter()
        .filter(|service| woken.contains(&service.service))
        .filter_map(|service| service.timeline.as_ref())
        .filter_map(|timeline| timeline.woken.zip(timeline.ready));
    Ok(stamps.reduce(|(from, to), (woken, ready)| (from.min(woken), to.max(ready))))
}

fn record(suite: &mut Suite<'_>, row: &str, done: &Answer) {
    let tally = suite.recorder.tally(row);
    tally.planned += 1;
    tally.sent += 1;
    suite.recorder.late(row, done);
    match done.value {
        Ok(length) => suite.recorder.samples(row).push_whole(length),
        Err(failure) => suite.recorder.failed(row, failure),
    }
}
