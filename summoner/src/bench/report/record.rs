//! Collects what a run finds while it runs, and makes the report of it.

use std::time::Duration;

use indexmap::IndexMap;

use super::goals::{self, Ratios, row};
use super::{FORMAT, Report, Tally};
use crate::bench::client::Outcome;
use crate::bench::environment::Environment;
use crate::bench::failure::Failure;
use crate::bench::load::Done;
use crate::bench::memory::IdleMemory;
use crate::bench::stats::{Samples, micros};
use crate::bench::throughput::Throughput;
use crate::orchestrator::timeline::{PHASES, Timeline};

/// A worker that is this late was not late but was taken off its processor between two steps.
const NOT_LATE: Duration = Duration::from_micros(500);

/// What was found so far.
#[derive(Debug)]
pub struct Recorder {
    environment: Environment,
    tallies: IndexMap<String, Tally>,
    samples: IndexMap<String, Samples>,
    running: IndexMap<String, Vec<(u64, f64)>>,
    idle_memory: Option<IdleMemory>,
    throughput: IndexMap<String, IndexMap<String, Throughput>>,
    wakes: Option<u64>,
    boots: Option<u64>,
    notes: Vec<String>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// Nothing yet, on this machine.
    #[must_use]
    pub fn new() -> Self {
        Self {
            environment: Environment::look(),
            tallies: IndexMap::new(),
            samples: IndexMap::new(),
            running: IndexMap::new(),
            idle_memory: None,
            throughput: IndexMap::new(),
            wakes: None,
            boots: None,
            notes: Vec::new(),
        }
    }

    /// The counts of a part of the run.
    pub fn tally(&mut self, part: &str) -> &mut Tally {
        self.tallies.entry(part.to_owned()).or_default()
    }

    /// A part of the run that is somebody else's performance.
    pub fn baseline(&mut self, part: &str) -> &mut Tally {
        let tally = self.tally(part);
        tally.baseline = true;
        tally
    }

    /// So many requests of a part are to be made.
    pub fn plan(&mut self, part: &str, count: usize) {
        self.tally(part).planned += u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// A planned request was made. Its latency is a value of `row`.
    pub fn outcome(&mut self, part: &str, row: &str, outcome: &Outcome) {
        let tally = self.tally(part);
        tally.sent += 1;
        tally.syn_retransmissions += u64::from(outcome.syn_retransmissions);
        match &outcome.result {
            Ok(stamps) => self.samples(row).push(stamps),
            Err(failure) => self.failed(part, *failure),
        }
    }

    /// A planned request of a schedule was made.
    pub fn done(&mut self, part: &str, row: &str, done: &Done<Outcome>) {
        self.late(part, done);
        self.outcome(part, row, &done.value);
    }

    /// Counts a request that waited for a worker.
    pub fn late<T>(&mut self, part: &str, done: &Done<T>) {
        self.tally(part).late += u64::from(done.late > NOT_LATE);
    }

    /// A request that was made failed.
    pub fn failed(&mut self, part: &str, failure: Failure) {
        let tally = self.tally(part);
        tally.failed += 1;
        *tally.failures.entry(failure).or_default() += 1;
    }

    /// A row's values.
    pub fn samples(&mut self, row: &str) -> &mut Samples {
        self.samples.entry(row.to_owned()).or_default()
    }

    /// What a daemon says of a summon whose client was answered. A phase that there was not took no time.
    pub fn summon(&mut self, row: &str, timeline: &Timeline) {
        let Some(whole) = timeline.until_first_byte() else { return };
        let mut phases = PHASES.map(|phase| (phase, Duration::ZERO));
        for (phase, length) in timeline.phases() {
            for known in phases.iter_mut().filter(|(known, _)| *known == phase) {
                known.1 = length;
            }
        }
        self.samples(row).push_phases(whole, phases);
    }

    /// A row's values so far.
    #[must_use]
    pub fn lengths(&self, row: &str) -> &[Duration] {
        self.samples.get(row).map_or(&[], Samples::wholes)
    }

    /// A value that was measured while so many instances ran.
    pub fn while_running(&mut self, series: &str, running: usize, length: Duration) {
        let running = u64::try_from(running).unwrap_or(u64::MAX);
        self.running.entry(series.to_owned()).or_default().push((running, micros(length)));
    }

    /// What idle instances cost.
    pub fn idle_memory(&mut self, memory: IdleMemory) {
        self.idle_memory = Some(memory);
    }

    /// How fast octets flowed, by direction and by what they went through.
    pub fn throughput(&mut self, direction: &str, through: &str, found: Throughput) {
        let of_direction = self.throughput.entry(direction.to_owned()).or_default();
        of_direction.insert(through.to_owned(), found);
    }

    /// What a daemon counted.
    pub fn counted(&mut self, wakes: Option<u64>, boots: u64) {
        if let Some(wakes) = wakes {
            *self.wakes.get_or_insert(0) += wakes;
        }
        *self.boots.get_or_insert(0) += boots;
    }

    /// Something that a reader must know; said once.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The report.
    #[must_use]
    pub fn finish(mut self, command: String, seed: u64) -> Report {
        // Stable: what has no place keeps its order.
        self.samples.sort_by_cached_key(|name, _| row::place(name));
        self.tallies.sort_by_cached_key(|name, _| row::place(name));
        let total = |part: fn(&Tally) -> u64| {
            self.tallies.values().filter(|tally| !tally.baseline).map(part).sum()
        };
        let rows = self.samples.iter();
        let rows = rows.filter_map(|(name, samples)| Some((name.clone(), samples.row()?)));
        let values = |samples: &Samples| samples.wholes().iter().copied().map(micros).collect();
        let mut report = Report {
            format: FORMAT,
            environment: self.environment,
            command,
            seed,
            planned: total(|tally| tally.planned),
            sent: total(|tally| tally.sent),
            failed: total(|tally| tally.failed),
            late: total(|tally| tally.late),
            syn_retransmissions: total(|tally| tally.syn_retransmissions),
            wakes: self.wakes,
            boots: self.boots,
            ratios: Ratios::default(),
            idle_rss_bytes_per_instance: self.idle_memory.as_ref().map(IdleMemory::per_instance),
            idle_memory: self.idle_memory,
            throughput: self.throughput,
            flood: None,
            goals: Vec::new(),
            rows: rows.collect(),
            samples: self.samples.iter().map(|(name, all)| (name.clone(), values(all))).collect(),
            tallies: self.tallies,
            notes: self.notes,
            running: self.running,
        };
        report.ratios = Ratios::of(&report);
        report.goals = goals::of(&report);
        report
    }
}
