//! Rows of a report: the distribution of a latency, whole and by phase.

use std::time::Duration;

use hdrhistogram::Histogram;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::client::Stamps;

/// The longest length that is told apart, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// Significant figures of a histogram: 0.1 %.
const FIGURES: u8 = 3;

/// The phases of a request, in order. `late`: the client began after the intended start; `dns`: its query was
/// answered; `connect`: so was its SYN; `first_byte`: its request; `rest`: the last octet was there.
pub const PHASES: [&str; 5] = ["late", "dns", "connect", "first_byte", "rest"];
/// Those of them that make up a row's own figure: from the intended start to the first byte.
pub const PHASES_UNTIL_FIRST_BYTE: usize = 4;

/// A distribution; all lengths in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many values.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// Nine of ten are not above.
    pub p90: f64,
    /// 99 of 100 are not above.
    pub p99: f64,
    /// 999 of 1000 are not above.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The greatest.
    pub max: f64,
}

/// Microseconds; nanoseconds are their fraction.
#[must_use]
pub fn micros(length: Duration) -> f64 {
    length.as_nanos() as f64 / 1000.0
}

impl Summary {
    /// The distribution of some lengths; `None` when there are none.
    ///
    /// # Panics
    /// Never: the histogram's bounds are constants that it takes.
    #[must_use]
    pub fn of(lengths: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut histogram = Histogram::<u64>::new_with_max(LONGEST, FIGURES)
            .expect("the bounds are constants that a histogram can have");
        let mut sum = 0.0;
        let (mut min, mut max) = (Duration::MAX, Duration::ZERO);
        for length in lengths {
            let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
            histogram.saturating_record(nanos);
            sum += micros(length);
            (min, max) = (min.min(length), max.max(length));
        }
        let count = histogram.len();
        if count == 0 {
            return None;
        }
        // A histogram's quantile is its bucket's upper end; no value was greater than the greatest.
        let quantile = |of| {
            let length = Duration::from_nanos(histogram.value_at_quantile(of));
            micros(length.clamp(min, max))
        };
        Some(Self {
            count,
            mean: sum / count as f64,
            min: micros(min),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: micros(max),
        })
    }
}

/// A row: a latency and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From the intended start to the first byte, unless the row's name says otherwise.
    #[serde(flatten)]
    pub whole: Summary,
    /// Its phases, in order.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub phases: IndexMap<String, Summary>,
}

/// A row's raw material: one entry for each request that was answered.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    wholes: Vec<Duration>,
    phases: IndexMap<&'static str, Vec<Duration>>,
}

impl Samples {
    /// One request's stamps.
    pub fn push(&mut self, stamps: &Stamps) {
        let Stamps { started, answered, connected, first_byte, last_byte } = *stamps;
        let marks = [Duration::ZERO, started, answered, connected, first_byte, last_byte];
        let lengths = marks.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        self.push_phases(first_byte, PHASES.into_iter().zip(lengths));
    }

    /// A length and the phases that somebody else split it into.
    pub fn push_phases(
        &mut self,
        whole: Duration,
        phases: impl IntoIterator<Item = (&'static str, Duration)>,
    ) {
        self.wholes.push(whole);
        for (phase, length) in phases {
            self.phases.entry(phase).or_default().push(length);
        }
    }

    /// A length that has no parts.
    pub fn push_whole(&mut self, whole: Duration) {
        self.wholes.push(whole);
    }

    /// The lengths in the order in which they came.
    #[must_use]
    pub fn wholes(&self) -> &[Duration] {
        &self.wholes
    }

    /// The row; `None` when nothing was measured.
    #[must_use]
    pub fn row(&self) -> Option<Row> {
        let phases = self.phases.iter().filter_map(|(phase, lengths)| {
            Some(((*phase).to_owned(), Summary::of(lengths.iter().copied())?))
        });
        Some(Row { whole: Summary::of(self.wholes.iter().copied())?, phases: phases.collect() })
    }
}

/// The exact median of some lengths.
#[must_use]
pub fn median(lengths: &[Duration]) -> Option<Duration> {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micro(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn quantiles_of_a_known_list() {
        let summary = Summary::of((1..=1000).map(micro)).unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (1000, 1.0, 1000.0));
        assert!((summary.mean - 500.5).abs() < 1e-6);
        for (found, expected) in [
            (summary.p50, 500.0),
            (summary.p90, 900.0),
            (summary.p99, 990.0),
            (summary.p999, 999.0),
        ] {
            assert!((found / expected - 1.0).abs() < 0.002, "{found} {expected}");
        }
        assert_eq!(Summary::of([]), None);
        let one = Summary::of([micro(7)]).unwrap();
        assert_eq!([one.min, one.p50, one.p999, one.max], [7.0; 4]);
    }

    #[test]
    fn the_median_is_exact() {
        assert_eq!(median(&[micro(3), micro(1), micro(2)]), Some(micro(2)));
        assert_eq!(
            median(&[micro(4), micro(1), micro(2), micro(3)]),
            Some(Duration::from_nanos(2500))
        );
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_quantile_of_a_report_has_its_usual_name() {
        let text =
            serde_json::to_string(&Samples { wholes: vec![micro(5)], ..Samples::default() }.row())
                .unwrap();
        assert!(text.contains("\"p99.9\":5.0"), "{text}");
        let row: Row = serde_json::from_str(&text).unwrap();
        assert_eq!(row.whole.count, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn phases_add_up(marks in prop::collection::vec(prop::array::uniform5(0..1_000_000_u64), 1..40)) {
            let mut samples = Samples::default();
            for mut marks in marks {
                marks.sort_unstable();
                let [started, answered, connected, first_byte, last_byte] = marks.map(micro);
                samples.push(&Stamps { started, answered, connected, first_byte, last_byte });
            }
            let row = samples.row().unwrap();
            prop_assert_eq!(row.phases.keys().collect::<Vec<_>>(), PHASES);
            let sum: f64 = PHASES[..PHASES_UNTIL_FIRST_BYTE].iter().map(|phase| row.phases[*phase].mean).sum();
            prop_assert!((sum - row.whole.mean).abs() < 1e-3);
            let summary = row.whole;
            prop_assert!(summary.min <= summary.p50 && summary.p50 <= summary.p90);
            prop_assert!(summary.p90 <= summary.p99 && summary.p99 <= summary.p999 && summary.p999 <= summary.max);
        }
    }
}
