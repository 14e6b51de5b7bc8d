//! What depends on the processor: page tables, how a guest is entered, and how its faults are reported.
//!
//! A port to another architecture is a folder beside `x86_64` with the same functions.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{
    CRASH_PORT, Registers, Tables, crash_report, cycle_frequency, enter, is_as_started, position,
};

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "the monitor runs on x86-64 only so far; a port needs src/arch/<architecture> with Tables, enter, crash_report, \
     position, Registers and cycle_frequency, and the MMIO addresses of the hypercalls in src/vcpu.rs"
);

use crate::memory::Need;

/// What a part of the guest's address space is, to name it in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    /// First address.
    pub(crate) start: u64,
    /// First address after it.
    pub(crate) end: u64,
    /// What it is.
    pub(crate) kind: RegionKind,
}

/// What the guest may do in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegionKind {
    /// Read only: boot information, constants.
    ReadOnly,
    /// Read and run.
    Code,
    /// Read and write.
    Data,
    /// Read and write; the heap, and what no segment covers.
    Free,
    /// Read and write.
    Stack,
    /// Not present: below the stack.
    Guard,
    /// Of the monitor; the guest cannot touch it.
    MonitorCode,
    /// Of the monitor; the guest cannot touch it.
    MonitorData,
}

impl RegionKind {
    /// Whether the guest may do `need` there.
    pub(crate) const fn allows(self, need: Need) -> bool {
        match self {
            Self::ReadOnly | Self::Code => matches!(need, Need::Read),
            Self::Data | Self::Free | Self::Stack => true,
            Self::Guard | Self::MonitorCode | Self::MonitorData => false,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only memory",
            Self::Code => "code",
            Self::Data => "data",
            Self::Free => "heap",
            Self::Stack => "stack",
            Self::Guard => "the guard page below the stack: the stack is full",
            Self::MonitorCode | Self::MonitorData => "the monitor's own memory",
        }
    }
}
