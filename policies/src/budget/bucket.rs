//! A token bucket as one number: the time at which it is full again.
//!
//! The algorithm is that of ATM's virtual scheduling (ITU-T I.371, the generic cell rate algorithm). A token taken moves
//! that time on by one interval; a bucket may be taken from as long as it would not lie further ahead than the whole
//! burst takes to come back. Nothing has to be refilled, and a bucket that is full is equal to a new one.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::Instant;

/// The longest time to refill a bucket: 292 years, half of what an [`Instant`] can say.
const LONGEST_REFILL: u64 = u64::MAX / 2;

/// How often something may happen in the long run: at most once in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds from one to the next.
    interval: NonZeroU64,
}

impl Rate {
    /// `count` times in `time`, a whole number of nanoseconds apart, rounded up; `None` for never, and for more than once in
    /// a nanosecond.
    #[must_use]
    pub fn new(count: u32, time: Duration) -> Option<Self> {
        // Rounded up: a little less often, never more.
        let interval = time.as_nanos().checked_next_multiple_of(u128::from(count))?;
        let interval = u64::try_from(interval.checked_div(u128::from(count))?).ok()?;
        Some(Self { interval: NonZeroU64::new(interval)? })
    }

    /// `count` times in a second; `None` for never.
    #[must_use]
    pub fn per_second(count: u32) -> Option<Self> {
        Self::new(count, Duration::from_secs(1))
    }

    /// The time from one to the next.
    #[must_use]
    pub const fn interval(self) -> Duration {
        Duration::from_nanos(self.interval.get())
    }
}

/// What a bucket holds and how it is refilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How often a token comes.
    pub rate: Rate,
    /// How many there are at the most: so many things may happen at once. With 0 nothing ever may.
    pub burst: u32,
}

impl Limit {
    /// As many at once as come in a second, and at least one.
    #[must_use]
    pub fn of_a_second(rate: Rate) -> Self {
        // Rounded up, because the interval was.
        let count = Duration::from_secs(1).as_nanos().div_ceil(rate.interval().as_nanos().max(1));
        Self { rate, burst: u32::try_from(count).unwrap_or(u32::MAX).max(1) }
    }

    /// Nanoseconds until an empty bucket is full.
    fn refill(&self) -> u64 {
        // A burst that takes longer than can be said is a smaller one: less than was allowed, never more.
        self.rate.interval.get().saturating_mul(u64::from(self.burst)).min(LONGEST_REFILL)
    }
}

/// A bucket; a new one is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Full from then on; what lies ahead of it is what is missing.
    full_at: Instant,
}

impl Bucket {
    pub(crate) const fn full_at(self) -> Instant {
        self.full_at
    }

    pub(crate) fn has_token(self, now: Instant, limit: &Limit) -> bool {
        let after = self.missing(now).saturating_add(limit.rate.interval.get());
        after <= limit.refill()
    }

    /// Takes a token, of which [`has_token`](Self::has_token) said that it is there.
    pub(crate) fn take(&mut self, now: Instant, limit: &Limit) {
        self.full_at = self.full_at.max(now) + limit.rate.interval();
    }

    /// Lacks as many tokens of `to` as it lacked of `from`, but not more than there are.
    pub(super) fn rescale(&mut self, now: Instant, from: &Limit, to: &Limit) {
        let used = self.missing(now).div_ceil(from.rate.interval.get());
        let missing = used.saturating_mul(to.rate.interval.get()).min(to.refill());
        self.full_at = now + Duration::from_nanos(missing);
    }

    /// Nanoseconds until it is full.
    const fn missing(self, now: Instant) -> u64 {
        self.full_at.as_nanos().saturating_sub(now.as_nanos())
    }
}
