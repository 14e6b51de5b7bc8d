//! How an instance is made to end.

use std::time::Duration;

use crate::Instant;

/// How an instance is made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StopMode {
    /// At once, without asking the guest: the right end for a guest that keeps nothing.
    #[default]
    Destroy,
    /// The guest is asked, and destroyed when it has not ended after the grace.
    Shutdown {
        /// How long the guest may take.
        grace: Duration,
    },
    /// The instance's memory is kept as a snapshot that the next summon resumes (Jitsu's suspend), so that a
    /// service remembers across idleness; an instance that cannot be kept within the grace is destroyed.
    Suspend {
        /// How long it may take until the snapshot is stored.
        grace: Duration,
    },
}

impl StopMode {
    /// When an instance that is made to end at `now` has used up its grace and is to be destroyed; `None` for a
    /// mode that destroys it at once.
    #[must_use]
    pub fn deadline(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Destroy => None,
            Self::Shutdown { grace } | Self::Suspend { grace } => Some(now + grace),
        }
    }

    /// The closed set of words for the configuration, metrics and log fields.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Shutdown { .. } => "shutdown",
            Self::Suspend { .. } => "suspend",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_asked_has_a_grace() {
        let now = Instant::from_nanos(7);
        let grace = Duration::from_nanos(5);
        let deadlines =
            [StopMode::Destroy, StopMode::Shutdown { grace }, StopMode::Suspend { grace }]
                .map(|mode| mode.deadline(now));
        let later = Some(Instant::from_nanos(12));
        assert_eq!(deadlines, [None, later, later]);
    }
}
