//! The heap: everything between the image and the guard below the stack.
#![expect(unsafe_code, reason = "hands memory to the allocator")]

use core::ptr;

use lock_api::{GuardSend, RawMutex};
use talc::TalcLock;
use talc::source::Manual;

use crate::boot::Guest;

#[global_allocator]
static HEAP: TalcLock<Alone, Manual> = TalcLock::new(Manual);

/// A lock for a program with one thread and no interrupts: nobody else can ever hold it.
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

/// Gives the heap its memory. Called once, at the start.
pub(crate) fn claim(guest: &Guest) {
    let (start, end) = guest.heap_range();
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits in a guest")]
    let (start, size) = (start as usize, end.saturating_sub(start) as usize);
    // SAFETY: the memory from the image's end to the guard is the guest's, mapped, writable, and used by
    // nothing else. A heap too small for the allocator is refused here and shows as failing allocations.
    let _ = unsafe { HEAP.lock().claim(ptr::with_exposed_provenance_mut(start), size) };
}
