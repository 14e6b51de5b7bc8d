//! A run against any deployment: names, a schedule, and, if there is a way to ask, what its daemon did meanwhile.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::rr::Name;

use super::BenchError;
use super::admin::Admin;
use super::client::{Ask, Client, Manner, Outcome};
use super::load::{self, Done};
use super::random::Random;
use super::report::Report;
use super::report::goals::row;
use super::report::record::Recorder;
use super::schedule::{self, Arrivals, Kind, Mix, Planned};
use super::scrape;
use crate::clock::now;

/// A schedule has workers enough for requests that take this long each; more only if the rate is small.
const LONGEST: Duration = Duration::from_secs(5);
/// More threads than this are a load of their own.
const MOST_WORKERS: usize = 1024;

/// What to measure, and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// The DNS server.
    pub dns: SocketAddr,
    /// The services' names.
    pub names: Vec<Name>,
    /// How to ask.
    pub manner: Manner,
    /// A page without this is a failure.
    pub expected: Option<String>,
    /// When requests come.
    pub arrivals: Arrivals,
    /// How long.
    pub duration: Duration,
    /// What state they are to find the services in.
    pub mix: Mix,
    /// How long each step of a request may take.
    pub patience: Duration,
    /// The daemon's admin socket: for boots, timelines and making services cold.
    pub admin: Option<PathBuf>,
    /// The daemon's metrics page: for wakes.
    pub metrics: Option<SocketAddr>,
    /// For the schedule.
    pub seed: u64,
}

/// Carries the run out.
///
/// # Errors
/// When it cannot begin: too few names for the mix, no way to make services cold, no daemon.
pub fn run(target: &Target, command: String) -> Result<Report, BenchError> {
    let Some(shares) = target.mix.share(target.names.len()) else {
        let (names, kinds) = (target.names.len(), target.mix.kinds().count());
        return Err(BenchError::TooFewNames { names, kinds });
    };
    let admin = target.admin.as_deref().map(Admin::new);
    if admin.is_none() && target.mix.kinds().any(Kind::needs_cold) {
        return Err(BenchError::NoWayToCool);
    }
    let asks =
        target.names.iter().map(|name| Ask::new(name, &target.manner, target.expected.clone()));
    let asks = asks.collect::<Result<Vec<Ask>, _>>()?;
    let addresses = prepare(target, &asks, &shares, admin.as_ref())?;

    let mut random = Random::new(target.seed);
    let times = target.arrivals.times(target.duration, &mut random);
    let planned = schedule::plan(&times, &target.mix, &shares, &mut random);
    let before = Counts::look(target, admin.as_ref())?;
    let work = |client: &mut Client, index: usize, intended| {
        let Planned { name, kind, .. } = planned[index];
        let outcome = match (kind, addresses.get(&name)) {
            (Kind::Held, Some(address)) => client.request_at(&asks[name], *address, intended),
            _ => client.request(&asks[name], intended),
        };
        // Cold again for its next turn; whether that worked shows in the number of boots.
        let cooled = match (&admin, kind.needs_cold()) {
            (Some(admin), true) => admin.stop(&asks[name].name).is_ok(),
            _ => true,
        };
        (outcome, cooled)
    };
    let workers = load::workers_for(&times, LONGEST.min(target.patience), MOST_WORKERS);
    let client = |index| {
        let seed = target.seed.wrapping_add(u64::try_from(index).unwrap_or(0));
        Client::new(target.dns, target.patience, seed)
    };
    let done = load::run(&times, workers, client, work)?;

    let mut recorder = Recorder::new();
    for (Planned { kind, .. }, done) in planned.iter().zip(done) {
        let Done { intended, late, value: (outcome, cooled) } = done;
        recorder.plan(kind.label(), 1);
        recorder.done(kind.label(), kind.label(), &Done { intended, late, value: outcome });
        if !cooled {
            recorder.note(format!("a service was not stopped after its {} request", kind.label()));
        }
    }
    if let Some(boots) = summons(&mut recorder, admin.as_ref(), &before)? {
        let wakes = target.metrics.map(scrape::wakes).transpose()?;
        let wakes = wakes.zip(before.wakes).map(|(after, before)| after.saturating_sub(before));
        recorder.counted(wakes, boots);
    }
    Ok(recorder.finish(command, target.seed))
}

/// Brings the services into the states that the mix wants to find them in; the addresses of those that are asked
/// without a query.
fn prepare(
    target: &Target,
    asks: &[Ask],
    shares: &[(Kind, std::ops::Range<usize>)],
    admin: Option<&Admin>,
) -> Result<HashMap<usize, IpAddr>, BenchError> {
    let mut client =
        Client::new(target.dns, target.patience, target.seed).map_err(load::LoadError::Client)?;
    let mut addresses = HashMap::new();
    for (kind, range) in shares {
        for name in range.clone() {
            if matches!(kind, Kind::Warm | Kind::Held) {
                let Outcome { result, address, .. } = client.request(&asks[name], now());
                let (Ok(_), Some(address)) = (result, address) else {
                    let failure = result.err().unwrap_or(super::failure::Failure::Local);
                    return Err(BenchError::Unprepared { name: asks[name].name.clone(), failure });
                };
                addresses.insert(name, address);
            }
        }
        if let (Some(admin), true) = (admin, kind.needs_cold()) {
            admin.make_cold(asks[range.clone()].iter().map(|ask| ask.name.as_str()))?;
        }
    }
    Ok(addresses)
}

/// What the daemon had counted before.
#[derive(Debug, Default)]
struct Counts {
    boots: u64,
    wakes: Option<u64>,
    generations: HashMap<String, u64>,
}

impl Counts {
    fn look(target: &Target, admin: Option<&Admin>) -> Result<Self, BenchError> {
        let wakes = target.metrics.map(scrape::wakes).transpose()?;
        let Some(admin) = admin else { return Ok(Self { wakes, ..Self::default() }) };
        let services = admin.services()?;
        let newest = services.into_iter().filter_map(|service| {
            let generation = service.timeline.as_ref()?.generation?;
            Some((service.service, generation))
        });
        Ok(Self { boots: admin.boots()?, wakes, generations: newest.collect() })
    }
}

/// The daemon's own record of each service's newest summon, if it is one of this run; and how many boots there were.
fn summons(
    recorder: &mut Recorder,
    admin: Option<&Admin>,
    before: &Counts,
) -> Result<Option<u64>, BenchError> {
    let Some(admin) = admin else { return Ok(None) };
    for service in admin.services()? {
        let Some(timeline) = &service.timeline else { continue };
        if timeline.generation == before.generations.get(&service.service).copied() {
            continue;
        }
        recorder.summon(row::SUMMON, timeline);
    }
    Ok(Some(admin.boots()?.saturating_sub(before.boots)))
}
