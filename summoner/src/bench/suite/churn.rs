//! One new client after another over many names, each a service of its own, reaped before its next turn.

use std::thread;
use std::time::Duration;

use super::Suite;
use super::world::World;
use crate::bench::BenchError;
use crate::bench::client::Client;
use crate::bench::load;
use crate::bench::report::goals::row;
use crate::bench::schedule::{Arrivals, Rate};
use crate::clock::now;

/// One new client per 25 ms.
const GAP: Duration = Duration::from_millis(25);
/// Requests on the idle machine, and the time between them.
const UNLOADED: usize = 50;
const UNLOADED_GAP: Duration = Duration::from_millis(100);
/// The time that requests of the worst kind take: workers enough for that.
const LONGEST: Duration = Duration::from_secs(3);

/// The scenario `churn`.
pub(super) fn run(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    let services = suite.options.names;
    // Shorter than the time until a name's next turn.
    let world = World { name: row::CHURN, services, idle: "1s", set: &[] };
    let running = world.start(suite)?;
    running.during(suite, |suite, running| {
        (suite.progress)(&format!("churn: {services} services for the first time"));
        running.prime(suite, 0..services)?;
        let mut client = running.one_client()?;
        let unloaded = UNLOADED.min(services);
        for ask in &running.asks[..unloaded] {
            thread::sleep(UNLOADED_GAP);
            let outcome = client.request(ask, now());
            suite.recorder.plan(row::CHURN_UNLOADED, 1);
            suite.recorder.outcome(row::CHURN_UNLOADED, row::CHURN_UNLOADED, &outcome);
        }
        running.cool(0..unloaded)?;

        let rate = Rate::every(GAP);
        let times = Arrivals::Constant(rate).times(suite.options.duration, &mut suite.random);
        (suite.progress)(&format!("churn: {} new clients at {rate}", times.len()));
        let boots = running.admin.boots()?;
        let work = |client: &mut Client, index: usize, intended| {
            client.request(&running.asks[index % services], intended)
        };
        let workers = load::workers_for(&times, LONGEST, times.len());
        let done = load::run(&times, workers, |index| running.client(index), work)?;
        let boots = running.admin.boots()?.saturating_sub(boots);
        suite.recorder.note(format!("churn: {boots} boots for {} clients", done.len()));
        suite.recorder.plan(row::CHURN, done.len());
        for done in &done {
            suite.recorder.done(row::CHURN, row::CHURN, done);
        }
        Ok(())
    })
}
