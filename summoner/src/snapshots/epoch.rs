//! Whether what the last daemon removed is really gone.
//!
//! A suspended instance is resumed once: its file is removed before it is used. While the machine runs that is certain,
//! also when the daemon is killed. When the machine itself goes down without notice, a removal that was not on disk yet
//! is undone, and the old state would be resumed a second time. Waiting for the disk at each resumption would cost more
//! than the resumption; so the file `epoch` says instead whether the folder can be trusted: the last daemon ran in this
//! very boot of the machine, or it ended in order and wrote everything to disk first. Otherwise no suspended state is
//! used.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The kernel's name for the present boot of the machine (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const NAME: &str = "epoch";
/// More than the file ever has, in octets.
const LONGEST: u64 = 4096;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The boot in which a daemon last used the folder.
    boot: String,
    /// Whether that daemon ended in order.
    closed: bool,
}

/// The folder's present use.
#[derive(Debug)]
pub(super) struct Epoch {
    folder: PathBuf,
    boot: String,
}

impl Epoch {
    /// Begins to use the folder; also says whether suspended states that lie in it can be trusted.
    pub(super) fn enter(folder: &Path) -> io::Result<(Self, bool)> {
        // Without a name a boot is like no other.
        Self::enter_in(folder, fs::read_to_string(BOOT_ID).unwrap_or_default().trim())
    }

    pub(super) fn enter_in(folder: &Path, boot: &str) -> io::Result<(Self, bool)> {
        let epoch = Self { folder: folder.to_owned(), boot: boot.to_owned() };
        let before = epoch.read();
        let same_boot =
            !boot.is_empty() && before.as_ref().is_some_and(|record| record.boot == boot);
        let closed = before.as_ref().is_some_and(|record| record.closed);
        // Before anything is removed: a crash right after must find the folder open.
        if closed || !same_boot {
            epoch.write(false)?;
        }
        Ok((epoch, same_boot || closed))
    }

    /// Ends the use in order. Everything in the folder must be on disk.
    pub(super) fn close(&self) -> io::Result<()> {
        self.write(true)
    }

    /// What cannot be read is as good as nothing: then nothing is trusted.
    fn read(&self) -> Option<Record> {
        let mut text = String::new();
        File::open(self.folder.join(NAME)).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn write(&self, closed: bool) -> io::Result<()> {
        let record = Record { boot: self.boot.clone(), closed };
        let new = self.folder.join(".new-epoch");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(NAME))?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_is_what_no_crash_of_the_machine_can_have_brought_back() {
        let folder = tempfile::tempdir().unwrap();
        let enter = |boot| Epoch::enter_in(folder.path(), boot).unwrap();
        assert!(!enter("a").1, "nobody knows where the files come from");
        assert!(enter("a").1, "killed, but the machine stayed up");
        assert!(!enter("b").1, "the machine went down under it");
        let (epoch, _) = enter("b");
        epoch.close().unwrap();
        assert!(enter("c").1, "ended in order, then another boot");
        assert!(!enter("d").1, "and then not in order");
        assert!(!enter("").1 && !enter("").1, "nobody knows in which boot");
        for broken in ["", "{", "{\"boot\":\"d\"}", "\u{0}"] {
            fs::write(folder.path().join(NAME), broken).unwrap();
            assert!(!enter("d").1, "{broken:?}");
        }
    }
}
