//! Which services there are, told from another thread.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use policies::ServiceId;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use synjitsu::Command;

/// A service and all of its addresses: none if it is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) service: ServiceId,
    pub(super) addresses: Vec<IpAddr>,
}

/// Counters by their names.
pub(super) type Totals = Vec<(&'static str, u64)>;

#[derive(Debug)]
struct Bell {
    /// Set before the event is, so that whoever takes the event back finds it.
    told: AtomicBool,
    event: OwnedFd,
}

/// A way to tell a [`LanPort`](super::LanPort) which services there are; never waits.
#[derive(Debug, Clone)]
pub struct LanHandle {
    sender: Sender<Told>,
    bell: Arc<Bell>,
    totals: Arc<Mutex<Totals>>,
}

/// The port's side.
#[derive(Debug)]
pub(super) struct Mailbox {
    receiver: Receiver<Told>,
    bell: Arc<Bell>,
    totals: Arc<Mutex<Totals>>,
    /// Whether the port itself has set the event, to be looked at again.
    own: bool,
}

pub(super) fn new() -> Result<(LanHandle, Mailbox), Errno> {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let bell = Arc::new(Bell { told: AtomicBool::new(false), event });
    let (sender, receiver) = channel();
    let totals = Arc::default();
    let handle = LanHandle { sender, bell: bell.clone(), totals: Arc::clone(&totals) };
    Ok((handle, Mailbox { receiver, bell, totals, own: false }))
}

impl LanHandle {
    /// Hears what the switch is told, and takes from it which addresses there are on the segment. To be called after the
    /// switch was told: nobody is answered for an address that it does not know.
    pub fn observe(&self, command: &Command) {
        let (service, addresses) = match command {
            Command::Attach(settings) => {
                let four = settings.ipv4.map(IpAddr::V4);
                (settings.service, four.into_iter().chain(settings.ipv6.map(IpAddr::V6)).collect())
            }
            Command::Detach(service) => (*service, Vec::new()),
            Command::Open { .. } | Command::Close { .. } | Command::Report(_) => return,
        };
        if self.sender.send(Told { service, addresses }).is_ok() {
            self.bell.told.store(true, Ordering::Release);
            self.bell.ring();
        }
    }

    /// The counters, as of the last time that the port had nothing to do.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Bell {
    fn ring(&self) {
        // It can fail only when 2^64 rings were not heard.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        // Fails if it was not rung.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

impl Mailbox {
    /// Whether something was told since [`take`](Self::take) found nothing more.
    pub(super) fn has_mail(&mut self) -> bool {
        if !self.bell.told.load(Ordering::Acquire) {
            return false;
        }
        // First the event, then the word: what is told in between sets both again, or is found now.
        if !self.own {
            self.bell.silence();
        }
        self.bell.told.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take(&self) -> Option<Told> {
        self.receiver.try_recv().ok()
    }

    /// Has the port's descriptor be ready until it is set back: there is more to be read, though not from the kernel.
    pub(super) fn keep_ready(&mut self, ready: bool) {
        if self.own == ready {
            return;
        }
        self.own = ready;
        if ready {
            self.bell.ring();
        } else {
            self.bell.silence();
            // What was told meanwhile must be seen all the same.
            if self.bell.told.load(Ordering::Acquire) {
                self.bell.ring();
            }
        }
    }

    pub(super) fn publish(&self, counters: impl Iterator<Item = (&'static str, u64)>) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.clear();
        totals.extend(counters);
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_ready(mailbox: &Mailbox) -> bool {
        let at_once = Timespec::try_from(Duration::ZERO).unwrap();
        poll(&mut [PollFd::new(mailbox, PollFlags::IN)], Some(&at_once)).unwrap() == 1
    }

    #[test]
    fn what_is_told_is_seen_and_readiness_ends_with_it() {
        let (handle, mut mailbox) = new().unwrap();
        let detach = |number| handle.observe(&Command::Detach(ServiceId(number)));
        assert!(!is_ready(&mailbox) && !mailbox.has_mail());
        detach(1);
        detach(2);
        assert!(is_ready(&mailbox) && mailbox.has_mail());
        assert!(!is_ready(&mailbox) && !mailbox.has_mail());
        let told = [mailbox.take(), mailbox.take(), mailbox.take()];
        assert_eq!(told.map(|told| told.map(|told| told.service.0)), [Some(1), Some(2), None]);
        mailbox.keep_ready(true);
        detach(3);
        assert!(mailbox.has_mail() && is_ready(&mailbox), "there is more to be read");
        mailbox.keep_ready(false);
        assert!(!is_ready(&mailbox));
        mailbox.keep_ready(true);
        detach(4);
        mailbox.keep_ready(false);
        assert!(is_ready(&mailbox) && mailbox.has_mail() && !is_ready(&mailbox));
        handle.observe(&Command::Report(ServiceId(1)));
        assert!(!mailbox.has_mail(), "none of its business");
    }
}
