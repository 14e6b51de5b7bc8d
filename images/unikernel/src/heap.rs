//! The heap: everything between the image and the guard below the stack, taken a little at a time.
//!
//! Memory that the guest has never written to is zero, and costs nothing until it is touched; the first touch of a
//! page costs as much as twenty system calls on some hosts. So the allocator is given memory only when it has none left,
//! from the bottom up, and what it is asked for as zero is not written if it has never been written.
#![expect(unsafe_code, reason = "an allocator")]

use alloc::alloc::alloc_zeroed;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use lock_api::{GuardSend, RawMutex};
use talc::TalcLock;
use talc::base::binning::Binning;
use talc::base::{CHUNK_UNIT, Talc};
use talc::source::Source;

/// What the allocator may need for itself of what it is given first, in octets: its tables.
const FIRST: usize = 2048;

const _: () = assert!(talc::min_first_heap_size::<talc::DefaultBinning>() + EDGE <= FIRST);

/// The least that it is given at once, so that small blocks do not come one by one.
const LEAST: usize = 1024;

/// As far from either end of what it was given the allocator may have written, in octets, generously: it keeps a list's
/// links at the beginning of free memory and a length at the end.
const EDGE: usize = 2 * CHUNK_UNIT;

/// An allocator that takes memory from the bottom of a range, as it needs it.
#[expect(missing_debug_implementations, reason = "the allocator's tables have none")]
pub struct Heap(TalcLock<Alone, Frontier>);

impl Heap {
    /// A heap without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self(TalcLock::new(Frontier { heap_end: None, next: 0, limit: 0, fresh: (0, 0) }))
    }

    /// Lets the heap use the memory from `start` to `limit`.
    ///
    /// # Safety
    /// To be called once, before anything is allocated. The memory must be the heap's alone for good, and zero.
    pub unsafe fn claim(&self, start: usize, limit: usize) {
        self.0.lock().source = Frontier { heap_end: None, next: start, limit, fresh: (0, 0) };
    }

    /// The end of what the allocator has been given so far: memory from there on was never written.
    #[must_use]
    pub fn frontier(&self) -> usize {
        self.0.lock().source.next
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: talc's promises, which hold for blocks that were zeroed as well; see `alloc_zeroed`.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.realloc(block, layout, size) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.0.lock().source.fresh = (0, 0);
        // SAFETY: the caller's promise.
        let block = unsafe { self.0.alloc(layout) };
        if block.is_null() {
            return block;
        }
        // Between these the memory is as it was before the first instruction.
        let (low, high) = self.0.lock().source.fresh;
        let (start, end) = (block.addr(), block.addr() + layout.size());
        let low = low.clamp(start, end);
        let high = high.clamp(low, end);
        // SAFETY: within the block.
        unsafe { block.write_bytes(0, low - start) };
        // SAFETY: within the block, or its end.
        let rest = unsafe { block.add(high - start) };
        // SAFETY: within the block.
        unsafe { rest.write_bytes(0, end - high) };
        block
    }
}

/// Where the memory comes from that the allocator has not been given yet.
#[derive(Debug)]
struct Frontier {
    /// The end of the allocator's heap, once there is one.
    heap_end: Option<NonNull<u8>>,
    /// Its address; before there is a heap, where that begins.
    next: usize,
    limit: usize,
    /// The part of what was given last that the allocator does not write to by itself.
    fresh: (usize, usize),
}

// SAFETY: the pointer names memory that is the heap's alone.
unsafe impl Send for Frontier {}

// SAFETY: only the allocator that is passed is used.
unsafe impl Source for Frontier {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let Self { heap_end, next, limit, .. } = talc.source;
        let own = if heap_end.is_some() { EDGE } else { FIRST };
        // As the allocator reckons: the block and a word behind it, in whole units, and if the block must begin at a
        // larger multiple, as much as may lie before it.
        let mut wanted = layout.size().saturating_add(size_of::<usize>() + CHUNK_UNIT - 1);
        if layout.align() > CHUNK_UNIT {
            wanted = wanted.saturating_add(layout.align());
        }
        if heap_end.is_none() {
            wanted = wanted.saturating_add(FIRST);
        }
        // Not to the end of a page: the allocator writes to the end of what it has, and that is better done where the next
        // block will begin than on a page that nothing else needs.
        let end = next.saturating_add(wanted.max(LEAST)).min(limit) & !(CHUNK_UNIT - 1);
        if end <= next {
            return Err(());
        }
        let new_end: *mut u8 = ptr::with_exposed_provenance_mut(end);
        let grown = match heap_end {
            // SAFETY: the heap is this allocator's, ends there, and what follows is this source's to give.
            Some(heap_end) => unsafe { talc.extend(heap_end, new_end) },
            None => {
                let start = ptr::with_exposed_provenance_mut(next);
                // SAFETY: the memory is this source's to give, and belongs to nobody else.
                unsafe { talc.claim(start, end - next) }.ok_or(())?
            }
        };
        if heap_end == Some(grown) {
            return Err(());
        }
        let end = grown.as_ptr().addr();
        talc.source = Self {
            heap_end: Some(grown),
            next: end,
            limit,
            fresh: (next.saturating_add(own), end.saturating_sub(EDGE)),
        };
        Ok(())
    }
}

/// A lock for a program with one thread and no interrupts: nobody else can ever hold it.
#[derive(Debug)]
struct Alone;

// SAFETY: exclusion holds because there is one thread of execution, and the allocator does not call itself.
unsafe impl RawMutex for Alone {
    const INIT: Self = Self;
    type GuardMarker = GuardSend;

    fn lock(&self) {}

    fn try_lock(&self) -> bool {
        true
    }

    unsafe fn unlock(&self) {}
}

/// So many octets of zero, not written if they need not be; `None` when there is no memory.
pub(crate) fn zeroed(len: usize) -> Option<Vec<u8>> {
    let layout = Layout::array::<u8>(len).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout has a size.
    let octets = unsafe { alloc_zeroed(layout) };
    if octets.is_null() {
        return None;
    }
    // SAFETY: allocated by the global allocator with just this layout, and all of it is initialised.
    Some(unsafe { Vec::from_raw_parts(octets, len, len) })
}

#[cfg(unikernel)]
#[global_allocator]
static HEAP: Heap = Heap::new();

/// Gives the heap its memory. Called once, at the start.
#[cfg(unikernel)]
pub(crate) fn claim(guest: &crate::Guest) {
    unsafe extern "C" {
        /// Where the image ends, by the linker's script; the rest of that page is nobody's.
        static __data_end: u8;
    }
    let (_, end) = guest.heap_range();
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits in a guest")]
    let end = end as usize;
    let start = (&raw const __data_end).expose_provenance();
    // SAFETY: the memory from the image's end to the guard is the guest's, mapped, writable, zero, and used by nothing
    // else. A heap too small for the allocator shows as failing allocations.
    unsafe { HEAP.claim(start, end) };
}
