//! Records as lines of a master file.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{Name, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::fields::{self, Field};
use super::{name, svcb};

/// A record as a line, without the line's end: everything absolute, nothing left out.
#[must_use]
pub fn print(record: &Record) -> String {
    let record_type = fields::name(u16::from(record.record_type()));
    let owner = name::print(&record.name);
    format!("{owner} {} IN {record_type} {}", record.ttl, print_data(record))
}

/// What a record says, without whose it is: its RDATA as text, in the form of RFC 3597 if its type has none here.
#[must_use]
pub fn print_data(record: &Record) -> String {
    let number = u16::from(record.record_type());
    let wire = crate::wire::data(record);
    let known = fields::of(number).and_then(|fields| text(fields, &wire));
    known.unwrap_or_else(|| {
        // RFC 3597, section 5.
        let mut text = format!("\\# {}", wire.len());
        if !wire.is_empty() {
            text.push(' ');
            text.push_str(&hexadecimal(&wire));
        }
        text
    })
}

/// The data as text; nothing if the octets are not made of these fields.
fn text(fields: &[Field], wire: &[u8]) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = wire;
    for field in fields {
        let (word, after) = word(*field, rest)?;
        words.push(word);
        rest = after;
    }
    // An empty word is what no parameters and no types look like.
    words.retain(|word| !word.is_empty());
    rest.is_empty().then(|| words.join(" "))
}

fn word(field: Field, wire: &[u8]) -> Option<(String, &[u8])> {
    let taken = match field {
        Field::Name => {
            let mut decoder = BinDecoder::new(wire);
            let name = Name::read(&mut decoder).ok()?;
            (name::print(&name), wire.get(decoder.index()..)?)
        }
        Field::U8 => {
            let (octet, rest) = wire.split_first()?;
            (octet.to_string(), rest)
        }
        Field::U16 => {
            let (octets, rest) = wire.split_first_chunk()?;
            (u16::from_be_bytes(*octets).to_string(), rest)
        }
        Field::U32 | Field::Seconds => {
            let (octets, rest) = wire.split_first_chunk()?;
            (u32::from_be_bytes(*octets).to_string(), rest)
        }
        Field::Type => {
            let (octets, rest) = wire.split_first_chunk()?;
            (fields::name(u16::from_be_bytes(*octets)), rest)
        }
        Field::Ipv4 => {
            let (octets, rest) = wire.split_first_chunk::<4>()?;
            (Ipv4Addr::from(*octets).to_string(), rest)
        }
        Field::Ipv6 => {
            let (octets, rest) = wire.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*octets).to_string(), rest)
        }
        Field::Text => {
            let (octets, rest) = prefixed(wire)?;
            (character_string(octets), rest)
        }
        Field::Tag => {
            let (octets, rest) = prefixed(wire)?;
            // A property is of letters and digits (RFC 8659, section 4.1).
            let good = !octets.is_empty() && octets.iter().all(u8::is_ascii_alphanumeric);
            (good.then(|| String::from_utf8_lossy(octets).into_owned())?, rest)
        }
        Field::Texts => {
            let (mut rest, mut texts) = (wire, Vec::new());
            while !rest.is_empty() {
                let (octets, after) = prefixed(rest)?;
                texts.push(character_string(octets));
                rest = after;
            }
            ((!texts.is_empty()).then(|| texts.join(" "))?, rest)
        }
        Field::Rest => (character_string(wire), &[][..]),
        Field::Hex => (hexadecimal(wire), &[][..]),
        Field::Base64 => (base64(wire), &[][..]),
        Field::Types => (types(wire)?, &[][..]),
        Field::Parameters => (svcb::print(wire)?.trim_start().to_owned(), &[][..]),
    };
    Some(taken)
}

/// Octets with their number before them.
fn prefixed(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = wire.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// In quotes.
pub(super) fn character_string(octets: &[u8]) -> String {
    let mut text = String::from("\"");
    for octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(*octet)]),
            b' '..=b'~' => text.push(char::from(*octet)),
            // Writing to a text cannot fail.
            other => drop(write!(text, "\\{other:03}")),
        }
    }
    text.push('"');
    text
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// RFC 4648, section 4.
pub(super) fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let octet = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place) & 0x3f) as usize;
            text.push(if place > group.len() { '=' } else { char::from(DIGITS[digit]) });
        }
    }
    text
}

fn types(mut wire: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    while let Some((window, rest)) = wire.split_first() {
        let (bits, rest) = prefixed(rest)?;
        for (at, octet) in bits.iter().enumerate() {
            for bit in (0..8).filter(|bit| octet & 0x80 >> bit != 0) {
                let low = u8::try_from(at * 8 + bit).ok()?;
                names.push(fields::name(u16::from_be_bytes([*window, low])));
            }
        }
        wire = rest;
    }
    Some(names.join(" "))
}
