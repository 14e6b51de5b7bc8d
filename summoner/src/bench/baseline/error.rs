//! What can go wrong with a baseline.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::client::ExchangeError;

/// Why a baseline could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// There was no static C library when this program was built.
    #[error(
        "the programs to compare with were left out of this build, because a static C library was missing; \
         install it (Fedora: glibc-static; on Debian it is in libc6-dev) and build again"
    )]
    NotBuilt,
    /// A file could not be written.
    #[error(
        "cannot write the programs to compare with to {}; set TMPDIR to a folder with room for 4 MiB",
        path.display()
    )]
    Unpack {
        /// The file or its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The unpacked program cannot be executed.
    #[error(
        "cannot run {}; if its file system is mounted `noexec`, set TMPDIR to a folder of another",
        path.display()
    )]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that a measurement needs could not be made.
    #[error("cannot prepare a measurement: {what}")]
    Prepare {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The program ended in another way than it should.
    #[error("{program} failed ({status})")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The service ended before it said that it listens.
    #[error("{program} ended before it listened ({status})")]
    EndedEarly {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The service did not say in time that it listens.
    #[error("{program} did not say within {seconds} s that it listens")]
    NotReady {
        /// The program.
        program: String,
        /// How long was waited.
        seconds: u64,
    },
    /// What the service said cannot be read.
    #[error("cannot read on which port {program} listens")]
    Unreadable {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// What the service said is no port number.
    #[error("{program} said {line:?}, which is not the number of a port")]
    NotAPort {
        /// The program.
        program: String,
        /// What it said.
        line: String,
    },
    /// The service did not answer as it should.
    #[error("no page from {program}")]
    Exchange {
        /// The program.
        program: String,
        /// Why.
        source: ExchangeError,
    },
    /// crun could not do it.
    #[error("crun failed, saying {said:?}")]
    Crun {
        /// What it wrote to its standard error.
        said: String,
        /// How that showed.
        source: Box<Self>,
    },
}
