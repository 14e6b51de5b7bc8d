//! x86-64: the guest runs in ring 3 of 64-bit mode, identity-mapped.
//!
//! Required reading: Intel SDM volume 3, chapters 4 (paging), 6 (exceptions), 7.7 (the 64-bit TSS).

mod descriptors;
mod fault;
mod page_tables;
mod registers;
mod start;

pub(crate) use descriptors::CRASH_PORT;
pub(crate) use fault::{crash_report, position};
pub(crate) use registers::{Registers, is_as_started};
pub(crate) use start::{cycle_frequency, enter};

use crate::arch::Region;
use crate::memory::{Forbidden, GuestMemory};

/// Offsets in the monitor's area.
const GDT: u64 = 0x0000;
const TSS: u64 = 0x1000;
const IDT: u64 = 0x2000;
const STUBS: u64 = 0x3000;
const STUBS_SIZE: u64 = 0x1000;
/// The top of the page that exceptions push to.
const STACK_TOP: u64 = 0x5000;
const PAGE_TABLES: u64 = 0x8000;

/// The monitor's structures in the area above the guest's memory, written and ready.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    /// First address of the area.
    area: u64,
    /// Address of the top-level page table.
    root: u64,
    /// What lies where, to name it in reports; ascending.
    regions: Vec<Region>,
}

impl Tables {
    /// Writes page tables that allow just what `regions` say, and the descriptor tables and stubs that report faults.
    pub(crate) fn write(memory: &GuestMemory, mut regions: Vec<Region>) -> Result<Self, Forbidden> {
        use crate::arch::RegionKind::{MonitorCode, MonitorData};
        let area = memory.monitor_area();
        let own = |from: u64, to: u64, kind| Region { start: area + from, end: area + to, kind };
        regions.push(own(GDT, STUBS, MonitorData));
        regions.push(own(STUBS, STUBS + STUBS_SIZE, MonitorCode));
        regions.push(own(STUBS + STUBS_SIZE, STACK_TOP, MonitorData));
        descriptors::write(memory, area)?;
        let root = page_tables::write(memory, area + PAGE_TABLES, &regions)?;
        Ok(Self { area, root, regions })
    }
}
