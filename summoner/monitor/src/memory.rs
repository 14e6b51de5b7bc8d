//! Guest memory: one anonymous mapping at GPA 0, only ever reached through checked, volatile copies.
//!
//! The monitor's own structures (page tables, descriptor tables, exception stubs) lie above the guest's memory in the
//! same mapping: in the slot, but in no page that the guest may touch.
//!
//! No huge pages are asked for. They were tried: the guest gets ready a third sooner once it runs, but clearing them takes
//! as long before, and they cost a small guest several times its memory.

#![expect(
    unsafe_code,
    reason = "whole pages move between a file and guest memory without a copy between"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use hvt_abi::memory_map::PAGE_SIZE;
use vm_memory::mmap::FromRangesError;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use serde::{Deserialize, Serialize};

use crate::arch::Region;

/// Octets of a page, as a length in this process.
pub(crate) const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_SIZE);

/// What the monitor needs above the guest's memory, in octets: rounded up to the unit of memory.
pub(crate) const MONITOR_AREA: u64 = 2 << 20;

/// Why an access to guest memory is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{length} octets at {address:#x} are not memory that the guest may {need}")]
pub struct Forbidden {
    /// Where.
    pub address: u64,
    /// How much.
    pub length: u64,
    /// What for.
    pub need: Need,
}

/// What an access to guest memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// What the guest may do with its memory, as ranges of addresses.
#[derive(Debug, Default)]
struct Rights {
    readable: Vec<(u64, u64)>,
    writable: Vec<(u64, u64)>,
}

/// Why there is no guest memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot map {size} octets of guest memory; is the machine out of memory?")]
pub struct MapError {
    size: u64,
    source: FromRangesError,
}

/// The memory of one guest, zero at the start.
#[derive(Debug)]
pub struct GuestMemory {
    map: GuestMemoryMmap<()>,
    size: u64,
    rights: Rights,
}

impl GuestMemory {
    /// Maps `size` octets for the guest, and the monitor's area above. The guest may touch none of it yet.
    ///
    /// # Errors
    /// When the system has not as much.
    pub fn new(size: u64) -> Result<Self, MapError> {
        let whole = usize::try_from(size.saturating_add(MONITOR_AREA)).unwrap_or(usize::MAX);
        let map = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), whole)])
            .map_err(|source| MapError { size, source })?;
        Ok(Self { map, size, rights: Rights::default() })
    }

    /// Octets that are the guest's.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// First address of the monitor's area.
    pub(crate) const fn monitor_area(&self) -> u64 {
        self.size
    }

    /// The mapping, to be made a memory slot of.
    pub(crate) const fn map(&self) -> &GuestMemoryMmap<()> {
        &self.map
    }

    /// Allows what `regions` say, the same as the page tables do: the monitor must not do for a guest what that may
    /// not do itself.
    pub(crate) fn allow(&mut self, regions: &[Region]) {
        let ranges = |need| {
            let mut ranges: Vec<(u64, u64)> = Vec::new();
            for region in regions.iter().filter(|region| region.kind.allows(need)) {
                match ranges.last_mut() {
                    Some(last) if last.1 == region.start => last.1 = region.end,
                    _ => ranges.push((region.start, region.end)),
                }
            }
            ranges
        };
        self.rights = Rights { readable: ranges(Need::Read), writable: ranges(Need::Write) };
    }

    /// Checks that the guest may do `need` with `length` octets at `address`, however large the numbers are. No octets
    /// are always allowed.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self, address: u64, length: u64, need: Need) -> Result<(), Forbidden> {
        let ranges = match need {
            Need::Read => &self.rights.readable,
            Need::Write => &self.rights.writable,
        };
        let end = address.checked_add(length);
        let inside =
            |&(start, limit): &(u64, u64)| address >= start && end.is_some_and(|end| end <= limit);
        if length == 0 || ranges.iter().any(inside) {
            Ok(())
        } else {
            Err(Forbidden { address, length, need })
        }
    }

    /// Copies out what the guest may read.
    ///
    /// # Errors
    /// When it may not.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Forbidden> {
        self.check(address, into.len() as u64, Need::Read)?;
        self.copy_out(address, into)
    }

    /// Copies to where the guest may write.
    ///
    /// # Errors
    /// When it may not.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), Forbidden> {
        self.check(address, from.len() as u64, Need::Write)?;
        self.copy_in(address, from)
    }

    /// Copies out of the mapping, whoever may read there.
    pub(crate) fn copy_out(&self, address: u64, into: &mut [u8]) -> Result<(), Forbidden> {
        let length = into.len() as u64;
        let failed = |_| Forbidden { address, length, need: Need::Read };
        self.map.read_slice(into, GuestAddress(address)).map_err(failed)
    }

    /// Ranges of addresses that the guest may write to, ascending, each as first and end.
    pub(crate) fn writable(&self) -> &[(u64, u64)] {
        &self.rights.writable
    }

    /// The addresses of the pages that the guest may write to and that exist: all others were never touched and are zero.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn touched(&self) -> io::Result<Vec<u64>> {
        let mut touched = Vec::new();
        for &(start, end) in &self.rights.writable {
            let mut resident = vec![0_u8; pages(start, end)];
            let range = self.range(start, end - start)?;
            // SAFETY: the range is mapped, as `range` has checked; `resident` has an octet for each of its pages.
            let result =
                unsafe { libc::mincore(range.iov_base, range.iov_len, resident.as_mut_ptr()) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
            let pages = (start..end).step_by(PAGE).zip(resident);
            touched.extend(pages.filter(|(_, state)| state & 1 != 0).map(|(page, _)| page));
        }
        Ok(touched)
    }

    /// Reads pages from a file into the mapping, each run of pages behind the one before.
    ///
    /// # Errors
    /// When a run leads out of the mapping, or the file ends before the last.
    pub(crate) fn read_pages(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        runs: &[PageRun],
    ) -> io::Result<()> {
        self.transfer(offset, runs, |vectors, count, offset| {
            // SAFETY: each vector is a part of the mapping, as `range` has checked; the kernel writes to it as a guest
            // would, and no Rust reference into it exists.
            unsafe { libc::preadv(file.as_raw_fd(), vectors, count, offset) }
        })
    }

    /// Writes pages of the mapping to a file, each run of pages behind the one before.
    ///
    /// # Errors
    /// When a run leads out of the mapping, or the file cannot be written.
    pub(crate) fn write_pages(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        runs: &[PageRun],
    ) -> io::Result<()> {
        self.transfer(offset, runs, |vectors, count, offset| {
            // SAFETY: each vector is a part of the mapping, as `range` has checked; the kernel only reads it.
            unsafe { libc::pwritev(file.as_raw_fd(), vectors, count, offset) }
        })
    }

    fn transfer(
        &self,
        mut offset: u64,
        runs: &[PageRun],
        call: impl Fn(*const libc::iovec, libc::c_int, libc::off_t) -> isize,
    ) -> io::Result<()> {
        /// The most vectors of one call (IOV_MAX).
        const VECTORS: usize = 1024;
        let mut vectors = Vec::with_capacity(runs.len().min(VECTORS));
        for batch in runs.chunks(VECTORS) {
            vectors.clear();
            let mut wanted = 0;
            for run in batch {
                let range = self.range(run.start, run.length())?;
                wanted += range.iov_len;
                vectors.push(range);
            }
            let count = libc::c_int::try_from(vectors.len()).map_err(io::Error::other)?;
            let at = libc::off_t::try_from(offset).map_err(io::Error::other)?;
            let done = call(vectors.as_ptr(), count, at);
            match usize::try_from(done) {
                Ok(done) if done == wanted => offset += done as u64,
                // Files and memory files move everything or have nothing more.
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }

    /// Gives the memory of a range back to the system: it reads as zero again.
    ///
    /// # Errors
    /// When it leads out of the mapping.
    pub(crate) fn discard(&self, run: PageRun) -> io::Result<()> {
        let range = self.range(run.start, run.length())?;
        // SAFETY: the range is a part of a private anonymous mapping that only the guest uses, and nobody has a Rust
        // reference into it; afterwards it is still mapped, and zero.
        let result = unsafe { libc::madvise(range.iov_base, range.iov_len, libc::MADV_DONTNEED) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Where a range of guest memory lies in this process.
    fn range(&self, address: u64, length: u64) -> io::Result<libc::iovec> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "outside guest memory");
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let slice = self.map.get_slice(GuestAddress(address), length).map_err(|_| outside())?;
        Ok(libc::iovec { iov_base: slice.ptr_guard_mut().as_ptr().cast(), iov_len: length })
    }

    /// Copies into the mapping, whoever may write there.
    pub(crate) fn copy_in(&self, address: u64, from: &[u8]) -> Result<(), Forbidden> {
        let failed = |_| Forbidden { address, length: from.len() as u64, need: Need::Write };
        self.map.write_slice(from, GuestAddress(address)).map_err(failed)
    }
}

/// Neighbouring pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageRun {
    /// Address of the first.
    pub(crate) start: u64,
    /// How many.
    pub(crate) pages: u32,
}

impl PageRun {
    /// Octets.
    pub(crate) const fn length(self) -> u64 {
        self.pages as u64 * PAGE_SIZE
    }

    /// First address after it.
    pub(crate) const fn end(self) -> u64 {
        self.start.saturating_add(self.length())
    }
}

/// Pages in ascending order as runs.
pub(crate) fn runs(addresses: impl IntoIterator<Item = u64>) -> Vec<PageRun> {
    let mut runs: Vec<PageRun> = Vec::new();
    for start in addresses {
        match runs.last_mut() {
            Some(last) if last.end() == start => last.pages += 1,
            _ => runs.push(PageRun { start, pages: 1 }),
        }
    }
    runs
}

fn pages(start: u64, end: u64) -> usize {
    usize::try_from((end - start) / PAGE_SIZE).unwrap_or(usize::MAX)
}

/// Whether `address` begins a page.
pub(crate) const fn is_page_aligned(address: u64) -> bool {
    address.is_multiple_of(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arch::RegionKind;

    #[test]
    fn neighbours_with_the_same_right_are_one_range() {
        let mut memory = GuestMemory::new(2 << 20).unwrap();
        assert!(memory.write(0x1000, &[1]).is_err(), "nothing is allowed at first");
        memory.allow(&[
            Region { start: 0x1000, end: 0x2000, kind: RegionKind::Code },
            Region { start: 0x2000, end: 0x3000, kind: RegionKind::Data },
            Region { start: 0x3000, end: 0x4000, kind: RegionKind::Free },
            Region { start: 0x4000, end: 0x5000, kind: RegionKind::Guard },
        ]);
        assert!(memory.check(0x1000, 0x3000, Need::Read).is_ok());
        assert!(memory.check(0x1fff, 2, Need::Write).is_err(), "code is not writable");
        assert!(memory.check(0x2000, 0x2000, Need::Write).is_ok());
        assert!(memory.check(0x3fff, 2, Need::Write).is_err(), "the guard is nobody's");
        assert!(memory.check(u64::MAX, 0, Need::Write).is_ok(), "nothing is asked for");
    }

    proptest! {
        #[test]
        fn only_what_is_allowed_is_reached(address: u64, near in 0..0x1_0000_u64, length in 1..0x3000_usize) {
            let mut memory = GuestMemory::new(2 << 20).unwrap();
            let end = (2 << 20) - 0x2000;
            memory.allow(&[Region { start: 0x1_0000, end, kind: RegionKind::Data }]);
            for address in [address, end - 0x8000 + near, 0x1_0000 - 0x8000 + near] {
                let mut buffer = vec![0; length];
                let inside =
                    address >= 0x1_0000 && address.checked_add(length as u64).is_some_and(|last| last <= end);
                prop_assert_eq!(memory.read(address, &mut buffer).is_ok(), inside);
                prop_assert_eq!(memory.write(address, &buffer).is_ok(), inside);
            }
        }
    }
}
