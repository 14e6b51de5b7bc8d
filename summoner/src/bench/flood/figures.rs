//! What a flood did, and what the daemon did about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The figures of a flood. Counts are those of its time alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FloodFigures {
    /// Forged SYNs that were to be sent in a second.
    pub asked_per_second: f64,
    /// How long.
    pub seconds: f64,
    /// Forged SYNs that the kernel took.
    pub sent: u64,
    /// The same in a second.
    pub per_second: f64,
    /// Packets, clients' too, that found the uplink's queue full before the daemon could read them.
    pub dropped_by_device: u64,
    /// Packets, clients' too, that the switch received.
    pub received: u64,
    /// Boots.
    pub boots: u64,
    /// What the budgets of wakes had for boots.
    pub boots_allowed: u64,
    /// Wakes, by what became of them.
    pub wakes: BTreeMap<String, u64>,
    /// Wakes over budget, by whether their source was proven.
    pub over_budget: BTreeMap<String, u64>,
    /// The most packets that were seen held for one service.
    pub held_most: u32,
    /// The bound on them.
    pub held_bound: u32,
    /// The bound on the octets of everything held.
    pub held_octets_bound: u64,
    /// The daemon's resident memory.
    pub memory: DaemonMemory,
    /// What the switch counted: all that is not zero.
    pub switch: BTreeMap<String, u64>,
}

/// Resident memory of the daemon's process in octets, guests not included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonMemory {
    /// Before the flood.
    pub before: u64,
    /// The most that was seen during it.
    pub most: u64,
    /// Some seconds after it.
    pub after: u64,
}

impl FloodFigures {
    /// The figures as lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let list = |counts: &BTreeMap<String, u64>| {
            let parts: Vec<_> =
                counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
        };
        let mib = |octets: u64| format!("{:.1} MiB", octets as f64 / f64::from(1 << 20));
        let DaemonMemory { before, most, after } = self.memory;
        let mut lines = vec![
            format!(
                "forged SYNs      {} in {:.1} s: {:.0} a second, of {:.0} that were asked for",
                self.sent, self.seconds, self.per_second, self.asked_per_second
            ),
            format!(
                "of all packets   {} reached the switch, {} found the uplink's queue full",
                self.received, self.dropped_by_device
            ),
            format!("boots            {}, at most {} allowed", self.boots, self.boots_allowed),
            format!("wakes            {}", list(&self.wakes)),
            format!("over budget      {}", list(&self.over_budget)),
            format!(
                "held at once     {} of {} for one service; {} for all at most",
                self.held_most,
                self.held_bound,
                mib(self.held_octets_bound)
            ),
            format!(
                "daemon's memory  {} before, {} at most, {} after",
                mib(before),
                mib(most),
                mib(after)
            ),
            "the switch counted".to_owned(),
        ];
        lines.extend(self.switch.iter().map(|(name, count)| format!("  {name} {count}")));
        lines
    }
}
