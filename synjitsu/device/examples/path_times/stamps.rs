//! When the packet under way passed each point; one packet is under way at a time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use policies::Instant;
use rustix::time::{ClockId, clock_gettime};
use synjitsu_device::{BulkTun, NetworkPort, Sent};

pub(crate) static READ_FROM_UPLINK: Stamp = Stamp::new();
pub(crate) static HAVE_FROM_UPLINK: Stamp = Stamp::new();
pub(crate) static GUEST_HAS: Stamp = Stamp::new();
pub(crate) static GUEST_SENDS: Stamp = Stamp::new();
pub(crate) static WRITE_TO_UPLINK: Stamp = Stamp::new();

/// A point on the way.
pub(crate) struct Stamp(AtomicU64);

impl Stamp {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn set(&self) {
        self.0.store(nanos(), Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

pub(crate) fn clock() -> Instant {
    Instant::from_nanos(nanos())
}

/// A TUN device that stamps what passes.
pub(crate) struct Stamped(pub(crate) BulkTun);

impl AsFd for Stamped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl NetworkPort for Stamped {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let begun = nanos();
        let received = self.0.receive(buffer)?;
        if received.is_some() {
            READ_FROM_UPLINK.0.store(begun, Ordering::Release);
            HAVE_FROM_UPLINK.set();
        }
        Ok(received)
    }

    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent> {
        WRITE_TO_UPLINK.set();
        self.0.transmit(head, body)
    }

    fn has_more(&self) -> bool {
        self.0.has_more()
    }

    fn flush(&mut self) -> u64 {
        self.0.flush()
    }
}
