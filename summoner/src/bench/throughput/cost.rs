//! Processor time of the packet path, by thread and process.
//!
//! From `/proc/PID/task/TID/schedstat`, whose first figure is the time on a processor in nanoseconds (the kernel's
//! `sched-stats.rst`); where the kernel does not keep it, there is no cost.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The name of the thread that owns the switch.
const SWITCH: &str = "switch";

/// What some transfers took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Frames that the switch took in, from both sides.
    pub frames: u64,
    /// Processor time of the switch's thread for each of them, in nanoseconds.
    pub switch_ns_per_frame: f64,
    /// The same of the monitor's process, its guest included.
    pub monitor_ns_per_frame: f64,
    /// The part of the time in which the switch's thread was on a processor.
    pub switch_busy: f64,
}

/// Processor time so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    switch: Duration,
    monitor: Duration,
    /// Frames that the switch has taken in.
    pub frames: u64,
}

impl Clock {
    /// Looks at a daemon and one of its monitors; `frames` is what the daemon has counted. `None` where the kernel does
    /// not tell.
    #[must_use]
    pub fn look(daemon: u32, monitor: u32, frames: u64) -> Option<Self> {
        let switch = on_processor(daemon, |name| name == SWITCH)?;
        Some(Self { switch, monitor: on_processor(monitor, |_| true)?, frames })
    }

    /// Adds what has passed since `before`.
    pub fn add_since(&mut self, before: Self, now: Self) {
        self.switch += now.switch.saturating_sub(before.switch);
        self.monitor += now.monitor.saturating_sub(before.monitor);
        self.frames += now.frames.saturating_sub(before.frames);
    }

    /// What that is for each frame, when it all took `length`.
    #[must_use]
    pub fn cost(&self, length: Duration) -> Option<Cost> {
        if self.frames == 0 || length.is_zero() {
            return None;
        }
        let per_frame = |time: Duration| time.as_nanos() as f64 / self.frames as f64;
        Some(Cost {
            frames: self.frames,
            switch_ns_per_frame: per_frame(self.switch),
            monitor_ns_per_frame: per_frame(self.monitor),
            switch_busy: self.switch.as_secs_f64() / length.as_secs_f64(),
        })
    }
}

/// The time on a processor of those threads of a process whose name is wanted; `None` if there is none.
#[must_use]
pub fn on_processor(process: u32, wanted: impl Fn(&str) -> bool) -> Option<Duration> {
    let tasks = fs::read_dir(Path::new("/proc").join(process.to_string()).join("task")).ok()?;
    let mut sum = None;
    for task in tasks.flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if !wanted(name.trim()) {
            continue;
        }
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos = text.split(' ').next()?.parse().ok()?;
        sum = Some(sum.unwrap_or(Duration::ZERO) + Duration::from_nanos(nanos));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_by_frame() {
        let at = |ms, frames| Clock {
            switch: Duration::from_millis(ms),
            monitor: Duration::from_millis(2 * ms),
            frames,
        };
        let mut sum = Clock::default();
        assert_eq!(sum.cost(Duration::from_secs(1)), None);
        sum.add_since(at(10, 100), at(20, 200));
        sum.add_since(at(30, 500), at(40, 900));
        let cost = sum.cost(Duration::from_millis(40)).unwrap();
        assert_eq!(cost.frames, 500);
        assert!((cost.switch_ns_per_frame - 40_000.0).abs() < 1e-6, "{cost:?}");
        assert!((cost.monitor_ns_per_frame - 80_000.0).abs() < 1e-6, "{cost:?}");
        assert!((cost.switch_busy - 0.5).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn a_process_has_no_thread_of_a_foreign_name() {
        assert_eq!(on_processor(std::process::id(), |name| name == "no such thread"), None);
    }
}
