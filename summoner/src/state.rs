//! What the daemon remembers across restarts: which address each service has, and how often it started.
//!
//! One small JSON file in the state folder, replaced whole. Nothing in it is needed to serve: without it
//! automatic addresses are chosen anew, in the same stable way.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use policies::Generation;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::addresses::Assigned;

/// Generations that one life of the daemon may use: 2^32 boots.
const GENERATIONS_PER_EPOCH: u64 = 1 << 32;

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder cannot be made.
    #[error(
        "cannot make the state folder {path}; choose another `state_dir` or run as a user who may write there"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon uses the folder.
    #[error(
        "another summoner uses the state folder {path}; stop it, or choose another `state_dir`"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file in the folder cannot be read or written.
    #[error("cannot {what} the state file {path}")]
    File {
        /// Read, write or lock.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remembered {
    /// How often a daemon has started with this folder: the upper half of generation numbers, so that they
    /// never repeat.
    pub starts: u32,
    /// The addresses of each service ever configured, by key.
    pub addresses: BTreeMap<String, Assigned>,
}

/// The state folder, locked for this daemon as long as the value lives.
#[derive(Debug)]
pub struct State {
    file: PathBuf,
    remembered: Remembered,
    _lock: OwnedFd,
}

impl State {
    /// Locks the folder, making it if needed, reads what is remembered and counts this start.
    ///
    /// A file that cannot be understood is set aside with a warning: it holds nothing that is needed.
    ///
    /// # Errors
    /// When the folder is in use, or cannot be made, read or written.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        fs::create_dir_all(folder)
            .map_err(|source| StateError::Folder { path: folder.to_owned(), source })?;
        let lock = lock(folder)?;
        let file = folder.join("state.json");
        let mut state = Self { remembered: read(&file)?, file, _lock: lock };
        state.remembered.starts = state.remembered.starts.wrapping_add(1);
        state.save()?;
        Ok(state)
    }

    /// The addresses that services have had.
    #[must_use]
    pub const fn addresses(&self) -> &BTreeMap<String, Assigned> {
        &self.remembered.addresses
    }

    /// The first generation of this life of the daemon: above all of its former lives.
    #[must_use]
    pub fn first_generation(&self) -> Generation {
        Generation(u64::from(self.remembered.starts) * GENERATIONS_PER_EPOCH + 1)
    }

    /// Remembers the addresses of the services that are configured now; those of former ones stay.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember(&mut self, addresses: &BTreeMap<String, Assigned>) -> Result<(), StateError> {
        let before = self.remembered.addresses.clone();
        // An address that was given to another service since is no longer a former service's own.
        self.remembered.addresses.retain(|key, old| {
            addresses.contains_key(key)
                || !addresses.values().any(|new| {
                    (old.ipv4.is_some() && old.ipv4 == new.ipv4)
                        || (old.ipv6.is_some() && old.ipv6 == new.ipv6)
                })
        });
        self.remembered.addresses.extend(addresses.iter().map(|(key, new)| (key.clone(), *new)));
        if self.remembered.addresses == before { Ok(()) } else { self.save() }
    }

    /// Replaces the file whole, so that a crash leaves the old one or the new one.
    fn save(&self) -> Result<(), StateError> {
        let failed = |source| StateError::File { what: "write", path: self.file.clone(), source };
        let text =
            serde_json::to_string_pretty(&self.remembered).map_err(|error| failed(error.into()))?;
        let new = self.file.with_extension("json.new");
        let mut file = File::create(&new).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&new, &self.file).map_err(failed)
    }
}

fn lock(folder: &Path) -> Result<OwnedFd, StateError> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| StateError::File { what: "lock", path: path.clone(), source })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse { path: folder.to_owned() }),
        Err(error) => Err(StateError::File { what: "lock", path, source: error.into() }),
    }
}

fn read(file: &Path) -> Result<Remembered, StateError> {
    let failed = |source| StateError::File { what: "read", path: file.to_owned(), source };
    let octets = match fs::read(file) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Remembered::default()),
        Err(error) => return Err(failed(error)),
    };
    match serde_json::from_slice(&octets) {
        Ok(remembered) => Ok(remembered),
        Err(error) => {
            let aside = file.with_extension("json.bad");
            warn!(file = %file.display(), kept_as = %aside.display(), %error,
                "the state file cannot be understood and is set aside; automatic addresses are chosen anew");
            fs::rename(file, &aside).map_err(failed)?;
            Ok(Remembered::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(last: u8) -> BTreeMap<String, Assigned> {
        let ipv4 = Some(std::net::Ipv4Addr::new(10, 77, 0, last));
        BTreeMap::from([(format!("service{last}"), Assigned { ipv4, ipv6: None })])
    }

    #[test]
    fn addresses_and_generations_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        let first = state.first_generation();
        state.remember(&assigned(9)).unwrap();
        drop(state);
        let state = State::open(folder.path()).unwrap();
        assert_eq!(state.addresses(), &assigned(9));
        assert!(state.first_generation().0 - first.0 >= GENERATIONS_PER_EPOCH);
    }

    #[test]
    fn an_address_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        state.remember(&assigned(9)).unwrap();
        let taken = BTreeMap::from([("new".to_owned(), assigned(9)["service9"])]);
        state.remember(&taken).unwrap();
        assert_eq!(state.addresses(), &taken);
    }

    #[test]
    fn a_second_daemon_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _state = State::open(folder.path()).unwrap();
        assert!(matches!(State::open(folder.path()), Err(StateError::InUse { .. })));
    }

    #[test]
    fn a_broken_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        for broken in ["", "{", "7", r#"{"starts":-1}"#, r#"{"other":1}"#, "\u{0}\u{1}"] {
            fs::write(folder.path().join("state.json"), broken).unwrap();
            let state = State::open(folder.path()).unwrap();
            assert!(state.addresses().is_empty());
            assert_eq!(fs::read_to_string(folder.path().join("state.json.bad")).unwrap(), broken);
        }
    }
}
