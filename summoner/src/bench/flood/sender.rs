//! Sends forged packets, many with one call, at a rate.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketFlags, SocketType,
    ipproto, sendmmsg, socket_with,
};

use super::forge::{Forger, Packet};
use crate::bench::load::sleep_until;
use crate::clock::now;

/// Packets with one call: a device has a queue of some hundreds, and a real flood does not come in lumps either.
const BATCH: usize = 32;
/// Who is later than this does not catch up: the flood was slower then, and says so.
const MOST_LATE: Duration = Duration::from_millis(2);
/// How much more of a busy processor the flood gets than others, if it may (nice(2)): it stands for other machines, which are
/// not slower because the daemon is busy.
const URGENCY: i32 = 10;

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No raw socket.
    #[error("cannot make a raw socket to forge packets with; that needs CAP_NET_RAW")]
    Socket(#[source] io::Error),
    /// The kernel does not take it.
    #[error("cannot send a forged packet to {to}")]
    Send {
        /// Where to.
        to: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Its thread did not end well.
    #[error("the thread that sends forged packets failed")]
    Panicked,
}

/// Raw sockets, one of each family: what is written there is a whole packet, under whatever address it says (raw(7)).
#[derive(Debug)]
pub struct Sender {
    forger: Forger,
    ipv4: OwnedFd,
    ipv6: OwnedFd,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets that the kernel took. What became of them its devices know.
    pub packets: u64,
    /// From the first to the last.
    pub time: Duration,
}

impl Sender {
    /// A sender in this network namespace.
    ///
    /// # Errors
    /// Without the right to make raw sockets.
    pub fn new(seed: u64) -> Result<Self, SendError> {
        let socket = |family| {
            socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
                .map_err(|error| SendError::Socket(error.into()))
        };
        Ok(Self {
            forger: Forger::new(seed),
            ipv4: socket(AddressFamily::INET)?,
            ipv6: socket(AddressFamily::INET6)?,
        })
    }

    /// Sends SYNs to `targets` in turns, `per_second` of them, until `is_over` says so of what was sent. The calling thread is
    /// given to it: it comes first on a busy processor from then on.
    ///
    /// # Errors
    /// When the kernel refuses one for another reason than that a queue is full.
    pub fn flood(
        &mut self,
        targets: &[SocketAddr],
        per_second: f64,
        is_over: impl Fn(Sent) -> bool,
    ) -> Result<Sent, SendError> {
        let _ = rustix::process::nice(-URGENCY);
        // Wake when it is time and not when it suits the kernel; refused, the flood is slower, and says so.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let gap = Duration::try_from_secs_f64(BATCH as f64 / per_second).unwrap_or(Duration::MAX);
        let start = now();
        let mut due = start;
        let mut sent = Sent::default();
        let mut turns = targets.iter().cycle();
        while !is_over(sent) {
            let Some(target) = turns.next() else { break };
            sleep_until(due);
            sent.packets += self.batch(*target)?;
            let done = now();
            sent.time = done.saturating_since(start);
            due = due + gap;
            if done.saturating_since(due) > MOST_LATE {
                due = done;
            }
        }
        Ok(sent)
    }

    fn batch(&mut self, target: SocketAddr) -> Result<u64, SendError> {
        let packets: Vec<Packet> = (0..BATCH).map(|_| self.forger.syn(target)).collect();
        // A raw socket has no ports.
        let to = SocketAddr::new(target.ip(), 0);
        let address = SocketAddrAny::from(to);
        let slices: Vec<_> = packets.iter().map(|packet| [IoSlice::new(packet.octets())]).collect();
        let mut controls: Vec<_> = packets.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let pairs = slices.iter().zip(&mut controls);
        let mut messages: Vec<_> = pairs
            .map(|(slices, control)| MMsgHdr::new_with_addr(&address, slices, control))
            .collect();
        let socket = if target.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        match sendmmsg(socket, &mut messages, SendFlags::empty()) {
            Ok(count) => Ok(u64::try_from(count).unwrap_or(0)),
            // A queue is full: so it is in a flood.
            Err(Errno::NOBUFS | Errno::AGAIN) => Ok(0),
            Err(error) => Err(SendError::Send { to: target, source: error.into() }),
        }
    }
}
