//! Two reports side by side: is a difference more than chance?

use std::fmt::Write as _;

use super::rank::{self, RankTest};
use super::report::Report;
use super::report::goals::row;

/// A difference that chance gives less often than this is taken for one.
const SIGNIFICANCE: f64 = 0.01;
/// Fewer values than this in a sample say nothing: the test's approximation does not hold.
const FEWEST: usize = 8;

/// What a comparison found about one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The second is faster, and not by chance.
    Faster,
    /// The second is slower, and not by chance.
    Slower,
    /// Chance explains it.
    NoDifference,
    /// Too few values.
    TooFew,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "SLOWER",
            Self::NoDifference => "no difference shown",
            Self::TooFew => "too few values",
        }
    }
}

/// One row of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The row.
    pub row: String,
    /// Its median in the first, in microseconds.
    pub before: f64,
    /// Its median in the second.
    pub after: f64,
    /// The rank test.
    pub test: RankTest,
    /// What follows.
    pub verdict: Verdict,
}

/// Compares every row that both reports have.
#[must_use]
pub fn compare(before: &Report, after: &Report) -> Vec<Comparison> {
    let rows = before.samples.iter().filter_map(|(row, first)| {
        let second = after.samples.get(row)?;
        let test = rank::test(first, second)?;
        let verdict = if first.len() < FEWEST || second.len() < FEWEST {
            Verdict::TooFew
        } else if test.p >= SIGNIFICANCE {
            Verdict::NoDifference
        } else if test.first_below < 0.5 {
            Verdict::Faster
        } else {
            Verdict::Slower
        };
        let (before, after) = (median(first), median(second));
        Some(Comparison { row: row.clone(), before, after, test, verdict })
    });
    rows.collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// The comparison as people read it; lengths in milliseconds.
#[must_use]
pub fn render(before: &Report, after: &Report) -> String {
    let mut text = String::new();
    for (name, report) in [("before", before), ("after", after)] {
        let environment = &report.environment;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:<7} summoner {} on {} x {}, {}, KVM: {}",
            environment.version,
            environment.cores,
            environment.processor,
            environment.kernel,
            environment.kvm
        );
    }
    let (one, other) = (&before.environment, &after.environment);
    if (&one.processor, &one.kernel, one.cores, one.optimised)
        != (&other.processor, &other.kernel, other.cores, other.optimised)
    {
        text.push_str("The environments differ: a difference may be theirs.\n");
    }
    let _ = writeln!(
        text,
        "\n{:<22}{:>12}{:>12}{:>8}{:>12}{:>10}  verdict",
        "median, ms", "before", "after", "ratio", "P(faster)", "p"
    );
    let found = compare(before, after);
    for Comparison { row, before, after, test, verdict } in &found {
        let _ = writeln!(
            text,
            "{row:<22}{:>12.3}{:>12.3}{:>8.2}{:>12.2}{:>10}  {}",
            before / 1000.0,
            after / 1000.0,
            after / before,
            1.0 - test.first_below,
            probability(test.p),
            verdict.label()
        );
    }
    let differs = |one: &&Comparison| matches!(one.verdict, Verdict::Faster | Verdict::Slower);
    if let Some(process) = found.iter().filter(|one| one.row == row::PROCESS).find(differs) {
        let _ = writeln!(
            text,
            "\nAn ordinary process took {:.2} times as long as before: the machine was not the same, compare ratios instead.",
            process.after / process.before
        );
    }
    let _ = writeln!(
        text,
        "\nMann-Whitney U test, two-sided; a difference is called one below p = {SIGNIFICANCE}. P(faster): how often\n\
         a request of the second run is faster than one of the first."
    );
    text
}

fn probability(p: f64) -> String {
    if p < 1e-4 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::report::record::Recorder;

    fn report(rows: &[(&str, u64, u64)]) -> Report {
        let mut recorder = Recorder::new();
        for (row, base, count) in rows {
            for index in 0..*count {
                recorder.samples(row).push_whole(Duration::from_micros(base + index * 7 % 50));
            }
        }
        recorder.finish(String::new(), 0)
    }

    #[test]
    fn each_row_has_its_verdict() {
        let before = report(&[
            ("cold", 1000, 100),
            ("warm", 100, 100),
            ("same", 50, 100),
            ("few", 10, 5),
            ("gone", 1, 9),
        ]);
        let after =
            report(&[("cold", 900, 100), ("warm", 140, 90), ("same", 50, 100), ("few", 90, 5)]);
        let found = compare(&before, &after);
        let verdicts: Vec<_> = found.iter().map(|one| (one.row.as_str(), one.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("cold", Verdict::Faster),
                ("warm", Verdict::Slower),
                ("same", Verdict::NoDifference),
                ("few", Verdict::TooFew)
            ]
        );
        let text = render(&before, &after);
        assert!(text.contains("SLOWER") && text.contains("< 0.0001"), "{text}");
        assert!(!text.contains("environments differ") && !text.contains("not the same"), "{text}");
        let [quiet, busy] = [100, 300].map(|base| report(&[(row::PROCESS, base, 50)]));
        let text = render(&quiet, &busy);
        assert!(text.contains("times as long as before"), "{text}");
    }
}
