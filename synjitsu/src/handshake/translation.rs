//! From the guest's numbers to those that the client knows, and back: constants, found at the hand-over.

use crate::frame::{Packet, Segment};
use crate::seq::SeqNumber;
use crate::tcp::{Rewrite, Sack};

/// The constants of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Translation {
    /// The guest's initial sequence number, by which another connection is told from this one.
    pub(crate) guest_iss: SeqNumber,
    /// How far the client's view of the guest's numbers is after the guest's own.
    pub(crate) distance: u32,
    pub(crate) windows: Windows,
    /// Whether they were agreed on with both.
    pub(crate) sack: bool,
}

/// By how much windows are shifted, on both sides of the switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Windows {
    /// The shifts of the client's and of our windows, as agreed with the client.
    pub(crate) agreed: Option<(u8, u8)>,
    /// That of the guest, if it has agreed to any.
    pub(crate) guest: Option<u8>,
}

impl Windows {
    /// The window field for the client that says what the guest's says.
    pub(crate) fn to_client(self, field: u16) -> u16 {
        let ours = self.agreed.map_or(0, |(_, ours)| ours);
        narrow(self.of_guest(field) >> ours)
    }

    /// The octets that a window field of the guest stands for.
    pub(crate) fn of_guest(self, field: u16) -> u32 {
        u32::from(field) << self.guest.unwrap_or(0)
    }

    /// The window field for the guest that stands for so many octets.
    pub(crate) fn for_guest(self, octets: u32) -> u16 {
        // A guest that scales its own windows has agreed to the client's shift as well.
        let shift = self.guest.and(self.agreed).map_or(0, |(client, _)| client);
        narrow(octets >> shift)
    }

    /// The window field for the guest that says what the client's says.
    pub(crate) fn to_guest(self, field: u16) -> u16 {
        let client = self.agreed.map_or(0, |(client, _)| client);
        self.for_guest(u32::from(field) << client)
    }
}

fn narrow(octets: u32) -> u16 {
    u16::try_from(octets).unwrap_or(u16::MAX)
}

impl Translation {
    /// What the client gets of a guest's segment.
    pub(crate) fn to_client(self, segment: &Segment) -> Rewrite {
        Rewrite {
            seq: Some(segment.seq.after(self.distance)),
            ack: None,
            window: Some(self.windows.to_client(segment.window)),
            // They are about the client's numbers, which are the same on both sides.
            sack: Sack::Keep,
            max_mss: None,
        }
    }

    /// What the guest gets of a client's segment.
    pub(crate) fn to_guest(self, segment: &Segment) -> Rewrite {
        let back = 0_u32.wrapping_sub(self.distance);
        Rewrite {
            seq: None,
            ack: segment.ack.map(|ack| ack.after(back)),
            window: Some(self.windows.to_guest(segment.window)),
            sack: if self.sack { Sack::Shift(back) } else { Sack::Strip },
            max_mss: None,
        }
    }

    /// A client's segment in the guest's numbers.
    pub(crate) fn seen_by_guest(&self, segment: &Segment) -> Segment {
        let back = 0_u32.wrapping_sub(self.distance);
        Segment { ack: segment.ack.map(|ack| ack.after(back)), ..*segment }
    }

    /// What the guest gets of a client's packet, written to `copy`.
    pub(crate) fn write_to_guest(
        &self,
        packet: &Packet<'_>,
        segment: &Segment,
        copy: &mut Vec<u8>,
    ) {
        self.to_guest(segment).write(packet, copy);
    }
}
