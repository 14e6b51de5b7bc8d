//! Guest-physical memory: what is where, and which sizes are possible.
//!
//! Memory begins at address 0 and is mapped one to one. The first 64 KiB belong to the host and are not
//! present for the guest; from [`BOOT_INFO_ADDRESS`](crate::boot_info::BOOT_INFO_ADDRESS) to
//! [`LOAD_MIN`] it may only read; from there up it may also write, except where its own ELF segments say
//! otherwise. The stack grows down from the top, with one page below it that is never present.

/// Octets of the smallest page.
pub const PAGE_SIZE: u64 = 0x1000;

/// Octets of a large page, the unit of memory sizes.
pub const LARGE_PAGE_SIZE: u64 = 0x20_0000;

/// Memory sizes are multiples of this.
pub const MEMORY_UNIT: u64 = LARGE_PAGE_SIZE;

/// The smallest memory a guest may be given.
pub const MEMORY_MIN: u64 = LARGE_PAGE_SIZE;

/// The largest memory a guest may be given: what a 32-bit argument address can name.
pub const MEMORY_MAX: u64 = 1 << 32;

/// The lowest address an image may be loaded at.
pub const LOAD_MIN: u64 = 0x10_0000;

/// First address that a guest may read; below lie the host's own tables.
pub const READABLE_MIN: u64 = 0x1_0000;

/// Octets of the stack, at the top of memory (a convention of this project's monitor and guests).
pub const STACK_SIZE: u64 = 256 * 1024;

/// Octets of the page that is not present, just below the stack.
pub const GUARD_SIZE: u64 = PAGE_SIZE;

/// First octet of the guard below the stack of a guest with `memory_size` octets: where its heap must end.
#[must_use]
pub const fn guard_start(memory_size: u64) -> u64 {
    memory_size.saturating_sub(STACK_SIZE + GUARD_SIZE)
}

/// First octet of the stack of a guest with `memory_size` octets.
#[must_use]
pub const fn stack_start(memory_size: u64) -> u64 {
    memory_size.saturating_sub(STACK_SIZE)
}

/// The stack pointer at the guest's first instruction: as just after a call, so that `rsp + 8` is a
/// multiple of 16.
#[must_use]
pub const fn initial_stack_pointer(memory_size: u64) -> u64 {
    memory_size.saturating_sub(8)
}

/// Whether a guest may be given `memory_size` octets.
#[must_use]
pub const fn is_memory_size(memory_size: u64) -> bool {
    memory_size >= MEMORY_MIN
        && memory_size <= MEMORY_MAX
        && memory_size.is_multiple_of(MEMORY_UNIT)
}

/// Addresses that only the x86-64 host uses, all in the part that is not present for the guest.
pub mod x86_64 {
    /// Global descriptor table.
    pub const GDT: u64 = 0x1000;
    /// Top-level page table.
    pub const PML4: u64 = 0x2000;
    /// Second-level page table.
    pub const PDPT: u64 = 0x3000;
    /// First of up to four page directories, one per GiB.
    pub const PAGE_DIRECTORIES: u64 = 0x4000;
    /// First page table, for the first 2 MiB.
    pub const FIRST_PAGE_TABLE: u64 = 0x8000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_in_large_pages() {
        assert!(is_memory_size(2 << 20));
        assert!(is_memory_size(4 << 30));
        for size in [0, 1 << 20, 3 << 20, (2 << 20) + 1, (4 << 30) + (2 << 20), u64::MAX] {
            assert!(!is_memory_size(size), "{size:#x}");
        }
    }

    #[test]
    fn heap_guard_and_stack_follow_each_other() {
        let memory = 8 << 20;
        assert_eq!(guard_start(memory) + GUARD_SIZE, stack_start(memory));
        assert_eq!(stack_start(memory) + STACK_SIZE, memory);
        assert_eq!((initial_stack_pointer(memory) + 8) % 16, 0);
        assert_eq!(guard_start(0), 0, "nonsense in, no overflow");
    }
}
