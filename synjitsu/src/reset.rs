//! RSTs in the name of a service that is not there (RFC 9293, section 3.10.7.1).

use crate::flow::{FlowKey, OpenEnd};
use crate::frame::Segment;
use crate::seq::SeqNumber;
use crate::tcp::Draft;

/// The answer to a segment that no connection takes; the caller sees to it that it is not a RST.
pub(crate) fn answer(key: &FlowKey, segment: &Segment) -> Vec<u8> {
    match segment.ack {
        Some(ack) => to_remote(key, ack, None),
        None => to_remote(key, SeqNumber(0), Some(segment.end())),
    }
}

/// The end of a connection whose guest is gone.
pub(crate) fn end(open: &OpenEnd) -> Vec<u8> {
    to_remote(&open.key, open.seq, open.ack)
}

/// Tells a guest that the client whose SYN it got is no longer there.
pub(crate) fn to_guest(key: &FlowKey, seq: SeqNumber) -> Vec<u8> {
    Draft { rst: true, ..Draft::to_guest(key, seq, None) }.packet()
}

fn to_remote(key: &FlowKey, seq: SeqNumber, ack: Option<SeqNumber>) -> Vec<u8> {
    Draft { rst: true, ..Draft::to_remote(key, seq, ack) }.packet()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Packet, Transport};

    fn key() -> FlowKey {
        let (local, remote) = ([10, 0, 0, 2].into(), [192, 0, 2, 1].into());
        FlowKey { local, local_port: 80, remote, remote_port: 4000 }
    }

    fn answered(segment: Segment) -> Segment {
        let packet = answer(&key(), &segment);
        let parsed = Packet::parse(&packet).unwrap();
        assert_eq!((parsed.source, parsed.destination), (key().local, key().remote));
        match parsed.transport {
            Transport::Tcp(segment) => segment,
            other => panic!("{other:?} is not a RST"),
        }
    }

    const SEGMENT: Segment = Segment {
        source_port: 4000,
        destination_port: 80,
        seq: SeqNumber(u32::MAX),
        ack: None,
        syn: true,
        fin: true,
        rst: false,
        window: 0,
        payload: 5,
    };

    #[test]
    fn without_an_acknowledgment_all_of_the_segment_is_acknowledged() {
        let reset = answered(SEGMENT);
        assert!(reset.rst && !reset.syn && !reset.fin);
        assert_eq!((reset.seq, reset.ack), (SeqNumber(0), Some(SeqNumber(6))));
        assert_eq!((reset.source_port, reset.destination_port), (80, 4000));
    }

    #[test]
    fn with_an_acknowledgment_the_reset_takes_its_number() {
        let reset = answered(Segment { ack: Some(SeqNumber(77)), ..SEGMENT });
        assert_eq!((reset.seq, reset.ack), (SeqNumber(77), None));
    }
}
