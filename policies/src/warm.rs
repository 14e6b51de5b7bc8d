//! How many shells to keep ready.
//!
//! A wake takes a shell from the stock at once; making another takes a while. So the stock must cover what is
//! taken faster than it can be made again. How much that is, is measured and not modelled: [`Demand`] plays a maker
//! that makes one shell after the other and counts how many it is behind,
//!
//! ```text
//!   behind(t) = max(0, behind(t') - (t - t') / making) + 1      at each wake t, t' being the one before
//! ```
//!
//! which is Lindley's recursion for the queue of a single server (D. V. Lindley, "The theory of queues with a single
//! server", 1952). Its highest value is exactly the smallest stock with which nobody would have waited; in network
//! calculus the same number is the burstiness of an arrival for a given rate of service (R. L. Cruz, "A calculus for
//! network delay", 1991). One wake at a time asks for one shell however many there are in an hour; a hundred names at
//! the same instant ask for a hundred; no distribution of wakes is assumed.
//!
//! The highest value is held, and fades with the time constant `horizon`: a burst that comes back within about half
//! of it finds its shells, and a day without bursts gives the memory back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Instant;

/// How many shells to keep ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WarmPolicy {
    /// Always as many.
    Fixed(u32),
    /// As many as the wakes of late would have needed.
    Adaptive {
        /// Not fewer.
        min: u32,
        /// Not more; not below `min`.
        max: u32,
        /// The time constant with which a burst is forgotten.
        horizon: Duration,
    },
}

impl WarmPolicy {
    /// The most shells that this policy ever asks for.
    #[must_use]
    pub fn most(&self) -> u32 {
        match *self {
            Self::Fixed(count) => count,
            Self::Adaptive { min, max, .. } => max.max(min),
        }
    }
}

/// Part of a shell that is nothing: what rounding leaves over must not ask for one more.
const GRAIN: f64 = 1e-6;

/// What is to be done about the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stock {
    /// Make so many more.
    Make(u32),
    /// As it should be.
    Keep,
    /// So many are not needed any more.
    Dismiss(u32),
}

/// What recent wakes would have needed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// How many shells the maker was behind at `at`, the one in work counted in parts.
    behind: f64,
    /// The highest `behind`, as far as it has not faded at `at`.
    peak: f64,
    at: Instant,
}

impl Demand {
    /// No wakes before `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { behind: 0.0, peak: 0.0, at: now }
    }

    /// A wake took a shell, or had to wait for one; `making` is how long making one takes at present.
    pub fn note_wake(&mut self, policy: &WarmPolicy, making: Duration, now: Instant) {
        let (behind, peak) = self.faded(policy, making, now);
        // Nothing above the limit changes a decision; without one, a storm would be remembered for ever.
        let behind = (behind + 1.0).min(f64::from(policy.most()));
        *self = Self { behind, peak: peak.max((behind - GRAIN).ceil()), at: now.max(self.at) };
    }

    /// How many shells should be ready, those being made included.
    #[must_use]
    pub fn target(&self, policy: &WarmPolicy, making: Duration, now: Instant) -> u32 {
        match *policy {
            WarmPolicy::Fixed(count) => count,
            WarmPolicy::Adaptive { min, max, .. } => {
                let (_, peak) = self.faded(policy, making, now);
                // To the nearest: a peak never fades to nothing, a stock should.
                whole(peak.round()).clamp(min, max.max(min))
            }
        }
    }

    /// What is to be done about a stock of `have` shells, those being made included.
    #[must_use]
    pub fn stock(&self, policy: &WarmPolicy, making: Duration, now: Instant, have: u32) -> Stock {
        let target = self.target(policy, making, now);
        match have.checked_sub(target) {
            None => Stock::Make(target - have),
            Some(0) => Stock::Keep,
            Some(surplus) => Stock::Dismiss(surplus),
        }
    }

    /// When [`target`](Self::target) changes by itself, if no wake comes: the time to look at the stock again.
    #[must_use]
    pub fn next_change(
        &self,
        policy: &WarmPolicy,
        making: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let WarmPolicy::Adaptive { min, horizon, .. } = *policy else { return None };
        let target = self.target(policy, making, now);
        if target <= min {
            return None;
        }
        let (behind, peak) = self.faded(policy, making, now);
        // Below this it is rounded down. peak * exp(-t / horizon) gets there, and so does behind - t / making.
        let edge = f64::from(target) - 0.5;
        let fading = (peak / edge).ln().max(0.0) * horizon.as_secs_f64();
        let catching_up = (behind - edge).max(0.0) * making.as_secs_f64();
        let wait = fading.max(catching_up);
        // Rounding must not make this a moment at which nothing has changed yet, over and over.
        let wait = Duration::try_from_secs_f64(wait).unwrap_or(horizon);
        Some(now + wait.max(horizon / 1000).max(Duration::from_millis(1)))
    }

    /// `behind` and `peak` at `now`.
    fn faded(&self, policy: &WarmPolicy, making: Duration, now: Instant) -> (f64, f64) {
        let passed = now.saturating_since(self.at).as_secs_f64();
        let made = if making.is_zero() { f64::INFINITY } else { passed / making.as_secs_f64() };
        let kept = match *policy {
            WarmPolicy::Adaptive { horizon, .. } if !horizon.is_zero() => {
                (-passed / horizon.as_secs_f64()).exp()
            }
            WarmPolicy::Adaptive { .. } | WarmPolicy::Fixed(_) => 0.0,
        };
        let behind = (self.behind - made).max(0.0);
        (behind, (self.peak * kept).max(behind))
    }
}

/// A whole, not negative number as such; saturates.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and that is what is wanted"
)]
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: WarmPolicy =
        WarmPolicy::Adaptive { min: 1, max: 50, horizon: Duration::from_secs(60) };
    const MAKING: Duration = Duration::from_millis(10);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    fn after(wakes: &[u64]) -> Demand {
        let mut demand = Demand::new(at(0));
        for wake in wakes {
            demand.note_wake(&POLICY, MAKING, at(*wake));
        }
        demand
    }

    #[test]
    fn one_at_a_time_needs_one_and_a_burst_needs_its_size() {
        let target = |wakes: &[u64], now| after(wakes).target(&POLICY, MAKING, at(now));
        assert_eq!(target(&[], 0), 1, "the minimum");
        assert_eq!(target(&[0, 100, 200, 300], 300), 1);
        assert_eq!(target(&[5; 20], 5), 20);
        assert_eq!(target(&[5; 200], 5), 50, "the maximum");
        // Every 5 ms, where making takes 10: half of them wait.
        let fast: Vec<u64> = (0..20).map(|wake| wake * 5).collect();
        assert_eq!(target(&fast, 95), 11);
    }

    #[test]
    fn what_rounding_leaves_over_is_not_a_shell() {
        // Two behind at 30 ms, exactly; in floating point it is a little more.
        assert_eq!(after(&[0, 7, 20, 21, 30, 40]).target(&POLICY, MAKING, at(40)), 2);
    }

    #[test]
    fn a_burst_is_remembered_and_then_forgotten() {
        let demand = after(&[0; 20]);
        let target = |seconds: u64| demand.target(&POLICY, MAKING, at(seconds * 1000));
        // 20 e^(-t/60), rounded.
        assert_eq!([0, 1, 30, 60, 180, 300].map(target), [20, 20, 12, 7, 1, 1]);
    }

    #[test]
    fn a_stock_is_filled_and_emptied_to_its_target() {
        let demand = after(&[0; 20]);
        let stock = |have, seconds: u64| demand.stock(&POLICY, MAKING, at(seconds * 1000), have);
        assert_eq!(stock(3, 0), Stock::Make(17));
        assert_eq!(stock(20, 0), Stock::Keep);
        assert_eq!(stock(20, 60), Stock::Dismiss(13));
        let fixed = WarmPolicy::Fixed(4);
        assert_eq!(demand.stock(&fixed, MAKING, at(0), 1), Stock::Make(3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// With a stock as large as the target that the same wakes have led to, nobody would have waited: played
        /// through shell by shell, with a maker that makes one after the other.
        #[test]
        fn the_target_is_the_stock_that_would_have_been_enough(
            gaps in proptest::collection::vec(0..30_u64, 1..60),
        ) {
            let policy =
                WarmPolicy::Adaptive { min: 0, max: 1000, horizon: Duration::from_secs(1_000_000) };
            let mut wakes = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                wakes.push(now);
            }
            let mut demand = Demand::new(at(0));
            wakes.iter().for_each(|wake| demand.note_wake(&policy, MAKING, at(*wake)));
            let target = demand.target(&policy, MAKING, at(now));

            let waits = |stock: u32| {
                let mut ready = stock;
                // When each shell in work or ordered is ready; they are made one after the other.
                let mut ordered: Vec<u64> = Vec::new();
                let mut waited = false;
                for wake in &wakes {
                    ready += u32::try_from(ordered.iter().filter(|done| *done <= wake).count()).unwrap();
                    ordered.retain(|done| done > wake);
                    match ready.checked_sub(1) {
                        Some(left) => ready = left,
                        None => waited = true,
                    }
                    ordered.push(ordered.last().copied().unwrap_or(*wake) + 10);
                }
                waited
            };
            prop_assert!(!waits(target), "{target} were not enough");
            prop_assert!(waits(target - 1), "fewer than {target} were enough");
        }

        /// Within its bounds always; down by time only; and the next change is not missed by much.
        #[test]
        fn it_stays_within_its_bounds_and_fades(
            wakes in proptest::collection::vec((0..100_000_u64, 0..50_u64), 0..60),
            min in 0..20_u32,
            more in 0..50_u32,
            horizon in 0..100_000_u64,
            later in 0..1_000_000_u64,
        ) {
            let horizon = Duration::from_millis(horizon);
            let policy = WarmPolicy::Adaptive { min, max: min + more, horizon };
            let mut demand = Demand::new(at(0));
            let mut now = 0;
            for (gap, making) in wakes {
                now += gap;
                demand.note_wake(&policy, Duration::from_millis(making), at(now));
            }
            let target = demand.target(&policy, MAKING, at(now));
            prop_assert!((min..=min + more).contains(&target));
            let then = demand.target(&policy, MAKING, at(now + later));
            prop_assert!(then <= target);
            match demand.next_change(&policy, MAKING, at(now)) {
                None => prop_assert!(target == min),
                Some(change) => {
                    prop_assert!(change > at(now));
                    let step = (horizon / 1000).max(Duration::from_millis(1));
                    prop_assert!(demand.target(&policy, MAKING, change + step) < target);
                }
            }
        }

        /// A clock that steps back, and times of nothing, do no harm.
        #[test]
        fn no_input_is_a_panic(wakes in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..20), now: u64, horizon: u64, min: u32, max: u32) {
            let policy = WarmPolicy::Adaptive { min, max, horizon: Duration::from_nanos(horizon) };
            let mut demand = Demand::new(Instant::from_nanos(now));
            for (wake, making) in wakes {
                demand.note_wake(&policy, Duration::from_nanos(making), Instant::from_nanos(wake));
                let _ = demand.target(&policy, Duration::from_nanos(making), Instant::from_nanos(now));
                let _ = demand.next_change(&policy, Duration::from_nanos(making), Instant::from_nanos(now));
            }
        }
    }
}
