//! How a guest ended, for its log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a guest ended. `Display` gives a report for people, possibly of several lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It halted by itself.
    Halted {
        /// Its exit status; 0 when it ended as it meant to.
        status: i32,
        /// What it left for whoever looks at the end: nothing, or 512 octets.
        cookie: Vec<u8>,
    },
    /// Its state was kept, to be resumed.
    Suspended,
    /// It did something that its processor does not allow.
    Crashed(String),
    /// It broke the rules of the ABI.
    Violation(String),
    /// The monitor could not go on; not the guest's fault.
    Failed(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted { status, .. } => write!(f, "the guest halted with status {status}"),
            Self::Suspended => f.write_str("the guest was suspended"),
            Self::Crashed(report) => write!(f, "the guest crashed: {report}"),
            Self::Violation(what) => {
                write!(f, "the guest broke the rules of the hvt interface: {what}")
            }
            Self::Failed(what) => write!(f, "the monitor failed: {what}"),
        }
    }
}
