//! Page tables: 2 MiB leaves where the guest may do the same in all of one, 4 KiB pages elsewhere (SDM volume 3, section
//! 4.5). A large leaf is a single fault where small pages are up to 512.

use std::collections::BTreeMap;

use crate::arch::{Region, RegionKind};
use crate::memory::{Forbidden, GuestMemory, is_page_aligned};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
/// Set ahead, so that the processor never has to write to a table.
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

const PAGE: u64 = 0x1000;
const LARGE_PAGE: u64 = 0x20_0000;

/// The flags of a leaf; `None` for what is not present.
const fn leaf(kind: RegionKind) -> Option<u64> {
    let common = PRESENT | ACCESSED | DIRTY;
    match kind {
        RegionKind::ReadOnly => Some(common | USER | NO_EXECUTE),
        RegionKind::Code => Some(common | USER),
        RegionKind::Data | RegionKind::Free | RegionKind::Stack => {
            Some(common | USER | WRITABLE | NO_EXECUTE)
        }
        RegionKind::Guard => None,
        RegionKind::MonitorCode => Some(common),
        RegionKind::MonitorData => Some(common | WRITABLE | NO_EXECUTE),
    }
}

/// Writes tables that map each region to itself, from `at` upwards; returns the address of the top-level one.
///
/// `regions` are whole pages, ascending, without overlap.
pub(super) fn write(memory: &GuestMemory, at: u64, regions: &[Region]) -> Result<u64, Forbidden> {
    let mut builder = Builder { memory, next: at, tables: BTreeMap::new() };
    let root = builder.table();
    for run in runs(regions) {
        builder.map(root, run);
    }
    builder.finish()?;
    Ok(root)
}

/// Neighbouring regions that are mapped alike.
#[derive(Debug)]
struct Run {
    start: u64,
    end: u64,
    flags: u64,
}

/// Joins neighbours: data and the heap behind it may fill a large leaf together.
fn runs(regions: &[Region]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(regions.len());
    for region in regions {
        debug_assert!(is_page_aligned(region.start) && is_page_aligned(region.end), "{region:?}");
        let Some(flags) = leaf(region.kind) else { continue };
        match runs.last_mut() {
            Some(last) if last.end == region.start && last.flags == flags => last.end = region.end,
            _ => runs.push(Run { start: region.start, end: region.end, flags }),
        }
    }
    runs
}

struct Builder<'a> {
    memory: &'a GuestMemory,
    next: u64,
    tables: BTreeMap<u64, [u64; 512]>,
}

impl Builder<'_> {
    fn table(&mut self) -> u64 {
        let address = self.next;
        self.next += PAGE;
        self.tables.insert(address, [0; 512]);
        address
    }

    fn map(&mut self, root: u64, Run { start, end, flags }: Run) {
        let mut address = start;
        while address < end {
            let directory = self.below(root, address, 39);
            let directory = self.below(directory, address, 30);
            if address.is_multiple_of(LARGE_PAGE) && end - address >= LARGE_PAGE {
                self.set(directory, address, 21, address | flags | LARGE);
                address += LARGE_PAGE;
            } else {
                let table = self.below(directory, address, 21);
                self.set(table, address, 12, address | flags);
                address += PAGE;
            }
        }
    }

    /// The table that `table`'s entry for `address` points to, made if needed.
    fn below(&mut self, table: u64, address: u64, shift: u32) -> u64 {
        let entry = self.entry(table, address, shift);
        if entry & PRESENT != 0 {
            return entry & !(PAGE - 1);
        }
        let below = self.table();
        // What may be done is decided at the leaf.
        self.set(table, address, shift, below | PRESENT | WRITABLE | USER | ACCESSED);
        below
    }

    fn entry(&self, table: u64, address: u64, shift: u32) -> u64 {
        self.tables.get(&table).map_or(0, |entries| entries[index(address, shift)])
    }

    fn set(&mut self, table: u64, address: u64, shift: u32, value: u64) {
        if let Some(entries) = self.tables.get_mut(&table) {
            entries[index(address, shift)] = value;
        }
    }

    fn finish(self) -> Result<(), Forbidden> {
        for (address, entries) in &self.tables {
            let octets: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            self.memory.copy_in(*address, &octets)?;
        }
        Ok(())
    }
}

fn index(address: u64, shift: u32) -> usize {
    // Nine bits always fit.
    usize::try_from((address >> shift) & 0x1ff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the tables as the processor does: the leaf's flags and size, or nothing.
    fn walk(memory: &GuestMemory, root: u64, address: u64) -> Option<(u64, u64)> {
        let mut table = root;
        for shift in [39, 30, 21, 12] {
            let mut octets = [0; 8];
            memory.copy_out(table + ((address >> shift) & 0x1ff) * 8, &mut octets).unwrap();
            let entry = u64::from_le_bytes(octets);
            if entry & PRESENT == 0 {
                return None;
            }
            if shift == 12 || entry & LARGE != 0 {
                let size = 1_u64 << shift;
                assert_eq!(
                    entry & !(NO_EXECUTE | (size - 1)),
                    address & !(size - 1),
                    "not to itself"
                );
                return Some((entry & (USER | WRITABLE | NO_EXECUTE), size));
            }
            table = entry & !(NO_EXECUTE | (PAGE - 1));
        }
        None
    }

    #[test]
    fn every_page_allows_what_its_region_says() {
        use RegionKind::{Code, Data, Free, Guard, MonitorCode, MonitorData, ReadOnly, Stack};
        let memory = GuestMemory::new(8 << 20).unwrap();
        let region = |start, end, kind| Region { start, end, kind };
        let regions = [
            region(0x1_0000, 0x10_0000, ReadOnly),
            region(0x10_0000, 0x20_0000, Free),
            region(0x20_0000, 0x40_0000, Code),
            region(0x40_0000, 0x40_3000, Data),
            region(0x40_3000, 0x7b_f000, Free),
            region(0x7b_f000, 0x7c_0000, Guard),
            region(0x7c_0000, 0x80_0000, Stack),
            region(0x80_0000, 0x80_1000, MonitorData),
            region(0x80_1000, 0x80_2000, MonitorCode),
        ];
        let root = write(&memory, 0x80_8000, &regions).unwrap();
        for page in (0..0x90_0000_u64).step_by(0x1000) {
            let kind = regions
                .iter()
                .find(|region| (region.start..region.end).contains(&page))
                .map(|r| r.kind);
            let expected = match kind {
                None | Some(Guard) => None,
                Some(ReadOnly) => Some(USER | NO_EXECUTE),
                Some(Code) => Some(USER),
                Some(Data | Free | Stack) => Some(USER | WRITABLE | NO_EXECUTE),
                Some(MonitorCode) => Some(0),
                Some(MonitorData) => Some(WRITABLE | NO_EXECUTE),
            };
            let large = [0x20_0000, 0x40_0000].contains(&(page & !(LARGE_PAGE - 1)));
            let size = if large { LARGE_PAGE } else { PAGE };
            assert_eq!(walk(&memory, root, page), expected.map(|flags| (flags, size)), "{page:#x}");
        }
        // The upper half faults.
        assert_eq!(walk(&memory, root, 0xffff_8000_0000_0000), None);
    }
}
