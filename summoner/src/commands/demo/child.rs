//! The demo's daemon: `summoner serve` as a child process, with a configuration of its own.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The configuration of the demo: one service, reaped soon, in a zone that nobody can own (RFC 6761).
const CONFIGURATION: &str = r#"
state_dir = "state"

[dns]
listen = ["127.0.0.1:53"]

[zone]
apex = "jit.test"

[admin]
socket = "admin.sock"

[services.hello]
image = "builtin:hello"
idle = "1s"
"#;
const DNS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    #[error("cannot prepare a folder for the daemon under {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot start the daemon")]
    Start(#[source] io::Error),
    #[error("the daemon did not become ready ({0})")]
    NotReady(ExitStatus),
    #[error("cannot stop the daemon")]
    Stop(#[source] io::Error),
    #[error("the daemon did not end well: {0}")]
    BadEnd(ExitStatus),
}

/// The daemon; killed, and its folder removed, when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    folder: PathBuf,
    socket: PathBuf,
    announcement: Vec<String>,
}

impl Daemon {
    /// Starts it and waits until it says that it is ready.
    pub(super) fn start() -> Result<Self, ChildError> {
        let folder = std::env::temp_dir().join(format!("summoner-demo-{}", std::process::id()));
        let failed = |source| ChildError::Folder { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let file = folder.join("summoner.toml");
        fs::write(&file, CONFIGURATION).map_err(failed)?;
        let log = fs::File::create(folder.join("log")).map_err(failed)?;
        let child = Command::new("/proc/self/exe")
            .args(["serve", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(ChildError::Start)?;
        let socket = folder.join("admin.sock");
        let mut daemon = Self { child, folder, socket, announcement: Vec::new() };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<(), ChildError> {
        if let Some(output) = self.child.stdout.take() {
            for line in BufReader::new(output).lines() {
                let line = line.map_err(ChildError::Start)?;
                if line == "ready" {
                    return Ok(());
                }
                self.announcement.push(line);
            }
        }
        // It closed its output without saying so: it is ending, and its log says why.
        eprint!("{}", self.log());
        Err(ChildError::NotReady(self.child.wait().map_err(ChildError::Start)?))
    }

    /// What it said about itself.
    pub(super) fn announcement(&self) -> &[String] {
        &self.announcement
    }

    /// Its admin socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where it answers queries.
    #[expect(clippy::unused_self, reason = "the address belongs to the daemon")]
    pub(super) fn dns(&self) -> SocketAddr {
        DNS
    }

    /// What it logged so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log"))
            .unwrap_or_else(|error| format!("(the log cannot be read: {error})\n"))
    }

    /// Asks it to end and waits; an end other than a clean one is an error.
    pub(super) fn stop(&mut self) -> Result<(), ChildError> {
        let process = Pid::from_raw(self.child.id().cast_signed());
        kill(process, Signal::SIGTERM).map_err(|error| ChildError::Stop(error.into()))?;
        let status = self.child.wait().map_err(ChildError::Stop)?;
        if status.success() { Ok(()) } else { Err(ChildError::BadEnd(status)) }
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
