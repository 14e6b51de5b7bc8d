//! Service level objectives: figures of a report and their limits, for an exit status that a pipeline can use.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// What a figure is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    Greater,
}

impl Comparison {
    /// Two-character signs first: `<=` begins with `<`.
    const SIGNS: [(&'static str, Self); 5] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    fn holds(self, figure: f64, limit: f64) -> bool {
        match self {
            Self::Less => figure < limit,
            Self::AtMost => figure <= limit,
            Self::Equal => figure.total_cmp(&limit).is_eq(),
            Self::AtLeast => figure >= limit,
            Self::Greater => figure > limit,
        }
    }

    fn sign(self) -> &'static str {
        Self::SIGNS.into_iter().find(|(_, known)| *known == self).map_or("?", |(sign, _)| sign)
    }
}

/// What a figure is counted in: figures of rows are lengths of time, the others plain numbers or octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Microseconds in the report.
    Time,
    /// A number, or octets.
    Number,
}

/// One objective: `cold.p99<=5ms`, `failed==0`, `ratios.cold_vs_process.p50<=0.7`.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    path: String,
    comparison: Comparison,
    limit: f64,
    unit: Unit,
    /// As it was written.
    text: String,
}

/// Why a text is no objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no objective; write a figure, one of <=, <, ==, >=, > and a limit, such as \"cold.p99<=5ms\" or \"failed==0\""
)]
pub struct ObjectiveError(String);

/// An objective that was not met.
#[derive(Debug, Clone, PartialEq)]
pub enum Miss {
    /// The figure is on the wrong side.
    Off {
        /// The objective as it was written.
        objective: String,
        /// The figure in its unit.
        figure: String,
        /// By how much it is off, for people.
        by: String,
    },
    /// There is no such figure, or it was not measured in this run.
    NotMeasured {
        /// The objective as it was written.
        objective: String,
    },
    /// A limit with a unit of time for something else, or the other way round.
    OtherUnit {
        /// The objective as it was written.
        objective: String,
        /// What the figure is in.
        unit: &'static str,
    },
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off { objective, figure, by } => {
                write!(f, "{objective}: missed, it is {figure} ({by})")
            }
            Self::NotMeasured { objective } => {
                write!(f, "{objective}: not measured in this run")
            }
            Self::OtherUnit { objective, unit } => {
                write!(f, "{objective}: the figure is {unit}; write the limit so")
            }
        }
    }
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let wrong = || ObjectiveError(text.to_owned());
        let (path, comparison, limit) = Comparison::SIGNS
            .into_iter()
            .find_map(|(sign, comparison)| {
                let (path, limit) = text.split_once(sign)?;
                Some((path.trim(), comparison, limit.trim()))
            })
            .ok_or_else(wrong)?;
        if path.is_empty() {
            return Err(wrong());
        }
        let number = limit.parse().ok().filter(|limit: &f64| limit.is_finite());
        let (limit, unit) = if let Some(number) = number {
            (number, Unit::Number)
        } else if let Ok(length) = policies::units::parse_duration(limit) {
            (super::stats::micros(length), Unit::Time)
        } else {
            let octets = policies::units::parse_size(limit).map_err(|_| wrong())?;
            (octets as f64, Unit::Number)
        };
        Ok(Self { path: path.to_owned(), comparison, limit, unit, text: text.trim().to_owned() })
    }
}

impl Objective {
    /// Looks the figure up in a report, in JSON.
    ///
    /// # Errors
    /// When it is not as wanted, or not there.
    pub fn check(&self, report: &Value) -> Result<(), Miss> {
        let objective = self.text.clone();
        let (found, unit) = match (find(report, &self.path), report.get("rows")) {
            // A row's name may be written without `rows.` before it.
            (None | Some(Value::Null), Some(rows)) => (find(rows, &self.path), Unit::Time),
            (found, _) if self.path.starts_with("rows.") => (found, Unit::Time),
            (found, _) => (found, Unit::Number),
        };
        let Some(figure) = found.and_then(Value::as_f64) else {
            return Err(Miss::NotMeasured { objective });
        };
        // Of a row, only the number of its values is no length.
        let unit = if self.path.ends_with(".count") { Unit::Number } else { unit };
        if unit != self.unit {
            let unit = match unit {
                Unit::Time => "a length of time",
                Unit::Number => "a number without a unit of time",
            };
            return Err(Miss::OtherUnit { objective, unit });
        }
        if self.comparison.holds(figure, self.limit) {
            return Ok(());
        }
        let factor = figure / self.limit;
        let by = if factor.is_finite() && factor > 0.0 {
            format!("{factor:.2} times the limit")
        } else {
            format!("not {} {}", self.comparison.sign(), self.limit)
        };
        let figure = match unit {
            Unit::Time => format!("{:.3} ms", figure / 1000.0),
            Unit::Number => format!("{figure}"),
        };
        Err(Miss::Off { objective, figure, by })
    }
}

/// Follows a path of keys with dots between them; keys may have dots themselves (`p99.9`).
fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let map = value.as_object()?;
    if let Some(found) = map.get(path) {
        return Some(found);
    }
    let mut cuts = path.match_indices('.').map(|(cut, _)| (&path[..cut], &path[cut + 1..]));
    cuts.find_map(|(key, rest)| find(map.get(key)?, rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Value {
        json!({
            "failed": 2,
            "idle_rss_bytes_per_instance": 3_000_000,
            "ratios": {"cold_vs_process": {"p50": 0.65, "p99": null}},
            "rows": {
                "cold": {"count": 200, "p50": 900.0, "p99.9": 5500.0, "phases": {"dns": {"p99": 120.0}}},
                "dns.rest": {"p99": 80.0},
            },
        })
    }

    fn check(text: &str) -> Result<(), Miss> {
        text.parse::<Objective>().unwrap().check(&report())
    }

    #[test]
    fn objectives_that_are_met() {
        for text in [
            "cold.p50<=0.9ms",
            "cold.p50 < 901us",
            "rows.cold.p99.9<=6ms",
            "cold.p99.9>=5.5ms",
            "cold.phases.dns.p99<1ms",
            "dns.rest.p99<=80us",
            "cold.count==200",
            "failed==2",
            "ratios.cold_vs_process.p50<=0.7",
            "idle_rss_bytes_per_instance<=3MiB",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_miss_says_by_how_much() {
        assert_eq!(
            check("cold.p99.9<=5ms").unwrap_err().to_string(),
            "cold.p99.9<=5ms: missed, it is 5.500 ms (1.10 times the limit)"
        );
        assert_eq!(
            check("failed==0").unwrap_err().to_string(),
            "failed==0: missed, it is 2 (not == 0)"
        );
        assert_eq!(
            check("failed<2").unwrap_err().to_string(),
            "failed<2: missed, it is 2 (1.00 times the limit)"
        );
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        for text in ["warm.p50<=1s", "ratios.cold_vs_process.p99<=1", "cold.p42<=1s", "rows<=1"] {
            assert!(matches!(check(text), Err(Miss::NotMeasured { .. })), "{text}");
        }
    }

    #[test]
    fn units_must_fit() {
        for text in ["cold.p50<=900", "failed<=1ms", "cold.count>=1s"] {
            assert!(matches!(check(text), Err(Miss::OtherUnit { .. })), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "cold.p50", "<=5ms", "cold.p50<=", "cold.p50<=fast", "failed==NaN", "failed=1"]
        {
            assert!(text.parse::<Objective>().is_err(), "{text}");
        }
    }
}
