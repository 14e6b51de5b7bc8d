//! What the server does besides answering from its zones: how often, and to whom.

use std::sync::Arc;

use super::cookies::Cookies;
use super::limit::RateLimit;

/// The settings of all sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// How many responses by UDP each network gets; `None`: no limit.
    pub rate_limit: Option<Arc<RateLimit>>,
    /// Cookies; `None`: those of clients are not answered.
    pub cookies: Option<CookieSecrets>,
    /// What the server calls itself (RFC 5001, RFC 4892), at most 255 octets; `None`: nothing.
    pub identity: Option<String>,
    /// What it says that it is (`version.server`), at most 255 octets; `None`: nothing.
    pub version: Option<String>,
}

/// Where the secrets of cookies come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieSecrets {
    /// They are made at each start, and nobody else's.
    OfThisServer,
    /// They are shared by all servers of the zone.
    Shared(Cookies),
}

impl CookieSecrets {
    /// The cookies made with them.
    pub(super) fn cookies(&self) -> Cookies {
        match self {
            Self::OfThisServer => Cookies::of_this_server(),
            Self::Shared(cookies) => cookies.clone(),
        }
    }
}
