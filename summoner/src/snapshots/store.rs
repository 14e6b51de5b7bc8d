//! The folder of snapshots, and the table of what is in it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::warn;

use super::epoch::Epoch;
use super::error::{Reason, Rejected, StoreError};
use super::file::{self, NEW};
use super::header::{Header, LONGEST_SERVICE, is_body_length};
use super::{Kind, Snapshot, SnapshotKey, body};

/// One snapshot, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The service's key.
    pub service: String,
    /// What it is of.
    pub kind: Kind,
    /// What it was made from.
    pub key: SnapshotKey,
    /// Its body's length in octets.
    pub size: u64,
    /// What it takes on the disk, in octets; holes are left out.
    pub stored: u64,
    /// When it was made.
    pub created: SystemTime,
}

/// A file whose header is sound.
#[derive(Debug, Clone)]
struct Slot {
    header: Arc<Header>,
    stored: u64,
    /// There once the body is checked.
    open: Option<Snapshot>,
}

type Slots = BTreeMap<Kind, Slot>;

/// All snapshots of a daemon.
///
/// May be shared: the table's lock is held over a look-up, a rename and an unlink, never while a body is read or written.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    epoch: Epoch,
    table: Mutex<BTreeMap<String, Slots>>,
    /// Found to be unusable when the folder was opened; told by [`Store::check_all`].
    early: Mutex<Vec<Rejected>>,
    /// Numbers unfinished files.
    unfinished: AtomicU64,
}

impl Store {
    /// Opens `state_dir/snapshots`, making it if needed. The state folder must be locked for this daemon.
    ///
    /// What is half-written is removed; of the rest the headers are read, and what has no sound header is removed. Bodies
    /// are read later, by [`check_all`](Self::check_all) or when they are first asked for.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let folder = state_dir.join("snapshots");
        let failed = |source| StoreError::Folder { path: folder.clone(), source };
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            // A guest's memory is nobody else's business, whoever made the folder.
            Ok(()) | Err(_) => {
                fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(failed)?;
            }
        }
        let (epoch, trusted) = Epoch::enter(&folder).map_err(failed)?;
        let store = Self {
            folder: folder.clone(),
            epoch,
            table: Mutex::default(),
            early: Mutex::default(),
            unfinished: AtomicU64::new(0),
        };
        for found in fs::read_dir(&folder).map_err(failed)? {
            store.take_in(&found.map_err(failed)?.path(), trusted).map_err(failed)?;
        }
        Ok(store)
    }

    /// Looks at a file that lies in the folder.
    fn take_in(&self, path: &Path, trusted: bool) -> io::Result<()> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(name) = name else { return Ok(()) };
        if name.starts_with(NEW) {
            return fs::remove_file(path);
        }
        let kind = Kind::ALL.into_iter().find(|kind| name.ends_with(&format!(".{kind}")));
        // Whatever else somebody keeps here is not ours to touch.
        let Some(kind) = kind else { return Ok(()) };
        let header =
            file::open(path).and_then(|file| body::read_header(&file)).and_then(|header| {
                let placed = header.kind == kind && file::name(&header.service, kind) == name;
                match (placed, kind) {
                    (false, _) => Err(Reason::Misplaced),
                    (true, Kind::Suspended) if !trusted => Err(Reason::Spent),
                    (true, _) => Ok(header),
                }
            });
        match header {
            Ok(header) => {
                let stored = file::disk_use(path);
                let slot = Slot { header: Arc::new(header.clone()), stored, open: None };
                self.lock().entry(header.service).or_default().insert(kind, slot);
            }
            Err(reason) => {
                fs::remove_file(path)?;
                let rejected = Rejected { service: name, kind, reason };
                self.early.lock().unwrap_or_else(PoisonError::into_inner).push(rejected);
            }
        }
        Ok(())
    }

    /// The snapshot that an instance of `service` can be made from, if `key` is what it would be made from now. A
    /// suspended instance comes before a ready guest; whoever takes one calls
    /// [`consume_suspended`](Self::consume_suspended) before using it.
    ///
    /// A look-up in memory, once the body has been checked. The first time it is read and checked here, which takes about
    /// a millisecond for each few MiB.
    ///
    /// # Errors
    /// When there is one that must not be used. It is removed: asked again, the store looks for the next kind.
    pub fn find(&self, service: &str, key: &SnapshotKey) -> Result<Option<Snapshot>, Rejected> {
        for kind in Kind::ALL {
            loop {
                let Some(slot) = self.slot(service, kind) else { break };
                if slot.header.key != *key {
                    return Err(self.reject_slot(service, kind, &slot.header, Reason::Key));
                }
                if let Some(snapshot) = slot.open {
                    return Ok(Some(snapshot));
                }
                // Not from this copy, though it has just been checked: it may have been consumed or replaced meanwhile.
                if let Err(reason) = self.check_slot(service, kind, &slot.header) {
                    return Err(self.reject_slot(service, kind, &slot.header, reason));
                }
            }
        }
        Ok(None)
    }

    /// Reads and checks every body that has not been checked yet, so that no [`find`](Self::find) has to; returns what was
    /// rejected, here and when the folder was opened, for the caller to log and count.
    ///
    /// Takes as long as reading the folder does: for a thread of its own.
    pub fn check_all(&self) -> Vec<Rejected> {
        let mut rejected =
            std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner));
        let unchecked: Vec<_> = self
            .lock()
            .values()
            .flatten()
            .filter(|(_, slot)| slot.open.is_none())
            .map(|(kind, slot)| (*kind, slot.header.clone()))
            .collect();
        for (kind, header) in unchecked {
            if let Err(reason) = self.check_slot(&header.service, kind, &header) {
                rejected.push(self.reject_slot(&header.service, kind, &header, reason));
            }
        }
        rejected
    }

    /// Keeps a snapshot, in the place of the service's older one of the same kind: copies `length` octets from the start of
    /// `body`.
    ///
    /// Takes as long as writing them does: for a thread of its own. Nothing is synced; see the module's page.
    ///
    /// # Errors
    /// When the file cannot be written, or `body` is too short, too long or not whole pages; the older one stays then.
    pub fn save(
        &self,
        service: &str,
        key: &SnapshotKey,
        kind: Kind,
        body: BorrowedFd<'_>,
        length: u64,
    ) -> Result<Snapshot, StoreError> {
        if !is_body_length(length) {
            return Err(StoreError::BodyLength { length });
        }
        if service.len() > LONGEST_SERVICE {
            return Err(StoreError::Service { length: service.len() });
        }
        let new =
            self.folder.join(format!("{NEW}{}", self.unfinished.fetch_add(1, Ordering::Relaxed)));
        let path = self.path(service, kind);
        let written =
            file::write(&new, service, key, kind, body, length).and_then(|(header, file)| {
                let snapshot = file::snapshot(file, &header);
                let slot = Slot {
                    header: Arc::new(header),
                    stored: file::disk_use(&new),
                    open: Some(snapshot.clone()),
                };
                // Under the lock, so that the table and the folder say the same.
                let mut table = self.lock();
                fs::rename(&new, &path)?;
                table.entry(service.to_owned()).or_default().insert(kind, slot);
                Ok(snapshot)
            });
        written.map_err(|source| {
            // It may not even exist; if it does and stays, the next start removes it.
            let _ = fs::remove_file(&new);
            StoreError::Write { path, source }
        })
    }

    /// Marks the service's suspended instance as resumed: it is gone from the folder when this returns, so that a crash from
    /// here on leads to a cold boot and never to the old state again. Returns whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed: then it must not be used.
    pub fn consume_suspended(&self, service: &str) -> Result<bool, StoreError> {
        self.remove_one(&mut self.lock(), service, Kind::Suspended)
    }

    /// Removes the service's snapshots, of one kind or of both; returns how many there were.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, service: &str, kind: Option<Kind>) -> Result<u32, StoreError> {
        let mut table = self.lock();
        let mut removed = 0;
        for each in Kind::ALL.into_iter().filter(|each| kind.is_none_or(|kind| kind == *each)) {
            removed += u32::from(self.remove_one(&mut table, service, each)?);
        }
        Ok(removed)
    }

    /// Removes the ready guests of services that are not configured any more: they only take room. Suspended instances
    /// stay, in case that their service comes back.
    pub fn retain_ready(&self, is_configured: impl Fn(&str) -> bool) {
        let mut table = self.lock();
        let gone: Vec<_> = table.keys().filter(|key| !is_configured(key)).cloned().collect();
        for service in gone {
            if let Err(error) = self.remove_one(&mut table, &service, Kind::Ready) {
                warn!(service, error = %crate::report(&error), "a snapshot of a removed service stays");
            }
        }
    }

    /// The caller found that a snapshot cannot be used: it is removed.
    pub fn reject(&self, service: &str, kind: Kind, reason: Reason) -> Rejected {
        match self.slot(service, kind) {
            Some(slot) => self.reject_slot(service, kind, &slot.header, reason),
            None => Rejected { service: service.to_owned(), kind, reason },
        }
    }

    /// Everything that is kept, by service.
    #[must_use]
    pub fn list(&self) -> Vec<Entry> {
        let table = self.lock();
        let entry = |(kind, slot): (&Kind, &Slot)| Entry {
            service: slot.header.service.clone(),
            kind: *kind,
            key: slot.header.key,
            size: slot.header.body_length,
            stored: slot.stored,
            created: slot.header.created,
        };
        table.values().flatten().map(entry).collect()
    }

    /// Ends the daemon's use in order: suspended instances are on disk when this returns, and can be trusted also after
    /// the machine was started anew.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn close(&self) -> Result<(), StoreError> {
        let suspended: Vec<_> =
            self.list().into_iter().filter(|entry| entry.kind == Kind::Suspended).collect();
        for entry in suspended {
            let path = self.path(&entry.service, entry.kind);
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(|source| StoreError::Write { path, source })?;
        }
        // Syncs the folder as well.
        self.epoch
            .close()
            .map_err(|source| StoreError::Folder { path: self.folder.clone(), source })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slots>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, service: &str, kind: Kind) -> Option<Slot> {
        self.lock().get(service)?.get(&kind).cloned()
    }

    fn path(&self, service: &str, kind: Kind) -> PathBuf {
        self.folder.join(file::name(service, kind))
    }

    /// Reads and checks a body, and notes in the table that it is good, if it is still there.
    fn check_slot(&self, service: &str, kind: Kind, header: &Arc<Header>) -> Result<(), Reason> {
        let checked = file::open(&self.path(service, kind)).and_then(|file| {
            if body::read_header(&file)? != **header {
                return Err(Reason::Header);
            }
            body::check(&file, header).map(|()| file)
        });
        let mut table = self.lock();
        let slot = table.get_mut(service).and_then(|slots| slots.get_mut(&kind));
        match (slot, checked) {
            (Some(slot), Ok(file)) if Arc::ptr_eq(&slot.header, header) => {
                slot.open = Some(file::snapshot(file, header));
                Ok(())
            }
            (Some(slot), Err(reason)) if Arc::ptr_eq(&slot.header, header) => Err(reason),
            // Consumed or replaced while it was read: whatever was found is about nothing any more.
            _ => Ok(()),
        }
    }

    /// Removes a snapshot unless it was replaced meanwhile.
    fn reject_slot(
        &self,
        service: &str,
        kind: Kind,
        header: &Arc<Header>,
        reason: Reason,
    ) -> Rejected {
        let mut table = self.lock();
        let slot = table.get(service).and_then(|slots| slots.get(&kind));
        if slot.is_some_and(|slot| Arc::ptr_eq(&slot.header, header))
            && let Err(error) = self.remove_one(&mut table, service, kind)
        {
            warn!(service, error = %crate::report(&error), "a snapshot that cannot be used stays");
            // Out of the table all the same: it is not to be found again in this life.
            forget(&mut table, service, kind);
        }
        Rejected { service: service.to_owned(), kind, reason }
    }

    /// Removes a snapshot from the folder and then from the table.
    fn remove_one(
        &self,
        table: &mut BTreeMap<String, Slots>,
        service: &str,
        kind: Kind,
    ) -> Result<bool, StoreError> {
        if table.get(service).is_none_or(|slots| !slots.contains_key(&kind)) {
            return Ok(false);
        }
        let path = self.path(service, kind);
        match fs::remove_file(&path) {
            Ok(()) => {}
            // Somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::Remove { path, source }),
        }
        forget(table, service, kind);
        Ok(true)
    }
}

fn forget(table: &mut BTreeMap<String, Slots>, service: &str, kind: Kind) {
    if let Some(slots) = table.get_mut(service) {
        slots.remove(&kind);
        if slots.is_empty() {
            table.remove(service);
        }
    }
}
