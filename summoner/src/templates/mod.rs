//! Service templates: a service for every name that somebody asks for, made when he does.
//!
//! ```text
//!   DNS: a query for an address of a name that a template matches and that is not there
//!    |     a datagram without proof of its source: TC, ask again by TCP; nothing is kept
//!    v     otherwise:
//!   Request --(bounded queue)--> the daemon's one task that knows the configuration
//!                                  |  Instances: a number, addresses, a deployment        (here, without I/O)
//!                                  |  orchestrator: does the asker have a token of the wakes' budget? attached
//!                                  |  the zone is published anew, with the name in it
//!   the query is answered <--------+  from the zone, like any other: and wakes the service
//! ```
//!
//! A service that was made is like one that is configured, but that it is forgotten: when it is cold, and nobody has asked for
//! it for its `idle` and its TTL, so that no cache has its address any more. Nothing of it outlives the daemon.

mod instances;

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::LowerName;
use policies::budget::Credibility;
use tokio::sync::oneshot;

pub use instances::{Instances, Made, Making, Refusal};

/// Requests that may wait; for more the answer is SERVFAIL.
pub const QUEUE: usize = 256;

/// Somebody asks for a name whose service is not made yet.
#[derive(Debug)]
pub struct Request {
    /// The key of the template that matches.
    pub template: Arc<str>,
    /// The name.
    pub name: LowerName,
    /// Who asks.
    pub source: IpAddr,
    /// Whether that is certain.
    pub credibility: Credibility,
    /// Told when the name is published; dropped if it will not be.
    pub made: oneshot::Sender<()>,
}

/// Whether a service's key is one that a template has given: in the configuration, keys have no dots.
#[must_use]
pub fn is_made(key: &str) -> bool {
    key.contains('.')
}
