//! A guest that behaves like a real one: it refuses until it listens, and knows its connections.

use std::collections::{BTreeMap, VecDeque};

use crate::support::segment::{Segment, ack, rst, rst_ack, syn_ack};

#[derive(Debug, Default)]
pub(crate) struct Guest {
    pub(crate) listens: bool,
    /// No two instances choose the same initial sequence numbers.
    pub(crate) salt: u32,
    pub(crate) inbox: VecDeque<Vec<u8>>,
    /// Initial sequence numbers of the client and the guest.
    pub(crate) connections: BTreeMap<(u16, u16), (u32, u32)>,
}

impl Guest {
    /// What it says to a segment, if anything.
    pub(crate) fn answer(&mut self, segment: &Segment) -> Option<Segment> {
        let key = (segment.client_port, segment.guest_port);
        let reply = |segment: Segment| Some(segment.on_port(key.0).to_port(key.1));
        let after = segment.seq.wrapping_add(u32::from(segment.syn));
        let known = self.connections.get(&key).copied();
        if segment.rst {
            if known.is_some_and(|(isn, _)| segment.seq.wrapping_sub(isn.wrapping_add(1)) < 64_000)
            {
                self.connections.remove(&key);
            }
            return None;
        }
        if segment.syn {
            if let Some((isn, iss)) = known.filter(|(isn, _)| *isn != segment.seq) {
                // A challenge (RFC 5961): somebody else, or the old client anew?
                return reply(ack(iss.wrapping_add(1), isn.wrapping_add(1)));
            }
            if !self.listens {
                return reply(rst_ack(0, after));
            }
            let iss = segment.seq ^ 0x5555_5555 ^ self.salt;
            self.connections.insert(key, (segment.seq, iss));
            return reply(syn_ack(iss, after));
        }
        match (known, segment.ack) {
            (Some((isn, iss)), _) => reply(ack(iss.wrapping_add(1), isn.wrapping_add(6))),
            (None, Some(number)) => reply(rst(number)),
            (None, None) => None,
        }
    }
}
