//! A segment of somebody else, with other numbers in it; its checksum is updated for what has changed only, so what
//! was wrong before is wrong after.

use super::checksum::Change;
use crate::frame::Packet;
use crate::seq::SeqNumber;

const SEQ: usize = 4;
const ACK: usize = 8;
const OFFSET: usize = 12;
const WINDOW: usize = 14;
const CHECKSUM: usize = 16;
const HEADER: usize = 20;
const OPTION_NOOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_SACK: u8 = 5;

/// What is put in place of what a segment has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rewrite {
    pub(crate) seq: Option<SeqNumber>,
    pub(crate) ack: Option<SeqNumber>,
    pub(crate) window: Option<u16>,
    pub(crate) sack: Sack,
    /// The largest segment that may be offered, in a SYN.
    pub(crate) max_mss: Option<u16>,
}

/// What becomes of selective acknowledgments (RFC 2018).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sack {
    #[default]
    Keep,
    /// Their edges are shifted so far.
    Shift(u32),
    /// They give way to no-operations.
    Strip,
}

impl Rewrite {
    /// Writes `packet`, which carries a TCP segment, into `copy` with the changes.
    pub(crate) fn write(&self, packet: &Packet<'_>, copy: &mut Vec<u8>) {
        copy.clear();
        copy.extend_from_slice(packet.bytes);
        let Some(tcp) = copy.get_mut(packet.header..).filter(|tcp| tcp.len() >= HEADER) else {
            return;
        };
        let mut change = Change::default();
        if let Some(seq) = self.seq {
            change.put(tcp, SEQ, &seq.0.to_be_bytes());
        }
        if let Some(ack) = self.ack {
            change.put(tcp, ACK, &ack.0.to_be_bytes());
        }
        if let Some(window) = self.window {
            change.put(tcp, WINDOW, &window.to_be_bytes());
        }
        if self.sack != Sack::Keep || self.max_mss.is_some() {
            self.rewrite_options(tcp, &mut change);
        }
        let checksum = u16::from_be_bytes([tcp[CHECKSUM], tcp[CHECKSUM + 1]]);
        tcp[CHECKSUM..CHECKSUM + 2].copy_from_slice(&change.apply(checksum).to_be_bytes());
    }

    fn rewrite_options(&self, tcp: &mut [u8], change: &mut Change) {
        let end = usize::from(tcp[OFFSET] >> 4) * 4;
        let mut at = HEADER;
        while let Some(&kind) = tcp.get(at).filter(|_| at < end) {
            let length = match kind {
                0 => return,
                OPTION_NOOP => 1,
                _ => usize::from(tcp.get(at + 1).copied().unwrap_or_default()),
            };
            if length == 0 || at + length > end || at + length > tcp.len() {
                return;
            }
            if let (OPTION_MSS, 4, Some(most)) = (kind, length, self.max_mss)
                && u16::from_be_bytes([tcp[at + 2], tcp[at + 3]]) > most
            {
                change.put(tcp, at + 2, &most.to_be_bytes());
            }
            if kind == OPTION_SACK && length >= 2 {
                match self.sack {
                    Sack::Keep => {}
                    Sack::Shift(distance) => {
                        for edge in (at + 2..).step_by(4).take((length - 2) / 4) {
                            shift(tcp, edge, distance, change);
                        }
                    }
                    // Forty octets of options at most.
                    Sack::Strip => change.put(tcp, at, &[OPTION_NOOP; 40][..length.min(40)]),
                }
            }
            at += length;
        }
    }
}

/// Adds `distance` to the number at `at`, if there is a whole one.
fn shift(octets: &mut [u8], at: usize, distance: u32, change: &mut Change) {
    let Some(number) = octets.get(at..).and_then(|rest| rest.first_chunk()) else { return };
    let number = SeqNumber(u32::from_be_bytes(*number)).after(distance);
    change.put(octets, at, &number.0.to_be_bytes());
}

/// Which number of a quoted segment is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quoted {
    Seq,
    Ack,
}

/// Writes an ICMP error into `copy` with a number of the segment that it quotes shifted (RFC 792; RFC 4443, section 3).
/// `header` is where in the message the quoted TCP header begins; a number that is not quoted is left out.
pub(crate) fn requote(
    packet: &Packet<'_>,
    header: usize,
    (what, distance): (Quoted, u32),
    copy: &mut Vec<u8>,
) {
    copy.clear();
    copy.extend_from_slice(packet.bytes);
    let Some(message) = copy.get_mut(packet.header..).filter(|message| message.len() >= 4) else {
        return;
    };
    let mut change = Change::default();
    let at = header + if what == Quoted::Seq { SEQ } else { ACK };
    shift(message, at, distance, &mut change);
    let checksum = u16::from_be_bytes([message[2], message[3]]);
    message[2..4].copy_from_slice(&change.apply(checksum).to_be_bytes());
}
