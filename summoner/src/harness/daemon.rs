//! `summoner serve` as a child process, with a folder and a configuration of its own.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The admin socket's name in the daemon's folder: what a configuration must have as `admin.socket`.
pub const SOCKET: &str = "admin.sock";
/// The configuration file's.
const CONFIGURATION: &str = "summoner.toml";
/// This program, also after its file was replaced.
const EXECUTABLE: &str = "/proc/self/exe";

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its folder cannot be made.
    #[error("cannot prepare a folder for the daemon under {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its process cannot be started.
    #[error("cannot start the daemon")]
    Start(#[source] io::Error),
    /// It ended instead.
    #[error("the daemon did not become ready ({status}); its log says:\n{log}")]
    NotReady {
        /// How it ended.
        status: ExitStatus,
        /// What it logged.
        log: String,
    },
    /// It cannot be told.
    #[error("cannot stop the daemon")]
    Stop(#[source] io::Error),
    /// It ended badly.
    #[error("the daemon did not end well: {0}")]
    BadEnd(ExitStatus),
}

/// What a daemon is started with.
#[derive(Debug)]
pub struct DaemonSetup<'a> {
    /// Distinguishes the folders of one process's daemons.
    pub name: &'a str,
    /// The configuration file's text; relative paths in it are relative to the daemon's folder.
    pub configuration: &'a str,
    /// Keys and values for `--set`.
    pub overrides: &'a [(String, String)],
}

/// The daemon; killed, and its folder removed, when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    folder: PathBuf,
    socket: PathBuf,
    announcement: Vec<String>,
}

impl Daemon {
    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// When its folder or process cannot be made, or it ends instead.
    pub fn start(setup: &DaemonSetup<'_>) -> Result<Self, DaemonError> {
        let folder =
            std::env::temp_dir().join(format!("summoner-{}-{}", setup.name, std::process::id()));
        let failed = |source| DaemonError::Folder { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let file = folder.join(CONFIGURATION);
        fs::write(&file, setup.configuration).map_err(failed)?;
        let log = fs::File::create(folder.join("log")).map_err(failed)?;
        let child = Command::new(EXECUTABLE)
            .args(["serve", "--config"])
            .arg(&file)
            .args(setup.overrides.iter().map(|(key, value)| format!("--set={key}={value}")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(DaemonError::Start)?;
        let socket = folder.join(SOCKET);
        let mut daemon = Self { child, folder, socket, announcement: Vec::new() };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<(), DaemonError> {
        if let Some(output) = self.child.stdout.take() {
            for line in BufReader::new(output).lines() {
                let line = line.map_err(DaemonError::Start)?;
                if line == "ready" {
                    return Ok(());
                }
                self.announcement.push(line);
            }
        }
        // It closed its output without saying so: it is ending, and its log says why.
        let status = self.child.wait().map_err(DaemonError::Start)?;
        Err(DaemonError::NotReady { status, log: self.log() })
    }

    /// What it said about itself.
    #[must_use]
    pub fn announcement(&self) -> &[String] {
        &self.announcement
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its admin socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its configuration file.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.folder.join(CONFIGURATION)
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log"))
            .unwrap_or_else(|error| format!("(the log cannot be read: {error})\n"))
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// When it cannot be asked, or ends otherwise than clean.
    pub fn stop(&mut self) -> Result<(), DaemonError> {
        let process = Pid::from_raw(self.child.id().cast_signed());
        kill(process, Signal::SIGTERM).map_err(|error| DaemonError::Stop(error.into()))?;
        let status = self.child.wait().map_err(DaemonError::Stop)?;
        if status.success() { Ok(()) } else { Err(DaemonError::BadEnd(status)) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Errors mean that there is nothing to kill or to remove any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
