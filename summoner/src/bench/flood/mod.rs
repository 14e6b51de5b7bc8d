//! `--flood`: forged SYNs at a cold and at a running service, and what clients notice of it.
//!
//! ```text
//!   sender --> raw sockets --> TUN --> daemon <-- TUN <-- kernel's TCP <-- clients: one after the other to the cold service,
//!     |                                 ^                                  at a steady rate to the running one
//!   forge: random sources, ports        |
//!                                    watch: memory, what is held
//! ```
//!
//! The same clients come twice, without the flood and with it. Before each request to it the cold service is stopped by
//! its administrator, who alone stops anything: so every other boot was paid for by the wakes' budget, which is set
//! so tightly here that forged SYNs would have spent it many times over.

mod figures;
pub mod forge;
pub mod sender;
mod watch;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::rr::Name;
use policies::Instant;
use policies::budget::Limit;

pub use figures::{DaemonMemory, FloodFigures};

use super::BenchError;
use super::admin::Admin;
use super::client::{Ask, Client, Manner, Outcome};
use super::load::{self, Done, LoadError};
use super::report::Report;
use super::report::record::Recorder;
use super::schedule::{Arrivals, Rate};
use super::scrape::{self, Page};
use crate::clock::now;
use crate::config::{self, Config};
use crate::harness::{self, Daemon, DaemonSetup};
use sender::{SendError, Sender, Sent};

const DNS: &str = "127.0.0.1:5399";
const METRICS: &str = "127.0.0.1:9399";
const DEVICE: &str = "flood0";
/// How long each step of a request may take: beyond the kernel's SYN retransmissions after 1, 3 and 7 seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// From one request to the running service to the next.
const WARM_GAP: Duration = Duration::from_millis(50);
/// Clients of it that may wait at the same time.
const WARM_WORKERS: usize = 256;
/// How long the cold service is left alone before it is asked for: time for the flood to wake it, were it allowed to.
const COLD_GAP: Duration = Duration::from_millis(250);
/// Services before they are asked for the first time, and after the flood.
const SETTLE: Duration = Duration::from_secs(2);
const COLD: &str = "cold";
const RUNNING: &str = "running";

/// How much of a flood.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Forged SYNs in a second.
    pub per_second: f64,
    /// For how long; the clients without a flood before that come for as long.
    pub length: Duration,
    /// For all that is random.
    pub seed: u64,
}

fn configuration() -> String {
    format!(
        "state_dir = \"state\"\n\
         dns.listen = [\"{DNS}\"]\n\
         metrics.listen = \"{METRICS}\"\n\
         admin.socket = \"{}\"\n\
         [zone]\napex = \"flood.test\"\n\
         [network]\ninterface = \"{DEVICE}\"\nipv4 = \"10.99.0.0/16\"\nipv6 = \"fd77:6a69:7499::/64\"\n\
         [limits.wakes]\nrate = \"1/s\"\nburst = 10\nproven_rate = \"10/s\"\nproven_burst = 20\n\
         prefix_rate = \"10/s\"\nprefix_burst = 20\n\
         [services.{COLD}]\nimage = \"builtin:hello\"\nidle = \"1h\"\n\
         [services.{RUNNING}]\nimage = \"builtin:hello\"\nidle = \"1h\"\n",
        harness::daemon::SOCKET
    )
}

/// The daemon, and what it is asked.
struct World {
    daemon: Daemon,
    admin: Admin,
    config: Config,
    dns: SocketAddr,
    metrics: SocketAddr,
    cold: Ask,
    running: Ask,
    /// The services' addresses: where the forged SYNs go.
    targets: Vec<SocketAddr>,
    seed: u64,
}

/// Enters a namespace, floods a daemon there, and reports.
///
/// The process must have one thread only, and is in the namespace from then on.
///
/// # Errors
/// When the machine cannot run guests or forge packets, or the daemon fails. A client that is not served is no error: it
/// is counted.
pub fn run(
    options: &Options,
    command: String,
    progress: &dyn Fn(&str),
) -> Result<Report, BenchError> {
    harness::enter()?;
    let mut world = World::start(options.seed)?;
    let mut recorder = Recorder::new();
    let measured = world.measure(options, &mut recorder, progress);
    if measured.is_err() {
        progress(&format!("--- the daemon's log ---\n{}---", world.daemon.log()));
    }
    let figures = measured?;
    recorder.counted(Some(scrape::wakes(world.metrics)?), world.admin.boots()?);
    world.daemon.stop()?;
    let mut report = recorder.finish(command, options.seed);
    report.flood = Some(figures);
    Ok(report)
}

impl World {
    fn start(seed: u64) -> Result<Self, BenchError> {
        let configuration = configuration();
        let setup = DaemonSetup { name: "flood", configuration: &configuration, overrides: &[] };
        let daemon = Daemon::start(&setup)?;
        let config = config::load(Some(&daemon.configuration()), &[]).map_err(BenchError::Own)?;
        let admin = Admin::new(daemon.socket());
        let ask = |key: &str| -> Result<Ask, BenchError> {
            let name = Name::from_ascii(format!("{key}.flood.test.")).map_err(BenchError::Name)?;
            Ok(Ask::new(&name, &Manner::default(), Some(format!("Hello from {key}<")))?)
        };
        let services = admin.services()?;
        let of = |service: &crate::orchestrator::ServiceStatus| {
            let (ipv4, ipv6) = (service.ipv4.map(Into::into), service.ipv6.map(Into::into));
            [ipv4, ipv6].into_iter().flatten().map(|address| SocketAddr::new(address, 80))
        };
        let targets = services.iter().flat_map(of).collect();
        let address = |text: &str| {
            SocketAddr::from(text.parse::<std::net::SocketAddrV4>().expect("a constant address"))
        };
        let (cold, running) = (ask(COLD)?, ask(RUNNING)?);
        let (dns, metrics) = (address(DNS), address(METRICS));
        Ok(Self { daemon, admin, config, dns, metrics, cold, running, targets, seed })
    }

    fn measure(
        &self,
        options: &Options,
        recorder: &mut Recorder,
        progress: &dyn Fn(&str),
    ) -> Result<FloodFigures, BenchError> {
        for key in [COLD, RUNNING] {
            self.admin.wake(key)?;
        }
        // What is kept of a first boot is kept.
        thread::sleep(SETTLE);
        progress(&format!("flood: {:?} of clients alone", options.length));
        let quiet = self.clients(options.length)?;
        record(recorder, "quiet", quiet);

        progress(&format!(
            "flood: {:?} with {:.0} forged SYNs a second",
            options.length, options.per_second
        ));
        let mut sender = Sender::new(self.seed)?;
        let before = self.counts()?;
        let memory_before = watch::resident(self.daemon.process());
        let (begun, over) = (now(), AtomicBool::new(false));
        let (sent, clients, seen) = thread::scope(|scope| {
            let watch = scope.spawn(|| watch::watch(self.daemon.process(), &self.admin, &over));
            let flood = scope.spawn(|| {
                let is_over = |sent: Sent| over.load(Ordering::Relaxed) && sent.packets > 0;
                sender.flood(&self.targets, options.per_second, is_over)
            });
            let clients = self.clients(options.length);
            over.store(true, Ordering::Relaxed);
            (flood.join(), clients, watch.join())
        });
        record(recorder, "flooded", clients?);
        let sent = sent.map_err(|_| SendError::Panicked)??;
        let after = self.counts()?;
        let passed = now().saturating_since(begun);
        thread::sleep(SETTLE);
        let seen = seen.unwrap_or_default();
        let memory = DaemonMemory {
            before: memory_before,
            most: seen.memory,
            after: watch::resident(self.daemon.process()),
        };
        Ok(self.figures(options, sent, passed, seen, memory, &before, &after))
    }

    #[expect(clippy::too_many_arguments, reason = "one for each thing that was looked at")]
    fn figures(
        &self,
        options: &Options,
        sent: Sent,
        passed: Duration,
        seen: watch::Seen,
        memory: DaemonMemory,
        before: &Counts,
        after: &Counts,
    ) -> FloodFigures {
        let limits = &self.config.limits;
        let grown = |counter: &str, label: &str| after.page.growth(&before.page, counter, label);
        let switch = grown("summoner_switch_events_total", "event");
        let held_bound =
            self.config.services.values().map(|service| service.hold.flows).min().unwrap_or(0);
        let wakes = limits.wakes.limits;
        FloodFigures {
            asked_per_second: options.per_second,
            seconds: sent.time.as_secs_f64(),
            sent: sent.packets,
            per_second: sent.packets as f64 / sent.time.as_secs_f64(),
            dropped_by_device: after.dropped.saturating_sub(before.dropped),
            received: switch.get("received_uplink").copied().unwrap_or(0),
            boots: after.boots.saturating_sub(before.boots),
            // Full before the flood: as if nobody had woken anything.
            boots_allowed: [wakes.forgeable, wakes.proven]
                .iter()
                .map(|limit| tokens(limit, passed))
                .sum(),
            wakes: grown("summoner_wakes_total", "result"),
            over_budget: grown("summoner_wakes_over_budget_total", "credibility"),
            held_most: seen.held,
            held_bound,
            held_octets_bound: limits.hold_bytes,
            memory,
            switch,
        }
    }

    fn counts(&self) -> Result<Counts, BenchError> {
        let page = scrape::look(self.metrics)?;
        Ok(Counts { page, boots: self.admin.boots()?, dropped: watch::dropped_by(DEVICE) })
    }

    /// Clients of both services for a while.
    fn clients(&self, length: Duration) -> Result<Clients, BenchError> {
        let mut random = super::random::Random::new(self.seed);
        let times = Arrivals::Constant(Rate::every(WARM_GAP)).times(length, &mut random);
        let client = |index: usize| {
            let seed = self.seed.wrapping_add(u64::try_from(index).unwrap_or(0));
            Client::new(self.dns, PATIENCE, seed)
        };
        let workers = load::workers_for(&times, PATIENCE, WARM_WORKERS);
        let work =
            |client: &mut Client, _: usize, intended| client.request(&self.running, intended);
        let mut one = client(WARM_WORKERS).map_err(LoadError::Client)?;
        thread::scope(|scope| {
            let cold = scope.spawn(|| self.cold_clients(&mut one, now() + length));
            let running = load::run(&times, workers, client, work)?;
            let cold = cold.join().unwrap_or_else(|_| Ok(Vec::new()))?;
            Ok(Clients { cold, running })
        })
    }

    /// One client after the other, each for a service that was stopped before.
    fn cold_clients(
        &self,
        client: &mut Client,
        until: Instant,
    ) -> Result<Vec<Outcome>, BenchError> {
        let mut outcomes = Vec::new();
        while now() < until {
            self.admin.stop(COLD)?;
            thread::sleep(COLD_GAP);
            outcomes.push(client.request(&self.cold, now()));
        }
        Ok(outcomes)
    }
}

/// What was counted so far.
struct Counts {
    page: Page,
    boots: u64,
    dropped: u64,
}

/// What became of clients.
struct Clients {
    cold: Vec<Outcome>,
    running: Vec<Done<Outcome>>,
}

fn record(recorder: &mut Recorder, phase: &str, clients: Clients) {
    let row = |service: &str| format!("{phase}_{service}");
    let (cold, running) = (row(COLD), row(RUNNING));
    recorder.plan(&cold, clients.cold.len());
    for outcome in &clients.cold {
        recorder.outcome(&cold, &cold, outcome);
    }
    recorder.plan(&running, clients.running.len());
    for done in &clients.running {
        recorder.done(&running, &running, done);
    }
}

/// What a full bucket has to give in a time.
fn tokens(limit: &Limit, time: Duration) -> u64 {
    let earned = time.as_nanos() / limit.rate.interval().as_nanos().max(1);
    u64::from(limit.burst).saturating_add(u64::try_from(earned).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_that_the_daemon_takes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("summoner.toml");
        std::fs::write(&file, configuration()).unwrap();
        let config = config::load(Some(&file), &[]).unwrap();
        let wakes = config.limits.wakes.limits;
        assert_eq!(tokens(&wakes.forgeable, Duration::from_millis(5999)), 15);
        assert_eq!(tokens(&wakes.proven, Duration::from_secs(5)), 70);
    }
}
