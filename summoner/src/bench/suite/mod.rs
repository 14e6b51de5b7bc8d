//! `--self`: every goal of this project as a scenario, against daemons of its own in a namespace of its own, with the
//! baselines in the same run.

mod burst;
mod churn;
mod create;
mod dns;
mod no_hold;
mod reference;
mod single;
mod throughput;
mod world;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::BenchError;
use super::random::Random;
use super::report::Report;
use super::report::record::Recorder;
use crate::harness;

/// One part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// One request at a time: cold in three configurations, warm, and the baselines, in turns.
    Cold,
    /// The same when nobody holds the first packet.
    NoHold,
    /// Instances one after the other, all staying: latency and memory as they become more.
    Create,
    /// New clients at a steady rate over many names.
    Churn,
    /// Many cold names at the same instant.
    Burst,
    /// Answers for a warm name while guests boot.
    Dns,
    /// Octets in bulk through the packet path.
    Throughput,
}

impl Scenario {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 7] = [
        Self::Cold,
        Self::NoHold,
        Self::Create,
        Self::Churn,
        Self::Burst,
        Self::Dns,
        Self::Throughput,
    ];

    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::NoHold => "no_hold",
            Self::Create => "create",
            Self::Churn => "churn",
            Self::Burst => "burst",
            Self::Dns => "dns",
            Self::Throughput => "throughput",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A word that is no scenario's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no scenario `{0}`; there are cold, no_hold, create, churn, burst, dns and throughput"
)]
pub struct NoScenario(String);

impl FromStr for Scenario {
    type Err = NoScenario;

    fn from_str(text: &str) -> Result<Self, NoScenario> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.label() == text)
            .ok_or_else(|| NoScenario(text.to_owned()))
    }
}

/// How much to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which parts.
    pub scenarios: Vec<Scenario>,
    /// Turns of [`Scenario::Cold`].
    pub iterations: usize,
    /// Instances of [`Scenario::Create`].
    pub instances: usize,
    /// Names of [`Scenario::Churn`].
    pub names: usize,
    /// Length of [`Scenario::Churn`].
    pub duration: Duration,
    /// Requests of [`Scenario::NoHold`]; each takes a second.
    pub unheld: usize,
    /// Bursts of [`Scenario::Burst`] and of [`Scenario::Dns`].
    pub bursts: usize,
    /// Transfers of [`Scenario::Throughput`] in each direction.
    pub transfers: usize,
    /// Octets of each of them.
    pub octets: u64,
    /// For all that is random.
    pub seed: u64,
}

impl Options {
    /// Enough for figures that may be quoted.
    #[must_use]
    pub fn whole(seed: u64) -> Self {
        Self {
            scenarios: Scenario::ALL.to_vec(),
            iterations: 200,
            instances: 1000,
            names: 1000,
            duration: Duration::from_secs(60),
            unheld: 30,
            bursts: 10,
            transfers: 9,
            octets: 32 << 20,
            seed,
        }
    }

    /// Enough to see that everything works.
    #[must_use]
    pub fn quick(seed: u64) -> Self {
        Self {
            iterations: 20,
            instances: 100,
            names: 100,
            duration: Duration::from_secs(5),
            unheld: 3,
            bursts: 1,
            transfers: 1,
            octets: 1 << 20,
            ..Self::whole(seed)
        }
    }
}

/// A run of the suite.
struct Suite<'a> {
    options: &'a Options,
    recorder: Recorder,
    random: Random,
    /// Daemons so far, so that no two use the same names and addresses.
    daemons: u8,
    progress: &'a dyn Fn(&str),
}

/// Enters a namespace and measures; `progress` is told what goes on.
///
/// The process must have one thread only, and is in the namespace from then on.
///
/// # Errors
/// When the machine cannot run guests, a daemon fails, or a baseline cannot be made. A request that fails is none: it
/// is counted.
pub fn run(
    options: &Options,
    command: String,
    progress: &dyn Fn(&str),
) -> Result<Report, BenchError> {
    harness::enter()?;
    raise_open_files();
    let mut suite = Suite {
        options,
        recorder: Recorder::new(),
        random: Random::new(options.seed),
        daemons: 0,
        progress,
    };
    for scenario in &options.scenarios {
        match scenario {
            Scenario::Cold => single::run(&mut suite)?,
            Scenario::NoHold => no_hold::run(&mut suite)?,
            Scenario::Create => create::run(&mut suite)?,
            Scenario::Churn => churn::run(&mut suite)?,
            Scenario::Burst => burst::run(&mut suite)?,
            Scenario::Dns => dns::run(&mut suite)?,
            Scenario::Throughput => throughput::run(&mut suite)?,
        }
    }
    Ok(suite.recorder.finish(command, options.seed))
}

/// A thousand instances need some thousand descriptors in the daemon, which inherits the limit. As much as is allowed;
/// where that is too little, boots fail, and are counted.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_have_words() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
        let error = "hot".parse::<Scenario>().unwrap_err().to_string();
        for scenario in Scenario::ALL {
            assert!(error.contains(scenario.label()), "{error}");
        }
    }
}
