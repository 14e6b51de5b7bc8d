//! The first 4096 octets of a snapshot file.
//!
//! ```text
//!     0   8  magic "SUMMSNAP"
//!     8   4  format version
//!    12   4  kind: 1 ready, 2 suspended
//!    16   8  length of the body, octets
//!    24   8  creation time, nanoseconds since 1970-01-01 UTC
//!    32  32  key
//!    64  32  BLAKE3 of the body
//!    96   4  length of the service's key, octets
//!   100   n  the service's key, UTF-8
//!         .  zero
//!  4064  32  BLAKE3 of the 4064 octets before
//! ```
//!
//! Numbers are little-endian. The hashes find damage, not forgery: who may write in the folder may do everything anyway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::Reason;
use super::{Kind, SnapshotKey};

/// The header's length: one page, so that the body begins at one.
pub const HEADER_LENGTH: u64 = 4096;
/// The longest body: the largest guest memory, and a little for registers and the like.
pub const LONGEST_BODY: u64 = (4 << 30) + (1 << 20);
/// The longest service key that a snapshot can carry, in octets.
pub const LONGEST_SERVICE: usize = 1024;

const PAGE: u64 = 4096;
pub(super) const LENGTH: usize = 4096;
const MAGIC: &[u8; 8] = b"SUMMSNAP";
const VERSION: u32 = 1;
const SERVICE: usize = 100;
const HASHED: usize = LENGTH - 32;

/// A header's octets.
pub(super) type Octets = [u8; LENGTH];

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) key: SnapshotKey,
    pub(super) body_length: u64,
    pub(super) body_hash: [u8; 32],
    pub(super) service: String,
    pub(super) created: SystemTime,
}

/// Whether a body may have this length.
pub(super) const fn is_body_length(length: u64) -> bool {
    length > 0 && length <= LONGEST_BODY && length.is_multiple_of(PAGE)
}

impl Header {
    /// Writes it; the service's key must not be longer than [`LONGEST_SERVICE`].
    pub(super) fn encode(&self) -> Octets {
        let mut octets = [0; LENGTH];
        let since = self.created.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let kind: u32 = match self.kind {
            Kind::Ready => 1,
            Kind::Suspended => 2,
        };
        let service = self.service.as_bytes();
        let service_length = u32::try_from(service.len()).unwrap_or(u32::MAX);
        octets[..8].copy_from_slice(MAGIC);
        octets[8..12].copy_from_slice(&VERSION.to_le_bytes());
        octets[12..16].copy_from_slice(&kind.to_le_bytes());
        octets[16..24].copy_from_slice(&self.body_length.to_le_bytes());
        octets[24..32].copy_from_slice(&nanos.to_le_bytes());
        octets[32..64].copy_from_slice(self.key.as_bytes());
        octets[64..96].copy_from_slice(&self.body_hash);
        octets[96..SERVICE].copy_from_slice(&service_length.to_le_bytes());
        octets[SERVICE..SERVICE + service.len()].copy_from_slice(service);
        let hash = blake3::hash(&octets[..HASHED]);
        octets[HASHED..].copy_from_slice(hash.as_bytes());
        octets
    }

    /// Reads it; any octets may come.
    pub(super) fn parse(octets: &Octets) -> Result<Self, Reason> {
        if &octets[..8] != MAGIC {
            return Err(Reason::Foreign);
        }
        // Before the checksum: another version may keep it elsewhere.
        if number4(octets, 8) != VERSION {
            return Err(Reason::Version);
        }
        if blake3::hash(&octets[..HASHED]) != array(octets, HASHED) {
            return Err(Reason::Header);
        }
        let kind = match number4(octets, 12) {
            1 => Kind::Ready,
            2 => Kind::Suspended,
            _ => return Err(Reason::Malformed),
        };
        let body_length = number8(octets, 16);
        let service_length = usize::try_from(number4(octets, 96)).unwrap_or(usize::MAX);
        if !is_body_length(body_length) || service_length > LONGEST_SERVICE {
            return Err(Reason::Malformed);
        }
        let (service, rest) = octets[SERVICE..HASHED].split_at(service_length);
        if rest.iter().any(|octet| *octet != 0) {
            return Err(Reason::Malformed);
        }
        let service = std::str::from_utf8(service).map_err(|_| Reason::Malformed)?.to_owned();
        Ok(Self {
            kind,
            key: SnapshotKey::from_bytes(array(octets, 32)),
            body_length,
            body_hash: array(octets, 64),
            service,
            created: UNIX_EPOCH + Duration::from_nanos(number8(octets, 24)),
        })
    }

    /// The length of the whole file.
    pub(super) const fn file_length(&self) -> u64 {
        // A body's length is checked before there is a header.
        HEADER_LENGTH.saturating_add(self.body_length)
    }
}

fn array<const N: usize>(octets: &Octets, at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&octets[at..at + N]);
    array
}

fn number4(octets: &Octets, at: usize) -> u32 {
    u32::from_le_bytes(array(octets, at))
}

fn number8(octets: &Octets, at: usize) -> u64 {
    u64::from_le_bytes(array(octets, at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> impl Strategy<Value = Header> {
        (
            any::<bool>(),
            any::<[u8; 32]>(),
            1..=LONGEST_BODY / PAGE,
            any::<[u8; 32]>(),
            "\\PC{0,200}",
            any::<u64>(),
        )
            .prop_map(|(ready, key, pages, body_hash, service, nanos)| Header {
                kind: if ready { Kind::Ready } else { Kind::Suspended },
                key: SnapshotKey::from_bytes(key),
                body_length: pages * PAGE,
                body_hash,
                service,
                created: UNIX_EPOCH + Duration::from_nanos(nanos),
            })
    }

    /// With a checksum that is right, so that the checks behind it are reached.
    fn sealed(mut octets: Octets) -> Octets {
        let hash = blake3::hash(&octets[..HASHED]);
        octets[HASHED..].copy_from_slice(hash.as_bytes());
        octets
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read_back(header in header()) {
            prop_assert_eq!(Header::parse(&header.encode()), Ok(header));
        }

        #[test]
        fn a_flipped_bit_is_noticed(header in header(), bit in 0..LENGTH * 8) {
            let mut octets = header.encode();
            octets[bit / 8] ^= 1 << (bit % 8);
            let reason = Header::parse(&octets).unwrap_err();
            let expected = match bit / 8 {
                0..8 => Reason::Foreign,
                8..12 => Reason::Version,
                _ => Reason::Header,
            };
            prop_assert_eq!(reason, expected);
        }

        /// A sound checksum over nonsense: whatever is read is in range, and writing it gives the same octets.
        #[test]
        fn nonsense_is_refused_or_means_what_it_says(
            mut octets in header().prop_map(|header| header.encode()),
            at in 12..200_usize,
            noise in proptest::collection::vec(any::<u8>(), 0..16),
        ) {
            octets[at..at + noise.len()].copy_from_slice(&noise);
            let octets = sealed(octets);
            match Header::parse(&octets) {
                Ok(header) => prop_assert!(header.encode() == octets),
                Err(reason) => prop_assert_eq!(reason, Reason::Malformed),
            }
        }

        #[test]
        fn no_octets_are_a_panic(noise in proptest::collection::vec(any::<u8>(), LENGTH)) {
            let octets: Octets = noise.try_into().unwrap();
            prop_assert_eq!(Header::parse(&octets), Err(Reason::Foreign));
        }
    }
}
