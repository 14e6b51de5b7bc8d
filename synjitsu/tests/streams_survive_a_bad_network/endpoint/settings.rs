//! How an endpoint is built, and what it is for.

use std::time::Duration;

/// How a stack is built and set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) mss: u16,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack: bool,
    pub(crate) timestamps: bool,
    /// Octets that it receives before the application has read them.
    pub(crate) buffer: u32,
    /// Whether it keeps what comes out of order.
    pub(crate) reassembles: bool,
    pub(crate) ack_delay: Duration,
    /// Octets in flight at most.
    pub(crate) flight: u32,
    /// Whether segments are of any size, or as large as they may be.
    pub(crate) random_sizes: bool,
    /// Whether a closed window is probed with an octet, or with an old number.
    pub(crate) probes_with_octet: bool,
    /// No-operations before the options.
    pub(crate) padding: u8,
    /// Whether the acknowledgment of a SYN-ACK waits for data that can go with it.
    pub(crate) eager: bool,
}

impl Stack {
    /// With an MSS that fits the links of a family, whose packets have 1500 octets at most.
    pub(crate) fn over(self, v6: bool) -> Self {
        Self { mss: self.mss.min(if v6 { 1440 } else { 1460 }), ..self }
    }
}

/// What one side wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) octets: i64,
    /// Whether it closes when it has written everything, or only when the other side has closed.
    pub(crate) closes_first: bool,
    /// Octets it reads in a tick; zero means all.
    pub(crate) reads: i64,
    /// Octets it writes in a tick; zero means all.
    pub(crate) writes: i64,
}
