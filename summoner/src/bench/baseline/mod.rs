//! What a summon is compared with: the same service, started for one client as an ordinary program.
//!
//! ```text
//!             ready          connected        first, last byte
//! process     |-- start, exec, listen --|-- connect --|-- request, page --|
//! activation  |-- connect --|-- woken, start, exec ...... accept, request, page --|
//! container   like process, with crun's work in front
//! exec        start, exec, exit, wait; no service
//! ```
//!
//! Nothing of this is made slower than it must be, because a comparison is worth what its baseline is worth. The
//! program is optimized, static and not relocatable (`images/baseline`); it lies in a file in the page cache and
//! has run before; it is started without a copy of this process (`posix_spawn(3)`), with an empty environment;
//! everything that can be is prepared before the time runs and ended after it has stopped; the client shares the
//! starter's thread.
//!
//! A file, because a program in one started 5 to 10 % faster than one in sealed memory (`memfd_create(2)`),
//! by its path, because the way through `/proc/self/fd` cost another 10 to 20 µs.

mod activation;
mod client;
mod container;
mod error;
mod launch;
mod program;

use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use client::{ExchangeError, REQUEST};
pub use error::BaselineError;

use container::Crun;
use launch::Launched;
use program::Program;

/// The baselines, ready to be measured. Their files are removed when this is dropped.
///
/// Measurements may run at the same time, but will then not measure much.
#[derive(Debug)]
pub struct Baselines {
    http: Program,
    exit: Program,
    crun: Option<Crun>,
    /// Holds the files; after those who use them.
    _folder: TempDir,
}

/// When a client had what, each since the start of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The program listens and has said so; for [`Baselines::activation`], it is being executed.
    pub ready: Duration,
    /// The client is connected; for [`Baselines::activation`], this comes before `ready`.
    pub connected: Duration,
    /// The first octet of the response has arrived.
    pub first_byte: Duration,
    /// The response is complete.
    pub last_byte: Duration,
}

impl Baselines {
    /// Unpacks the programs into the folder for temporary files, and runs each once.
    ///
    /// # Errors
    /// When they were left out of this build, or cannot be written or run there.
    pub fn new() -> Result<Self, BaselineError> {
        Self::unpack(images::baseline::HTTP, images::baseline::EXIT)
    }

    fn unpack(http: &[u8], exit: &[u8]) -> Result<Self, BaselineError> {
        let parent = std::env::temp_dir();
        let folder = tempfile::Builder::new()
            .prefix("summoner-bench-")
            .tempdir_in(&parent)
            .map_err(|source| BaselineError::Unpack { path: parent, source })?;
        Ok(Self {
            http: Program::unpack(folder.path().join("http"), http)?,
            exit: Program::unpack(folder.path().join("exit"), exit)?,
            crun: Crun::find(&folder.path().join("container"), http)?,
            _folder: folder,
        })
    }

    /// Starts the service, connects as soon as it says that it listens, and reads its page.
    ///
    /// # Errors
    /// When the program does not start, ends too early, or does not answer as it should.
    pub fn process(&self) -> Result<Sample, BaselineError> {
        let mut command = self.http.command();
        command.arg("listen");
        Launched::start(command)?.sample()
    }

    /// Connects to a socket whose service is started because of that, as systemd does it, and reads its page.
    ///
    /// Who listens waits in a thread of its own, and hands the listening socket over as the program's standard
    /// input (inetd's `wait`, systemd's `StandardInput=socket`). systemd's own protocol, descriptor 3 and the
    /// variables `LISTEN_FDS` and `LISTEN_PID`, would need code between fork and exec, and with it a slower start.
    ///
    /// # Errors
    /// When the program does not start, ends too early, or does not answer as it should.
    pub fn activation(&self) -> Result<Sample, BaselineError> {
        activation::sample(&self.http)
    }

    /// As [`process`](Self::process), in a container of its own; `None` where there is no crun.
    ///
    /// The container has a root with one file, namespaces of its own except for the network, and no control group:
    /// the least that is still a container. Needs the super-user.
    ///
    /// # Errors
    /// When the container does not start, ends too early, or its service does not answer as it should.
    pub fn crun(&self) -> Option<Result<Sample, BaselineError>> {
        self.crun.as_ref().map(Crun::sample)
    }

    /// Starts a program that only exits, and waits for its end.
    ///
    /// # Errors
    /// When it does not start or does not exit successfully.
    pub fn exec(&self) -> Result<Duration, BaselineError> {
        let mut command: Command = self.exit.command();
        let started = Instant::now();
        let status = command.status();
        let took = started.elapsed();
        match status {
            Ok(status) if status.success() => Ok(took),
            Ok(status) => Err(BaselineError::Failed { program: self.exit.to_string(), status }),
            Err(source) => Err(BaselineError::Start { program: self.exit.to_string(), source }),
        }
    }
}

#[cfg(test)]
mod tests;
