//! The Internet checksum, updated for what has changed only (RFC 1624, equation 3).

/// The sum of what went and what came, in one's complement.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change(u64);

impl Change {
    /// Puts `new` into `covered` at `at` and takes note of the difference. `covered` begins at an even distance from the
    /// start of what the checksum covers; `at` may be odd. What would lie beyond its end is left out.
    pub(crate) fn put(&mut self, covered: &mut [u8], at: usize, new: &[u8]) {
        let Some(place) = covered.get_mut(at..at + new.len()) else { return };
        if place == new {
            return;
        }
        // Whole words, so that an octet at an odd place counts as the lower half of its word.
        let (start, end) = (at & !1, (at + new.len()).next_multiple_of(2));
        self.0 += words(covered, start, end).map(|word| u64::from(!word)).sum::<u64>();
        covered[at..at + new.len()].copy_from_slice(new);
        self.0 += words(covered, start, end).map(u64::from).sum::<u64>();
    }

    /// The checksum after the changes.
    pub(crate) const fn apply(self, checksum: u16) -> u16 {
        let mut sum = !checksum as u64 + self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
        let folded = sum as u16;
        !folded
    }
}

/// The words of `octets[start..end]`; an octet that is missing at the end is zero (RFC 1071).
fn words(octets: &[u8], start: usize, end: usize) -> impl Iterator<Item = u16> {
    let octet = move |at: usize| octets.get(at).copied().unwrap_or_default();
    (start..end).step_by(2).map(move |at| u16::from_be_bytes([octet(at), octet(at + 1)]))
}
