//! The report as people read it.

use std::fmt::Write as _;

use indexmap::IndexMap;

use super::goals::{Goal, Measure};
use super::{Report, Tally};
use crate::bench::stats::{Row, Summary};
use crate::bench::throughput::Cost;

/// The whole report. Lengths of time are in milliseconds.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    environment(&mut text, report);
    totals(&mut text, report);
    rows(&mut text, &report.rows);
    phases(&mut text, &report.rows);
    memory(&mut text, report);
    throughput(&mut text, report);
    if let Some(flood) = &report.flood {
        line(&mut text, format_args!("\nflood"));
        flood.lines().iter().for_each(|figure| line(&mut text, format_args!("  {figure}")));
    }
    goals(&mut text, &report.goals);
    if !report.notes.is_empty() {
        text.push_str("\nnotes\n");
        for note in &report.notes {
            line(&mut text, format_args!("  {note}"));
        }
    }
    text
}

/// One line. Writing to a string cannot fail.
fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

fn environment(text: &mut String, report: &Report) {
    let environment = &report.environment;
    let build = if environment.optimised { "" } else { ", NOT OPTIMISED: figures mean little" };
    let [one, five, fifteen] = environment.load;
    let memory = environment.memory_bytes >> 20;
    line(text, format_args!("environment"));
    line(text, format_args!("  summoner   {}{build}", environment.version));
    line(text, format_args!("  kernel     {}", environment.kernel));
    line(text, format_args!("  processor  {} x {}", environment.cores, environment.processor));
    line(text, format_args!("  memory     {memory} MiB"));
    line(text, format_args!("  KVM        {}", environment.kvm));
    line(text, format_args!("  load       {one} {five} {fifteen}"));
    line(text, format_args!("  measured   {}, seed {}", report.command, report.seed));
}

fn totals(text: &mut String, report: &Report) {
    line(text, format_args!("\nrequests"));
    let header =
        ["", "planned", "sent", "failed", "late", "SYNs again"].map(str::to_owned).to_vec();
    let mut table = vec![header];
    let cells = |name: &str, tally: &Tally| {
        let numbers =
            [tally.planned, tally.sent, tally.failed, tally.late, tally.syn_retransmissions];
        let name = if tally.baseline { format!("{name} (baseline)") } else { name.to_owned() };
        std::iter::once(name).chain(numbers.iter().map(u64::to_string)).collect()
    };
    for (name, tally) in &report.tallies {
        table.push(cells(name, tally));
    }
    let whole = Tally {
        planned: report.planned,
        sent: report.sent,
        failed: report.failed,
        late: report.late,
        syn_retransmissions: report.syn_retransmissions,
        ..Tally::default()
    };
    table.push(cells("all of ours", &whole));
    columns(text, &table);
    for (name, tally) in &report.tallies {
        for (kind, count) in &tally.failures {
            line(text, format_args!("  {name}: {count} x {kind}"));
        }
    }
    let counted =
        |count: Option<u64>| count.map_or_else(|| "not asked".to_owned(), |n| n.to_string());
    line(
        text,
        format_args!("  wakes: {}, boots: {}", counted(report.wakes), counted(report.boots)),
    );
}

/// Milliseconds, to the microsecond.
fn millis(micros: f64) -> String {
    format!("{:.3}", micros / 1000.0)
}

fn rows(text: &mut String, rows: &IndexMap<String, Row>) {
    if rows.is_empty() {
        return;
    }
    line(text, format_args!("\nlatency, ms"));
    let header = ["", "n", "min", "p50", "p90", "p99", "p99.9", "max"];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    for (name, Row { whole, .. }) in rows {
        let Summary { count, min, p50, p90, p99, p999, max, .. } = whole;
        let lengths = [min, p50, p90, p99, p999, max].map(|length| millis(*length));
        table.push([name.clone(), count.to_string()].into_iter().chain(lengths).collect());
    }
    columns(text, &table);
}

/// One table for all rows that have the same phases.
fn phases(text: &mut String, rows: &IndexMap<String, Row>) {
    let mut kinds: Vec<Vec<&str>> = Vec::new();
    for row in rows.values().filter(|row| !row.phases.is_empty()) {
        let phases = row.phases.keys().map(String::as_str).collect();
        if !kinds.contains(&phases) {
            kinds.push(phases);
        }
    }
    for kind in kinds {
        line(text, format_args!("\nphases, ms, p50 / p99"));
        let header = std::iter::once("").chain(kind.iter().copied()).map(str::to_owned).collect();
        let mut table: Vec<Vec<String>> = vec![header];
        for (name, row) in rows.iter().filter(|(_, row)| row.phases.keys().eq(&kind)) {
            let cells = row
                .phases
                .values()
                .map(|phase| format!("{} / {}", millis(phase.p50), millis(phase.p99)));
            table.push(std::iter::once(name.clone()).chain(cells).collect());
        }
        columns(text, &table);
    }
}

fn memory(text: &mut String, report: &Report) {
    let Some(memory) = &report.idle_memory else { return };
    let kib = |octets: u64| format!("{} KiB", octets >> 10);
    let resident = memory.resident;
    line(text, format_args!("\nmemory of an idle instance, the mean of {}", memory.instances));
    let table = [
        ("guest", kib(resident.guest)),
        ("monitor", kib(resident.monitor)),
        ("page tables of the process", kib(resident.page_tables)),
        ("page tables of KVM", kib(memory.kvm_page_tables)),
        ("together", kib(memory.per_instance())),
        ("its part of what is shared", kib(resident.shared)),
        ("all that the system lost, kernel too", kib(memory.system)),
    ];
    let table: Vec<_> = table.into_iter().map(|(what, size)| vec![what.to_owned(), size]).collect();
    columns(text, &table);
    if memory.unreadable > 0 {
        line(text, format_args!("  {} processes could not be looked at", memory.unreadable));
    }
}

fn throughput(text: &mut String, report: &Report) {
    for (direction, all) in &report.throughput {
        line(text, format_args!("\nthroughput {direction}, medians"));
        let header = [
            "",
            "n",
            "MB/s",
            "by veth",
            "by loopback",
            "switch ns/frame",
            "monitor ns/frame",
            "busy",
        ];
        let mut table = vec![header.map(str::to_owned).to_vec()];
        for (through, found) in all {
            let ratio =
                |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |r| format!("{r:.4}"));
            let cost = |of: fn(&Cost) -> f64, digits: usize| {
                found
                    .cost
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |cost| format!("{:.digits$}", of(cost)))
            };
            table.push(vec![
                through.clone(),
                found.rates.len().to_string(),
                format!("{:.1}", found.rate),
                ratio(found.by_veth),
                ratio(found.by_loopback),
                cost(|cost| cost.switch_ns_per_frame, 0),
                cost(|cost| cost.monitor_ns_per_frame, 0),
                cost(|cost| cost.switch_busy, 2),
            ]);
        }
        columns(text, &table);
    }
}

/// A goal's figure or limit in its unit.
pub(super) fn figure(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Ratio => format!("{value:.2}"),
        Measure::Count => format!("{value:.0}"),
        Measure::Octets => format!("{:.2} MiB", value / f64::from(1 << 20)),
    }
}

fn goals(text: &mut String, goals: &[Goal]) {
    if goals.iter().all(|goal| goal.met.is_none()) {
        return;
    }
    line(text, format_args!("\ngoals"));
    let header = ["", "figure", "at most", ""].map(str::to_owned).to_vec();
    let mut table = vec![header];
    for goal in goals {
        let shown = goal.figure.map_or_else(|| "-".to_owned(), |value| figure(goal.measure, value));
        let verdict = match goal.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let limit = figure(goal.measure, goal.limit);
        table.push(vec![goal.what.clone(), shown, limit, verdict.to_owned()]);
    }
    columns(text, &table);
}

/// Columns as wide as they must be: the first to the left, the others to the right.
fn columns(text: &mut String, table: &[Vec<String>]) {
    let count = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = table.iter().filter_map(|cells| cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    for cells in table {
        let mut row = String::new();
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(row, "  {cell:<width$}"),
                _ => write!(row, "  {cell:>width$}"),
            };
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::Recorder;
    use super::*;
    use crate::bench::client::{Outcome, Stamps};
    use crate::bench::failure::Failure;

    #[test]
    fn a_report_shows_what_was_found() {
        let mut recorder = Recorder::new();
        let length = Duration::from_micros;
        let stamps = Stamps {
            started: length(1),
            answered: length(301),
            connected: length(1301),
            first_byte: length(1500),
            last_byte: length(1510),
        };
        recorder.plan("cold", 2);
        let mut outcome = Outcome { result: Ok(stamps), syn_retransmissions: 0, address: None };
        recorder.outcome("cold", "cold", &outcome);
        outcome.result = Err(Failure::ConnectTimeout);
        outcome.syn_retransmissions = 3;
        recorder.outcome("cold", "cold", &outcome);
        recorder.baseline("process").planned = 7;
        recorder.counted(Some(5), 2);
        recorder.note("something to know".to_owned());
        let report = recorder.finish("a test".to_owned(), 42);
        assert_eq!((report.planned, report.sent, report.failed), (2, 2, 1));
        let text = render(&report);
        for part in [
            "a test, seed 42",
            "cold: 1 x connect_timeout",
            "process (baseline)        7",
            "wakes: 5, boots: 2",
            "1.500",
            "0.300 / 0.300",
            "something to know",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("goals"), "none was measured\n{text}");
    }
}
