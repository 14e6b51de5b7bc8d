//! What a run found: one structure for the text, the JSON, the plots, objectives and comparisons.

pub mod chart;
pub mod goals;
pub mod plots;
pub mod record;
pub mod text;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::failure::Failure;
use super::flood::FloodFigures;
use super::memory::IdleMemory;
use super::stats::Row;
use super::throughput::Throughput;
use goals::{Goal, Ratios};

/// The form of this structure; changed when an older reader would misunderstand it.
pub const FORMAT: u32 = 1;

/// Why a report cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file.
    #[error("cannot {what} {path}")]
    File {
        /// Read or write.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its content.
    #[error("{path} is no report of `summoner bench --json`")]
    NotAReport {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Its version.
    #[error(
        "{path} is a report of form {found}, and this program reads form {FORMAT}; measure again"
    )]
    Format {
        /// Which.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
}

/// Requests of one part of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Requests that were to be made.
    pub planned: u64,
    /// Requests that were made.
    pub sent: u64,
    /// Those that were not answered as they should be.
    pub failed: u64,
    /// Those that had to wait for a worker of the generator; their wait is in the figures.
    pub late: u64,
    /// SYNs that clients' kernels sent again.
    pub syn_retransmissions: u64,
    /// Failures by kind.
    pub failures: IndexMap<Failure, u64>,
    /// Measured for comparison, and not ours: left out of the run's totals.
    pub baseline: bool,
}

/// Everything that a run found. Lengths of time are in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// What it was measured on.
    pub environment: Environment,
    /// What was measured, as the command line would say it.
    pub command: String,
    /// Brings back the same schedule.
    pub seed: u64,
    /// Requests that were to be made, baselines left out.
    pub planned: u64,
    /// Requests that were made.
    pub sent: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that waited for a worker.
    pub late: u64,
    /// SYNs sent again.
    pub syn_retransmissions: u64,
    /// Wakes that the daemons counted, if they could be asked.
    pub wakes: Option<u64>,
    /// Boots that the daemons counted, if they could be asked.
    pub boots: Option<u64>,
    /// Ours by theirs.
    pub ratios: Ratios,
    /// Resident memory of an idle instance beyond what it shares, in octets.
    pub idle_rss_bytes_per_instance: Option<u64>,
    /// The same by kind.
    pub idle_memory: Option<IdleMemory>,
    /// How fast octets flowed, by direction and by what they went through.
    #[serde(default)]
    pub throughput: IndexMap<String, IndexMap<String, Throughput>>,
    /// What is to be reached, and whether it is.
    pub goals: Vec<Goal>,
    /// The totals by part.
    pub tallies: IndexMap<String, Tally>,
    /// The distributions.
    pub rows: IndexMap<String, Row>,
    /// What a reader must know: keys that the daemon refused, what could not be measured.
    pub notes: Vec<String>,
    /// Each row's values in the order in which they were measured.
    pub samples: IndexMap<String, Vec<f64>>,
    /// What a flood did.
    #[serde(default)]
    pub flood: Option<FloodFigures>,
    /// Values against the number of running instances.
    pub running: IndexMap<String, Vec<(u64, f64)>>,
}

impl Report {
    /// Reads a report that [`Report::write`] wrote.
    ///
    /// # Errors
    /// When there is none, or none of this form.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let text = fs::read_to_string(path).map_err(file("read", path))?;
        let wrong = |source| ReportError::NotAReport { path: path.to_owned(), source };
        let Form { format: found } = serde_json::from_str(&text).map_err(wrong)?;
        if found != FORMAT {
            return Err(ReportError::Format { path: path.to_owned(), found });
        }
        serde_json::from_str(&text).map_err(wrong)
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let text = serde_json::to_string(self)
            .map_err(|source| ReportError::NotAReport { path: path.to_owned(), source })?;
        fs::write(path, text + "\n").map_err(file("write", path))
    }
}

/// How an error of the file system becomes ours.
fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReportError {
    let path = path.to_owned();
    move |source| ReportError::File { what, path, source }
}
