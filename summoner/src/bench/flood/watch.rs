//! Looks at the daemon from outside while it is flooded.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bench::admin::Admin;
use crate::bench::environment::kibibytes;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(50);

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The most resident memory, in octets.
    pub(super) memory: u64,
    /// The most packets that were held for one service.
    pub(super) held: u32,
}

/// Resident memory of a process in octets; 0 if it is gone.
pub(super) fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(PathBuf::from(format!("/proc/{process}/status")));
    kibibytes(&status.unwrap_or_default(), "VmRSS").unwrap_or(0)
}

/// Looks until `is_over`.
pub(super) fn watch(process: u32, admin: &Admin, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !is_over.load(Ordering::Relaxed) {
        seen.memory = seen.memory.max(resident(process));
        // Not answered is not a verdict: the requests' failures are.
        if let Ok(services) = admin.services() {
            let most = services.iter().map(|service| service.held).max();
            seen.held = seen.held.max(most.unwrap_or(0));
        }
        thread::sleep(LOOK);
    }
    seen
}

/// Packets that a device of this network namespace could not take because its queue was full.
pub(super) fn dropped_by(device: &str) -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    transmit_drops(&table, device).unwrap_or(0)
}

/// The twelfth figure of a device's line: eight of what was received come first.
fn transmit_drops(table: &str, device: &str) -> Option<u64> {
    let mut lines = table.lines().filter_map(|line| line.split_once(':'));
    let (_, figures) = lines.find(|(name, _)| name.trim() == device)?;
    figures.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_a_device_can_be_looked_at() {
        assert!(resident(std::process::id()) > 1 << 20);
        assert_eq!(resident(u32::MAX), 0);
        let table = "Inter-|   Receive \n face |bytes\n    lo: 1 2 3 4 5 6 7 8 9 10 0 12\n flood0:1 1 1 1 1 1 1 1 2 2 2 77 0 0 0 0\n";
        assert_eq!(transmit_drops(table, "flood0"), Some(77));
        assert_eq!(transmit_drops(table, "eth0"), None);
    }
}
