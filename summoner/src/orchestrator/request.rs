//! What administrators may ask of the orchestrator.

use policies::Instant;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::timeline::Timeline;

/// A request with the place for its answer.
#[derive(Debug)]
pub enum Request {
    /// What runs.
    List(oneshot::Sender<Vec<ServiceStatus>>),
    /// Wakes a service and answers when its guest is ready, or with the reason why it will not be.
    Wake {
        /// The service's key or one of its names.
        name: String,
        /// The record of the summon; of the one that made it run if it runs already.
        reply: oneshot::Sender<Result<Timeline, String>>,
    },
    /// Stops a service and answers when its guest is gone. A wake in the meantime has summoned the next one already.
    Stop {
        /// The service's key or one of its names.
        name: String,
        /// Nothing, or why it cannot be.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// The console of a service.
    Logs {
        /// The service's key or one of its names.
        name: String,
        /// Where later lines go, if they are wanted.
        follow: Option<mpsc::Sender<String>>,
        /// The lines that are kept.
        reply: oneshot::Sender<Result<Vec<String>, String>>,
    },
    /// What is kept of services.
    Snapshots(oneshot::Sender<Vec<SnapshotStatus>>),
    /// Removes the snapshots of a service.
    RemoveSnapshots {
        /// The service's key or one of its names; the key alone if it is not configured any more.
        name: String,
        /// How many there were, or why they cannot be removed.
        reply: oneshot::Sender<Result<u32, String>>,
    },
    /// Removes the snapshots of a service, destroys its guest and summons a new one, which is kept again.
    RebuildSnapshot {
        /// The service's key or one of its names.
        name: String,
        /// The record of the summon, or why there is none.
        reply: oneshot::Sender<Result<Timeline, String>>,
    },
}

/// One line of `summoner snapshot ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// The service's key.
    pub service: String,
    /// `ready` or `suspended`.
    pub kind: String,
    /// Octets of state.
    pub size: u64,
    /// Octets on the disk.
    pub stored: u64,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Why it will not be used; `None` if it will.
    pub stale: Option<String>,
}

/// One line of `summoner ps`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The service's key.
    pub service: String,
    /// Its names.
    pub names: Vec<String>,
    /// Its IPv4 address.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// The state of its lifecycle.
    pub state: String,
    /// The generation that holds resources.
    pub generation: Option<u64>,
    /// The monitor process.
    pub process: Option<u32>,
    /// Since when its guest is ready.
    pub ready_at: Option<Instant>,
    /// Guest memory in octets, while something holds it.
    pub memory: u64,
    /// The last packet or query.
    pub last_used: Option<Instant>,
    /// Its connections.
    pub open_connections: u32,
    /// Packets of clients that are held for it.
    pub held: u32,
    /// Wakes that were refused because they were over budget, since the daemon started.
    pub refused_wakes: u64,
    /// The newest summon, current or past: `cause` says why the service runs.
    pub timeline: Option<Timeline>,
    /// The daemon's clock when this was written.
    pub now: Instant,
}
