//! What a link does to the frames that it carries.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// How often something happens, in millionths: exact, so that a seed means the same on every machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Never.
    pub const NONE: Self = Self(0);
    const ALL: u32 = 1_000_000;

    /// So many of a hundred; at most all of them.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self::of_thousand(percent.saturating_mul(10))
    }

    /// So many of a thousand; at most all of them.
    #[must_use]
    pub const fn of_thousand(count: u32) -> Self {
        let millionths = count.saturating_mul(1000);
        Self(if millionths > Self::ALL { Self::ALL } else { millionths })
    }

    /// Whether this number, any of 64 bits, is in the share.
    pub(super) fn takes(self, random: u64) -> bool {
        (u128::from(random) * u128::from(Self::ALL)) >> 64 < u128::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 10_000.0)
    }
}

/// What happens to the frames of one direction. The default is a perfect link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// From a frame's last octet on the wire to its arrival.
    pub delay: Duration,
    /// How many frames take longer than that, so that later ones overtake them.
    pub late: Share,
    /// By how much at most; the length is uniformly distributed.
    pub lateness: Duration,
    /// How many frames are lost.
    pub loss: Share,
    /// How many frames arrive twice; the second one a moment later, by at most `lateness`.
    pub duplication: Share,
    /// How many frames have one of their bits turned over. Not in their first octets, which are the link's own
    /// (see [`Link::spared`]).
    pub corruption: Share,
    /// Octets a second; frames queue for it. `None`: as fast as they come.
    pub rate: Option<NonZeroU32>,
}

impl Faults {
    /// A link that only takes its time.
    #[must_use]
    pub const fn delay(delay: Duration) -> Self {
        Self {
            delay,
            late: Share::NONE,
            lateness: Duration::ZERO,
            loss: Share::NONE,
            duplication: Share::NONE,
            corruption: Share::NONE,
            rate: None,
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.delay)?;
        for (what, share) in
            [("lost", self.loss), ("twice", self.duplication), ("damaged", self.corruption)]
        {
            if share > Share::NONE {
                write!(f, ", {share} {what}")?;
            }
        }
        if self.late > Share::NONE {
            write!(f, ", {} late by up to {:?}", self.late, self.lateness)?;
        }
        if let Some(rate) = self.rate {
            write!(f, ", {rate} octets a second")?;
        }
        Ok(())
    }
}

/// A link with its two directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Brings back the same faults: the n-th frame of a direction has the same fate whenever it comes.
    pub seed: u64,
    /// What happens to frames that are received from the port.
    pub inbound: Faults,
    /// What happens to frames that are sent to the port.
    pub outbound: Faults,
    /// Octets at a frame's beginning that are never damaged: 14 for Ethernet, where damage there would be found by
    /// the frame's check sequence and is a loss.
    pub spared: usize,
}

impl Link {
    /// The same in both directions.
    #[must_use]
    pub const fn symmetric(seed: u64, faults: Faults) -> Self {
        Self { seed, inbound: faults, outbound: faults, spared: 0 }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, inbound, outbound, .. } = self;
        if inbound == outbound {
            write!(f, "each way {inbound}; seed {seed}")
        } else {
            write!(f, "in {inbound}; out {outbound}; seed {seed}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_what_they_say() {
        assert!(!Share::NONE.takes(0));
        assert!(Share::percent(100).takes(u64::MAX) && Share::percent(250).takes(u64::MAX));
        let half = Share::percent(50);
        assert!(half.takes(u64::MAX / 2) && !half.takes(u64::MAX / 2 + (1 << 50)));
        assert_eq!(Share::percent(2), Share::of_thousand(20));
    }

    #[test]
    fn a_link_says_what_it_does() {
        let faults = Faults {
            late: Share::of_thousand(15),
            lateness: Duration::from_millis(3),
            loss: Share::percent(2),
            ..Faults::delay(Duration::from_millis(50))
        };
        let text = Link::symmetric(7, faults).to_string();
        assert_eq!(text, "each way 50ms, 2 % lost, 1.5 % late by up to 3ms; seed 7");
    }
}
