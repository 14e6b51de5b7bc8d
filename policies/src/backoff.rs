//! How long to wait after a failed boot.

use std::time::Duration;

use crate::Instant;

/// The wait after failed boots: doubled with each, up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// The wait after the first failure.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// A guest that ends sooner than this after it was ready counts as a failed boot: without that, a client that
    /// tries again and again would drive a crash loop.
    pub stable_after: Duration,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(30),
            stable_after: Duration::from_secs(2),
        }
    }
}

/// The wait after `failures` failed boots in a row; none after none.
#[must_use]
pub fn delay(policy: &BackoffPolicy, failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let factor = 1_u32.checked_shl(doublings.min(32)).unwrap_or(u32::MAX);
    policy.initial.saturating_mul(factor).min(policy.max)
}

/// Whether a guest that ended by itself at `now`, ready since `ready_at`, counts as a failed boot.
#[must_use]
pub fn is_failed_boot(policy: &BackoffPolicy, ready_at: Instant, now: Instant) -> bool {
    now.saturating_since(ready_at) < policy.stable_after
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_waits() {
        let policy = BackoffPolicy::default();
        let waits = [0, 1, 2, 3, 6, 7, 8].map(|failures| delay(&policy, failures).as_millis());
        assert_eq!(waits, [0, 500, 1000, 2000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn an_early_end_is_a_failed_boot() {
        let policy = BackoffPolicy::default();
        let ready = Instant::from_nanos(5);
        assert!(is_failed_boot(&policy, ready, ready));
        assert!(is_failed_boot(&policy, ready, ready + Duration::from_millis(1999)));
        assert!(!is_failed_boot(&policy, ready, ready + Duration::from_secs(2)));
    }

    proptest! {
        #[test]
        fn waits_grow_and_stay_within_the_limit(initial: u64, max: u64, failures: u32) {
            let policy = BackoffPolicy {
                initial: Duration::from_nanos(initial),
                max: Duration::from_nanos(max),
                stable_after: Duration::ZERO,
            };
            let wait = delay(&policy, failures);
            prop_assert!(wait <= policy.max);
            prop_assert!(wait <= delay(&policy, failures.saturating_add(1)));
            if failures > 0 {
                prop_assert!(wait >= policy.initial.min(policy.max));
            }
        }
    }
}
