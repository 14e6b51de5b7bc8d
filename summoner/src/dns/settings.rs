//! What the server does besides answering from its zones: how often, and to whom.

use std::sync::Arc;

use super::limit::RateLimit;

/// The settings of all sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// How many responses by UDP each network gets; `None`: no limit.
    pub rate_limit: Option<Arc<RateLimit>>,
}
