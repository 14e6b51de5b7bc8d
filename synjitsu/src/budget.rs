//! How often the switch may speak on its own account.

use std::time::Duration;

use policies::Instant;

/// A token bucket: `burst` at once, one more each `interval`.
///
/// What the switch answers by itself can be provoked by anybody under anybody's address, so it is bounded.
#[derive(Debug)]
pub(crate) struct Budget {
    burst: u32,
    interval: Duration,
    left: u32,
    refilled: Instant,
}

impl Budget {
    pub(crate) const fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, left: burst, refilled: Instant::ZERO }
    }

    /// Takes one token, if there is one.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        let intervals = (now - self.refilled).as_nanos() / self.interval.as_nanos().max(1);
        let missing = self.burst - self.left;
        match u32::try_from(intervals) {
            Ok(intervals) if intervals < missing => {
                self.left += intervals;
                self.refilled = self.refilled + self.interval * intervals;
            }
            // Full again; what would have been earned beyond that is lost.
            Ok(_) | Err(_) => (self.left, self.refilled) = (self.burst, now),
        }
        let had_one = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_for_each_interval() {
        let mut budget = Budget::new(3, Duration::from_millis(10));
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let taken =
            |budget: &mut Budget, ms, tries| (0..tries).filter(|_| budget.try_take(at(ms))).count();
        assert_eq!(taken(&mut budget, 1000, 5), 3);
        assert_eq!(taken(&mut budget, 1009, 5), 0);
        assert_eq!(taken(&mut budget, 1010, 5), 1);
        assert_eq!(taken(&mut budget, 1035, 5), 2);
        assert_eq!(taken(&mut budget, 1040, 5), 1, "the half interval at 1035 was not lost");
        assert_eq!(taken(&mut budget, 9000, 5), 3, "never more than the burst");
    }
}
