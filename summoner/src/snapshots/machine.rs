//! What a snapshot depends on besides its service: the processor, and this program.

use std::fs;
use std::time::UNIX_EPOCH;

use super::{KeyParts, SnapshotKey};

/// Where a snapshot is made and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What a guest sees of the processor.
    pub cpu: Vec<u8>,
    /// This program: its version and build.
    pub monitor: String,
}

/// What a processor is, of all that `/proc/cpuinfo` tells of it: the rest (clock, temperature) changes by itself.
const CPU_LINES: [&str; 12] = [
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "flags",
    "CPU implementer",
    "CPU architecture",
    "CPU variant",
    "CPU part",
    "CPU revision",
    "Features",
];

impl Machine {
    /// This one, now.
    ///
    /// The build is told by the program file's size and time: another build is another file. What cannot be found
    /// out counts as empty; the format version and the checks of the monitor still stand.
    #[must_use]
    pub fn this() -> Self {
        let mut cpu = fs::read_to_string("/proc/cpuinfo")
            .map_or_else(|_| Vec::new(), |text| first_cpu(&text));
        // A guest reckons with it from its start on. Without KVM there are no guests either.
        cpu.extend(monitor::probe::cycle_frequency().unwrap_or_default().to_le_bytes());
        let build = fs::metadata("/proc/self/exe").ok().and_then(|file| {
            let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some(format!("{}-{}", file.len(), modified.as_nanos()))
        });
        let monitor = format!("{}+{}", env!("CARGO_PKG_VERSION"), build.unwrap_or_default());
        Self { cpu, monitor }
    }

    /// The key of a service's snapshots on this machine; `cpu` and `monitor` of `parts` are replaced.
    #[must_use]
    pub fn key(&self, parts: KeyParts<'_>) -> SnapshotKey {
        SnapshotKey::of(&KeyParts { cpu: &self.cpu, monitor: &self.monitor, ..parts })
    }
}

/// The identifying lines of the first processor.
fn first_cpu(text: &str) -> Vec<u8> {
    let block = text.split("\n\n").next().unwrap_or_default();
    let lines = block.lines().filter(|line| {
        line.split(':').next().is_some_and(|name| CPU_LINES.contains(&name.trim_end()))
    });
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_what_it_can_do_and_not_how_fast_it_runs() {
        let at = |mhz: &str, flags: &str| {
            first_cpu(&format!(
                "processor\t: 0\nmodel\t\t: 85\ncpu MHz\t\t: {mhz}\nflags\t\t: {flags}\n\nprocessor\t: 1\nmodel\t\t: 9\n"
            ))
        };
        assert_eq!(at("2000.1", "fpu sse"), at("3100.9", "fpu sse"));
        assert_ne!(at("2000.1", "fpu sse"), at("2000.1", "fpu sse avx"));
        assert_eq!(at("1", "fpu"), b"model\t\t: 85\nflags\t\t: fpu");
    }

    #[test]
    fn this_one_is_the_same_twice_and_known() {
        let machine = Machine::this();
        assert_eq!(machine, Machine::this());
        assert!(!machine.cpu.is_empty() && machine.monitor.len() > "0.1.0+".len(), "{machine:?}");
    }
}
