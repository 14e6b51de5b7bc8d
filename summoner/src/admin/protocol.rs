//! What goes over the admin socket: one JSON object a line, a request first, then its replies.

use serde::{Deserialize, Serialize};

use crate::orchestrator::timeline::Timeline;
use crate::orchestrator::{ServiceStatus, SnapshotStatus};

/// The longest request line that is read, in octets; a longer one is refused.
pub const LONGEST_REQUEST: usize = 4096;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// List the services.
    Ps,
    /// Wake a service and wait until it is ready.
    Wake {
        /// Key or DNS name.
        name: String,
    },
    /// Stop a service and wait until it is gone.
    Stop {
        /// Key or DNS name.
        name: String,
    },
    /// A service's console.
    Logs {
        /// Key or DNS name.
        name: String,
        /// Whether to go on with what comes later.
        follow: bool,
    },
    /// List the snapshots.
    Snapshots,
    /// Remove the snapshots of a service.
    RemoveSnapshots {
        /// Key or DNS name.
        name: String,
    },
    /// Remove the snapshots of a service, summon it anew and wait until it is ready.
    RebuildSnapshot {
        /// Key or DNS name.
        name: String,
    },
}

/// One line of the answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Answer to [`Request::Ps`].
    Services(Vec<ServiceStatus>),
    /// Answer to [`Request::Wake`] and [`Request::RebuildSnapshot`].
    Awake(Box<Timeline>),
    /// Answer to [`Request::Stop`].
    Stopped,
    /// Answer to [`Request::Snapshots`].
    Snapshots(Vec<SnapshotStatus>),
    /// Answer to [`Request::RemoveSnapshots`]: how many there were.
    Removed(u32),
    /// One line of a console.
    Line(String),
    /// The request cannot be done, and why.
    Error(String),
}
