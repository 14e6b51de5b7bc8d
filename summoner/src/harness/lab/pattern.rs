//! Octets that tell where they belong, written and compared.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::exchange::ExchangeError;

/// Octets that are written or read at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// Writes the pattern from an octet to another one; where it ends.
pub(super) fn write_pattern(
    mut stream: &TcpStream,
    seed: u64,
    mut from: u64,
    to: u64,
) -> Result<u64, ExchangeError> {
    let mut chunk = vec![0; CHUNK];
    while from < to {
        let left = usize::try_from(to - from).unwrap_or(usize::MAX);
        let part = &mut chunk[..left.min(CHUNK)];
        Pattern { seed }.fill(from, part);
        stream.write_all(part).map_err(|source| ExchangeError::Connection {
            what: "writing",
            octets: from,
            source,
        })?;
        from += octets(part.len());
    }
    Ok(from)
}

/// Reads so many octets of the pattern.
pub(super) fn compare(
    mut stream: &TcpStream,
    seed: u64,
    length: u64,
    what: &'static str,
    direction: &'static str,
) -> Result<(), ExchangeError> {
    let (mut chunk, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut position = 0;
    while position < length {
        let left = usize::try_from(length - position).unwrap_or(usize::MAX);
        let read = stream
            .read(&mut chunk[..left.min(CHUNK)])
            .map_err(|source| ExchangeError::Connection { what, octets: position, source })?;
        if read == 0 {
            return Err(ExchangeError::Length { direction, came: position, sent: length });
        }
        let (found, expected) = (&chunk[..read], &mut expected[..read]);
        Pattern { seed }.fill(position, expected);
        if found != expected {
            let wrong = found.iter().zip(&*expected).take_while(|(one, other)| one == other);
            return Err(ExchangeError::Different {
                direction,
                position: position + octets(wrong.count()),
            });
        }
        position += octets(read);
    }
    Ok(())
}

/// Nothing more must come.
pub(super) fn expect_end(
    mut stream: &TcpStream,
    sent: u64,
    direction: &'static str,
) -> io::Result<Result<(), ExchangeError>> {
    Ok(match stream.read(&mut [0])? {
        0 => Ok(()),
        more => Err(ExchangeError::Length { direction, came: sent + octets(more), sent }),
    })
}

/// Octets that tell where they belong: each eight of them are a function of their place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pattern {
    pub(super) seed: u64,
}

impl Pattern {
    /// The octets from `position` on.
    pub(super) fn fill(self, position: u64, into: &mut [u8]) {
        let skipped = usize::try_from(position % 8).unwrap_or(0);
        let (first, rest) = into.split_at_mut((8 - skipped).min(into.len()));
        let mut index = position / 8;
        first.copy_from_slice(&self.word(index)[skipped..skipped + first.len()]);
        for place in rest.chunks_mut(8) {
            index += 1;
            place.copy_from_slice(&self.word(index)[..place.len()]);
        }
    }

    const fn word(self, index: u64) -> [u8; 8] {
        let mut word = self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (word ^ (word >> 31)).to_le_bytes()
    }
}

pub(super) fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The number at the beginning of some octets.
pub(super) fn number(octets: &[u8]) -> u64 {
    octets.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_does_not_depend_on_how_it_is_cut() {
        let pattern = Pattern { seed: 5 };
        let mut whole = [0; 100];
        pattern.fill(3, &mut whole);
        for cut in 0..100 {
            let mut parts = [0; 100];
            let (first, second) = parts.split_at_mut(cut);
            pattern.fill(3, first);
            pattern.fill(3 + octets(cut), second);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }
}
