//! What a guest can reach by hypercalls: its network port, its console, the clock, and the daemon's wish that it end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use policies::Instant;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::time::{ClockId, clock_gettime};

use crate::console::Console;
use crate::frames::Frames;
use crate::memory::GuestMemory;
use crate::protocol::{MAX_CONSOLE, Report, Stamps, send_report};
use crate::ring::{Ring, RingError, Unserved};

/// Octets before the IP packet in a frame.
const ETHERNET_HEADER: usize = 14;

/// Now, on `CLOCK_MONOTONIC`.
pub(crate) fn monotonic() -> Instant {
    Instant::from_nanos(nanos(ClockId::Monotonic))
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The daemon's wish that the guest end: told once, to the guest's next poll.
#[derive(Debug)]
pub struct ShutdownRequest {
    /// Counts wishes, and so is readable while there are any.
    wake: OwnedFd,
}

impl ShutdownRequest {
    /// No wish yet.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self { wake }))
    }

    /// Wishes; wakes the guest if it sleeps in poll.
    pub fn make(&self) {
        // Fails only if 2^64 wishes wait already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Whether there was a wish; from then on there is none, however many there were.
    fn take(&self) -> bool {
        // Resets the count; with nothing to reset it fails.
        rustix::io::read(&self.wake, &mut [0; 8]).is_ok()
    }
}

/// The network device.
#[derive(Debug)]
pub(crate) struct Net {
    handle: u64,
    /// None while the guest is parked.
    port: Option<OwnedFd>,
    /// The longest frame, in octets.
    longest: usize,
    /// The switch has closed its end: nothing comes any more, and poll would find the port readable for ever.
    is_hung_up: bool,
}

impl Net {
    /// Whether `length` octets are a frame that the device `handle` takes: longer than a link-layer header, shorter than
    /// the longest.
    pub(crate) const fn is_frame(&self, handle: u64, length: u64) -> bool {
        handle == self.handle && length >= ETHERNET_HEADER as u64 && length <= self.longest as u64
    }

    /// Whether the device `handle` has use for room of `length` octets.
    pub(crate) const fn has_use_for(&self, handle: u64, length: u64) -> bool {
        handle == self.handle && length >= ETHERNET_HEADER as u64
    }

    /// Sends a frame. A full port loses it, as any network may: the ABI knows no "again" for sending.
    pub(crate) fn send(&self, frame: &[u8]) {
        if let Some(port) = &self.port {
            let _ = send(port, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// Sends the first `count` frames.
    pub(crate) fn send_all(&self, frames: &Frames, count: usize) {
        if let Some(port) = &self.port {
            frames.send(port.as_fd(), count);
        }
    }

    /// Takes frames as far as there are any and `rooms` tells lengths of room for them; how many.
    pub(crate) fn receive_all(
        &self,
        frames: &mut Frames,
        rooms: impl Iterator<Item = usize>,
    ) -> usize {
        self.port.as_ref().map_or(0, |port| frames.receive(port.as_fd(), rooms))
    }

    /// Takes a frame; its length, or `None` if there is none. What has no room is cut, as by a TAP descriptor.
    pub(crate) fn receive(&self, room: &mut [u8]) -> Option<usize> {
        match recv(self.port.as_ref()?, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(_) => None,
            Ok((length, _)) => Some(length),
        }
    }
}

/// What a poll found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// The device that has input, by its handle.
    pub net: Option<u64>,
    /// The guest is asked to end.
    pub shutdown: bool,
    /// The daemon has something to say, or is gone.
    pub told: bool,
}

/// Everything beyond its processor and memory that a guest has.
#[derive(Debug)]
pub struct Devices {
    net: Option<Net>,
    console: Console,
    reports: Arc<OwnedFd>,
    shutdown: Arc<ShutdownRequest>,
    /// When the instance was loaded and entered; taken when it waits for the first time.
    started: Option<(Instant, Instant)>,
    frames: Frames,
    ring: Option<Ring>,
    exits: u64,
}

impl Devices {
    /// Devices of a guest without a network device; `reports` is the socket to the daemon.
    #[must_use]
    pub fn new(reports: Arc<OwnedFd>, shutdown: Arc<ShutdownRequest>) -> Self {
        let console = Console::new(monotonic());
        let frames = Frames::default();
        Self { net: None, console, reports, shutdown, started: None, frames, ring: None, exits: 0 }
    }

    /// An instance that was complete at `loaded` is entered now.
    pub fn note_entry(&mut self, loaded: Instant) {
        self.started = Some((loaded, monotonic()));
    }

    /// With the network device `handle`, whose frames are messages of `port` with IP packets of at most `mtu` octets.
    #[must_use]
    pub fn with_net(mut self, handle: u64, port: OwnedFd, mtu: u16) -> Self {
        let longest = usize::from(mtu) + ETHERNET_HEADER;
        self.frames = Frames::new(longest);
        self.net = Some(Net { handle, port: Some(port), longest, is_hung_up: false });
        self
    }

    /// With a ring for the network device, unused or as it was when a snapshot was taken.
    #[must_use]
    pub(crate) fn with_ring(mut self, ring: Option<Ring>) -> Self {
        self.ring = ring;
        self
    }

    /// The ring, which belongs into a snapshot with the guest's memory.
    pub(crate) const fn ring(&self) -> Option<&Ring> {
        self.ring.as_ref()
    }

    /// How often the guest has asked for something so far.
    #[must_use]
    pub const fn exits(&self) -> u64 {
        self.exits
    }

    /// The guest asks for something.
    pub(crate) const fn note_exit(&mut self) {
        self.exits = self.exits.saturating_add(1);
    }

    /// The guest is put away until its next instance, which begins with this `ring`: nothing else of this one stays.
    pub(crate) fn park(&mut self, ring: Option<Ring>) {
        self.ring = ring;
        if let Some(net) = &mut self.net {
            net.port = None;
        }
        let _ = self.shutdown.take();
        self.frames.clean();
    }

    /// The next instance has this port.
    pub(crate) fn unpark(&mut self, port: OwnedFd, mtu: u16) {
        let longest = usize::from(mtu) + ETHERNET_HEADER;
        if let Some(net) = &mut self.net {
            *net = Net { handle: net.handle, port: Some(port), longest, is_hung_up: false };
            self.frames.set_longest(longest);
        }
        self.console = Console::new(monotonic());
    }

    /// Nanoseconds since 1970 UTC.
    #[must_use]
    pub fn walltime(&self) -> u64 {
        nanos(ClockId::Realtime)
    }

    /// Passes console output on, as far as the rate allows. The guest never waits for whoever reads it.
    pub fn puts(&mut self, length: u64, mut read: impl FnMut(u64, &mut [u8])) {
        if let Some(text) = self.console.confession() {
            self.say(text.into_bytes());
        }
        let admitted = self.console.admit(monotonic(), length);
        let mut done = 0;
        while done < admitted {
            let chunk = usize::try_from(admitted - done).unwrap_or(MAX_CONSOLE).min(MAX_CONSOLE);
            let mut text = vec![0; chunk];
            read(done, &mut text);
            self.say(text);
            done += chunk as u64;
        }
    }

    fn say(&mut self, text: Vec<u8>) {
        let length = text.len() as u64;
        if send_report(self.reports.as_fd(), &Report::Console(text), SendFlags::DONTWAIT).is_err() {
            self.console.lost(length);
        }
    }

    /// The guest is over: says what is left to say about its console.
    pub(crate) fn end(&mut self) {
        if let Some(text) = self.console.last_words() {
            self.say(text.into_bytes());
        }
    }

    /// The guest waits for input, or asks for it: the first time, it is ready.
    pub fn note_wait(&mut self) {
        if let Some((loaded, entered)) = self.started.take() {
            let stamps = Stamps { loaded, entered, ready: monotonic() };
            // If the daemon is gone, its socket says so soon.
            let _ = send_report(self.reports.as_fd(), &Report::Ready(stamps), SendFlags::empty());
        }
    }

    /// Sends the frames that are submitted in the ring, if there is one, and takes the reads.
    pub(crate) fn take_submissions(&mut self, memory: &GuestMemory) -> Result<(), RingError> {
        match (&mut self.ring, &self.net) {
            (Some(ring), Some(net)) => ring.take(memory, net, &mut self.frames),
            _ => Ok(()),
        }
    }

    /// Completes reads in the ring as far as there are frames; whether there were any.
    pub(crate) fn complete_reads(
        &mut self,
        memory: &GuestMemory,
        unserved: Unserved,
    ) -> Result<bool, RingError> {
        match (&mut self.ring, &self.net) {
            (Some(ring), Some(net)) => {
                Ok(ring.complete(memory, net, &mut self.frames, unserved)? > 0)
            }
            _ => Ok(false),
        }
    }

    /// Waits until there is input, the guest is asked to end, the daemon says something, or `timeout` is over. With reads
    /// in the ring, there is input when one could be completed, and it is.
    pub(crate) fn poll(
        &mut self,
        memory: &GuestMemory,
        timeout: Duration,
    ) -> Result<Found, RingError> {
        let deadline = monotonic() + timeout;
        let mut found = Found::default();
        loop {
            // Before anything is waited for: a frame that is there already costs one system call so, not two.
            if self.complete_reads(memory, Unserved::Keep)? {
                found.net = self.net.as_ref().map(|net| net.handle);
                // A guest that is never without frames is asked as well.
                found.shutdown = found.shutdown || self.shutdown.take();
            }
            if found != Found::default() {
                return Ok(found);
            }
            let left = deadline.saturating_since(monotonic());
            match self.poll_once(left) {
                Some(now) => found = now,
                None if left.is_zero() => return Ok(found),
                None => {}
            }
            if self.ring.as_ref().is_some_and(Ring::has_reads) {
                // The next round sees whether what is there is a frame.
                found.net = None;
            }
        }
    }

    fn poll_once(&mut self, left: Duration) -> Option<Found> {
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let wish = self.shutdown.wake.as_fd();
        let port = self
            .net
            .as_ref()
            .filter(|net| !net.is_hung_up)
            .and_then(|net| net.port.as_ref())
            .map(AsFd::as_fd);
        let mut descriptors: [PollFd<'_>; 3] = [
            PollFd::from_borrowed_fd(wish, PollFlags::IN),
            PollFd::from_borrowed_fd(self.reports.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(port.unwrap_or(wish), PollFlags::IN),
        ];
        // Without a port, the daemon only.
        let watched = if port.is_some() { &mut descriptors[..] } else { &mut descriptors[..2] };
        match poll(watched, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR | Errno::AGAIN) => return None,
            // The descriptors are ours and open, and the list is not too long: without memory in the kernel there is
            // nothing better to do than to wait again.
            Ok(_) | Err(_) => {}
        }
        let [wish, daemon, port] = descriptors.map(|descriptor| descriptor.revents());
        let told = !daemon.is_empty();
        let net = self.net.as_mut().and_then(|net| {
            net.is_hung_up |= port.contains(PollFlags::HUP);
            (port.contains(PollFlags::IN) && !net.is_hung_up).then_some(net.handle)
        });
        let shutdown = wish.contains(PollFlags::IN) && self.shutdown.take();
        (net.is_some() || shutdown || told).then_some(Found { net, shutdown, told })
    }

    /// The network device, if it is there, and the buffer that frames go through.
    pub(crate) fn net(&mut self) -> Option<(&Net, &mut [u8])> {
        Some((self.net.as_ref()?, self.frames.single()))
    }

    /// Asks the guest to end.
    pub(crate) fn ask_to_shut_down(&self) {
        self.shutdown.make();
    }

    /// Whether the daemon has something to say, or is gone.
    pub(crate) fn is_told(&self) -> bool {
        let mut daemon = [PollFd::from_borrowed_fd(self.reports.as_fd(), PollFlags::IN)];
        // An error would be out of memory in the kernel: the next poll of the guest looks again.
        poll(&mut daemon, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// The socket to the daemon.
    pub(crate) fn reports(&self) -> BorrowedFd<'_> {
        self.reports.as_fd()
    }
}
