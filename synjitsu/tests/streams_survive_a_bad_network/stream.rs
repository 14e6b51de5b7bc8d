//! What one side of a connection says: octets that follow from their place, so that any segment can be checked
//! by itself and nothing needs to be remembered.

/// All that one side sends on a connection before its FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Tells streams apart.
    pub(crate) name: u32,
    /// How many octets.
    pub(crate) length: i64,
}

impl Stream {
    /// The octet at a place, counted from zero.
    fn octet(self, place: i64) -> u8 {
        let mixed = (place.cast_unsigned() ^ u64::from(self.name) << 40)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.to_be_bytes()[1]
    }

    pub(crate) fn octets(self, from: i64, to: i64) -> Vec<u8> {
        (from..to).map(|place| self.octet(place)).collect()
    }

    /// Where `octets`, which are said to begin at `from`, differ from the stream.
    pub(crate) fn difference(self, from: i64, octets: &[u8]) -> Option<i64> {
        (from..).zip(octets).find(|(place, octet)| self.octet(*place) != **octet).map(|(at, _)| at)
    }
}
