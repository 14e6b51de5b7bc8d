//! Sequence numbers: a circle, not a line (RFC 9293, section 3.4).

/// A TCP sequence or acknowledgment number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SeqNumber(pub(crate) u32);

impl SeqNumber {
    /// The number `octets` after this one.
    pub(crate) const fn after(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }

    /// The number `octets` before this one.
    pub(crate) const fn before(self, octets: u32) -> Self {
        Self(self.0.wrapping_sub(octets))
    }

    /// How far this is after `earlier` on the way round.
    pub(crate) const fn distance_from(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether `self` comes before `other`; exactly opposite numbers do not come before each other.
    pub(crate) const fn precedes(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) > 1 << 31
    }

    /// The later one of both.
    pub(crate) const fn latest(self, other: Self) -> Self {
        if self.precedes(other) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::SeqNumber;

    #[test]
    fn order_goes_round_the_circle() {
        assert!(SeqNumber(u32::MAX).precedes(SeqNumber(0)));
        assert!(!SeqNumber(0).precedes(SeqNumber(u32::MAX)));
        assert!(!SeqNumber(7).precedes(SeqNumber(7)));
        assert_eq!(SeqNumber(u32::MAX).latest(SeqNumber(3)), SeqNumber(3));
        assert_eq!(SeqNumber(u32::MAX).after(2), SeqNumber(1));
        assert_eq!(SeqNumber(1).distance_from(SeqNumber(u32::MAX)), 2);
    }
}
