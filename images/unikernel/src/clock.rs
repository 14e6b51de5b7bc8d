//! Time without leaving the guest: the processor's cycle counter.

use core::cell::Cell;
use core::time::Duration;

use crate::{arch, hypercall};

/// The time since the guest's first instruction.
///
/// It never goes backwards and does not depend on the wall clock, which the host may set. A guest that was
/// suspended or cloned finds that time has passed meanwhile if the counter says so, and that none has if the
/// counter began anew (another machine, or the same one restarted): what it waits for then takes that much
/// longer, and nothing else happens.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    /// The last reading of the source.
    read: Cell<u64>,
    /// Steps of the source that have passed before that reading.
    passed: Cell<u64>,
}

#[derive(Debug)]
enum Source {
    /// The cycle counter, and nanoseconds per cycle as a fraction of 2^32.
    Cycles { scale: u64 },
    /// The host does not say how fast the counter runs: the wall clock in nanoseconds, which costs an exit.
    Walltime,
}

impl Clock {
    /// A clock that was at zero when the cycle counter stood at `entered`; `frequency` is in cycles per
    /// second, 0 when unknown.
    pub(crate) fn new(entered: u64, frequency: u64) -> Self {
        let (source, read) = match scale(frequency) {
            Some(scale) => (Source::Cycles { scale }, entered),
            None => (Source::Walltime, walltime()),
        };
        Self { source, read: Cell::new(read), passed: Cell::new(0) }
    }

    /// The time since the guest's first instruction.
    #[must_use]
    pub fn now(&self) -> Duration {
        match self.source {
            Source::Cycles { scale } => nanoseconds(self.advance(arch::cycles()), scale),
            Source::Walltime => Duration::from_nanos(self.advance(walltime())),
        }
    }

    /// Takes a reading of the source; the steps that have passed since the start.
    fn advance(&self, reading: u64) -> u64 {
        let before = self.read.replace(reading);
        let passed = self.passed.get().saturating_add(reading.saturating_sub(before));
        self.passed.set(passed);
        passed
    }
}

fn walltime() -> u64 {
    u64::try_from(hypercall::walltime().as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds per cycle, times 2^32; `None` for a frequency that no counter has.
fn scale(frequency: u64) -> Option<u64> {
    let scale = (1_000_000_000_u128 << 32).checked_div(u128::from(frequency))?;
    u64::try_from(scale).ok().filter(|scale| *scale > 0)
}

fn nanoseconds(cycles: u64, scale: u64) -> Duration {
    // Rounded down, so that two readings never run backwards; 128 bits hold the product of any two.
    let nanoseconds = (u128::from(cycles) * u128::from(scale)) >> 32;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
