//! Why a snapshot is not used, or not kept.

use std::io;
use std::path::PathBuf;

use super::Kind;
use super::header::{LONGEST_BODY, LONGEST_SERVICE};

/// Why a snapshot is not used; a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was made from another image, by other settings, on another processor or by another program.
    Key,
    /// The file cannot be opened or read.
    Unreadable,
    /// It does not begin as a snapshot does.
    Foreign,
    /// It has another format version.
    Version,
    /// Its header is damaged.
    Header,
    /// Its header is whole, but says what cannot be.
    Malformed,
    /// It is of another service or kind than its name says.
    Misplaced,
    /// The file is shorter or longer than its header says.
    Length,
    /// Its body is damaged.
    Body,
    /// It may have been resumed already, and an instance is resumed only once.
    Spent,
    /// The monitor did not take it for a guest's sound state.
    Refused,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Key,
        Self::Unreadable,
        Self::Foreign,
        Self::Version,
        Self::Header,
        Self::Malformed,
        Self::Misplaced,
        Self::Length,
        Self::Body,
        Self::Spent,
        Self::Refused,
    ];

    /// The word for metrics and log fields.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Unreadable => "unreadable",
            Self::Foreign => "foreign",
            Self::Version => "version",
            Self::Header => "header",
            Self::Malformed => "malformed",
            Self::Misplaced => "misplaced",
            Self::Length => "length",
            Self::Body => "body",
            Self::Spent => "spent",
            Self::Refused => "refused",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Key => "the image, its settings, the processor or the program has changed since",
            Self::Unreadable => "its file cannot be read",
            Self::Foreign => "its file is no snapshot",
            Self::Version => "it has the format of another version",
            Self::Header => "its header is damaged",
            Self::Malformed => "its header says what cannot be",
            Self::Misplaced => "it is of another service or kind than its file's name says",
            Self::Length => "its file is cut short, or too long",
            Self::Body => "its body is damaged",
            Self::Spent => {
                "the machine went down without notice, so it may have been resumed already"
            }
            Self::Refused => "the monitor cannot use it",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.sentence())
    }
}

/// A snapshot that was found and is not used; it is removed. Nothing is lost but time: the service boots cold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} snapshot of `{service}` is not used and is removed: {reason}")]
pub struct Rejected {
    /// The service's key; for a file whose header cannot be read, the file's name.
    pub service: String,
    /// What it was of.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
}

/// Why a snapshot cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or read.
    #[error(
        "cannot use the folder of snapshots {path}; choose another `state_dir` or run as a user who may write there"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The body is not one.
    #[error(
        "a snapshot of {length} octets cannot be kept: it must be whole pages, and at most {LONGEST_BODY} octets"
    )]
    BodyLength {
        /// Its length in octets.
        length: u64,
    },
    /// The service's key does not fit the header.
    #[error(
        "the service's key has {length} octets, and a snapshot can carry {LONGEST_SERVICE}; choose a shorter key"
    )]
    Service {
        /// Its length in octets.
        length: usize,
    },
    /// The file cannot be written; its disk may be full.
    #[error("cannot write the snapshot {path}; is the disk of `state_dir` full?")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be removed, so that what is in it must not be used: it could be used again.
    #[error("cannot remove the snapshot {path}")]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
