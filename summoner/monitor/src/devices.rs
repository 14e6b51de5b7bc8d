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
use crate::protocol::{MAX_CONSOLE, Report, Stamps, send_report};

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
struct Net {
    handle: u64,
    /// None while the guest is parked.
    port: Option<OwnedFd>,
    /// The longest frame, in octets.
    longest: usize,
    /// The switch has closed its end: nothing comes any more, and poll would find the port readable for ever.
    is_hung_up: bool,
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
    buffer: Vec<u8>,
}

impl Devices {
    /// Devices of a guest without a network device; `reports` is the socket to the daemon.
    #[must_use]
    pub fn new(reports: Arc<OwnedFd>, shutdown: Arc<ShutdownRequest>) -> Self {
        let console = Console::new(monotonic());
        Self { net: None, console, reports, shutdown, started: None, buffer: Vec::new() }
    }

    /// An instance that was complete at `loaded` is entered now.
    pub fn note_entry(&mut self, loaded: Instant) {
        self.started = Some((loaded, monotonic()));
    }

    /// With the network device `handle`, whose frames are messages of `port` with IP packets of at most `mtu` octets.
    #[must_use]
    pub fn with_net(mut self, handle: u64, port: OwnedFd, mtu: u16) -> Self {
        let longest = usize::from(mtu) + ETHERNET_HEADER;
        self.buffer = vec![0; longest];
        self.net = Some(Net { handle, port: Some(port), longest, is_hung_up: false });
        self
    }

    /// The guest is put away until its next instance: nothing of this one stays.
    pub(crate) fn park(&mut self) {
        if let Some(net) = &mut self.net {
            net.port = None;
        }
        let _ = self.shutdown.take();
        self.buffer.fill(0);
    }

    /// The next instance has this port.
    pub(crate) fn unpark(&mut self, port: OwnedFd, mtu: u16) {
        let longest = usize::from(mtu) + ETHERNET_HEADER;
        if let Some(net) = &mut self.net {
            *net = Net { handle: net.handle, port: Some(port), longest, is_hung_up: false };
            self.buffer.resize(longest, 0);
        }
        self.console = Console::new(monotonic());
    }

    /// Nanoseconds since 1970 UTC.
    #[must_use]
    pub fn walltime(&self) -> u64 {
        nanos(ClockId::Realtime)
    }

    /// The longest frame of device `handle`, if that is a network device.
    #[must_use]
    pub fn longest_frame(&self, handle: u64) -> Option<usize> {
        self.net.as_ref().filter(|net| net.handle == handle).map(|net| net.longest)
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

    /// Waits until there is input, the guest is asked to end, the daemon says something, or `timeout` is over.
    pub fn poll(&mut self, timeout: Duration) -> Found {
        let deadline = monotonic() + timeout;
        loop {
            let left = deadline.saturating_since(monotonic());
            let found = self.poll_once(left);
            if let Some(found) = found {
                return found;
            }
            if left.is_zero() {
                return Found::default();
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

    /// The buffer that frames go through.
    pub fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Sends the first `length` octets of the buffer as a frame. A full port loses it, as any network may: the ABI
    /// knows no "again" for sending.
    pub fn send(&self, length: usize) {
        if let Some(port) = self.net.as_ref().and_then(|net| net.port.as_ref()) {
            let _ = send(port, &self.buffer[..length], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// Takes a frame of at most `room` octets into the buffer; its length, or `None` if there is none.
    ///
    /// A longer one is cut, as a TAP descriptor would.
    pub fn receive(&mut self, room: usize) -> Option<usize> {
        let port = self.net.as_ref()?.port.as_ref()?;
        let room = room.min(self.buffer.len());
        match recv(port, &mut self.buffer[..room], RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(_) => None,
            Ok((length, _)) => Some(length),
        }
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
