//! The host's side of the shared ring ([`hvt_abi::ring`]), without a vCPU: tested and attacked without `/dev/kvm`.
//!
//! The ring lies in the guest's memory, and everything in it is the guest's word: what is read is copied once, checked, and
//! only the copy is used. The host's own indices and the reads it has taken are kept here, never read back. Work per call
//! is bounded by the ring's size. The guest does not run meanwhile, so nothing needs an order between processors.

use hvt_abi::boot_info::Features;
use hvt_abi::hypercall::CallResult;
use hvt_abi::memory_map::MEMORY_MAX;
use hvt_abi::ring::{
    self as abi, Completion, ENTRIES, GUEST_INDICES, GuestIndices, HOST_INDICES, HostIndices,
    OP_READ, OP_WRITE, RESERVED, Submission,
};
use images::{DeviceKind, Plan};
use serde::{Deserialize, Serialize};

use crate::devices::Net;
use crate::frames::{AT_ONCE, Frames};
use crate::memory::{Forbidden, GuestMemory, Need};

/// The features that an image must take to be offered a ring.
const WANTED: Features = Features::SHARED_RING.union(Features::POLL_SERVES_RING);

/// Why a guest's use of its ring ends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RingError {
    /// More is submitted than the ring holds.
    #[error(
        "its submission_tail {tail} is not within {ENTRIES} of the host's submission_head {head}"
    )]
    Submissions {
        /// What the guest says.
        tail: u32,
        /// What the host has taken so far.
        head: u32,
    },
    /// Completions are taken that were never made.
    #[error(
        "its completion_head {head} is not within {ENTRIES} of the host's completion_tail {tail}"
    )]
    Completions {
        /// What the guest says.
        head: u32,
        /// What the host has completed so far.
        tail: u32,
    },
    /// More reads than there is room for completions.
    #[error(
        "submission {index}: a read more than the {ENTRIES} whose completions it may leave untaken"
    )]
    Reads {
        /// Which submission.
        index: u32,
    },
    /// An operation that does not exist.
    #[error("submission {index}: operation {op}; there are 1 (write) and 2 (read)")]
    Operation {
        /// Which submission.
        index: u32,
        /// The operation.
        op: u32,
    },
    /// A frame where the guest has no such rights.
    #[error("submission {index}: {source}")]
    Frame {
        /// Which submission.
        index: u32,
        /// What was refused.
        source: Forbidden,
    },
    /// The ring itself, or room that was checked before; cannot be unless the memory is another one.
    #[error(transparent)]
    Memory(#[from] Forbidden),
}

/// Room for a frame that the guest has submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    data: u64,
    len: u32,
    id: u32,
}

/// What becomes of reads for which there is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// They wait for one.
    Keep,
    /// They are completed with *again*.
    Again,
}

/// A guest's ring, as the host knows it. With the guest's memory it is part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ring {
    /// Where it lies in guest memory.
    address: u64,
    submission_head: u32,
    completion_tail: u32,
    /// Reads without a completion yet, oldest first.
    reads: Vec<Read>,
}

impl Ring {
    /// Where the ring of a guest lies that is given `memory` octets, if it gets one: just above them, so that no image has
    /// less than it was configured with. What it takes is [`RESERVED`] octets.
    #[must_use]
    pub(crate) fn place(plan: &Plan, memory: u64) -> Option<u64> {
        let has_net = plan.manifest.devices.iter().any(|device| device.kind == DeviceKind::Net);
        let fits = memory.checked_add(RESERVED).is_some_and(|end| end <= MEMORY_MAX);
        (plan.takes.contains(WANTED) && has_net && fits).then_some(memory)
    }

    /// An unused ring at `address`.
    #[must_use]
    pub(crate) const fn new(address: u64) -> Self {
        Self { address, submission_head: 0, completion_tail: 0, reads: Vec::new() }
    }

    /// Where it lies.
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    /// Whether this may be what has become of `unused`; said of one that comes from a file.
    pub(crate) const fn may_follow(&self, unused: &Self) -> bool {
        self.address == unused.address && self.reads.len() <= ENTRIES as usize
    }

    /// Writes what the guest finds in the ring before its first instruction.
    ///
    /// # Errors
    /// When the ring is not in memory.
    pub(crate) fn write(&self, memory: &GuestMemory) -> Result<(), Forbidden> {
        // The host never looks by itself; who takes POLL_SERVES_RING knows when it need not be told.
        let indices = HostIndices { needs_kick: 1, ..HostIndices::default() };
        memory.copy_in(self.address + HOST_INDICES, &indices.to_bytes())
    }

    /// Whether the guest has left room for a frame.
    #[must_use]
    pub(crate) const fn has_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Sends the frames that are submitted, and takes the reads.
    ///
    /// # Errors
    /// When the guest breaks the ring's rules, which ends it.
    pub(crate) fn take(
        &mut self,
        memory: &GuestMemory,
        net: &Net,
        frames: &mut Frames,
    ) -> Result<(), RingError> {
        let mut octets = [0; GuestIndices::SIZE];
        memory.read(self.address + GUEST_INDICES, &mut octets)?;
        let GuestIndices { submission_tail: tail, completion_head } =
            GuestIndices::from_bytes(&octets);
        let head = self.submission_head;
        if tail.wrapping_sub(head) > ENTRIES {
            return Err(RingError::Submissions { tail, head });
        }
        let untaken = self.completion_tail.wrapping_sub(completion_head);
        if untaken > ENTRIES {
            let (head, tail) = (completion_head, self.completion_tail);
            return Err(RingError::Completions { head, tail });
        }
        if tail == head {
            return Ok(());
        }
        let mut gathered = Gathered { net, frames, count: 0 };
        while self.submission_head != tail {
            let index = self.submission_head;
            let mut octets = [0; Submission::SIZE];
            memory.read(self.address + abi::submission(index), &mut octets)?;
            let submission = Submission::from_bytes(&octets);
            match submission.op {
                OP_WRITE => gathered.add(memory, index, &submission)?,
                OP_READ => {
                    // Those of this call that were completed at once, for being refused, count as well.
                    let untaken = self.completion_tail.wrapping_sub(completion_head);
                    if untaken as usize + self.reads.len() >= ENTRIES as usize {
                        return Err(RingError::Reads { index });
                    }
                    self.take_read(memory, net, index, &submission)?;
                }
                op => return Err(RingError::Operation { index, op }),
            }
            self.submission_head = index.wrapping_add(1);
        }
        drop(gathered);
        self.publish(memory)
    }

    fn take_read(
        &mut self,
        memory: &GuestMemory,
        net: &Net,
        index: u32,
        submission: &Submission,
    ) -> Result<(), RingError> {
        let &Submission { handle, data, len, id, .. } = submission;
        memory
            .check(data, u64::from(len), Need::Write)
            .map_err(|source| RingError::Frame { index, source })?;
        if net.has_use_for(u64::from(handle), u64::from(len)) {
            self.reads.push(Read { data, len, id });
            Ok(())
        } else {
            self.complete_one(memory, id, CallResult::InvalidArgument, 0)
        }
    }

    /// Completes reads as far as there are frames, the latest read first: a guest that leaves room for many frames
    /// and is sent few uses the same memory again and again. Says how many frames it was.
    ///
    /// # Errors
    /// When the memory is not the one that the reads were taken from.
    pub(crate) fn complete(
        &mut self,
        memory: &GuestMemory,
        net: &Net,
        frames: &mut Frames,
        unserved: Unserved,
    ) -> Result<u32, RingError> {
        let mut completed = 0;
        while !self.reads.is_empty() {
            let asked = self.reads.len().min(AT_ONCE);
            let rooms = self.reads.iter().rev().map(|read| read.len as usize);
            let found = net.receive_all(frames, rooms);
            for index in 0..found {
                let Some(Read { data, id, .. }) = self.reads.pop() else { break };
                let frame = frames.get(index);
                memory.write(data, frame)?;
                self.complete_one(memory, id, CallResult::Ok, frame.len())?;
                completed += 1;
            }
            if found < asked {
                break;
            }
        }
        if unserved == Unserved::Again {
            for Read { id, .. } in std::mem::take(&mut self.reads) {
                self.complete_one(memory, id, CallResult::Again, 0)?;
            }
        }
        if completed > 0 || unserved == Unserved::Again {
            self.publish(memory)?;
        }
        Ok(completed)
    }

    fn complete_one(
        &mut self,
        memory: &GuestMemory,
        id: u32,
        result: CallResult,
        length: usize,
    ) -> Result<(), RingError> {
        // A frame's length is at most what a read has room for, which has 32 bits.
        let len = u32::try_from(length).unwrap_or(u32::MAX);
        let completion = Completion { id, ret: result.code(), len, reserved: 0 };
        let place = self.address + abi::completion(self.completion_tail);
        memory.write(place, &completion.to_bytes())?;
        self.completion_tail = self.completion_tail.wrapping_add(1);
        Ok(())
    }

    /// Tells the guest how far the host is.
    fn publish(&self, memory: &GuestMemory) -> Result<(), RingError> {
        let &Self { submission_head, completion_tail, .. } = self;
        let indices = HostIndices { submission_head, completion_tail, needs_kick: 1 };
        Ok(memory.write(self.address + HOST_INDICES, &indices.to_bytes())?)
    }
}

/// Frames on their way out of the guest's memory. What is gathered is sent when this is dropped, also when what comes after
/// it ends the guest. A frame that no network takes is lost, as there is nobody to tell.
struct Gathered<'a> {
    net: &'a Net,
    frames: &'a mut Frames,
    count: usize,
}

impl Gathered<'_> {
    fn add(
        &mut self,
        memory: &GuestMemory,
        index: u32,
        submission: &Submission,
    ) -> Result<(), RingError> {
        let &Submission { handle, data, len, .. } = submission;
        let failed = |source| RingError::Frame { index, source };
        memory.check(data, u64::from(len), Need::Read).map_err(failed)?;
        if self.net.is_frame(u64::from(handle), u64::from(len)) {
            memory.read(data, self.frames.room(self.count, len as usize)).map_err(failed)?;
            self.count += 1;
            if self.count == AT_ONCE {
                self.send();
            }
        }
        Ok(())
    }

    fn send(&mut self) {
        if self.count > 0 {
            self.net.send_all(self.frames, self.count);
            self.count = 0;
        }
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        self.send();
    }
}

#[cfg(test)]
mod tests;
