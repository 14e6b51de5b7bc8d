//! A bad link: a port around a port, on which frames are late, lost, doubled, overtaken and damaged.
//!
//! ```text
//!             receive <--- inbound:  due frames, earliest first <---+
//!   driver                                                          |--- the port inside
//!             transmit --> outbound: due frames, earliest first <---+
//! ```
//!
//! For tests and measurements on machines whose kernel has no `netem`. It is a [`NetworkPort`] like any other: the
//! descriptor that the driver waits for becomes readable when a frame inside is readable, and when one is due, in
//! either direction. It has no thread; whoever reads from it makes it go.

mod faults;
mod way;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

pub use faults::{Faults, Link, Share};
pub use way::Tally;
use way::{Moment, Random, Way};

use crate::{DeviceError, NetworkPort, Sent};

/// Frames that are taken from the port inside before anything else is looked at.
const MOST: usize = 64;
/// The longest frame that is carried whole.
const LONGEST_FRAME: usize = 64 * 1024;
const NANOS: u64 = 1_000_000_000;

/// What happened on a link so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tallies {
    /// To frames that were received from the port inside.
    pub inbound: Tally,
    /// To frames that were sent to it.
    pub outbound: Tally,
}

/// A way to see what happened on a link, also after its end.
#[derive(Debug, Clone, Default)]
pub struct LinkWatch(Arc<Mutex<Tallies>>);

impl LinkWatch {
    /// What happened until now.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Faulty<P> {
    port: P,
    /// Readable when the port inside or the timer is.
    epoll: OwnedFd,
    timer: OwnedFd,
    /// When the timer goes off; `None`: it is not set.
    armed: Option<Moment>,
    inbound: Way,
    outbound: Way,
    /// Inbound frames that have arrived and were not asked for yet.
    ready: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
    /// Frames that the port inside has lost and nobody was told of.
    lost: u64,
    watch: LinkWatch,
}

impl<P: NetworkPort> Faulty<P> {
    /// Puts a link between `port` and who uses it.
    ///
    /// # Errors
    /// When the system gives no timer or nothing to wait with.
    pub fn new(port: P, link: Link) -> Result<Self, DeviceError> {
        let failed = |what| move |error: Errno| DeviceError::Link { what, source: error.into() };
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )
        .map_err(failed("timer"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll"))?;
        let data = EventData::new_u64(0);
        epoll::add(&epoll, &port, data, EventFlags::IN).map_err(failed("port"))?;
        epoll::add(&epoll, &timer, data, EventFlags::IN).map_err(failed("timer"))?;
        // Two sequences that have nothing to do with each other.
        let mut seeds = Random(link.seed);
        let (one, other) = (seeds.bits(), seeds.bits());
        Ok(Self {
            port,
            epoll,
            timer,
            armed: None,
            inbound: Way::new(link.inbound, link.spared, one),
            outbound: Way::new(link.outbound, link.spared, other),
            ready: VecDeque::new(),
            buffer: vec![0; LONGEST_FRAME],
            lost: 0,
            watch: LinkWatch::default(),
        })
    }

    /// A way to see what happens on this link.
    #[must_use]
    pub fn watch(&self) -> LinkWatch {
        self.watch.clone()
    }

    /// Moves everything that can be moved now.
    fn turn(&mut self, now: Moment) -> io::Result<()> {
        let mut taken = 0;
        while taken < MOST || self.port.has_more() {
            let Some(length) = self.port.receive(&mut self.buffer)? else { break };
            self.inbound.offer(now, &self.buffer[..length.min(LONGEST_FRAME)], &[]);
            taken += 1;
        }
        self.send_due(now);
        while let Some(frame) = self.inbound.arrived(now) {
            self.ready.push_back(frame);
        }
        *self.watch.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Tallies { inbound: self.inbound.tally(), outbound: self.outbound.tally() };
        Ok(())
    }

    /// Sends what has arrived at the port's side of the link.
    fn send_due(&mut self, now: Moment) {
        while let Some(frame) = self.outbound.arrived(now) {
            // What the port does not take is lost: its queue is full, or the frame is damaged where a device looks.
            // That the port itself is broken is told by its other direction.
            let _ = self.port.transmit(&frame, &[]);
            self.outbound.recycle(frame);
        }
        // Nobody else knows that these were sent now.
        self.lost += self.port.flush();
    }

    /// Sets the timer to the next moment at which something is due. Setting it also forgets that it went off, so
    /// it is left alone only if it cannot have gone off yet.
    fn arm(&mut self, now: Moment) -> io::Result<()> {
        let dues = [self.inbound.next_due(), self.outbound.next_due()];
        let waiting = (!self.ready.is_empty()).then_some(0);
        let next = dues.into_iter().flatten().chain(waiting).min();
        if next == self.armed && next.is_none_or(|due| due > now) {
            return Ok(());
        }
        self.set_timer(next)
    }

    fn set_timer(&mut self, next: Option<Moment>) -> io::Result<()> {
        // A time in the past goes off at once, and zero would mean never.
        let value = next.map_or(0, |due| due.max(1));
        let seconds = i64::try_from(value / NANOS).map_err(io::Error::other)?;
        let nanos = i64::try_from(value % NANOS).map_err(io::Error::other)?;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let at = Timespec { tv_sec: seconds, tv_nsec: nanos };
        let setting = Itimerspec { it_interval: zero, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)?;
        self.armed = next;
        Ok(())
    }
}

impl<P> AsFd for Faulty<P> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<P: NetworkPort> NetworkPort for Faulty<P> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if self.ready.is_empty() {
            let now = now();
            self.turn(now)?;
            let frame = self.ready.pop_front();
            // With more frames ready the descriptor stays readable until they are fetched.
            self.arm(now)?;
            return Ok(frame.map(|frame| self.hand_out(frame, buffer)));
        }
        Ok(self.ready.pop_front().map(|frame| self.hand_out(frame, buffer)))
    }

    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent> {
        let now = now();
        self.outbound.offer(now, head, body);
        self.send_due(now);
        let next = self.outbound.next_due();
        if next.is_some_and(|due| self.armed.is_none_or(|armed| due < armed)) {
            self.set_timer(next)?;
        }
        Ok(Sent::Taken)
    }

    fn flush(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

impl<P> Faulty<P> {
    fn hand_out(&mut self, frame: Vec<u8>, buffer: &mut [u8]) -> usize {
        // Cut like a frame that is too long for the buffer of a socket.
        let length = frame.len().min(buffer.len());
        buffer[..length].copy_from_slice(&frame[..length]);
        self.inbound.recycle(frame);
        length
    }
}

fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * NANOS + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests;
