//! Which serial a zone has: another one whenever its content is another (RFC 1035, section 3.3.13; RFC 1982).

use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::rr::{RData, Record};
use hickory_proto::serialize::binary::BinEncodable;
use serde::{Deserialize, Serialize};
use zone::Zone;

/// A version of a zone: what it said, and under which number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Its serial.
    pub serial: u32,
    /// The digest of its content, in hexadecimal.
    pub digest: String,
}

/// How the serial is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialChoice {
    /// Another one whenever the content is another.
    Auto,
    /// This one.
    Fixed(u32),
}

/// The serial of content with `digest`, after the version `old`, not below `least` (what a zone file says).
#[must_use]
pub fn choose(
    choice: SerialChoice,
    old: Option<&Version>,
    digest: &str,
    least: Option<u32>,
    now: SystemTime,
) -> u32 {
    if let SerialChoice::Fixed(serial) = choice {
        return serial;
    }
    let seconds = unix_seconds(now);
    let next = match old {
        Some(old) if old.digest == digest => old.serial,
        Some(old) if is_later(seconds, old.serial) => seconds,
        Some(old) => old.serial.wrapping_add(1),
        None => seconds,
    };
    least.filter(|least| is_later(*least, next)).unwrap_or(next)
}

/// The serial that a zone file gives its zone; 0, which the configuration's own SOA has before it gets one, says nothing.
#[must_use]
pub fn least(zone: &Zone) -> Option<u32> {
    match &zone.soa().data {
        RData::SOA(soa) => Some(soa.serial).filter(|serial| *serial != 0),
        _ => None,
    }
}

/// A digest of all that a zone says, but for its serial: equal content has an equal one, in whatever order it was given.
#[must_use]
pub fn digest(zone: &Zone) -> String {
    let mut records: Vec<Vec<u8>> =
        zone.rrsets().flat_map(|rrset| &rrset.records).map(octets).collect();
    records.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for record in &records {
        // Each with its length, so that no two lists have the same octets.
        hasher.update(&record.len().to_be_bytes());
        hasher.update(record);
    }
    hasher.finalize().to_hex().to_string()
}

/// A record in wire form, without compression; of an SOA the serial is left out.
fn octets(record: &Record) -> Vec<u8> {
    let mut record = record.clone();
    if let RData::SOA(soa) = &mut record.data {
        soa.serial = 0;
    }
    // A record that cannot be written cannot be served either; its text tells it from others.
    record.to_bytes().unwrap_or_else(|_| record.to_string().into_bytes())
}

/// Whether a serial comes after another one (RFC 1982, section 3.2: up to half of the circle ahead).
const fn is_later(serial: u32, other: u32) -> bool {
    let ahead = serial.wrapping_sub(other);
    ahead != 0 && ahead < 1 << 31
}

/// The time of day as a serial; it goes round in 2106, as serials may.
fn unix_seconds(now: SystemTime) -> u32 {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn version(serial: u32) -> Version {
        Version { serial, digest: "old".to_owned() }
    }

    #[test]
    fn a_serial_goes_up_with_the_content_and_only_then() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let auto = |old: Option<&Version>, digest: &str, least| {
            choose(SerialChoice::Auto, old, digest, least, now)
        };
        assert_eq!(auto(None, "new", None), 1_800_000_000);
        assert_eq!(auto(Some(&version(7)), "old", None), 7);
        assert_eq!(auto(Some(&version(7)), "new", None), 1_800_000_000);
        // Twice in a second, or after a clock that was ahead, or after a serial written as a date.
        assert_eq!(auto(Some(&version(1_800_000_000)), "new", None), 1_800_000_001);
        assert_eq!(auto(Some(&version(2_026_112_101)), "new", None), 2_026_112_102);
        // Round the circle: 4294967295 is followed by 0; what is half of it ahead, or more, is behind.
        assert_eq!(auto(Some(&version(u32::MAX)), "new", None), 1_800_000_000);
        assert_eq!(auto(Some(&version(3_947_483_649)), "new", None), 1_800_000_000);
        assert_eq!(auto(Some(&version(3_947_483_648)), "new", None), 3_947_483_649);
        // A zone file's own serial is the least.
        assert_eq!(auto(Some(&version(7)), "old", Some(9)), 9);
        assert_eq!(auto(Some(&version(7)), "new", Some(2_026_112_101)), 2_026_112_101);
        assert_eq!(choose(SerialChoice::Fixed(3), Some(&version(7)), "new", Some(9), now), 3);
    }
}
