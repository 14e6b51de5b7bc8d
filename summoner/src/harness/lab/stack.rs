//! The options of a kernel's TCP, which each network namespace has for itself.

use std::fmt;
use std::fs;
use std::io;

/// What a stack offers in its SYN or SYN-ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpOptions {
    /// Window scale (RFC 7323).
    pub window_scaling: bool,
    /// Selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Timestamps (RFC 7323).
    pub timestamps: bool,
}

impl TcpOptions {
    /// Everything, as the kernel has it by default.
    pub const DEFAULT: Self = Self { window_scaling: true, sack: true, timestamps: true };

    /// All combinations.
    #[must_use]
    pub fn all() -> [Self; 8] {
        [0b111, 0b000, 0b100, 0b010, 0b001, 0b110, 0b101, 0b011].map(|bits: u8| Self {
            window_scaling: bits & 0b100 != 0,
            sack: bits & 0b010 != 0,
            timestamps: bits & 0b001 != 0,
        })
    }

    /// Makes them those of the calling thread's namespace.
    ///
    /// # Errors
    /// With the key that cannot be written.
    pub fn apply(self) -> Result<(), (&'static str, io::Error)> {
        let on = |on: bool| if on { "1" } else { "0" };
        set("net/ipv4/tcp_window_scaling", on(self.window_scaling))?;
        set("net/ipv4/tcp_sack", on(self.sack))?;
        set("net/ipv4/tcp_timestamps", on(self.timestamps))?;
        // What one connection learned of the link must not make the next one different.
        set("net/ipv4/tcp_no_metrics_save", "1")
    }
}

/// Forwarding between the devices of the calling thread's namespace.
///
/// # Errors
/// With the key that cannot be written.
pub fn forward() -> Result<(), (&'static str, io::Error)> {
    set("net/ipv4/ip_forward", "1")?;
    set("net/ipv6/conf/all/forwarding", "1")
}

fn set(key: &'static str, value: &str) -> Result<(), (&'static str, io::Error)> {
    fs::write(format!("/proc/sys/{key}"), value).map_err(|error| (key, error))
}

impl fmt::Display for TcpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = [
            (self.window_scaling, "window scale"),
            (self.sack, "SACK"),
            (self.timestamps, "timestamps"),
        ];
        let on: Vec<&str> = options.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        if on.is_empty() { f.write_str("no options") } else { f.write_str(&on.join(" + ")) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn combinations_are_all_there_and_say_what_they_are() {
        let names: HashSet<String> = TcpOptions::all().iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), 8);
        assert!(names.contains("no options") && names.contains("window scale + SACK + timestamps"));
    }
}
