//! Resident memory of monitor processes, by kind.
//!
//! Read from `/proc/PID/smaps` (proc(5)): what a mapping has to itself (`Private_*`) is the instance's, what it shares
//! with others (`Shared_*`) is counted apart. Page tables of the process are `VmPTE`; those that KVM keeps for guests
//! belong to no process and are a system-wide sum (`SecPageTables` in `/proc/meminfo`).

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::environment::kibibytes;

/// Resident memory in octets: of one process, or the mean of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    /// The guest's memory, as far as no other process has the same page.
    pub guest: u64,
    /// The monitor's own: heap, stack, data, buffers.
    pub monitor: u64,
    /// The process's page tables.
    pub page_tables: u64,
    /// Its part of what is shared: this program's text, and pages of images and snapshots.
    pub shared: u64,
}

impl Resident {
    /// What one instance more costs.
    #[must_use]
    pub const fn own(&self) -> u64 {
        self.guest + self.monitor + self.page_tables
    }

    /// Looks at a process whose guest has `guest_memory` octets.
    ///
    /// # Errors
    /// When it is gone, or may not be looked at.
    pub fn of_process(process: u32, guest_memory: u64) -> io::Result<Self> {
        let folder = Path::new("/proc").join(process.to_string());
        let mut resident =
            Self::of_mappings(&fs::read_to_string(folder.join("smaps"))?, guest_memory);
        let status = fs::read_to_string(folder.join("status"))?;
        resident.page_tables = kibibytes(&status, "VmPTE").unwrap_or(0);
        Ok(resident)
    }

    /// Adds the mappings of an `smaps` file up.
    fn of_mappings(smaps: &str, guest_memory: u64) -> Self {
        let mut resident = Self::default();
        let mut of_guest = false;
        for line in smaps.lines() {
            if let Some(size) = mapping(line) {
                of_guest = is_guest(line, size, guest_memory);
                continue;
            }
            let Some((field, _)) = line.split_once(':') else { continue };
            let octets = || kibibytes(line, field).unwrap_or(0);
            match field {
                "Private_Clean" | "Private_Dirty" if of_guest => resident.guest += octets(),
                "Private_Clean" | "Private_Dirty" => resident.monitor += octets(),
                // The process's proportion: its private pages whole, shared ones by the number of their users.
                "Pss" => resident.shared += octets(),
                _ => {}
            }
        }
        resident.shared = resident.shared.saturating_sub(resident.guest + resident.monitor);
        resident
    }

    /// The mean of several.
    #[must_use]
    pub fn mean(all: &[Self]) -> Option<Self> {
        let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
        let mean = |part: fn(&Self) -> u64| all.iter().map(part).sum::<u64>() / count;
        Some(Self {
            guest: mean(|one| one.guest),
            monitor: mean(|one| one.monitor),
            page_tables: mean(|one| one.page_tables),
            shared: mean(|one| one.shared),
        })
    }
}

/// The size of the mapping that a line begins, if it begins one: `start-end rights offset device inode path`.
fn mapping(line: &str) -> Option<u64> {
    let (start, rest) = line.split_once('-')?;
    let (end, _) = rest.split_once(' ')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    address(end)?.checked_sub(address(start)?)
}

/// A guest's memory is anonymous or a file without a name, and no other mapping of a monitor is nearly as large. The
/// kernel splits a mapping where rights differ, so a half of it may still be the guest's.
fn is_guest(line: &str, size: u64, guest_memory: u64) -> bool {
    let path = line.splitn(6, ' ').nth(5).unwrap_or_default().trim();
    let unnamed = path.is_empty() || path.starts_with("/memfd:") || path.starts_with("[anon:");
    unnamed && (path.contains("guest") || size >= guest_memory / 4)
}

/// Memory that belongs to no process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// What could still be had, in octets.
    pub available: u64,
    /// Page tables that KVM keeps for guests, in octets; 0 where the kernel does not tell, or does not count them.
    pub kvm_page_tables: u64,
}

impl System {
    /// Looks at the system.
    #[must_use]
    pub fn look() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            available: kibibytes(&meminfo, "MemAvailable").unwrap_or(0),
            kvm_page_tables: kibibytes(&meminfo, "SecPageTables").unwrap_or(0),
        }
    }
}

/// What idle instances cost, in octets for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdleMemory {
    /// How many ran.
    pub instances: u64,
    /// How many of their processes could not be looked at.
    pub unreadable: u64,
    /// The mean of the others.
    pub resident: Resident,
    /// KVM's page tables for each.
    pub kvm_page_tables: u64,
    /// What the system's available memory shrank by for each, kernel and all: an upper bound, other things move too.
    pub system: u64,
}

impl IdleMemory {
    /// What an instance has to itself, beyond what is shared.
    #[must_use]
    pub const fn per_instance(&self) -> u64 {
        self.resident.own() + self.kvm_page_tables
    }

    /// Looks at the processes of some instances (process and guest memory of each); `before` is the system before
    /// they were there.
    #[must_use]
    pub fn look(instances: &[(u32, u64)], before: System) -> Option<Self> {
        let seen =
            instances.iter().map(|(process, memory)| Resident::of_process(*process, *memory));
        let seen: Vec<Resident> = seen.filter_map(Result::ok).collect();
        let count = u64::try_from(instances.len()).ok().filter(|count| *count > 0)?;
        let after = System::look();
        Some(Self {
            instances: count,
            unreadable: count - u64::try_from(seen.len()).ok()?,
            resident: Resident::mean(&seen)?,
            kvm_page_tables: after.kvm_page_tables.saturating_sub(before.kvm_page_tables) / count,
            system: before.available.saturating_sub(after.available) / count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
555500000000-555500200000 r-xp 00001000 fe:00 1234                       /usr/bin/summoner
Size:               2048 kB
Rss:                 800 kB
Pss:                  20 kB
Shared_Clean:        800 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
555500400000-555500420000 rw-p 00000000 00:00 0                          [heap]
Size:                128 kB
Pss:                  44 kB
Private_Clean:         0 kB
Private_Dirty:        44 kB
7f0000000000-7f0000800000 rw-p 00000000 00:00 0 
Size:               8192 kB
Pss:                 310 kB
Shared_Clean:         20 kB
Private_Clean:         0 kB
Private_Dirty:       300 kB
VmFlags: rd wr mr mw me ac
7f0000900000-7f0000904000 rw-s 00000000 00:01 77                         anon_inode:kvm-vcpu:0
Size:                 16 kB
Pss:                   4 kB
Private_Dirty:         4 kB
";

    #[test]
    fn mappings_are_told_apart() {
        let resident = Resident::of_mappings(SMAPS, 8 << 20);
        let kib = 1024;
        assert_eq!(resident.guest, 300 * kib);
        assert_eq!(resident.monitor, 48 * kib);
        assert_eq!(resident.shared, 30 * kib, "20 of the text, 10 of the guest's shared pages");
    }

    #[test]
    fn only_large_unnamed_mappings_are_guests() {
        let line = |path: &str| format!("7f0000000000-7f0000800000 rw-p 00000000 00:00 0 {path}");
        let size = 8 << 20;
        assert_eq!(mapping(&line("")), Some(size));
        assert!(is_guest(&line("/memfd:guest (deleted)"), size, size));
        assert!(is_guest(&line("[anon:guest memory]"), 4096, size));
        assert!(!is_guest(&line("/usr/bin/summoner"), size, size));
        assert!(!is_guest(&line("[heap]"), size, size));
        assert!(!is_guest(&line(""), 128 << 10, size));
        assert_eq!(mapping("VmFlags: rd wr mr mw me ac"), None);
        assert_eq!(mapping("Pss:                   4 kB"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let resident = Resident::of_process(std::process::id(), 1 << 40).unwrap();
        assert!(resident.monitor > 0 && resident.page_tables > 0, "{resident:?}");
        let idle =
            IdleMemory::look(&[(std::process::id(), 1 << 40), (0, 1)], System::look()).unwrap();
        assert_eq!((idle.instances, idle.unreadable), (2, 1));
        assert_eq!(IdleMemory::look(&[], System::default()), None);
    }
}
