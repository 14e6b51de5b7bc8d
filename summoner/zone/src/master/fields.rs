//! What the data of each type of record are made of, in the order of their wire form: one table for reading and for
//! printing. A type that is not in it is written as RFC 3597, section 5 says.

/// A part of a record's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A domain name.
    Name,
    /// A number of 8 bits.
    U8,
    /// A number of 16 bits.
    U16,
    /// A number of 32 bits.
    U32,
    /// Seconds, which may be written with units.
    Seconds,
    /// A type of records, by its name.
    Type,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A character string.
    Text,
    /// One character string or more, up to the end.
    Texts,
    /// A word of at most 255 octets: a property of a CAA record.
    Tag,
    /// A text without a length, up to the end: the value of a CAA record, the target of a URI.
    Rest,
    /// Octets in hexadecimal, up to the end.
    Hex,
    /// Octets in base 64, up to the end.
    Base64,
    /// Types of records as bits, up to the end (RFC 4034, section 4.1.2).
    Types,
    /// Parameters of a service binding, up to the end (RFC 9460, section 2.1).
    Parameters,
}

use Field::{
    Base64, Hex, Ipv4, Ipv6, Name, Parameters, Rest, Seconds, Tag, Text, Texts, Type, Types, U8,
    U16, U32,
};

/// Name, number, data.
const TYPES: &[(&str, u16, &[Field])] = &[
    ("A", 1, &[Ipv4]),
    ("NS", 2, &[Name]),
    ("CNAME", 5, &[Name]),
    ("SOA", 6, &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds]),
    ("PTR", 12, &[Name]),
    ("HINFO", 13, &[Text, Text]),
    ("MX", 15, &[U16, Name]),
    ("TXT", 16, &[Texts]),
    ("RP", 17, &[Name, Name]),
    ("AFSDB", 18, &[U16, Name]),
    ("AAAA", 28, &[Ipv6]),
    ("SRV", 33, &[U16, U16, U16, Name]),
    ("NAPTR", 35, &[U16, U16, Text, Text, Text, Name]),
    ("KX", 36, &[U16, Name]),
    ("CERT", 37, &[U16, U16, U8, Base64]),
    ("DNAME", 39, &[Name]),
    ("DS", 43, &[U16, U8, U8, Hex]),
    ("SSHFP", 44, &[U8, U8, Hex]),
    ("RRSIG", 46, &[Type, U8, U8, U32, U32, U32, U16, Name, Base64]),
    ("NSEC", 47, &[Name, Types]),
    ("DNSKEY", 48, &[U16, U8, U8, Base64]),
    ("TLSA", 52, &[U8, U8, U8, Hex]),
    ("SMIMEA", 53, &[U8, U8, U8, Hex]),
    ("CDS", 59, &[U16, U8, U8, Hex]),
    ("CDNSKEY", 60, &[U16, U8, U8, Base64]),
    ("OPENPGPKEY", 61, &[Base64]),
    ("CSYNC", 62, &[U32, U16, Types]),
    ("SVCB", 64, &[U16, Name, Parameters]),
    ("HTTPS", 65, &[U16, Name, Parameters]),
    ("SPF", 99, &[Texts]),
    ("URI", 256, &[U16, U16, Rest]),
    ("CAA", 257, &[U8, Tag, Rest]),
];

/// Types that are for messages, not for zones (RFC 6895, section 3.1).
pub(super) const fn is_meta(number: u16) -> bool {
    matches!(number, 0 | 41 | 128..=255)
}

/// The number of a type.
pub(super) fn number(name: &str) -> Option<u16> {
    TYPES.iter().find(|(known, ..)| *known == name).map(|(_, number, _)| *number)
}

/// The name of a type: its own, or that of RFC 3597.
pub(super) fn name(number: u16) -> String {
    let known = TYPES.iter().find(|(_, known, _)| *known == number);
    known.map_or_else(|| format!("TYPE{number}"), |(name, ..)| (*name).to_owned())
}

/// What the data of a type are made of.
pub(super) fn of(number: u16) -> Option<&'static [Field]> {
    TYPES.iter().find(|(_, known, _)| *known == number).map(|(_, _, fields)| *fields)
}
