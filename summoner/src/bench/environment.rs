//! What a figure was measured on: without it, it means nothing.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The machine and the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this program.
    pub version: String,
    /// Whether it was built with optimisation: figures of another build mean nothing.
    pub optimised: bool,
    /// The kernel's name, release and machine.
    pub kernel: String,
    /// The processor's model.
    pub processor: String,
    /// Processors that may be used.
    pub cores: usize,
    /// Memory in octets.
    pub memory_bytes: u64,
    /// Load averages of 1, 5 and 15 minutes at the start.
    pub load: [f64; 3],
    /// What kind of KVM there is.
    pub kvm: String,
}

impl Environment {
    /// Looks around.
    #[must_use]
    pub fn look() -> Self {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimised: !cfg!(debug_assertions),
            kernel: format!(
                "{} {} {}",
                text(uname.sysname()),
                text(uname.release()),
                text(uname.machine())
            ),
            processor: processor(&read("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kibibytes(&read("/proc/meminfo"), "MemTotal").unwrap_or(0),
            load: load(&read("/proc/loadavg")),
            kvm: kvm(|module| Path::new("/sys/module").join(module).exists()),
        }
    }
}

/// A field of `/proc/meminfo`, `/proc/PID/status` or `smaps`, in octets.
pub(super) fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| *name == field)?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

fn processor(cpuinfo: &str) -> String {
    let field = |wanted: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim().to_owned())
    };
    // ARM kernels name the board's or the core's number instead.
    field("model name")
        .or_else(|| field("Model"))
        .or_else(|| field("CPU part").map(|part| format!("ARM part {part}")))
        .unwrap_or_else(|| "unknown".to_owned())
}

fn load(loadavg: &str) -> [f64; 3] {
    let mut averages = [0.0; 3];
    for (average, text) in averages.iter_mut().zip(loadavg.split(' ')) {
        *average = text.parse().unwrap_or(0.0);
    }
    averages
}

/// The modules say it; a KVM that is built in (ARM, most often) shows no vendor's.
fn kvm(has_module: impl Fn(&str) -> bool) -> String {
    let kinds = [
        ("kvm_pvm", "software (PVM): guests' exits are dear"),
        ("kvm_intel", "hardware (VMX)"),
        ("kvm_amd", "hardware (SVM)"),
    ];
    let found = kinds.into_iter().find(|(module, _)| has_module(module));
    found.map_or("of unknown kind, built into the kernel", |(_, kind)| kind).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let meminfo = "MemTotal:       24585652 kB\nHugePages_Total:       0\nMemFree:  12 kB\n";
        assert_eq!(kibibytes(meminfo, "MemFree"), Some(12 << 10));
        assert_eq!(kibibytes(meminfo, "HugePages_Total"), None);
        assert_eq!(kibibytes(meminfo, "Mem"), None);
        assert_eq!(processor("processor\t: 0\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(processor("CPU part\t: 0xd0c\n"), "ARM part 0xd0c");
        assert_eq!(load("0.52 1.5 2 1/95 7\n"), [0.52, 1.5, 2.0]);
        assert!(kvm(|module| module == "kvm_amd").contains("SVM"));
        assert!(kvm(|_| false).contains("unknown"));
    }

    #[test]
    fn this_machine_has_an_environment() {
        let environment = Environment::look();
        assert!(environment.cores > 0 && environment.memory_bytes > 0);
        assert!(environment.kernel.starts_with("Linux "), "{}", environment.kernel);
    }
}
