//! The Internet checksum (RFC 1071).

/// A ones' complement sum of 16-bit words. Such a sum is the same in either order of octets (RFC 1071, section 2 (B)), so it
/// is kept in the machine's own, in words of 32 bits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds octets that begin at an even place; an odd last one counts as if a zero followed.
    pub(super) fn add(mut self, octets: &[u8]) -> Self {
        // Several sums beside each other, for the processor's wide registers.
        let mut lanes = [0_u64; 8];
        let (blocks, rest) = octets.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<4>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            self.0 += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        // A packet has fewer than 2^16 words: far from 2^64.
        self.0 += lanes.iter().sum::<u64>() + u64::from(u32::from_ne_bytes(last));
        self
    }

    /// Adds a number as it stands in a header.
    pub(super) fn add_number(self, number: u16) -> Self {
        self.add(&number.to_be_bytes())
    }

    /// Takes a number away that was added (RFC 1624, section 3).
    pub(super) fn subtract_number(self, number: u16) -> Self {
        self.add_number(!number)
    }

    /// The sum in 16 bits, as it stands in a header that the rest is yet to be added to.
    pub(super) fn partial(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap_or(u16::MAX).to_ne_bytes()
    }

    /// The checksum: the sum's complement.
    pub(super) fn checksum(self) -> [u8; 2] {
        self.partial().map(|octet| !octet)
    }

    /// Whether what was added has its right checksum in it.
    pub(super) fn is_right(self) -> bool {
        self.partial() == [0xff; 2]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        // RFC 1071, section 3.
        let sum = Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.partial(), [0xdd, 0xf2]);
        assert_eq!(sum.checksum(), [0x22, 0x0d]);
        assert!(sum.add(&sum.checksum()).is_right());
    }

    proptest! {
        #[test]
        fn as_word_by_word(octets: Vec<u8>, number: u16) {
            let mut sum = 0_u32;
            for word in octets.chunks(2) {
                sum += u32::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)]));
            }
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            let ours = Sum::default().add(&octets);
            prop_assert_eq!(u32::from(u16::from_be_bytes(ours.partial())), sum);
            let back = ours.add_number(number).subtract_number(number);
            // Zero has two forms in ones' complement.
            let zero = |sum: [u8; 2]| if sum == [0xff; 2] { [0; 2] } else { sum };
            prop_assert_eq!(zero(back.partial()), zero(ours.partial()));
        }
    }
}
