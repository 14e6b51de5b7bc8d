//! The outline of a plain query: one question about an ordinary type, an OPT record at most, in it a cookie at most. All others
//! are the responder's.

use std::ops::Range;

use hickory_proto::rr::RecordType;

use super::super::wire::{HEADER, QUESTION_FIXED, number};
use super::super::{edns, labels};

/// The longest name on the wire, with its last octet (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 255;
/// The longest label.
const LONGEST_LABEL: u8 = 63;
/// RD, in the third octet of the header.
pub(super) const RECURSION_DESIRED: u8 = 0x01;
/// CD, in the fourth.
const CHECKING_DISABLED: u8 = 0x10;
/// AD, in the fourth; in a query it only says that the client would understand it (RFC 6840, section 5.7).
const AUTHENTIC_DATA: u8 = 0x20;
/// DO, in the third octet of an OPT record's TTL (RFC 6891, section 6.1.3).
const DNSSEC_OK: u8 = 0x80;
/// Octets of an OPT record without options.
pub(super) const OPT_FIXED: usize = 11;
/// Octets of an option before its data: code and length.
pub(super) const OPTION_FIXED: usize = 4;
/// The type of an OPT record.
const OPT: u16 = 41;
/// The code of the COOKIE option (RFC 7873, section 4).
pub(super) const COOKIE: u16 = 10;
/// The class IN.
const INTERNET: u16 = 1;

/// What the OPT record of a query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Extension {
    None,
    Plain,
    DnssecOk,
}

/// A plain query.
#[derive(Debug)]
pub(super) struct Plain {
    /// What it asks, without case, and which kind of OPT record it has: queries that are equal in it have answers that are.
    pub(super) key: Key,
    /// Where its question ends.
    pub(super) end: usize,
    /// How many octets its answer may have.
    pub(super) limit: usize,
    /// Where the data of its COOKIE option are.
    pub(super) cookie: Option<Range<usize>>,
    pub(super) qtype: RecordType,
}

/// What the octets of an answer depend on, but for the header: the name in lower case, the type, the kind of OPT record.
#[derive(Debug)]
pub(super) struct Key {
    octets: [u8; LONGEST_NAME + 3],
    length: usize,
}

impl Key {
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

impl Plain {
    /// Reads a query; `None` if it is not plain.
    pub(super) fn read(query: &[u8]) -> Option<Self> {
        let (header, _) = query.split_first_chunk::<HEADER>()?;
        // A query (QR, OPCODE), not truncated, with one question, no records but one of the additional section.
        let [_, _, first, second, 0, 1, 0, 0, 0, 0, 0, extensions] = *header else { return None };
        if first & !RECURSION_DESIRED != 0 || second & !(CHECKING_DISABLED | AUTHENTIC_DATA) != 0 {
            return None;
        }
        let name_end = name_end(query)?;
        let (qtype, class) = (number(query, name_end)?, number(query, name_end + 2)?);
        let qtype = RecordType::from(qtype);
        // The types of a closed set, so that what is asked cannot fill what is remembered.
        if class != INTERNET || labels::qtype(qtype) == labels::OTHER {
            return None;
        }
        let end = name_end + QUESTION_FIXED;
        let (extension, payload, cookie) = match (extensions, query.get(end..)?) {
            (0, []) => (Extension::None, None, None),
            (1, record) => {
                let (extension, payload, has_cookie) = extension(record)?;
                let cookie = has_cookie.then(|| end + OPT_FIXED + OPTION_FIXED..query.len());
                (extension, Some(payload), cookie)
            }
            _ => return None,
        };
        let mut key = Key { octets: [0; LONGEST_NAME + 3], length: name_end - HEADER + 3 };
        let (name, rest) = key.octets.split_at_mut(name_end - HEADER);
        name.copy_from_slice(query.get(HEADER..name_end)?);
        // No length of a label is a capital letter.
        name.make_ascii_lowercase();
        rest[..2].copy_from_slice(&u16::from(qtype).to_be_bytes());
        rest[2] = extension as u8;
        Some(Self { key, end, limit: edns::limit_of(payload), cookie, qtype })
    }

    /// Whether the answer has an OPT record, as its last.
    pub(super) fn is_extended(&self) -> bool {
        self.key.octets().last() != Some(&(Extension::None as u8))
    }
}

/// Where the name in the question ends; there are no pointers, because there is nothing to point to.
fn name_end(query: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        let length = *query.get(at)?;
        at += 1 + usize::from(length);
        if length > LONGEST_LABEL || at - HEADER > LONGEST_NAME {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// Reads an OPT record of version 0, without flags but DO, with no option or a cookie that could be one.
fn extension(record: &[u8]) -> Option<(Extension, u16, bool)> {
    let (fixed, options) = record.split_first_chunk::<OPT_FIXED>()?;
    let [0, t0, t1, p0, p1, 0, 0, flags, 0, l0, l1] = *fixed else { return None };
    let extension = match flags {
        0 => Extension::Plain,
        DNSSEC_OK => Extension::DnssecOk,
        _ => return None,
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if u16::from_be_bytes([t0, t1]) != OPT || length != options.len() {
        return None;
    }
    let has_cookie = match options.split_first_chunk::<OPTION_FIXED>() {
        None if options.is_empty() => false,
        None => return None,
        Some((&[c0, c1, l0, l1], data)) => {
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            if u16::from_be_bytes([c0, c1]) != COOKIE || length != data.len() {
                return None;
            }
            true
        }
    };
    Some((extension, u16::from_be_bytes([p0, p1]), has_cookie))
}
