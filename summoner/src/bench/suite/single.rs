//! One request at a time: what a summon costs, next to what else one could do. Every turn measures each contestant
//! once, in a random order, so that whatever the machine does meanwhile, it does to all of them.

use std::thread;
use std::time::Duration;

use super::Suite;
use super::world::{Running, World};
use crate::bench::BenchError;
use crate::bench::baseline::{BaselineError, Baselines, Sample};
use crate::bench::client::Client;
use crate::bench::failure::Failure;
use crate::bench::load;
use crate::bench::report::goals::row;
use crate::bench::schedule::{Arrivals, Rate};
use crate::clock::now;

/// Turns before the ones that count: the first boot of all is nobody's usual one.
const WARM_UP: usize = 3;
/// Between two contestants: what the one before left to do (refilling the pool, putting a shell aside) is done then.
const SETTLE: Duration = Duration::from_millis(10);
/// The services of each daemon: one that is made cold again and again, and one that stays warm.
const COLD: usize = 0;
const WARM: usize = 1;

/// A configuration, and the rows of what is measured in it.
struct Variant {
    world: World<'static>,
    cold: &'static str,
    entered: &'static str,
    summon: &'static str,
}

const VARIANTS: [Variant; 3] = [
    Variant {
        world: World { name: "cold", services: 2, idle: "1h", set: &[] },
        cold: row::COLD,
        entered: row::ENTERED,
        summon: row::SUMMON,
    },
    Variant {
        world: World {
            name: "cold_pooled",
            services: 2,
            idle: "1h",
            set: &[("limits.parked_shells", "0")],
        },
        cold: row::COLD_POOLED,
        entered: row::ENTERED_POOLED,
        summon: row::SUMMON_POOLED,
    },
    Variant {
        world: World {
            name: "cold_plain",
            services: 2,
            idle: "1h",
            set: &[
                ("limits.ready_shells", "0"),
                ("limits.parked_shells", "0"),
                ("services.*.snapshot", "false"),
            ],
        },
        cold: row::COLD_PLAIN,
        entered: row::ENTERED_PLAIN,
        summon: row::SUMMON_PLAIN,
    },
];

/// Who is measured in each turn.
#[derive(Debug, Clone, Copy)]
enum Contestant {
    /// A variant.
    Cold(usize),
    Warm,
    Process,
    Activation,
    Crun,
    Exec,
}

/// The scenario `cold`.
pub(super) fn cold(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    let baselines = Baselines::new()?;
    let mut daemons = Vec::new();
    for variant in &VARIANTS {
        let running = variant.world.start(suite)?;
        let client = running.one_client()?;
        running.prime(COLD..COLD + 1)?;
        daemons.push((variant, running, client));
    }
    daemons[0].1.admin.wake(&daemons[0].1.keys[WARM])?;
    let mut contestants = vec![
        Contestant::Cold(0),
        Contestant::Cold(1),
        Contestant::Cold(2),
        Contestant::Warm,
        Contestant::Process,
        Contestant::Activation,
        Contestant::Exec,
    ];
    match baselines.crun() {
        None => suite.recorder.note("crun is not installed, so it was not measured".to_owned()),
        Some(_) => contestants.push(Contestant::Crun),
    }
    let iterations = suite.options.iterations;
    (suite.progress)(&format!("cold: {iterations} turns of {} contestants", contestants.len()));
    let mut pooled = [0_usize; VARIANTS.len()];
    for turn in 0..WARM_UP + iterations {
        suite.random.shuffle(&mut contestants);
        for contestant in &contestants {
            thread::sleep(SETTLE);
            let counts = turn >= WARM_UP;
            match contestant {
                Contestant::Cold(index) => {
                    let (variant, running, client) = &mut daemons[*index];
                    let found = summon(suite, variant, running, client, counts)?;
                    pooled[*index] += usize::from(found);
                }
                Contestant::Warm => {
                    let (_, running, client) = &mut daemons[0];
                    let outcome = client.request(&running.asks[WARM], now());
                    if counts {
                        suite.recorder.plan(row::WARM, 1);
                        suite.recorder.outcome(row::WARM, row::WARM, &outcome);
                    }
                }
                Contestant::Process => baseline(suite, row::PROCESS, baselines.process(), counts),
                Contestant::Activation => {
                    baseline(suite, row::ACTIVATION, baselines.activation(), counts);
                }
                Contestant::Crun => {
                    if let Some(sample) = baselines.crun() {
                        baseline(suite, row::CRUN, sample, counts);
                    }
                }
                Contestant::Exec => exec(suite, baselines.exec(), counts),
            }
        }
    }
    for ((variant, ..), pooled) in daemons.iter().zip(pooled) {
        suite.recorder.note(format!(
            "{}: {pooled} of {iterations} summons found a shell that was made ahead",
            variant.cold
        ));
    }
    daemons.into_iter().try_for_each(|(_, running, _)| running.during(suite, |_, _| Ok(())))
}

/// One cold request, what the daemon says about it, and cold again. Whether it found a shell that was made ahead.
fn summon(
    suite: &mut Suite<'_>,
    variant: &Variant,
    running: &Running,
    client: &mut Client,
    counts: bool,
) -> Result<bool, BenchError> {
    let outcome = client.request(&running.asks[COLD], now());
    let mut pooled = false;
    if counts {
        suite.recorder.plan(variant.cold, 1);
        suite.recorder.outcome(variant.cold, variant.cold, &outcome);
        let timeline = running.admin.service(&running.keys[COLD])?.timeline.unwrap_or_default();
        pooled = timeline.pooled == Some(true);
        if let Some((woken, entered)) = timeline.woken.zip(timeline.entered) {
            let length = entered.saturating_since(woken);
            suite.recorder.samples(variant.entered).push_whole(length);
        }
        if let Some(whole) = timeline.until_first_byte() {
            suite.recorder.samples(variant.summon).push_phases(whole, timeline.phases());
        }
    }
    running.cool(COLD..COLD + 1)?;
    Ok(pooled)
}

/// What a baseline did. One that fails is counted like a request that fails; why is told in a note.
fn baseline(
    suite: &mut Suite<'_>,
    name: &'static str,
    sample: Result<Sample, BaselineError>,
    counts: bool,
) {
    let Some(sample) = counted(suite, name, sample, counts) else { return };
    let Sample { ready, connected, first_byte, last_byte } = sample;
    let rest = last_byte.saturating_sub(first_byte);
    // Of socket activation, the client is connected before the program runs.
    let (first, second) = (ready.min(connected), ready.max(connected));
    let phases = if ready <= connected { ["ready", "connect"] } else { ["connect", "ready"] };
    let lengths = [first, second - first];
    let samples = suite.recorder.samples(name);
    let answered = first_byte.saturating_sub(second);
    let phases = phases.into_iter().zip(lengths);
    samples.push_phases(first_byte, phases.chain([("first_byte", answered), ("rest", rest)]));
}

fn exec(suite: &mut Suite<'_>, length: Result<Duration, BaselineError>, counts: bool) {
    if let Some(length) = counted(suite, row::EXEC, length, counts) {
        suite.recorder.samples(row::EXEC).push_whole(length);
    }
}

fn counted<T>(
    suite: &mut Suite<'_>,
    name: &'static str,
    measured: Result<T, BaselineError>,
    counts: bool,
) -> Option<T> {
    if !counts {
        return None;
    }
    let tally = suite.recorder.baseline(name);
    tally.planned += 1;
    tally.sent += 1;
    match measured {
        Ok(measured) => Some(measured),
        Err(error) => {
            suite.recorder.failed(name, Failure::Local);
            suite.recorder.note(format!("{name}: {}", crate::report(&error)));
            None
        }
    }
}

/// The scenario `no_hold`: a daemon that holds nothing, as there was none before this project. Its clients' SYNs are
/// lost while the guest boots, and sent again after a second (RFC 6298, section 2.1).
pub(super) fn no_hold(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    const PER_SECOND: f64 = 10.0;
    // No packet is as small as this, so none fits in; and what comes once the guest is there is not held back either.
    let set = [("services.*.hold.bytes", "\"1B\""), ("services.*.hold.time", "\"1ms\"")];
    let services = suite.options.unheld;
    let world = World { name: row::NO_HOLD, services, idle: "1h", set: &set };
    let running = world.start(suite)?;
    (suite.progress)(&format!("no_hold: {services} requests whose first SYN is lost"));
    running.during(suite, |suite, running| {
        running.prime(0..services)?;
        let rate = Rate::per_second(PER_SECOND).map(Arrivals::Constant);
        let length = Duration::from_secs_f64(services as f64 / PER_SECOND);
        let times = rate.map(|rate| rate.times(length, &mut suite.random)).unwrap_or_default();
        let work = |client: &mut Client, index: usize, intended| {
            client.request(&running.asks[index], intended)
        };
        let times = &times[..services.min(times.len())];
        let done = load::run(times, times.len(), |index| running.client(index), work)?;
        suite.recorder.baseline(row::NO_HOLD);
        suite.recorder.plan(row::NO_HOLD, done.len());
        for done in &done {
            suite.recorder.done(row::NO_HOLD, row::NO_HOLD, done);
        }
        Ok(())
    })
}
