//! One request at a time: what a summon costs, next to what else one could do. Every turn measures each contestant
//! once, in a random order, so that whatever the machine does meanwhile, it does to all of them.

use std::fmt;
use std::thread;
use std::time::Duration;

use super::Suite;
use super::reference;
use super::world::{Running, World};
use crate::bench::BenchError;
use crate::bench::baseline::Baselines;
use crate::bench::client::Client;
use crate::bench::report::goals::row;
use crate::bench::report::record::Recorder;
use crate::clock::now;
use crate::engine::ShellSource;
use crate::orchestrator::timeline::Timeline;

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
pub(super) fn run(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    let baselines = Baselines::new()?;
    let mut daemons = Vec::new();
    for variant in &VARIANTS {
        let running = variant.world.start(suite)?;
        let client = running.one_client()?;
        running.prime(suite, COLD..COLD + 1)?;
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
    let mut origins = [Origins::default(); VARIANTS.len()];
    for turn in 0..WARM_UP + iterations {
        suite.random.shuffle(&mut contestants);
        for contestant in &contestants {
            thread::sleep(SETTLE);
            let counts = turn >= WARM_UP;
            match contestant {
                Contestant::Cold(index) => {
                    let (variant, running, client) = &mut daemons[*index];
                    let timeline = summon(suite, variant, running, client, counts)?;
                    origins[*index].count(timeline.as_ref());
                }
                Contestant::Warm => {
                    let (_, running, client) = &mut daemons[0];
                    let outcome = client.request(&running.asks[WARM], now());
                    if counts {
                        suite.recorder.plan(row::WARM, 1);
                        suite.recorder.outcome(row::WARM, row::WARM, &outcome);
                    }
                }
                Contestant::Process => {
                    let sample = baselines.process();
                    reference::sample(recorder(suite, counts), row::PROCESS, sample);
                }
                Contestant::Activation => {
                    let sample = baselines.activation();
                    reference::sample(recorder(suite, counts), row::ACTIVATION, sample);
                }
                Contestant::Crun => {
                    if let Some(sample) = baselines.crun() {
                        reference::sample(recorder(suite, counts), row::CRUN, sample);
                    }
                }
                Contestant::Exec => {
                    let length = baselines.exec();
                    reference::length(recorder(suite, counts), row::EXEC, length);
                }
            }
        }
    }
    for ((variant, ..), origins) in daemons.iter().zip(origins) {
        suite.recorder.note(format!("{}: {origins}", variant.cold));
    }
    daemons.into_iter().try_for_each(|(_, running, _)| running.during(suite, |_, _| Ok(())))
}

/// Where a baseline's figures go: nowhere in the turns that do not count.
fn recorder<'a>(suite: &'a mut Suite<'_>, counts: bool) -> Option<&'a mut Recorder> {
    counts.then_some(&mut suite.recorder)
}

/// Where the guests of a variant came from: figures are about what they say only if these say so too.
#[derive(Debug, Clone, Copy, Default)]
struct Origins {
    summons: usize,
    made: usize,
    ready: usize,
    parked: usize,
    restored: usize,
}

impl Origins {
    fn count(&mut self, timeline: Option<&Timeline>) {
        let Some(timeline) = timeline else { return };
        self.summons += 1;
        self.restored += usize::from(timeline.restored.is_some());
        match timeline.shell {
            Some(ShellSource::Made) => self.made += 1,
            Some(ShellSource::Ready) => self.ready += 1,
            Some(ShellSource::Parked) => self.parked += 1,
            None => {}
        }
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { summons, made, ready, parked, restored } = self;
        write!(
            f,
            "of {summons} summons, {parked} had a shell that was parked for the service, {ready} one that was ready, \
             {made} one made for it; {restored} went on from a snapshot"
        )
    }
}

/// One cold request, what the daemon says about it if it counts, and cold again.
fn summon(
    suite: &mut Suite<'_>,
    variant: &Variant,
    running: &Running,
    client: &mut Client,
    counts: bool,
) -> Result<Option<Timeline>, BenchError> {
    let outcome = client.request(&running.asks[COLD], now());
    let mut told = None;
    if counts {
        suite.recorder.plan(variant.cold, 1);
        suite.recorder.outcome(variant.cold, variant.cold, &outcome);
        if outcome.result.is_ok() {
            // The guest may answer before the daemon has heard that it is ready.
            running.admin.wait_for("running", |service| service.service == running.keys[COLD])?;
        }
        let service = running.admin.service(&running.keys[COLD])?;
        let timeline = service.timeline.unwrap_or_default();
        if let Some((woken, entered)) = timeline.woken.zip(timeline.entered) {
            let length = entered.saturating_since(woken);
            suite.recorder.samples(variant.entered).push_whole(length);
        }
        suite.recorder.summon(variant.summon, &timeline);
        told = Some(timeline);
    }
    running.cool(COLD..COLD + 1)?;
    Ok(told)
}
