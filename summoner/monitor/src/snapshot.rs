//! The state of a guest at rest, as octets: what a summon starts from when it need not boot.
//!
//! ```text
//!   0                    head: magic, its length, then (postcard) registers, extended state, the poll it rests in, its ring, page runs
//!   next page boundary   the pages of the runs, one behind the other
//! ```
//!
//! Only pages that the guest may write to are kept: all others come from the image, the page tables and the boot
//! information, which each shell makes for itself. Of those, pages that are zero are left out, unless the image puts
//! something there. The octets come from a process that a guest may have taken over, so they are read as carefully as the
//! guest's own: they can say nothing about memory that the guest may not write to.

use std::io;
use std::os::fd::BorrowedFd;

use hvt_abi::memory_map::PAGE_SIZE;
use images::Plan;
use serde::{Deserialize, Serialize};

use crate::arch::Registers;
use crate::memory::{GuestMemory, PAGE, PageRun, runs};
use crate::ring::Ring;

/// The first octets of a snapshot; the last one is the version of its form.
const MAGIC: [u8; 8] = *b"summon\0\x02";
/// Octets before the head proper: the magic and the head's length.
const PREFIX: usize = 16;
/// The longest head: registers and some ten thousand runs.
const HEAD_MAX: u64 = 256 * 1024;
/// As much is read at once in the hope that the head is no longer.
const HEAD_GUESS: usize = 8 * 1024;

/// Why there is no snapshot, or it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its file cannot be read or written.
    #[error("cannot {what} the snapshot's file")]
    File {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else, or of another version.
    #[error("this is no snapshot of a form that this version knows")]
    Form,
    /// Its head is not what it should be.
    #[error("the snapshot's head is damaged: {0}")]
    Head(String),
    /// It speaks of memory that is not the guest's to write.
    #[error("the snapshot has pages from {start:#x} to {end:#x}, which the guest may not write to")]
    Pages {
        /// The first address.
        start: u64,
        /// The first address after.
        end: u64,
    },
    /// The guest cannot be kept.
    #[error("the guest's state cannot be kept: {0}")]
    State(&'static str),
    /// KVM refused something.
    #[error("KVM refused to {what}")]
    Kvm {
        /// What it was asked for.
        what: &'static str,
        /// What it said.
        source: kvm_ioctls::Error,
    },
}

/// Everything about a guest at rest but its pages.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The vCPU just behind the hypercall.
    pub(crate) registers: Registers,
    /// Address of the argument of the poll that it rests in.
    pub(crate) poll: u64,
    /// Its ring, as the host knew it.
    pub(crate) ring: Option<Ring>,
    /// Octets of guest memory.
    memory: u64,
    /// The pages, ascending.
    pages: Vec<PageRun>,
}

/// A snapshot in a file.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) head: Head,
    /// Where the pages begin in the file.
    pages_at: u64,
}

impl Snapshot {
    /// Writes the state of a guest at rest to the start of `file`; also how many octets that are.
    pub(crate) fn write(
        memory: &GuestMemory,
        plan: &Plan,
        registers: Registers,
        poll: u64,
        ring: Option<Ring>,
        file: BorrowedFd<'_>,
    ) -> Result<(Self, u64), SnapshotError> {
        let failed = |what| move |source| SnapshotError::File { what, source };
        let touched = memory.touched().map_err(failed("list the pages for"))?;
        let kept =
            touched.into_iter().filter(|page| from_image(plan, *page) || !is_zero(memory, *page));
        let head = Head { registers, poll, ring, memory: memory.size(), pages: runs(kept) };
        let octets =
            postcard::to_stdvec(&head).map_err(|error| SnapshotError::Head(error.to_string()))?;
        let length = octets.len() as u64;
        if length > HEAD_MAX {
            return Err(SnapshotError::State("its memory is too scattered"));
        }
        let mut whole = Vec::with_capacity(PREFIX + octets.len());
        whole.extend(MAGIC);
        whole.extend(length.to_le_bytes());
        whole.extend(octets);
        let pages_at = pages_at(length);
        write_all(file, &whole).map_err(failed("write the head of"))?;
        memory.write_pages(file, pages_at, &head.pages).map_err(failed("write the pages of"))?;
        let end = pages_at + head.pages.iter().map(|run| run.length()).sum::<u64>();
        Ok((Self { head, pages_at }, end))
    }

    /// Reads and checks the head of the snapshot at `offset` of `file`, for a guest with this memory.
    pub(crate) fn read(
        memory: &GuestMemory,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<Self, SnapshotError> {
        let mut octets = vec![0; HEAD_GUESS];
        let read = read_up_to(file, &mut octets, offset)?;
        octets.truncate(read);
        let (prefix, _) = octets.split_first_chunk::<PREFIX>().ok_or(SnapshotError::Form)?;
        let (magic, length) = prefix.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(SnapshotError::Form);
        }
        let length = length.try_into().map_or(u64::MAX, u64::from_le_bytes);
        let damaged = |what: &str| SnapshotError::Head(what.to_owned());
        if length > HEAD_MAX {
            return Err(damaged("it is too long"));
        }
        let end = PREFIX + usize::try_from(length).map_err(|_| damaged("it is too long"))?;
        if end > octets.len() {
            octets.resize(end, 0);
            if read_up_to(file, &mut octets, offset)? < end {
                return Err(damaged("the file ends in it"));
            }
        }
        let head: Head = postcard::from_bytes(&octets[PREFIX..end])
            .map_err(|error| damaged(&error.to_string()))?;
        head.check(memory)?;
        Ok(Self { head, pages_at: offset.saturating_add(pages_at(length)) })
    }

    /// The ring to go on with, of a guest that would begin with `unused`.
    pub(crate) fn ring(&self, unused: Option<Ring>) -> Result<Option<Ring>, SnapshotError> {
        match (unused, &self.head.ring) {
            (None, None) => Ok(None),
            (Some(unused), Some(ring)) if ring.may_follow(&unused) => Ok(Some(ring.clone())),
            _ => Err(SnapshotError::Head("its ring is not this guest's".to_owned())),
        }
    }

    /// Puts the pages into the memory of a shell that holds nothing but the image.
    pub(crate) fn restore(
        &self,
        memory: &GuestMemory,
        file: BorrowedFd<'_>,
    ) -> Result<(), SnapshotError> {
        memory
            .read_pages(file, self.pages_at, &self.head.pages)
            .map_err(|source| SnapshotError::File { what: "read the pages of", source })
    }

    /// Puts memory that a guest has used since back to what it was: no octet of what it did stays.
    ///
    /// Up to `keep` pages that the snapshot does not have are cleared in place: the next instance will want them too, and a
    /// page that is mapped costs a tenth of one that is not. The others are given back.
    pub(crate) fn reset(
        &self,
        memory: &GuestMemory,
        file: BorrowedFd<'_>,
        keep: usize,
    ) -> Result<(), SnapshotError> {
        let failed = |what| move |source| SnapshotError::File { what, source };
        let touched = memory.touched().map_err(failed("list the pages for"))?;
        let mut kept = 0;
        for page in touched.into_iter().filter(|page| !self.head.has(*page)) {
            kept += 1;
            if kept <= keep {
                // It is a page that the guest may write to, so it is in memory.
                memory
                    .copy_in(page, &[0; PAGE])
                    .map_err(|_| SnapshotError::State("a page is nowhere"))?;
            } else {
                memory
                    .discard(PageRun { start: page, pages: 1 })
                    .map_err(failed("clear memory for"))?;
            }
        }
        self.restore(memory, file)
    }
}

impl Head {
    fn has(&self, page: u64) -> bool {
        let after = self.pages.partition_point(|run| run.start <= page);
        after
            .checked_sub(1)
            .and_then(|index| self.pages.get(index))
            .is_some_and(|run| page < run.end())
    }

    fn check(&self, memory: &GuestMemory) -> Result<(), SnapshotError> {
        if self.memory != memory.size() {
            return Err(SnapshotError::Head(format!(
                "it is of a guest with {} octets of memory, not {}",
                self.memory,
                memory.size()
            )));
        }
        let mut free_from = 0;
        for run in &self.pages {
            let (start, end) = (run.start, run.end());
            let fits = start >= free_from && start % PAGE_SIZE == 0 && run.pages > 0;
            let writable =
                memory.writable().iter().any(|&(first, limit)| first <= start && end <= limit);
            if !fits || !writable {
                return Err(SnapshotError::Pages { start, end });
            }
            free_from = end;
        }
        Ok(())
    }
}

const fn pages_at(head: u64) -> u64 {
    (PREFIX as u64 + head).next_multiple_of(PAGE_SIZE)
}

/// Whether the image puts something into a page.
fn from_image(plan: &Plan, page: u64) -> bool {
    plan.segments.iter().any(|segment| {
        let end = segment.gpa.saturating_add(segment.file_size);
        segment.file_size > 0 && segment.gpa < page.saturating_add(PAGE_SIZE) && page < end
    })
}

fn is_zero(memory: &GuestMemory, page: u64) -> bool {
    let mut octets = [0_u8; PAGE];
    // It is in memory; if it could not be read it would be kept.
    memory.copy_out(page, &mut octets).is_ok() && octets.iter().all(|octet| *octet == 0)
}

fn write_all(file: BorrowedFd<'_>, mut octets: &[u8]) -> io::Result<()> {
    let mut at = 0;
    while !octets.is_empty() {
        let written = rustix::io::pwrite(file, octets, at)?;
        at += written as u64;
        octets = &octets[written..];
    }
    Ok(())
}

fn read_up_to(file: BorrowedFd<'_>, into: &mut [u8], offset: u64) -> Result<usize, SnapshotError> {
    let mut done = 0;
    while done < into.len() {
        match rustix::io::pread(file, &mut into[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(SnapshotError::File { what: "read", source: error.into() }),
        }
    }
    Ok(done)
}
