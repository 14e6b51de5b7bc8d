//! A program that was unpacked to a file.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::BaselineError;

/// How often a busy file is tried again, a millisecond apart.
const BUSY_MAX: u32 = 5000;

/// An executable file.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
}

impl Program {
    /// Writes the program to `path`, and runs it once, without arguments: from then on it is in the page cache and
    /// known to be executable.
    pub(super) fn unpack(path: PathBuf, octets: &[u8]) -> Result<Self, BaselineError> {
        write(&path, octets)?;
        let program = Self { path };
        let mut tries = 0;
        loop {
            let mut command = program.command();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            match command.status() {
                Ok(_) => return Ok(program),
                // Another thread of this process was starting a program while the file was being written, and
                // the new process has the descriptor until it executes that program.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && tries < BUSY_MAX => {
                    tries += 1;
                    thread::sleep(Duration::from_millis(1));
                }
                Err(source) => return Err(BaselineError::Run { path: program.path, source }),
            }
        }
    }

    /// A command that runs it, with an empty environment.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_clear();
        command
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// Writes a new executable file.
pub(super) fn write(path: &Path, octets: &[u8]) -> Result<(), BaselineError> {
    if octets.is_empty() {
        return Err(BaselineError::NotBuilt);
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path);
    file.and_then(|mut file| file.write_all(octets))
        .map_err(|source| BaselineError::Unpack { path: path.to_owned(), source })
}
