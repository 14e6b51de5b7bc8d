//! Snapshots of services: kept in the state folder, found by what they were made from, and never needed.
//!
//! Two kinds exist. *Ready*: a guest that waits for its first input; every next instance of the service is a clone of
//! it. *Suspended*: an instance with all that it has come to know, kept when it was reaped (`stop = "suspend"`); the next
//! summon resumes it, once.
//!
//! ```text
//!   state_dir/snapshots/            mode 0700, files 0600
//!     web-2f0c...e1.ready           header, 4096 octets (header.rs)
//!                                   body: pages, made and understood by the monitor
//!     web-2f0c...e1.suspended       as long as nobody has resumed it
//!     epoch                         whether the last daemon's doings are all on disk (epoch.rs)
//! ```
//!
//! A snapshot is a cache. It is used only if its key says that it was made from the very image, settings, processor and
//! program that are in force now ([`SnapshotKey`]), and its checksums hold; anything else is [`Rejected`], removed, and
//! the service boots cold. A body is opaque here: that its content is a guest's sound state is for the monitor to check.
//!
//! Files are never changed in place: a new one replaces the old by a rename, so a descriptor that was checked once stays
//! good for as long as it is open. Nothing is synced on the way: after a crash of the machine a half-written file fails
//! its checksum.

mod body;
mod epoch;
mod error;
mod file;
mod header;
mod key;
mod machine;
mod store;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::SystemTime;

pub use error::{Reason, Rejected, StoreError};
pub use header::{HEADER_LENGTH, LONGEST_BODY, LONGEST_SERVICE};
pub use key::{KeyParts, SnapshotKey};
pub use machine::Machine;
pub use store::{Entry, Store};

/// What a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A guest that waits for its first input.
    Ready,
    /// An instance as it was when it was reaped.
    Suspended,
}

impl Kind {
    /// Both, in the order in which they are looked for: what an instance remembers comes before a new one.
    pub const ALL: [Self; 2] = [Self::Suspended, Self::Ready];

    /// The word for file names, metrics, logs and people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Suspended => "suspended",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

/// A checked snapshot, open for reading.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The file, opened read-only; its content does not change.
    pub file: Arc<OwnedFd>,
    /// Where the body begins in the file: at a page's start, so that it can be mapped.
    pub body_offset: u64,
    /// Its length in octets, a multiple of the page size.
    pub body_length: u64,
    /// What it is of.
    pub kind: Kind,
    /// When it was made.
    pub created: SystemTime,
}
