//! Messages behind their length (RFC 1035, section 4.2.2), out of a stream and into it.

use bytes::{Buf, BytesMut};

/// The longest query that is taken, in octets: many times what any has, so that a connection's memory is bounded.
const LONGEST_QUERY: usize = 4096;
/// Octets before a message that say how long it is.
const LENGTH: usize = 2;

/// A message is longer than any query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// What has come in and is not a whole message yet.
#[derive(Debug, Default)]
pub(super) struct Incoming(BytesMut);

impl Incoming {
    /// Where octets are put that come in, with room for some.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        self.0.reserve(512);
        &mut self.0
    }

    /// The next message, if it is whole.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, TooLong> {
        let Some(length) = self.0.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > LONGEST_QUERY {
            return Err(TooLong);
        }
        if self.0.len() < LENGTH + length {
            return Ok(None);
        }
        self.0.advance(LENGTH);
        Ok(Some(self.0.split_to(length)))
    }
}

/// Appends a message to octets that go out. One that is longer than a stream can carry is left out: `false`.
#[must_use]
pub(super) fn put(outgoing: &mut Vec<u8>, message: &[u8]) -> bool {
    let Ok(length) = u16::try_from(message.len()) else { return false };
    outgoing.extend_from_slice(&length.to_be_bytes());
    outgoing.extend_from_slice(message);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let messages = [&b"one"[..], b"", b"three"];
        let mut octets = Vec::new();
        for message in messages {
            assert!(put(&mut octets, message));
        }
        assert!(!put(&mut octets, &vec![0; 65_536]));
        for step in 1..=octets.len() {
            let mut incoming = Incoming::default();
            let mut found = Vec::new();
            for piece in octets.chunks(step) {
                incoming.buffer().extend_from_slice(piece);
                while let Some(message) = incoming.next().unwrap() {
                    found.push(message.to_vec());
                }
            }
            assert_eq!(found, messages);
        }
        let mut incoming = Incoming::default();
        incoming.buffer().extend_from_slice(&[0xff, 0xff]);
        assert_eq!(incoming.next(), Err(TooLong));
    }
}
