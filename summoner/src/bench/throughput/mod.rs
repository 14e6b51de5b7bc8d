//! How many octets flow in a unit of time, each way, and what they cost: through the packet path to a guest, and next to
//! it between two sockets of the kernel.
//!
//! ```text
//!   client (this process) -- TUN -- switch -- guest's port -- monitor -- guest: discard (RFC 863), /bytes/N
//!                         -- veth, another namespace ------------------- peer:  the same by plain sockets
//!                         -- loopback ----------------------------------- peer
//! ```

mod cost;
mod peer;
mod transfer;

use serde::{Deserialize, Serialize};

pub use cost::{Clock, Cost, on_processor};
pub use peer::{Peer, PeerError};
pub use transfer::{TransferError, fetch, push};

/// Which way octets flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client: it sends, the service throws away.
    ToService,
    /// To the client: it asks once, the service sends.
    FromService,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ToService, Self::FromService];

    /// The word of reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ToService => "to_service",
            Self::FromService => "from_service",
        }
    }
}

/// What was found for one way and one direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Octets of each transfer.
    pub octets: u64,
    /// Octets in a microsecond (megabytes in a second) of each transfer, in the order in which they were made.
    pub rates: Vec<f64>,
    /// The median of these.
    pub rate: f64,
    /// The median by that of a plain pair of devices between two namespaces.
    pub by_veth: Option<f64>,
    /// The median by that of loopback.
    pub by_loopback: Option<f64>,
    /// What the packet path took for all transfers together; `None` where there is none.
    pub cost: Option<Cost>,
}

/// The middle one, or the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[3.0, 1.0, 9.0]), Some(3.0));
    }
}
