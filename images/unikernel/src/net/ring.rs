//! The network device by the shared ring ([`hvt_abi::ring`]): one poll moves every frame there is, both ways.
//!
//! Buffers for received frames are submitted ahead. The host fills the one that was submitted last, and what
//! has been read is submitted again at once, so that a guest with little traffic uses one buffer, whose memory
//! is warm, and one with much has many. Frames to send lie in buffers of their own from when they are written
//! until the next poll, which sends them all.
//!
//! Nothing here leaves the guest: the host looks at the ring in every poll
//! ([`Features::POLL_SERVES_RING`](hvt_abi::boot_info::Features::POLL_SERVES_RING)).
#![expect(unsafe_code, reason = "memory that the host writes to")]

use alloc::vec::Vec;
use core::mem::offset_of;
use core::{ptr, slice};

use hvt_abi::hypercall::CallResult;
use hvt_abi::ring::{
    self as abi, Completion, GUEST_INDICES, GuestIndices, HOST_INDICES, HostIndices, OP_READ,
    OP_WRITE, Submission,
};

use crate::boot::NetPort;
use crate::net::device::ETHERNET_HEADER;

/// Buffers each way: a burst of so many frames is one poll.
const BUFFERS: u32 = 64;

/// Buffers begin at multiples of this: a cache line.
const ALIGNMENT: usize = 64;

/// A frame that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    buffer: u32,
    len: usize,
}

/// A shared ring and the buffers in use with it. It is for one device as long as it lives, because the host
/// fills the buffers that were submitted to it.
#[derive(Debug)]
pub(crate) struct Ring {
    completions: Completions,
    received: Buffers,
    /// The frame that was looked at last; its buffer is submitted again when the next one is asked for.
    current: Option<Frame>,
    transmitter: Transmitter,
}

impl Ring {
    /// The ring at `address`, with buffers for the device `port`; `None` when there is no memory for those.
    ///
    /// # Safety
    /// A ring that the host shares must lie there, unused, and be used through this value alone.
    pub(crate) unsafe fn open(address: u64, port: NetPort) -> Option<Self> {
        let handle = u32::try_from(port.handle).ok()?;
        let size = (usize::from(port.mtu) + ETHERNET_HEADER).next_multiple_of(ALIGNMENT);
        #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits in a guest")]
        let base: *mut u8 = ptr::with_exposed_provenance_mut(address as usize);
        let (received, sent) = Buffers::pair(size)?;
        let transmitter = Transmitter { handle, base, tail: 0, sent, unsent: 0 };
        let completions = Completions { base, head: 0 };
        let mut ring = Self { completions, received, current: None, transmitter };
        // The first one last: it is the one that the host uses.
        (0..BUFFERS).rev().for_each(|buffer| ring.offer(buffer));
        Some(ring)
    }

    /// Whether it serves that device.
    pub(crate) fn is_for(&self, port: NetPort) -> bool {
        let longest = usize::from(port.mtu) + ETHERNET_HEADER;
        u64::from(self.transmitter.handle) == port.handle && longest <= self.received.size
    }

    /// The frame that is next, if one has arrived by the last poll. The one before it is gone then.
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        if let Some(frame) = self.current.take() {
            self.offer(frame.buffer);
        }
        while let Some(Completion { id: buffer, ret, len, .. }) = self.completions.take() {
            // The host repeats names that it was given; another would be no buffer.
            if buffer >= BUFFERS {
                continue;
            }
            match CallResult::from_code(ret) {
                CallResult::Ok => {
                    // It never says more than there was room for; if it does, the rest is not there.
                    let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.received.size);
                    self.current = Some(Frame { buffer, len });
                    return self.current;
                }
                CallResult::Again => self.offer(buffer),
                // It will not take this one, and would not the next time.
                CallResult::InvalidArgument | CallResult::Unspecified => {}
            }
        }
        None
    }

    /// Whether a frame has arrived that was not looked at.
    pub(crate) fn has_received(&self) -> bool {
        self.completions.is_there()
    }

    /// The octets of the frame that [`Ring::receive`] gave last, and what sends the answer.
    pub(crate) fn open_frame(&mut self, frame: Frame) -> (&[u8], &mut Transmitter) {
        let start = self.received.at(frame.buffer);
        // SAFETY: the host has filled the buffer's first `len` octets, and the buffer is this side's until it is
        // submitted again, for which `&mut self` is needed.
        let octets = unsafe { slice::from_raw_parts(start, frame.len) };
        (octets, &mut self.transmitter)
    }

    /// What sends frames.
    pub(crate) const fn transmitter(&mut self) -> &mut Transmitter {
        &mut self.transmitter
    }

    /// Submits a buffer for a received frame.
    fn offer(&mut self, buffer: u32) {
        let data = self.received.at(buffer);
        self.transmitter.submit(OP_READ, data, self.received.size, buffer);
    }
}

/// The sending half of a ring.
#[derive(Debug)]
pub(crate) struct Transmitter {
    handle: u32,
    base: *mut u8,
    /// The index of the next submission. Never further from the host's than the ring is long: there are not so
    /// many buffers.
    tail: u32,
    sent: Buffers,
    /// How many of `sent` hold frames that the host may not have seen yet.
    unsent: u32,
}

const _: () = assert!(2 * BUFFERS <= abi::ENTRIES);

impl Transmitter {
    /// Whether there is room for a frame.
    pub(crate) fn has_room(&mut self) -> bool {
        // SAFETY: the indices' place in the ring.
        let indices: HostIndices = unsafe { get(self.base, HOST_INDICES) };
        if indices.submission_head == self.tail {
            self.unsent = 0;
        }
        self.unsent < BUFFERS
    }

    /// Lets `write` make a frame of `len` octets, which the next poll sends. There must be room, and `len` be at
    /// most the longest frame's.
    pub(crate) fn send<R>(&mut self, len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        assert!(self.unsent < BUFFERS && len <= self.sent.size, "there is room for the frame");
        let buffer = self.sent.at(self.unsent);
        // SAFETY: the buffer is in none of the submissions that the host has not taken, and `len` octets are
        // within it.
        unsafe { buffer.write_bytes(0, len) };
        // SAFETY: as above; they have just been written, and nobody else has a reference to them.
        let result = write(unsafe { slice::from_raw_parts_mut(buffer, len) });
        self.submit(OP_WRITE, buffer, len, 0);
        self.unsent += 1;
        result
    }

    fn submit(&mut self, op: u32, data: *mut u8, len: usize, id: u32) {
        let data = data.expose_provenance() as u64;
        // Buffers are a frame long.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let submission = Submission { op, handle: self.handle, data, len, id, reserved: 0 };
        // SAFETY: the entry's place in the ring, by the ABI's layout.
        unsafe { put(self.base, abi::submission(self.tail), submission) };
        self.tail = self.tail.wrapping_add(1);
        // The host looks only while the guest is in a hypercall, so the order of these does not matter.
        // SAFETY: the index's place in the ring.
        unsafe { put(self.base, GUEST_INDICES, self.tail) };
    }
}

/// The host's answers to reads.
#[derive(Debug)]
struct Completions {
    base: *mut u8,
    head: u32,
}

impl Completions {
    fn is_there(&self) -> bool {
        // SAFETY: the indices' place in the ring.
        let indices: HostIndices = unsafe { get(self.base, HOST_INDICES) };
        indices.completion_tail != self.head
    }

    fn take(&mut self) -> Option<Completion> {
        if !self.is_there() {
            return None;
        }
        // SAFETY: the entry's place in the ring, by the ABI's layout.
        let completion = unsafe { get(self.base, abi::completion(self.head)) };
        self.head = self.head.wrapping_add(1);
        let place = GUEST_INDICES + offset_of!(GuestIndices, completion_head) as u64;
        // SAFETY: the index's place in the ring.
        unsafe { put(self.base, place, self.head) };
        Some(completion)
    }
}

/// Reads what the host may have written since.
///
/// # Safety
/// A `T` of the ring must lie there, and any octets be one.
unsafe fn get<T>(base: *const u8, offset: u64) -> T {
    #[expect(clippy::cast_possible_truncation, reason = "an offset in the ring")]
    let place = base.wrapping_add(offset as usize).cast::<T>();
    // SAFETY: the caller's promise; the ring is aligned to a page, and its parts to themselves.
    unsafe { place.read_volatile() }
}

/// Writes what the host reads.
///
/// # Safety
/// A `T` of the ring must lie there.
unsafe fn put<T>(base: *mut u8, offset: u64, value: T) {
    #[expect(clippy::cast_possible_truncation, reason = "an offset in the ring")]
    let place = base.wrapping_add(offset as usize).cast::<T>();
    // SAFETY: the caller's promise; the ring is aligned to a page, and its parts to themselves.
    unsafe { place.write_volatile(value) };
}

/// Memory for frames, for good: the host may write to it whenever the guest polls.
#[derive(Debug)]
struct Buffers {
    /// The beginning of the first one.
    first: *mut u8,
    /// The next one lies before it, not behind.
    downwards: bool,
    size: usize,
}

/// Octets of a page.
const PAGE: usize = 4096;

impl Buffers {
    /// Buffers for received frames and for those to send. The first one of each lie side by side, on one page if they fit:
    /// with little traffic they are the only ones that are used.
    fn pair(size: usize) -> Option<(Self, Self)> {
        let all = size * BUFFERS as usize;
        let mut octets = Vec::<u8>::new();
        octets.try_reserve_exact(2 * all + PAGE).ok()?;
        let base = octets.leak().as_mut_ptr();
        let middle = base.wrapping_add(all);
        let on_page =
            if 2 * size <= PAGE { (PAGE + size - middle.addr() % PAGE) % PAGE } else { 0 };
        let middle = middle.wrapping_add(on_page);
        let received = Self { first: middle, downwards: false, size };
        let sent = Self { first: middle.wrapping_sub(size), downwards: true, size };
        Some((received, sent))
    }

    fn at(&self, buffer: u32) -> *mut u8 {
        debug_assert!(buffer < BUFFERS);
        let distance = self.size * buffer as usize;
        if self.downwards {
            self.first.wrapping_sub(distance)
        } else {
            self.first.wrapping_add(distance)
        }
    }
}
