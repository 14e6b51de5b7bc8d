//! Snapshot files: their names, and how they are made and opened.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::OFlags;

use super::error::Reason;
use super::header::{HEADER_LENGTH, Header};
use super::{Kind, Snapshot, SnapshotKey, body};

/// What a file that is not complete yet is called; left over by a crash, it is removed.
pub(super) const NEW: &str = ".new-";
/// How much of a service's key its files' names show, in characters.
const SHOWN: usize = 40;

/// A name that every file system takes and that cannot lead anywhere else, whatever the service's key is: some of the key
/// for people, a hash of all of it to tell services apart.
pub(super) fn name(service: &str, kind: Kind) -> String {
    let shown = service
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .collect::<String>();
    let hash = blake3::hash(service.as_bytes()).to_hex();
    format!("{shown}-{}.{kind}", &hash[..32])
}

/// Opens a file for reading, and nothing but a file: a link is not followed, and nobody is waited for.
pub(super) fn open(path: &Path) -> Result<File, Reason> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|_| Reason::Unreadable)
}

pub(super) fn snapshot(file: File, header: &Header) -> Snapshot {
    Snapshot {
        file: Arc::new(OwnedFd::from(file)),
        body_offset: HEADER_LENGTH,
        body_length: header.body_length,
        kind: header.kind,
        created: header.created,
    }
}

/// What a file takes on the disk, in octets (stat(2): blocks of 512).
pub(super) fn disk_use(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.blocks().saturating_mul(512))
}

/// Writes a whole snapshot file; returns it opened for reading.
pub(super) fn write(
    path: &Path,
    service: &str,
    key: &SnapshotKey,
    kind: Kind,
    body: BorrowedFd<'_>,
    length: u64,
) -> io::Result<(Header, File)> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let header = Header {
        kind,
        key: *key,
        body_length: length,
        body_hash: body::copy(body, length, &file)?,
        service: service.to_owned(),
        created: SystemTime::now(),
    };
    file.write_all_at(&header.encode(), 0)?;
    // A descriptor of its own: the one that goes to the monitors must not be able to write.
    let reader = open(path).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    Ok((header, reader))
}
