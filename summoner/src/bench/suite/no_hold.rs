//! What a client sees of a daemon that holds nothing: its SYN is lost while the guest boots, and sent again after a
//! second (RFC 6298, section 2.1), however short the boot.

use std::time::Duration;

use super::Suite;
use super::world::World;
use crate::bench::BenchError;
use crate::bench::client::Client;
use crate::bench::load;
use crate::bench::report::goals::row;
use crate::bench::schedule::{Arrivals, Rate};

/// From one request to the next: they do not wait for each other's boot.
const GAP: Duration = Duration::from_millis(100);

/// The scenario `no_hold`.
pub(super) fn run(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    // No packet is as small as this, so none fits in; and what comes once the guest is there is not held back either.
    let set = [("services.*.hold.bytes", "\"1B\""), ("services.*.hold.time", "\"1ms\"")];
    let services = suite.options.unheld;
    let world = World { name: row::NO_HOLD, services, idle: "1h", set: &set };
    let running = world.start(suite)?;
    (suite.progress)(&format!("no_hold: {services} requests whose first SYN is lost"));
    running.during(suite, |suite, running| {
        running.prime(suite, 0..services)?;
        let length = GAP * u32::try_from(services).unwrap_or(u32::MAX);
        let times = Arrivals::Constant(Rate::every(GAP)).times(length, &mut suite.random);
        let work = |client: &mut Client, index: usize, intended| {
            client.request(&running.asks[index % services], intended)
        };
        let done = load::run(&times, times.len(), |index| running.client(index), work)?;
        suite.recorder.baseline(row::NO_HOLD);
        suite.recorder.plan(row::NO_HOLD, done.len());
        for done in &done {
            suite.recorder.done(row::NO_HOLD, row::NO_HOLD, done);
        }
        Ok(())
    })
}
