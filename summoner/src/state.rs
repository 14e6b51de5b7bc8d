//! What the daemon remembers across restarts: which address each service has, which serial each zone, and how often it
//! started.
//!
//! One small JSON file in the state folder, replaced whole. Nothing in it is needed to serve: without it
//! automatic addresses are chosen anew, in the same stable way, and serials go on from the time of day.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use policies::Generation;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::addresses::Assigned;
use crate::publish::serial::Version;

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
    /// The newest version of each zone ever published, by apex.
    pub serials: BTreeMap<String, Version>,
}

impl Remembered {
    /// What a daemon has remembered in `folder`, whether it runs or not; nothing is changed.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn peek(folder: &Path) -> Result<Self, StateError> {
        let file = folder.join("state.json");
        let octets = read_octets(&file)?;
        // What cannot be understood is set aside by the daemon, not here.
        Ok(octets.and_then(|octets| serde_json::from_slice(&octets).ok()).unwrap_or_default())
    }
}

/// The state folder, locked for this daemon as long as one of the values that share it lives.
#[derive(Debug, Clone)]
pub struct State {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: PathBuf,
    remembered: Mutex<Remembered>,
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
        let remembered = Mutex::new(read(&file)?);
        let state = Self { shared: Arc::new(Shared { file, remembered, _lock: lock }) };
        state.change(|remembered| remembered.starts = remembered.starts.wrapping_add(1))?;
        Ok(state)
    }

    /// What is remembered now.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        self.shared.remembered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The addresses that services have had.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, Assigned> {
        self.remembered().addresses
    }

    /// The first generation of this life of the daemon: above all of its former lives.
    #[must_use]
    pub fn first_generation(&self) -> Generation {
        Generation(u64::from(self.remembered().starts) * GENERATIONS_PER_EPOCH + 1)
    }

    /// Remembers the addresses of the services that are configured now; those of former ones stay.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember(&self, addresses: &BTreeMap<String, Assigned>) -> Result<(), StateError> {
        self.change(|remembered| {
            // An address that was given to another service since is no longer a former service's own.
            remembered.addresses.retain(|key, old| {
                addresses.contains_key(key)
                    || !addresses.values().any(|new| {
                        (old.ipv4.is_some() && old.ipv4 == new.ipv4)
                            || (old.ipv6.is_some() && old.ipv6 == new.ipv6)
                    })
            });
            remembered.addresses.extend(addresses.iter().map(|(key, new)| (key.clone(), *new)));
        })
    }

    /// Remembers the versions of the zones that are published now; those of former ones stay.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember_serials(&self, serials: BTreeMap<String, Version>) -> Result<(), StateError> {
        self.change(|remembered| remembered.serials.extend(serials))
    }

    /// Changes what is remembered, and replaces the file whole, so that a crash leaves the old one or the new one.
    fn change(&self, change: impl FnOnce(&mut Remembered)) -> Result<(), StateError> {
        // A panic elsewhere leaves a whole value here: it is replaced in one assignment.
        let mut remembered = self.shared.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = remembered.clone();
        change(&mut new);
        if new != *remembered {
            save(&self.shared.file, &new)?;
            *remembered = new;
        }
        Ok(())
    }
}

fn save(path: &Path, remembered: &Remembered) -> Result<(), StateError> {
    let failed = |source| StateError::File { what: "write", path: path.to_owned(), source };
    let text = serde_json::to_string_pretty(remembered).map_err(|error| failed(error.into()))?;
    let new = path.with_extension("json.new");
    let mut file = File::create(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
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

/// The file's content, if it is there.
fn read_octets(file: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(file) {
        Ok(octets) => Ok(Some(octets)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::File { what: "read", path: file.to_owned(), source }),
    }
}

fn read(file: &Path) -> Result<Remembered, StateError> {
    let failed = |source| StateError::File { what: "read", path: file.to_owned(), source };
    let Some(octets) = read_octets(file)? else { return Ok(Remembered::default()) };
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
        let state = State::open(folder.path()).unwrap();
        let first = state.first_generation();
        state.remember(&assigned(9)).unwrap();
        drop(state);
        let state = State::open(folder.path()).unwrap();
        assert_eq!(state.addresses(), assigned(9));
        assert!(state.first_generation().0 - first.0 >= GENERATIONS_PER_EPOCH);
    }

    #[test]
    fn an_address_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        state.remember(&assigned(9)).unwrap();
        let taken = BTreeMap::from([("new".to_owned(), assigned(9)["service9"])]);
        state.remember(&taken).unwrap();
        assert_eq!(state.addresses(), taken);
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
