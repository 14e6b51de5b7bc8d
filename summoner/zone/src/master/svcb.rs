//! Parameters of service bindings (RFC 9460, section 2.1 and appendix A; RFC 9461, section 5).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::lexer::{Token, unescape};
use super::print::{base64, character_string};
use super::rdata;

/// What a parameter's value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Keys,
    Protocols,
    Nothing,
    Port,
    Ipv4,
    Base64,
    Ipv6,
    Octets,
}

/// The parameters that have names (the registry of RFC 9460, section 14.3.2).
const KEYS: [(&str, u16, Value); 9] = [
    ("mandatory", 0, Value::Keys),
    ("alpn", 1, Value::Protocols),
    ("no-default-alpn", 2, Value::Nothing),
    ("port", 3, Value::Port),
    ("ipv4hint", 4, Value::Ipv4),
    ("ech", 5, Value::Base64),
    ("ipv6hint", 6, Value::Ipv6),
    ("dohpath", 7, Value::Octets),
    ("ohttp", 8, Value::Nothing),
];

fn number(key: &str) -> Option<u16> {
    let known = KEYS.iter().find(|(name, ..)| *name == key).map(|(_, number, _)| *number);
    known.or_else(|| key.strip_prefix("key")?.parse().ok())
}

fn name(number: u16) -> String {
    let known = KEYS.iter().find(|(_, known, _)| *known == number);
    known.map_or_else(|| format!("key{number}"), |(name, ..)| (*name).to_owned())
}

fn kind(number: u16) -> Value {
    KEYS.iter().find(|(_, known, _)| *known == number).map_or(Value::Octets, |(.., kind)| *kind)
}

/// Words of the form `key=value` to wire form, in the order of their keys (RFC 9460, section 2.2).
pub(super) fn parse(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let mut parameters = BTreeMap::new();
    for token in tokens {
        let at = token.raw.iter().position(|octet| *octet == b'=');
        let (key, value) = token.raw.split_at(at.unwrap_or(token.raw.len()));
        let key = String::from_utf8_lossy(key);
        let number = number(&key).ok_or_else(|| format!("`{key}` is no parameter of a service binding; one that has no name is written as key followed by its number"))?;
        let value = unescape(value.strip_prefix(b"=").unwrap_or_default())?;
        let value = octets(kind(number), &value).map_err(|why| format!("{key}: {why}"))?;
        if parameters.insert(number, value).is_some() {
            return Err(format!("{key} is written twice"));
        }
    }
    let mut wire = Vec::new();
    for (key, value) in parameters {
        let length =
            u16::try_from(value.len()).map_err(|_| "a parameter is too long".to_owned())?;
        wire.extend(key.to_be_bytes());
        wire.extend(length.to_be_bytes());
        wire.extend(value);
    }
    Ok(wire)
}

fn octets(kind: Value, value: &[u8]) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(value);
    let words = || text.split(',').filter(|word| !word.is_empty());
    let something = || if value.is_empty() { Err("a value is missing".to_owned()) } else { Ok(()) };
    match kind {
        Value::Octets => Ok(value.to_vec()),
        Value::Nothing if value.is_empty() => Ok(Vec::new()),
        Value::Nothing => Err("it has no value".to_owned()),
        Value::Port => {
            let port: u16 = text.parse().map_err(|_| format!("`{text}` is no port"))?;
            Ok(port.to_be_bytes().to_vec())
        }
        Value::Ipv4 => {
            something()?;
            let parse = |word: &str| {
                word.parse()
                    .map(|address: Ipv4Addr| address.octets())
                    .map_err(|_| format!("`{word}` is no IPv4 address"))
            };
            Ok(words().map(parse).collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Ipv6 => {
            something()?;
            let parse = |word: &str| {
                word.parse()
                    .map(|address: Ipv6Addr| address.octets())
                    .map_err(|_| format!("`{word}` is no IPv6 address"))
            };
            Ok(words().map(parse).collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Keys => {
            something()?;
            let parse =
                |word: &str| number(word).ok_or_else(|| format!("`{word}` is no parameter"));
            let mut keys = words().map(parse).collect::<Result<Vec<_>, _>>()?;
            keys.sort_unstable();
            Ok(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        Value::Base64 => rdata::base64(&[Token { raw: value.to_vec(), quoted: true }]),
        Value::Protocols => {
            something()?;
            let mut wire = Vec::new();
            for protocol in list(value) {
                let length = u8::try_from(protocol.len()).ok().filter(|length| *length > 0);
                wire.push(length.ok_or("a protocol has 1 to 255 octets")?);
                wire.extend(protocol);
            }
            Ok(wire)
        }
    }
}

/// Items with commas between them; a backslash takes an item's own comma or backslash (RFC 9460, appendix A.1).
fn list(value: &[u8]) -> Vec<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        let taken = match octet {
            b',' => None,
            b'\\' => octets.next(),
            other => Some(other),
        };
        match (taken, items.last_mut()) {
            (Some(taken), Some(item)) => item.push(*taken),
            _ => items.push(Vec::new()),
        }
    }
    items
}

/// Wire form to text, each parameter after a blank; nothing if the octets are no parameters.
pub(super) fn print(mut wire: &[u8]) -> Option<String> {
    let mut text = String::new();
    while !wire.is_empty() {
        let (head, rest) = wire.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        let (key, length) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        let (value, rest) = rest.split_at_checked(length)?;
        let value = value_text(kind(key), value)?;
        wire = rest;
        let key = name(key);
        // Writing to a text cannot fail.
        let _ =
            if value.is_empty() { write!(text, " {key}") } else { write!(text, " {key}={value}") };
    }
    Some(text)
}

fn value_text(kind: Value, value: &[u8]) -> Option<String> {
    let text =
        match kind {
            Value::Octets if value.is_empty() => String::new(),
            Value::Octets => character_string(value),
            Value::Nothing => String::new(),
            Value::Port => u16::from_be_bytes(value.try_into().ok()?).to_string(),
            Value::Base64 => base64(value),
            Value::Ipv4 => joined(value.chunks(4).map(|octets| {
                Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string())
            }))?,
            Value::Ipv6 => joined(value.chunks(16).map(|octets| {
                Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string())
            }))?,
            Value::Keys => joined(
                value
                    .chunks(2)
                    .map(|octets| Some(name(u16::from_be_bytes(octets.try_into().ok()?)))),
            )?,
            Value::Protocols => {
                let (mut rest, mut items) = (value, Vec::new());
                while let Some((length, after)) = rest.split_first() {
                    let (protocol, after) = after.split_at_checked(usize::from(*length))?;
                    let escaped = protocol.iter().flat_map(|octet| match octet {
                        b',' | b'\\' => vec![b'\\', *octet],
                        other => vec![*other],
                    });
                    items.push(escaped.collect::<Vec<u8>>());
                    rest = after;
                }
                character_string(&items.join(&b','))
            }
        };
    Some(text)
}

fn joined(items: impl Iterator<Item = Option<String>>) -> Option<String> {
    items.collect::<Option<Vec<_>>>().map(|items| items.join(","))
}
