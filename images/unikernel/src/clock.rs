//! Time without leaving the guest: the processor's cycle counter.

use core::time::Duration;

use crate::{arch, hypercall};

/// The time since the guest's first instruction.
///
/// It never goes backwards and does not depend on the wall clock, which the host may set.
#[derive(Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The counter's value at the first instruction, and nanoseconds per cycle as a fraction of 2^32.
    Cycles { entered: u64, scale: u64 },
    /// The host does not say how fast the counter runs: the wall clock, which costs an exit.
    Walltime { started: Duration },
}

impl Clock {
    /// A clock that was at zero when the cycle counter stood at `entered`; `frequency` is in cycles per
    /// second, 0 when unknown.
    pub(crate) fn new(entered: u64, frequency: u64) -> Self {
        let source = match scale(frequency) {
            Some(scale) => Source::Cycles { entered, scale },
            None => Source::Walltime { started: hypercall::walltime() },
        };
        Self { source }
    }

    /// The time since the guest's first instruction.
    #[must_use]
    pub fn now(&self) -> Duration {
        match self.source {
            Source::Cycles { entered, scale } => {
                nanoseconds(arch::cycles().saturating_sub(entered), scale)
            }
            Source::Walltime { started } => hypercall::walltime().saturating_sub(started),
        }
    }
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
