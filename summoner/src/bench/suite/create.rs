//! Instances one after the other, all staying: does the thousandth take longer than the first, and what does each cost?

use std::thread;
use std::time::Duration;

use policies::Instant;

use super::Suite;
use super::reference;
use super::world::{KEPT_AFTER, Running, World};
use crate::bench::BenchError;
use crate::bench::baseline::Baselines;
use crate::bench::client::Client;
use crate::bench::memory::{IdleMemory, System};
use crate::bench::report::goals::row;
use crate::clock::now;

/// Between two creations.
const SETTLE: Duration = Duration::from_millis(5);
/// Requests of a service that runs, and how often there are some.
const WARM: usize = 5;
const WARM_EVERY: usize = 20;
/// Until instances are idle and their memory may be looked at.
const IDLE: Duration = Duration::from_secs(2);

/// The scenario `create`.
pub(super) fn run(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    let services = suite.options.instances;
    // No shell is put aside for a service: each instance is one more, in a shell that served nobody.
    let set = [("limits.parked_shells", "0")];
    let world = World { name: row::CREATE, services, idle: "1h", set: &set };
    let running = world.start(suite)?;
    running.during(suite, |suite, running| {
        let mut client = running.one_client()?;
        (suite.progress)(&format!("create: {services} services for the first time"));
        for service in 0..services {
            thread::sleep(SETTLE);
            first_boot(suite, running, &mut client, service)?;
        }
        (suite.progress)(&format!("create: {services} instances, all staying"));
        running.note_snapshots(suite)?;
        let baselines = Baselines::new()?;
        let before = System::look();
        for service in 0..services {
            thread::sleep(SETTLE);
            one_more(suite, running, &mut client, service);
            process(suite, &baselines, service + 1);
            if service % WARM_EVERY == 0 {
                warm(suite, running, &mut client, service + 1);
            }
        }
        ready_after(suite, running)?;
        thread::sleep(IDLE);
        memory(suite, running, before)
    })
}

/// A service's very first boot, which leaves behind what later ones are made of.
fn first_boot(
    suite: &mut Suite<'_>,
    running: &Running,
    client: &mut Client,
    service: usize,
) -> Result<(), BenchError> {
    const ROW: &str = row::CREATE_FIRST_BOOT;
    let outcome = client.request(&running.asks[service], now());
    suite.recorder.plan(ROW, 1);
    suite.recorder.outcome(ROW, ROW, &outcome);
    thread::sleep(KEPT_AFTER);
    Ok(running.admin.stop(&running.keys[service])?)
}

fn one_more(suite: &mut Suite<'_>, running: &Running, client: &mut Client, service: usize) {
    let outcome = client.request(&running.asks[service], now());
    suite.recorder.plan(row::CREATE, 1);
    suite.recorder.outcome(row::CREATE, row::CREATE, &outcome);
    if let Ok(stamps) = outcome.result {
        suite.recorder.while_running(row::CREATE, service + 1, stamps.first_byte);
    }
}

/// An ordinary process next to each creation: if that takes longer too, it was the machine.
fn process(suite: &mut Suite<'_>, baselines: &Baselines, count: usize) {
    let sample = baselines.process();
    let sample = reference::sample(Some(&mut suite.recorder), row::CREATE_PROCESS, sample);
    if let Some(first_byte) = sample {
        suite.recorder.while_running(row::CREATE_PROCESS, count, first_byte);
    }
}

/// Some of the instances that run are asked again.
fn warm(suite: &mut Suite<'_>, running: &Running, client: &mut Client, count: usize) {
    for _ in 0..WARM {
        let service = suite.random.below(count);
        let outcome = client.request(&running.asks[service], now());
        suite.recorder.plan(row::WARM_AMONG, 1);
        suite.recorder.outcome(row::WARM_AMONG, row::WARM_AMONG, &outcome);
        if let Ok(stamps) = outcome.result {
            suite.recorder.while_running(row::WARM_AMONG, count, stamps.first_byte);
        }
    }
}

/// What the daemon says: admission to ready, in the order of the creations.
fn ready_after(suite: &mut Suite<'_>, running: &Running) -> Result<(), BenchError> {
    let services = running.admin.services()?;
    let mut stamps: Vec<(Instant, Instant)> = services
        .iter()
        .filter_map(|service| service.timeline.as_ref())
        .filter_map(|timeline| timeline.admitted.zip(timeline.ready))
        .collect();
    stamps.sort_unstable();
    for (admitted, ready) in stamps {
        suite.recorder.samples(row::CREATE_READY).push_whole(ready.saturating_since(admitted));
    }
    Ok(())
}

fn memory(suite: &mut Suite<'_>, running: &Running, before: System) -> Result<(), BenchError> {
    let services = running.admin.services()?;
    let instances: Vec<(u32, u64)> =
        services.iter().filter_map(|service| Some((service.process?, service.memory))).collect();
    match IdleMemory::look(&instances, before) {
        Some(memory) => suite.recorder.idle_memory(memory),
        None => suite.recorder.note("the memory of no instance could be looked at".to_owned()),
    }
    Ok(())
}
