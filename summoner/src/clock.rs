//! The one place where the daemon reads the clock of stamps and deadlines, and that of DNS.

use policies::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Now, on `CLOCK_MONOTONIC`: comparable with the stamps that monitor processes send.
#[must_use]
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts at zero at boot and its parts are never negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The tokio clock's point for `at`, for timers of the runtime.
///
/// A point too far away to be represented is cut to a day: the waiter looks again then.
#[must_use]
pub fn tokio_instant(at: Instant) -> tokio::time::Instant {
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    tokio::time::Instant::now() + at.saturating_since(now()).min(DAY)
}

/// Now, in seconds since 1970, as DNS has it: 32 bits that go round (RFC 4034, section 3.1.5).
#[must_use]
pub fn unix_seconds() -> u32 {
    let time = clock_gettime(ClockId::Realtime);
    // The lower half of the number, also of one before 1970.
    u32::try_from(time.tv_sec.rem_euclid(1 << 32)).unwrap_or_default()
}
