//! What a client has sent ahead of what is missing (RFC 9293, section 3.10.7.4; RFC 2018).

use etherparse::TcpOptionElement;

use crate::seq::SeqNumber;

/// Kept apart at most; beyond, what comes out of order has to be sent again.
const MOST_PIECES: usize = 64;
/// Blocks that fit the options of a segment without timestamps (RFC 2018, section 3).
const MOST_BLOCKS: usize = 4;

/// Octets with gaps before them, in order and without overlap.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    pieces: Vec<Piece>,
    octets: usize,
    /// Where the piece begins that came last: it is told first.
    last: Option<SeqNumber>,
}

#[derive(Debug)]
struct Piece {
    start: SeqNumber,
    octets: Vec<u8>,
}

impl Piece {
    fn end(&self) -> SeqNumber {
        self.start.after(length(&self.octets))
    }
}

impl Reassembly {
    /// How many octets are kept.
    pub(super) const fn octets(&self) -> usize {
        self.octets
    }

    /// Keeps what is new in `payload`, which begins at `start`; nothing before `next` is missing. At most `space` octets are
    /// kept; returns how many were.
    pub(super) fn insert(
        &mut self,
        next: SeqNumber,
        start: SeqNumber,
        payload: &[u8],
        space: usize,
    ) -> usize {
        let before = self.octets;
        // What is missing is taken in any case: it makes the pieces fewer.
        let most = if start == next { usize::MAX } else { MOST_PIECES };
        let (mut at, mut rest, mut space) = (start, payload, space);
        let mut place = 0;
        while !rest.is_empty() && space > 0 && self.pieces.len() < most {
            let next = self.pieces.get(place).map(|piece| (piece.start, piece.end()));
            let gap = next.map_or(rest.len(), |(start, end)| {
                if !at.precedes(end) {
                    return 0;
                }
                if at.precedes(start) { octets(start.distance_from(at)) } else { 0 }
            });
            let new = &rest[..gap.min(rest.len()).min(space)];
            if !new.is_empty() {
                self.pieces.insert(place, Piece { start: at, octets: new.to_vec() });
                self.octets += new.len();
                space -= new.len();
                place += 1;
            }
            let Some((_, end)) = next else { break };
            // What this piece has already is left out.
            if at.precedes(end) {
                rest = rest.get(octets(end.distance_from(at))..).unwrap_or_default();
                at = end;
            }
            place += 1;
        }
        self.last = Some(start);
        self.octets - before
    }

    /// Takes the piece that begins at `next`, if there is one.
    pub(super) fn take(&mut self, next: SeqNumber) -> Option<Vec<u8>> {
        let piece = self.pieces.first().filter(|piece| piece.start == next)?;
        self.octets -= piece.octets.len();
        Some(self.pieces.remove(0).octets)
    }

    /// Gives up what lies farthest ahead; returns how many octets that were (RFC 2018, section 8, allows it).
    pub(super) fn renege(&mut self) -> Option<usize> {
        let given_up = self.pieces.pop()?.octets.len();
        self.octets -= given_up;
        Some(given_up)
    }

    /// The selective acknowledgment of what is kept, if anything is.
    pub(super) fn option(&self) -> Option<TcpOptionElement> {
        let mut blocks: Vec<(SeqNumber, SeqNumber)> = Vec::new();
        for piece in &self.pieces {
            match blocks.last_mut().filter(|(_, end)| *end == piece.start) {
                Some((_, end)) => *end = piece.end(),
                None => blocks.push((piece.start, piece.end())),
            }
        }
        let has_last = |(start, end): &(SeqNumber, SeqNumber)| {
            self.last.is_some_and(|last| !last.precedes(*start) && last.precedes(*end))
        };
        if let Some(place) = blocks.iter().position(has_last) {
            blocks[..=place].rotate_right(1);
        }
        let mut blocks = blocks.into_iter().take(MOST_BLOCKS).map(|(start, end)| (start.0, end.0));
        let first = blocks.next()?;
        let more = [blocks.next(), blocks.next(), blocks.next()];
        Some(TcpOptionElement::SelectiveAcknowledgement(first, more))
    }
}

fn octets(distance: u32) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}

fn length(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Segments in any order and overlap, compared with the stream that they are parts of.
        #[test]
        fn nothing_is_kept_twice_or_wrong(
            isn: u32,
            parts in proptest::collection::vec((0_u32..300, 0_usize..60), 1..60),
            space in 0_usize..400,
        ) {
            let stream: Vec<u8> = (0..400_usize).map(|octet| u8::try_from(octet % 251).unwrap()).collect();
            let mut kept = Reassembly::default();
            let (mut next, mut taken) = (0_u32, Vec::new());
            for (start, length) in parts {
                let begin = usize::try_from(start.max(next)).unwrap();
                let end = (usize::try_from(start).unwrap() + length).max(begin);
                let at = SeqNumber(isn).after(start.max(next));
                let room = space.saturating_sub(kept.octets());
                let before = kept.octets();
                let new = kept.insert(SeqNumber(isn).after(next), at, &stream[begin..end], room);
                prop_assert_eq!(kept.octets(), before + new);
                prop_assert!(kept.octets() <= space);
                while let Some(octets) = kept.take(SeqNumber(isn).after(next)) {
                    next += length_of(&octets);
                    taken.extend(octets);
                }
                prop_assert_eq!(&taken[..], &stream[..taken.len()]);
                if let Some(TcpOptionElement::SelectiveAcknowledgement(first, more)) = kept.option() {
                    for (left, right) in [Some(first)].into_iter().chain(more).flatten() {
                        let (left, right) = (left.wrapping_sub(isn), right.wrapping_sub(isn));
                        prop_assert!(next < left && left < right && right <= 400);
                    }
                } else {
                    prop_assert_eq!(kept.octets(), 0);
                }
            }
        }
    }

    #[test]
    fn what_is_missing_is_taken_however_many_pieces_wait_for_it() {
        let mut kept = Reassembly::default();
        for piece in 1..=2 * u32::try_from(MOST_PIECES).unwrap() {
            kept.insert(SeqNumber(0), SeqNumber(piece * 10), &[1], usize::MAX);
        }
        assert_eq!(kept.octets(), MOST_PIECES);
        assert_eq!(kept.insert(SeqNumber(0), SeqNumber(0), &[2; 10], usize::MAX), 10);
        assert_eq!(kept.take(SeqNumber(0)), Some(vec![2; 10]));
        assert_eq!(kept.take(SeqNumber(10)), Some(vec![1]));
    }

    fn length_of(octets: &[u8]) -> u32 {
        length(octets)
    }

    #[test]
    fn the_newest_block_is_told_first() {
        let mut kept = Reassembly::default();
        for start in [100, 300, 500, 310, 200] {
            kept.insert(SeqNumber(0), SeqNumber(start), &[0; 10], 1000);
        }
        let blocks = [Some((100, 110)), Some((300, 320)), Some((500, 510))];
        let expected = TcpOptionElement::SelectiveAcknowledgement((200, 210), blocks);
        assert_eq!(kept.option(), Some(expected));
    }
}
