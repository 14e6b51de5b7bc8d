//! The shared ring: frames sent and received without a hypercall for each
//! ([`Features::SHARED_RING`](crate::boot_info::Features::SHARED_RING)).
//!
//! The ring lies in guest memory at `net_ring` of the [boot information](crate::boot_info), in a part that
//! `mem_size` leaves out. It is a queue each way, and four indices which only ever grow (and wrap at 2^32); an
//! index modulo [`ENTRIES`] is a place.
//!
//! ```text
//!   offset     0  GuestIndices   written by the guest: submission_tail, completion_head
//!             64  HostIndices    written by the host:  submission_head, completion_tail, needs_kick
//!            128  ENTRIES Submissions   [submission_head, submission_tail): the guest's wishes
//!         32 896  ENTRIES Completions   [completion_head, completion_tail): answers to its reads
//! ```
//!
//! A submission says *send this frame* or *here is room for one*. Frames are sent in the order submitted and
//! silently; once `submission_head` has passed a write, its memory is the guest's again. Every read gets one
//! completion, which names it by its `id`; frames are completed in the order in which they arrived, but which of
//! several reads a frame completes is the host's choice. A guest may have at most [`ENTRIES`] reads that it has
//! not taken the completions of.
//!
//! When the host looks:
//! - at a write to the [`KICK_PORT`], which a guest makes when `needs_kick` is not zero. The host carries out what
//!   is submitted and then completes *every* read: with a frame, or with
//!   [`CallResult::Again`](crate::hypercall::CallResult::Again) if there is none. So a guest that knows the ring but
//!   not the next rule works;
//! - with [`Features::POLL_SERVES_RING`](crate::boot_info::Features::POLL_SERVES_RING), at every
//!   [`Poll`](crate::hypercall::Poll): it carries out what is submitted, waits if no read can be completed, and
//!   completes as many reads as there are frames. The others stay. A guest that takes this needs no kick, whatever
//!   `needs_kick` says, unless it wants a frame sent long before its next poll.
//!
//! What is read is copied once and checked; an index, operation or address that makes no sense ends the guest.

use crate::codec::wire_struct;

/// Submissions, and completions, that the ring holds.
pub const ENTRIES: u32 = 1024;

/// x86-64: the port to which a guest writes (four octets of any value) to have the ring served.
pub const KICK_PORT: u16 = 0x600;

/// AArch64: the guest-physical address to which it stores instead.
pub const KICK_MMIO_ADDRESS: u64 = crate::hypercall::MMIO_BASE + 0x100;

/// Where [`GuestIndices`] lie, from the ring's beginning.
pub const GUEST_INDICES: u64 = 0;

/// Where [`HostIndices`] lie: in a cache line of their own.
pub const HOST_INDICES: u64 = 64;

/// Where the first [`Submission`] lies.
pub const SUBMISSIONS: u64 = 128;

/// Where the first [`Completion`] lies.
pub const COMPLETIONS: u64 = SUBMISSIONS + ENTRIES as u64 * Submission::SIZE as u64;

/// Octets of the whole ring.
pub const SIZE: u64 = COMPLETIONS + ENTRIES as u64 * Completion::SIZE as u64;

/// Octets by which `mem_size` shrinks to make room for it.
pub const RESERVED: u64 = SIZE.next_multiple_of(crate::memory_map::LARGE_PAGE_SIZE);

/// Where the submission with that index lies, from the ring's beginning.
#[must_use]
pub const fn submission(index: u32) -> u64 {
    SUBMISSIONS + (index % ENTRIES) as u64 * Submission::SIZE as u64
}

/// Where the completion with that index lies, from the ring's beginning.
#[must_use]
pub const fn completion(index: u32) -> u64 {
    COMPLETIONS + (index % ENTRIES) as u64 * Completion::SIZE as u64
}

/// [`Submission::op`]: send a frame.
pub const OP_WRITE: u32 = 1;

/// [`Submission::op`]: receive a frame.
pub const OP_READ: u32 = 2;

wire_struct! {
    /// What the guest writes besides submissions.
    pub struct GuestIndices, 8 octets {
        /// The index of the next submission.
        submission_tail: u32 at 0,
        /// The index of the next completion that the guest takes.
        completion_head: u32 at 4,
    }
}

wire_struct! {
    /// What the host writes besides completions.
    pub struct HostIndices, 12 octets {
        /// The index of the next submission that the host takes.
        submission_head: u32 at 0,
        /// The index of the next completion.
        completion_tail: u32 at 4,
        /// Not zero when the host does not look by itself.
        needs_kick: u32 at 8,
    }
}

wire_struct! {
    /// A wish of the guest.
    pub struct Submission, 32 octets {
        /// [`OP_WRITE`] or [`OP_READ`].
        op: u32 at 0,
        /// The device's index in the manifest.
        handle: u32 at 4,
        /// Guest-physical address of the frame, or of the room for one.
        data: u64 at 8,
        /// Octets there, link-layer header included.
        len: u32 at 16,
        /// The guest's name for it, which the completion repeats.
        id: u32 at 20,
        /// Zero.
        reserved: u64 at 24,
    }
}

wire_struct! {
    /// The answer to a read.
    pub struct Completion, 16 octets {
        /// The `id` of the submission.
        id: u32 at 0,
        /// A [`CallResult`](crate::hypercall::CallResult).
        ret: i32 at 4,
        /// Octets of the frame; zero when there is none.
        len: u32 at 8,
        /// Zero.
        reserved: u32 at 12,
    }
}

const _: () = {
    assert!(ENTRIES.is_power_of_two(), "indices wrap without a jump");
    assert!(COMPLETIONS == 32_896);
    assert!(SIZE == 49_280);
    assert!(RESERVED == 2 << 20);
    assert!(GuestIndices::SIZE as u64 <= HOST_INDICES);
    assert!(HOST_INDICES + HostIndices::SIZE as u64 <= SUBMISSIONS);
    assert!(KICK_MMIO_ADDRESS == 0x1_0000_0100);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_repeat_and_do_not_overlap() {
        assert_eq!(submission(0), 128);
        assert_eq!(submission(1), 160);
        assert_eq!(submission(ENTRIES), submission(0));
        assert_eq!(submission(u32::MAX) + 32, COMPLETIONS);
        assert_eq!(
            submission(u32::MAX.wrapping_add(1)),
            submission(0),
            "also where the index wraps"
        );
        assert_eq!(completion(3), COMPLETIONS + 48);
        assert_eq!(completion(ENTRIES - 1) + 16, SIZE);
    }

    #[test]
    fn entries_have_the_public_layout() {
        let submission =
            Submission { op: OP_READ, handle: 1, data: 0x40_0000, len: 1514, id: 7, reserved: 0 };
        let bytes = submission.to_bytes();
        assert_eq!(bytes[..8], [2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[8..16], [0, 0, 0x40, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..24], [0xea, 5, 0, 0, 7, 0, 0, 0]);
        assert_eq!(Submission::from_bytes(&bytes), submission);
        let completion = Completion { id: 7, ret: -1, len: 60, reserved: 0 };
        let bytes = completion.to_bytes();
        assert_eq!(bytes, [7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 60, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Completion::from_bytes(&bytes), completion);
    }
}
