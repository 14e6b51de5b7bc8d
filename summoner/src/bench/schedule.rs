//! Open-loop schedules: when each request is due, for whom, and of which kind. Pure: no clock, no socket.
//!
//! A schedule does not wait for answers (a closed loop asks less of a slow server, and then praises it). Latency
//! counts from the time in the schedule.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::random::Random;

/// Requests in a unit of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// As many requests a second; `None` unless positive and finite.
    #[must_use]
    pub fn per_second(count: f64) -> Option<Self> {
        (count > 0.0 && count.is_finite()).then_some(Self(count))
    }

    /// One request in each `gap`; a gap of nothing is a nanosecond.
    #[must_use]
    pub const fn every(gap: Duration) -> Self {
        let gap = if gap.is_zero() { Duration::from_nanos(1) } else { gap };
        Self(1.0 / gap.as_secs_f64())
    }

    /// The mean time between two requests.
    #[must_use]
    pub fn gap(self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.0).unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// Why a text is not a rate, a mix or a number of a burst.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not a rate.
    #[error("`{0}` is no rate; write a number and /s, /m or /h, such as \"40/s\"")]
    Rate(String),
    /// Not a mix.
    #[error(
        "`{0}` is no mix; write kinds (any, warm, cold, held) with their weights, such as \"warm=80,cold=20\""
    )]
    Mix(String),
}

impl FromStr for Rate {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let wrong = || ScheduleError::Rate(text.to_owned());
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Self::per_second(number / seconds).ok_or_else(wrong)
    }
}

/// How requests arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// One after each gap.
    Constant(Rate),
    /// Independent clients: gaps are exponentially distributed.
    Poisson(Rate),
    /// As many at the same instant, again and again with a gap between.
    Burst {
        /// Requests in each burst.
        size: usize,
        /// Time from one burst to the next.
        every: Duration,
    },
}

impl Arrivals {
    /// The times in `0..duration` at which requests are due, ascending.
    pub fn times(self, duration: Duration, random: &mut Random) -> Vec<Duration> {
        match self {
            Self::Constant(rate) => {
                // A multiple of the gap and no sum, so that nothing adds up over a long run.
                let due = |index: u32| Duration::try_from_secs_f64(f64::from(index) / rate.0).ok();
                (0..).map_while(due).take_while(|at| *at < duration).collect()
            }
            Self::Poisson(rate) => {
                let mut at = 0.0;
                let gaps = std::iter::from_fn(|| {
                    at += random.exponential(1.0 / rate.0);
                    Duration::try_from_secs_f64(at).ok()
                });
                gaps.take_while(|at| *at < duration).collect()
            }
            Self::Burst { size, every } => {
                // At least one burst, and not for ever.
                let every = every.max(Duration::from_millis(1));
                let bursts = (0..).map_while(|index: u32| every.checked_mul(index));
                let bursts = bursts.take_while(|at| at.is_zero() || *at < duration);
                bursts.flat_map(|at| std::iter::repeat_n(at, size)).collect()
            }
        }
    }
}

/// What state a request is meant to find its service in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Whichever it is in.
    Any,
    /// Running.
    Warm,
    /// Not running: the query wakes it.
    Cold,
    /// Not running, and no query is asked: the first packet wakes it and is held.
    Held,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Any, Self::Warm, Self::Cold, Self::Held];

    /// The word of reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Warm => "warm",
            Self::Cold => "cold",
            Self::Held => "held",
        }
    }

    /// Whether the service must not run when the request comes.
    #[must_use]
    pub const fn needs_cold(self) -> bool {
        matches!(self, Self::Cold | Self::Held)
    }
}

/// Shares of the kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(Kind, u32)>);

impl Default for Mix {
    fn default() -> Self {
        Self(vec![(Kind::Any, 1)])
    }
}

impl FromStr for Mix {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let wrong = || ScheduleError::Mix(text.to_owned());
        let mut weights: Vec<(Kind, u32)> = Vec::new();
        for part in text.split(',') {
            let (kind, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL.into_iter().find(|known| known.label() == kind.trim());
            let weight = weight.trim().parse().ok().filter(|weight| *weight > 0);
            let (kind, weight) = kind.zip(weight).ok_or_else(wrong)?;
            if weights.iter().any(|(known, _)| *known == kind) {
                return Err(wrong());
            }
            weights.push((kind, weight));
        }
        Ok(Self(weights))
    }
}

impl Mix {
    /// The kinds in it.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.iter().map(|(kind, _)| *kind)
    }

    /// Shares `names` names out to the kinds: services that must be cold and such that must run are not the same.
    /// Every kind gets one name at least, and no two kinds the same; `None` when there are too few names for that.
    #[must_use]
    pub fn share(&self, names: usize) -> Option<Vec<(Kind, std::ops::Range<usize>)>> {
        let spare = names.checked_sub(self.0.len())?;
        let total: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut start = 0;
        let mut before = 0;
        let mut shares = Vec::new();
        for (index, (kind, weight)) in self.0.iter().enumerate() {
            before += u64::from(*weight);
            // The whole up to here and not each share is rounded, so that every name is given out.
            let spared = u128::from(before) * spare as u128 / u128::from(total);
            let end = index + 1 + usize::try_from(spared).ok()?;
            shares.push((*kind, start..end));
            start = end;
        }
        Some(shares)
    }

    fn draw(&self, random: &mut Random) -> Kind {
        let total = self.0.iter().map(|(_, weight)| *weight as usize).sum();
        let mut drawn = random.below(total);
        for (kind, weight) in &self.0 {
            match drawn.checked_sub(*weight as usize) {
                Some(rest) => drawn = rest,
                None => return *kind,
            }
        }
        Kind::Any
    }
}

/// One request that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it is due, from the start of the run.
    pub at: Duration,
    /// Which name it asks for.
    pub name: usize,
    /// In which state it is meant to find the service.
    pub kind: Kind,
}

/// Gives each time a kind by the mix, and a name of that kind's share, each name in its turn.
pub fn plan(
    times: &[Duration],
    mix: &Mix,
    shares: &[(Kind, std::ops::Range<usize>)],
    random: &mut Random,
) -> Vec<Planned> {
    let mut turns = vec![0; shares.len()];
    let planned = times.iter().filter_map(|at| {
        let kind = mix.draw(random);
        let share = shares.iter().position(|(of, _)| *of == kind)?;
        let range = &shares[share].1;
        let name = range.start + turns[share] % range.len().max(1);
        turns[share] += 1;
        Some(Planned { at: *at, name, kind })
    });
    planned.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(count: f64) -> Rate {
        Rate::per_second(count).unwrap()
    }

    #[test]
    fn rates_are_read() {
        assert_eq!("40/s".parse(), Ok(rate(40.0)));
        assert_eq!("40".parse(), Ok(rate(40.0)));
        assert_eq!("30/m".parse(), Ok(rate(0.5)));
        assert_eq!(Rate::every(Duration::from_millis(25)), rate(40.0));
        assert_eq!("40/s".parse::<Rate>().unwrap().gap(), Duration::from_millis(25));
        for wrong in ["", "0/s", "-1/s", "NaN", "inf/s", "4/d"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_constant_rate_is_constant() {
        let times =
            Arrivals::Constant(rate(40.0)).times(Duration::from_secs(60), &mut Random::new(0));
        assert_eq!(times.len(), 2400);
        assert_eq!(times[1], Duration::from_millis(25));
        assert_eq!(times[2399], Duration::from_millis(59_975));
    }

    #[test]
    fn poisson_has_the_rate_and_the_spread() {
        let arrivals = Arrivals::Poisson(rate(100.0));
        let times = arrivals.times(Duration::from_secs(100), &mut Random::new(5));
        assert!((9_700..10_300).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> =
            times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Of an exponential distribution the deviation is the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{}", variance.sqrt() / mean);
        assert_eq!(times, arrivals.times(Duration::from_secs(100), &mut Random::new(5)));
    }

    #[test]
    fn a_burst_is_one_instant() {
        let arrivals = Arrivals::Burst { size: 3, every: Duration::from_secs(1) };
        let times = arrivals.times(Duration::from_millis(1500), &mut Random::new(0));
        let seconds: Vec<_> = times.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [0, 0, 0, 1, 1, 1]);
        assert_eq!(arrivals.times(Duration::ZERO, &mut Random::new(0)).len(), 3);
    }

    #[test]
    fn mixes_are_read() {
        let mix: Mix = "warm=80, cold=15,held=5".parse().unwrap();
        assert_eq!(mix.kinds().collect::<Vec<_>>(), [Kind::Warm, Kind::Cold, Kind::Held]);
        for wrong in ["", "hot=1", "warm=0", "warm=-1", "warm=1,warm=2", "warm=x"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_shared_out_without_overlap() {
        let mix: Mix = "warm=80,cold=15,held=5".parse().unwrap();
        let shares = mix.share(100).unwrap();
        assert_eq!(shares, [(Kind::Warm, 0..78), (Kind::Cold, 78..94), (Kind::Held, 94..100)]);
        assert_eq!(
            mix.share(3).unwrap(),
            [(Kind::Warm, 0..1), (Kind::Cold, 1..2), (Kind::Held, 2..3)]
        );
        assert_eq!(mix.share(2), None);
    }

    proptest! {
        #[test]
        fn a_plan_follows_its_mix(names in 3..200_usize, seed: u64, cold in 1..50_u32) {
            let mix: Mix = format!("warm=50,cold={cold},held=5").parse().unwrap();
            let shares = mix.share(names).unwrap();
            prop_assert_eq!(shares[0].1.start, 0);
            prop_assert_eq!(shares[2].1.end, names);
            let mut random = Random::new(seed);
            let times = Arrivals::Poisson(rate(500.0)).times(Duration::from_secs(1), &mut random);
            let planned = plan(&times, &mix, &shares, &mut random);
            prop_assert_eq!(planned.len(), times.len());
            for one in &planned {
                let (_, range) = shares.iter().find(|(kind, _)| *kind == one.kind).unwrap();
                prop_assert!(range.contains(&one.name));
            }
            // A name's turn comes again only after all others of its kind.
            for (kind, range) in &shares {
                let turns: Vec<_> = planned.iter().filter(|one| one.kind == *kind).collect();
                for (index, one) in turns.iter().enumerate() {
                    prop_assert_eq!(one.name, range.start + index % range.len());
                }
            }
        }
    }
}
