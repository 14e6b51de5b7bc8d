//! How an instance is made to end.

use std::time::Duration;

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
}
