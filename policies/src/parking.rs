//! Which used shells to keep parked, each for the service that it served.
//!
//! A parked shell is the fastest way to that service's next instance and of no use to any other. There is room for a
//! few; who stays is decided by how often and how lately each service was woken, in one number: each wake counts one
//! and halves with every half-life that passes since (the combined recency and frequency of LRFU: D. Lee et al.,
//! "LRFU: a spectrum of policies that subsumes the least recently used and least frequently used policies", 2001).
//! A short half-life is least-recently-used; a long one is least-frequently-used.

use std::cmp::Ordering;
use std::time::Duration;

use crate::{Instant, ServiceId};

/// How soon a wake counts half when it is to be seen which service is woken next.
pub const HALF_LIFE: Duration = Duration::from_secs(600);

/// How often and how lately a service was woken.
///
/// Kept as a power of two times a small number, so that the order of two services does not depend on when it is
/// asked: both fade alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Popularity {
    /// The sum of what its wakes counted at `at`.
    weight: f64,
    at: Instant,
}

impl Popularity {
    /// Never woken.
    pub const NONE: Self = Self { weight: 0.0, at: Instant::ZERO };

    /// A wake.
    pub fn note_wake(&mut self, now: Instant) {
        *self = Self { weight: self.value(now) + 1.0, at: now.max(self.at) };
    }

    /// What its wakes count at `now`: 1 for one that comes now, 1/2 for one a [`HALF_LIFE`] ago.
    #[must_use]
    pub fn value(&self, now: Instant) -> f64 {
        let halvings = now.saturating_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.weight * (-halvings).exp2()
    }

    /// By value, at any later time: in logarithms, where an old value has not become nothing yet.
    fn compare(&self, other: &Self) -> Ordering {
        let level = |popularity: &Self| {
            let halvings = popularity.at.saturating_since(Instant::ZERO).as_secs_f64()
                / HALF_LIFE.as_secs_f64();
            popularity.weight.log2() + halvings
        };
        level(self).total_cmp(&level(other))
    }
}

impl Default for Popularity {
    fn default() -> Self {
        Self::NONE
    }
}

/// A shell that is parked, or could be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parked {
    /// The only service that may have it.
    pub service: ServiceId,
    /// How that service is woken.
    pub popularity: Popularity,
    /// Since when it is parked.
    pub since: Instant,
}

/// The decision about a shell that could be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parking {
    /// There is room.
    Park,
    /// In the place of this one, by its index.
    Replace(usize),
    /// It is worth less than every one that is parked, or nothing is to be parked.
    Dismiss,
}

/// Decides whether a shell is parked beside those that are, of which there may be `limit`.
///
/// ```
/// use policies::parking::{Parked, Parking, Popularity, park};
/// use policies::{Instant, ServiceId};
///
/// let shell = |service, wakes: u64| {
///     let mut popularity = Popularity::NONE;
///     (0..wakes).for_each(|wake| popularity.note_wake(Instant::from_nanos(wake)));
///     Parked { service: ServiceId(service), popularity, since: Instant::ZERO }
/// };
/// let parked = [shell(1, 5), shell(2, 1)];
/// assert_eq!(park(3, &parked, &shell(3, 2)), Parking::Park);
/// assert_eq!(park(2, &parked, &shell(3, 2)), Parking::Replace(1));
/// assert_eq!(park(0, &[], &shell(3, 2)), Parking::Dismiss);
/// ```
#[must_use]
pub fn park(limit: u32, parked: &[Parked], shell: &Parked) -> Parking {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Parking::Dismiss;
    }
    // A service has one instance at a time: it can use one shell, and the newer is of the newer configuration.
    if let Some(twin) = parked.iter().position(|other| other.service == shell.service) {
        return Parking::Replace(twin);
    }
    if parked.len() < limit {
        return Parking::Park;
    }
    match first_to_go(parked) {
        Some(index) if worth(&parked[index], shell) == Ordering::Less => Parking::Replace(index),
        Some(_) | None => Parking::Dismiss,
    }
}

/// The index of the parked shell that goes first when one has to: the service woken least, then the longest parked.
#[must_use]
pub fn first_to_go(parked: &[Parked]) -> Option<usize> {
    (0..parked.len()).min_by(|a, b| worth(&parked[*a], &parked[*b]))
}

/// A total order, so that which shell goes does not depend on where it stands.
fn worth(a: &Parked, b: &Parked) -> Ordering {
    a.popularity
        .compare(&b.popularity)
        .then_with(|| a.since.cmp(&b.since))
        .then_with(|| a.service.cmp(&b.service))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn popularity(wakes: &[u64]) -> Popularity {
        let mut popularity = Popularity::NONE;
        wakes.iter().for_each(|wake| popularity.note_wake(at(*wake)));
        popularity
    }

    fn shell(service: u32, wakes: &[u64], since: u64) -> Parked {
        Parked { service: ServiceId(service), popularity: popularity(wakes), since: at(since) }
    }

    #[test]
    fn a_wake_counts_half_after_the_half_life() {
        let once = popularity(&[100]);
        assert!((once.value(at(100)) - 1.0).abs() < 1e-9);
        assert!((once.value(at(700)) - 0.5).abs() < 1e-9);
        assert!((popularity(&[0, 600]).value(at(600)) - 1.5).abs() < 1e-9);
        assert!(Popularity::NONE.value(at(5)).abs() < 1e-9);
    }

    #[test]
    fn often_beats_lately_until_it_is_long_ago() {
        let often = shell(1, &[0, 1, 2, 3], 0);
        let lately = shell(2, &[900], 0);
        assert_eq!(
            first_to_go(&[often, lately]),
            Some(1),
            "four wakes 1.5 half-lives ago are worth 1.4"
        );
        let lately = shell(2, &[2000], 0);
        assert_eq!(first_to_go(&[often, lately]), Some(0));
    }

    #[test]
    fn a_service_has_one_place() {
        let parked = [shell(1, &[0], 0), shell(2, &[5], 0)];
        assert_eq!(park(8, &parked, &shell(2, &[5], 9)), Parking::Replace(1));
        assert_eq!(park(2, &parked, &shell(3, &[], 9)), Parking::Dismiss, "never woken");
    }

    fn shells() -> impl Strategy<Value = Vec<Parked>> {
        let wakes = proptest::collection::vec(0..5_000_u64, 0..5);
        proptest::collection::vec((wakes, 0..100_u64), 0..12).prop_map(|shells| {
            (0_u32..)
                .zip(shells)
                .map(|(service, (mut wakes, since))| {
                    wakes.sort_unstable();
                    shell(service, &wakes, since)
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// However shells come, there are never too many, and those that stay are the ones worth most.
        #[test]
        fn the_best_stay(shells in shells(), limit in 0..6_u32) {
            let mut parked: Vec<Parked> = Vec::new();
            for shell in &shells {
                match park(limit, &parked, shell) {
                    Parking::Park => parked.push(*shell),
                    Parking::Replace(index) => parked[index] = *shell,
                    Parking::Dismiss => {}
                }
                prop_assert!(parked.len() <= usize::try_from(limit).unwrap());
            }
            let mut best = shells.clone();
            best.sort_by(|a, b| worth(b, a));
            best.truncate(usize::try_from(limit).unwrap());
            parked.sort_by(|a, b| worth(b, a));
            prop_assert_eq!(parked, best);
        }

        /// Who is woken more, or later, is never worth less; and the order is that of the values, whenever asked.
        #[test]
        fn the_order_is_that_of_the_values(
            mut first in proptest::collection::vec(0..5_000_u64, 1..6),
            mut second in proptest::collection::vec(0..5_000_u64, 1..6),
            more in 0..1_000_u64,
        ) {
            first.sort_unstable();
            second.sort_unstable();
            let (a, b) = (popularity(&first), popularity(&second));
            let now = at(5_000 + more);
            let (value_a, value_b) = (a.value(now), b.value(now));
            if (value_a - value_b).abs() > 1e-9 {
                prop_assert_eq!(a.compare(&b), value_a.total_cmp(&value_b));
            }
            let mut again = a;
            again.note_wake(now);
            prop_assert_eq!(again.compare(&a), Ordering::Greater);
        }
    }
}
