//! Ratios between rows, and the goals that a whole run is held against.

use serde::{Deserialize, Serialize};

use super::Report;
use crate::bench::stats::Summary;

/// How many instances at each end of a row of creations are compared.
pub const ENDS: usize = 20;

/// Names of the rows that ratios and goals are about.
pub mod row {
    /// Cold, in the default configuration.
    pub const COLD: &str = "cold";
    /// Cold, from a shell of the pool that served nobody before.
    pub const COLD_POOLED: &str = "cold_pooled";
    /// Cold, without pool and snapshot.
    pub const COLD_PLAIN: &str = "cold_plain";
    /// Running already.
    pub const WARM: &str = "warm";
    /// Fork and exec of the same service as an ordinary program.
    pub const PROCESS: &str = "process";
    /// The same, its socket bound before, started by the first connection.
    pub const ACTIVATION: &str = "activation";
    /// The same in a container.
    pub const CRUN: &str = "crun";
    /// Fork, exec and wait of a program that only exits.
    pub const EXEC: &str = "exec";
    /// Cold, and nobody holds the first packet.
    pub const NO_HOLD: &str = "no_hold";
    /// From the wake to the guest's first instruction, for each configuration.
    pub const ENTERED: &str = "entered";
    /// As [`ENTERED`].
    pub const ENTERED_POOLED: &str = "entered_pooled";
    /// As [`ENTERED`].
    pub const ENTERED_PLAIN: &str = "entered_plain";
    /// The daemon's own record of a summon, by its phases, for each configuration.
    pub const SUMMON: &str = "summon";
    /// As [`SUMMON`].
    pub const SUMMON_POOLED: &str = "summon_pooled";
    /// As [`SUMMON`].
    pub const SUMMON_PLAIN: &str = "summon_plain";
    /// The very first boots of services.
    pub const CREATE_FIRST_BOOT: &str = "create_first_boot";
    /// Creations one after the other, all staying.
    pub const CREATE: &str = "create";
    /// Admission to ready of the same.
    pub const CREATE_READY: &str = "create_ready";
    /// A process next to each creation: what the machine did meanwhile.
    pub const CREATE_PROCESS: &str = "create_process";
    /// Warm requests while the instances become more.
    pub const WARM_AMONG: &str = "warm_among_many";
    /// New clients over many names, on an idle machine.
    pub const CHURN_UNLOADED: &str = "churn_unloaded";
    /// New clients over many names.
    pub const CHURN: &str = "churn";
    /// One cold name alone.
    pub const BURST_SINGLE: &str = "burst_single";
    /// Cold names at the same instant.
    pub const BURST: &str = "burst";
    /// A warm service before a burst.
    pub const BURST_WARM_BEFORE: &str = "burst_warm_before";
    /// A warm service during a burst.
    pub const BURST_WARM_DURING: &str = "burst_warm_during";
    /// Answers for a warm name at rest.
    pub const DNS_REST: &str = "dns_rest";
    /// Answers for a warm name while guests boot.
    pub const DNS_BOOTS: &str = "dns_while_booting";

    /// The order of reports; what is not here comes after, in the order in which it was measured.
    pub const ORDER: [&str; 25] = [
        COLD,
        COLD_POOLED,
        COLD_PLAIN,
        WARM,
        PROCESS,
        ACTIVATION,
        CRUN,
        EXEC,
        NO_HOLD,
        ENTERED,
        ENTERED_POOLED,
        ENTERED_PLAIN,
        SUMMON,
        SUMMON_POOLED,
        SUMMON_PLAIN,
        CREATE_FIRST_BOOT,
        CREATE,
        CREATE_READY,
        CREATE_PROCESS,
        WARM_AMONG,
        CHURN_UNLOADED,
        CHURN,
        BURST_SINGLE,
        BURST,
        BURST_WARM_BEFORE,
    ];

    /// A row's place in that order.
    #[must_use]
    pub fn place(row: &str) -> usize {
        ORDER.iter().position(|known| *known == row).unwrap_or(ORDER.len())
    }
}

/// Two quantiles of one row by those of another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct QuantileRatio {
    /// Of the medians.
    pub p50: Option<f64>,
    /// Of the 99th percentiles.
    pub p99: Option<f64>,
}

/// What is compared with what; `None` where one of them was not measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    /// Cold by process.
    pub cold_vs_process: QuantileRatio,
    /// Cold by socket activation.
    pub cold_vs_activation: QuantileRatio,
    /// Cold by container.
    pub cold_vs_crun: QuantileRatio,
    /// From a shell that served nobody before, by process.
    pub pooled_boot_vs_process: QuantileRatio,
    /// Without pool and snapshot, by process.
    pub plain_boot_vs_process: QuantileRatio,
    /// Wake to first instruction in a shell that served the service before, by a process that only exits.
    pub entered_vs_exec: QuantileRatio,
    /// The same in a shell of the pool.
    pub entered_pooled_vs_exec: QuantileRatio,
    /// Creations: the median of the last ones by that of the first ones.
    pub create_1000th_vs_first: Option<f64>,
    /// The same from admission to ready.
    pub create_ready_1000th_vs_first: Option<f64>,
    /// The same of a process next to each: how much of it is the machine's.
    pub create_process_1000th_vs_first: Option<f64>,
    /// The median of new clients over many names by the unloaded one.
    pub churn_vs_unloaded: Option<f64>,
    /// The slowest of a burst by the median of one alone.
    pub burst_slowest_vs_single: Option<f64>,
    /// A warm service's 99th percentile during bursts by the one before.
    pub burst_warm_p99: Option<f64>,
    /// The 99th percentile of answers for a warm name while guests boot, by the one at rest.
    pub dns_p99_while_booting_vs_rest: Option<f64>,
}

impl Ratios {
    /// The ratios of a report's rows.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let summary = |name: &str| report.rows.get(name).map(|row| &row.whole);
        let by = |ours: &str, theirs: &str, figure: fn(&Summary) -> f64| {
            divide(summary(ours).map(figure)?, summary(theirs).map(figure)?)
        };
        let both = |ours, theirs| QuantileRatio {
            p50: by(ours, theirs, |summary| summary.p50),
            p99: by(ours, theirs, |summary| summary.p99),
        };
        let ends = |name: &str| ends(report.samples.get(name)?);
        Self {
            cold_vs_process: both(row::COLD, row::PROCESS),
            cold_vs_activation: both(row::COLD, row::ACTIVATION),
            cold_vs_crun: both(row::COLD, row::CRUN),
            pooled_boot_vs_process: both(row::COLD_POOLED, row::PROCESS),
            plain_boot_vs_process: both(row::COLD_PLAIN, row::PROCESS),
            entered_vs_exec: both(row::ENTERED, row::EXEC),
            entered_pooled_vs_exec: both(row::ENTERED_POOLED, row::EXEC),
            create_1000th_vs_first: ends(row::CREATE),
            create_ready_1000th_vs_first: ends(row::CREATE_READY),
            create_process_1000th_vs_first: ends(row::CREATE_PROCESS),
            churn_vs_unloaded: by(row::CHURN, row::CHURN_UNLOADED, |summary| summary.p50),
            burst_slowest_vs_single: summary(row::BURST)
                .zip(summary(row::BURST_SINGLE))
                .and_then(|(burst, single)| divide(burst.max, single.p50)),
            burst_warm_p99: by(row::BURST_WARM_DURING, row::BURST_WARM_BEFORE, |summary| {
                summary.p99
            }),
            dns_p99_while_booting_vs_rest: by(row::DNS_BOOTS, row::DNS_REST, |summary| summary.p99),
        }
    }
}

fn divide(ours: f64, theirs: f64) -> Option<f64> {
    Some(ours / theirs).filter(|ratio| ratio.is_finite())
}

/// The median of the last values by that of the first; `None` when the two ends would meet.
fn ends(values: &[f64]) -> Option<f64> {
    if values.len() < 2 * ENDS {
        return None;
    }
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        (sorted[(ENDS - 1) / 2] + sorted[ENDS / 2]) / 2.0
    };
    divide(median(&values[values.len() - ENDS..]), median(&values[..ENDS]))
}

/// What a goal's figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// A multiple of something else.
    Ratio,
    /// A number of things.
    Count,
    /// Memory in octets.
    Octets,
}

/// Something to be reached: a figure that should be at most its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// What it is about.
    pub what: String,
    /// What the figure is.
    pub measure: Measure,
    /// The figure; `None` if it was not measured.
    pub figure: Option<f64>,
    /// The most that it should be.
    pub limit: f64,
    /// Whether it is reached; `None` if it was not measured.
    pub met: Option<bool>,
}

/// All goals, with what a report says about each.
#[must_use]
pub fn of(report: &Report) -> Vec<Goal> {
    let ratios = &report.ratios;
    let tally = |part: &str, count: fn(&super::Tally) -> u64| {
        report.tallies.get(part).filter(|tally| tally.sent > 0).map(|tally| count(tally) as f64)
    };
    let memory = report.idle_rss_bytes_per_instance.map(|octets| octets as f64);
    let unserved = tally(row::BURST, |tally| tally.planned - tally.sent + tally.failed);
    let goals = [
        (
            "cold request to first byte, median, by process",
            Measure::Ratio,
            ratios.cold_vs_process.p50,
            0.7,
        ),
        (
            "cold request to first byte, p99, by process",
            Measure::Ratio,
            ratios.cold_vs_process.p99,
            1.0,
        ),
        (
            "the same without pool and snapshot, median",
            Measure::Ratio,
            ratios.plain_boot_vs_process.p50,
            1.5,
        ),
        (
            "wake to first instruction, pooled shell, by exec",
            Measure::Ratio,
            ratios.entered_pooled_vs_exec.p50,
            0.4,
        ),
        (
            "wake to first instruction, same service's shell, by exec",
            Measure::Ratio,
            ratios.entered_vs_exec.p50,
            0.12,
        ),
        (
            "create latency, last instances by first ones",
            Measure::Ratio,
            ratios.create_1000th_vs_first,
            1.2,
        ),
        (
            "new clients over many names: failures",
            Measure::Count,
            tally(row::CHURN, |tally| tally.failed),
            0.0,
        ),
        (
            "new clients over many names: SYNs sent again",
            Measure::Count,
            tally(row::CHURN, |tally| tally.syn_retransmissions),
            0.0,
        ),
        (
            "new clients over many names, median by unloaded",
            Measure::Ratio,
            ratios.churn_vs_unloaded,
            1.5,
        ),
        ("burst of cold names: not served", Measure::Count, unserved, 0.0),
        (
            "burst of cold names: slowest by single median",
            Measure::Ratio,
            ratios.burst_slowest_vs_single,
            100.0,
        ),
        (
            "burst of cold names: a warm service's p99 by before",
            Measure::Ratio,
            ratios.burst_warm_p99,
            2.0,
        ),
        ("resident memory of an idle instance", Measure::Octets, memory, (3 << 20).into()),
        (
            "DNS answer for a warm name while 64 boot, p99 by rest",
            Measure::Ratio,
            ratios.dns_p99_while_booting_vs_rest,
            2.0,
        ),
    ];
    let goal = |(what, measure, figure, limit): (&str, Measure, Option<f64>, f64)| Goal {
        what: what.to_owned(),
        measure,
        figure,
        limit,
        met: figure.map(|figure| figure <= limit),
    };
    goals.into_iter().map(goal).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::Recorder;
    use super::*;

    fn report() -> Report {
        let mut recorder = Recorder::new();
        for micros in 1..=100 {
            recorder.samples(row::COLD).push_whole(Duration::from_micros(micros * 6));
            recorder.samples(row::PROCESS).push_whole(Duration::from_micros(micros * 10));
            let slope = Duration::from_micros(1000 + 10 * micros);
            recorder.samples(row::CREATE).push_whole(slope);
        }
        recorder.plan(row::BURST, 3);
        recorder.tally(row::BURST).sent = 2;
        recorder.tally(row::BURST).failed = 1;
        recorder.finish("test".to_owned(), 1)
    }

    #[test]
    fn ratios_are_ours_by_theirs() {
        let ratios = report().ratios;
        let p50 = ratios.cold_vs_process.p50.unwrap();
        assert!((p50 - 0.6).abs() < 0.01, "{p50}");
        // (1000 + 905) / (1000 + 105)
        let create = ratios.create_1000th_vs_first.unwrap();
        assert!((create - 1905.0 / 1105.0).abs() < 1e-9, "{create}");
        assert_eq!(ratios.plain_boot_vs_process, QuantileRatio::default());
        assert_eq!(ends(&[1.0; 39]), None);
    }

    #[test]
    fn goals_are_met_missed_or_open() {
        let goals = of(&report());
        let met = |start: &str| goals.iter().find(|goal| goal.what.starts_with(start)).unwrap().met;
        assert_eq!(met("cold request to first byte, median"), Some(true));
        assert_eq!(met("create latency"), Some(false));
        assert_eq!(met("burst of cold names: not served"), Some(false));
        assert_eq!(met("new clients over many names: failures"), None);
        assert_eq!(met("resident memory"), None);
    }
}
