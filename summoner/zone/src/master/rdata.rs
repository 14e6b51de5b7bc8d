//! Record data: words to wire form.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{Name, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use hickory_proto::serialize::txt::parse_ttl;

use super::fields::{self, Field};
use super::lexer::{Token, unescape};
use super::{name, svcb};

/// The class of everything here.
const IN: [u8; 2] = [0, 1];

/// The record that the words say.
pub(super) fn record(
    owner: Name,
    ttl: u32,
    record_type: RecordType,
    tokens: &[Token],
    origin: &Name,
) -> Result<Record, String> {
    let number = u16::from(record_type);
    if fields::is_meta(number) {
        return Err(format!("{record_type} is for messages; a zone cannot have it"));
    }
    let data = match (tokens, fields::of(number)) {
        ([generic, rest @ ..], _) if generic.raw == b"\\#" && !generic.quoted => unknown(rest)?,
        (_, Some(fields)) => known(fields, tokens, origin)?,
        (_, None) => {
            return Err(format!(
                "the data of {record_type} have no text form here; write `\\# LENGTH HEXADECIMAL` (RFC 3597)"
            ));
        }
    };
    let length =
        u16::try_from(data.len()).map_err(|_| "more than 65535 octets of data".to_owned())?;
    let mut wire = owner.to_bytes().map_err(|error| error.to_string())?;
    wire.extend(number.to_be_bytes());
    wire.extend(IN);
    wire.extend(ttl.to_be_bytes());
    wire.extend(length.to_be_bytes());
    wire.extend(data);
    let mut record = Record::from_bytes(&wire)
        .map_err(|error| format!("the data are not those of {record_type}: {error}"))?;
    record.name.set_fqdn(true);
    Ok(record)
}

/// RFC 3597, section 5.
fn unknown(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let (length, octets) = tokens.split_first().ok_or("a length follows `\\#`")?;
    let length: usize = number(length)?;
    let octets = hexadecimal(octets)?;
    if octets.len() == length {
        Ok(octets)
    } else {
        Err(format!("{} octets are written, and {length} are said to be", octets.len()))
    }
}

fn known(fields: &[Field], tokens: &[Token], origin: &Name) -> Result<Vec<u8>, String> {
    let mut wire = Vec::new();
    let mut rest = tokens;
    for field in fields {
        rest = match field {
            Field::Texts | Field::Hex | Field::Base64 | Field::Types | Field::Parameters => {
                tail(*field, rest, &mut wire)?;
                &[]
            }
            _ => {
                let (token, after) = rest.split_first().ok_or("something is missing at its end")?;
                one(*field, token, origin, &mut wire)?;
                after
            }
        };
    }
    match rest.first() {
        None => Ok(wire),
        Some(more) => Err(format!("`{more}` is too much")),
    }
}

/// A field that is one word.
fn one(field: Field, token: &Token, origin: &Name, wire: &mut Vec<u8>) -> Result<(), String> {
    let text = || String::from_utf8_lossy(&token.raw);
    match field {
        Field::Name => {
            let name = name::parse(&token.raw, Some(origin))?;
            wire.extend(name.to_bytes().map_err(|error| error.to_string())?);
        }
        Field::U8 => wire.push(number(token)?),
        Field::U16 => wire.extend(number::<u16>(token)?.to_be_bytes()),
        Field::U32 => wire.extend(number::<u32>(token)?.to_be_bytes()),
        Field::Seconds => {
            let seconds = parse_ttl(&text()).map_err(|_| format!("`{token}` are no seconds"))?;
            wire.extend(seconds.to_be_bytes());
        }
        Field::Type => {
            let known = token.record_type().ok_or_else(|| format!("`{token}` is no type"))?;
            wire.extend(u16::from(known).to_be_bytes());
        }
        Field::Ipv4 => {
            let address: Ipv4Addr =
                text().parse().map_err(|_| format!("`{token}` is no IPv4 address"))?;
            wire.extend(address.octets());
        }
        Field::Ipv6 => {
            let address: Ipv6Addr =
                text().parse().map_err(|_| format!("`{token}` is no IPv6 address"))?;
            wire.extend(address.octets());
        }
        Field::Text | Field::Tag => character_string(token, wire)?,
        Field::Rest => wire.extend(unescape(&token.raw)?),
        Field::Texts | Field::Hex | Field::Base64 | Field::Types | Field::Parameters => {}
    }
    Ok(())
}

/// A field that is all words that are left.
fn tail(field: Field, tokens: &[Token], wire: &mut Vec<u8>) -> Result<(), String> {
    match field {
        Field::Texts if tokens.is_empty() => return Err("a text is missing".to_owned()),
        Field::Texts => tokens.iter().try_for_each(|token| character_string(token, wire))?,
        Field::Hex => wire.extend(hexadecimal(tokens)?),
        Field::Base64 => wire.extend(base64(tokens)?),
        Field::Types => wire.extend(types(tokens)?),
        Field::Parameters => wire.extend(svcb::parse(tokens)?),
        _ => {}
    }
    Ok(())
}

fn number<T: std::str::FromStr>(token: &Token) -> Result<T, String> {
    let text = String::from_utf8_lossy(&token.raw);
    text.parse().map_err(|_| format!("`{token}` is no number in range"))
}

fn character_string(token: &Token, wire: &mut Vec<u8>) -> Result<(), String> {
    let octets = unescape(&token.raw)?;
    let length = u8::try_from(octets.len())
        .map_err(|_| format!("`{token}` is longer than 255 octets; write it as several texts"))?;
    wire.push(length);
    wire.extend(octets);
    Ok(())
}

fn hexadecimal(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = tokens.iter().flat_map(|token| token.raw.iter().copied()).collect();
    let digit =
        |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let octets = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    octets
        .collect::<Option<_>>()
        .ok_or_else(|| "pairs of hexadecimal digits are expected".to_owned())
}

/// RFC 4648, section 4.
pub(super) fn base64(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = tokens.iter().flat_map(|token| token.raw.iter().copied()).collect();
    let failed = || "base 64 is expected, whole groups of four".to_owned();
    let end = digits.iter().position(|digit| *digit == b'=').unwrap_or(digits.len());
    let (digits, padding) = digits.split_at(end);
    let whole = (digits.len() + padding.len()).is_multiple_of(4);
    if !whole || padding.len() > 2 || padding.iter().any(|octet| *octet != b'=') {
        return Err(failed());
    }
    let mut octets = Vec::with_capacity(digits.len());
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return Err(failed()),
            };
            bits = bits << 6 | u32::from(value);
        }
        let missing = 4 - group.len();
        bits <<= 6 * missing;
        octets.extend(bits.to_be_bytes().iter().skip(1).take(3 - missing));
    }
    Ok(octets)
}

/// A bitmap of types: a window of 256 types after the other, each with its number and length (RFC 4034, section 4.1.2).
fn types(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let mut windows: std::collections::BTreeMap<u8, [u8; 32]> = std::collections::BTreeMap::new();
    for token in tokens {
        let known = token.record_type().ok_or_else(|| format!("`{token}` is no type"))?;
        let [window, low] = u16::from(known).to_be_bytes();
        windows.entry(window).or_default()[usize::from(low / 8)] |= 0x80 >> (low % 8);
    }
    let mut wire = Vec::new();
    for (window, bits) in windows {
        let length = bits.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        wire.push(window);
        wire.push(u8::try_from(length).unwrap_or(32));
        wire.extend(&bits[..length]);
    }
    Ok(wire)
}
