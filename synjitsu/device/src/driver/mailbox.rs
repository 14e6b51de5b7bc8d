//! Commands on their way to the thread.
//!
//! The thread is woken only if it sleeps: a word says whether it does and whether something was told. It is told
//! by the same word that something waits, so looking costs nothing, and it can look before every frame.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use rustix::event::{EventfdFlags, eventfd};

use super::DriverCommand;
use crate::DeviceError;

/// The thread is awake and knows of everything.
const AWAKE: u8 = 0;
/// Something was told since the thread last looked.
const TOLD: u8 = 1;
/// The thread sleeps, or is about to; who tells it something wakes it.
const ASLEEP: u8 = 2;

#[derive(Debug)]
struct Bell {
    state: AtomicU8,
    /// Never read: the thread waits for its edges.
    event: OwnedFd,
}

/// The senders' side.
#[derive(Debug, Clone)]
pub(super) struct Post {
    commands: Sender<DriverCommand>,
    bell: Arc<Bell>,
}

/// The thread's side.
#[derive(Debug)]
pub(super) struct Mailbox {
    commands: Receiver<DriverCommand>,
    bell: Arc<Bell>,
}

pub(super) fn new() -> Result<(Post, Mailbox), DeviceError> {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|error| DeviceError::Driver { what: "eventfd", source: error.into() })?;
    let bell = Arc::new(Bell { state: AtomicU8::new(AWAKE), event });
    let (sender, commands) = channel();
    Ok((Post { commands: sender, bell: bell.clone() }, Mailbox { commands, bell }))
}

impl Post {
    pub(super) fn send(&self, command: DriverCommand) {
        if self.commands.send(command).is_err() {
            return;
        }
        // After the command is in the channel, so that whoever sees the word finds the command.
        if self.bell.state.swap(TOLD, Ordering::AcqRel) == ASLEEP {
            // It can fail only when 2^64 wakes were rung and none of them seen.
            let _ = rustix::io::write(&self.bell.event, &1_u64.to_ne_bytes());
        }
    }
}

impl Mailbox {
    /// Whether something was told since [`has_mail`](Self::has_mail) was last asked.
    pub(super) fn is_told(&self) -> bool {
        self.bell.state.load(Ordering::Acquire) == TOLD
    }

    /// Whether something was told since this was last asked; then take all that there is.
    pub(super) fn has_mail(&self) -> bool {
        self.is_told() && self.bell.state.swap(AWAKE, Ordering::AcqRel) == TOLD
    }

    pub(super) fn take(&self) -> Result<DriverCommand, TryRecvError> {
        self.commands.try_recv()
    }

    /// Says that the thread is about to sleep; false if something was told in the meantime.
    pub(super) fn fall_asleep(&self) -> bool {
        let state = &self.bell.state;
        state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Says that the thread no longer sleeps.
    pub(super) fn wake_up(&self) {
        let state = &self.bell.state;
        // If something was told, that stays to be seen.
        let _ = state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    /// Whether the bell was rung since the last look.
    fn rung(mailbox: &Mailbox) -> bool {
        match rustix::io::read(mailbox, &mut [0; 8]) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                false
            }
        }
    }

    #[test]
    fn only_a_sleeping_thread_is_woken_and_only_once() {
        let (post, mailbox) = new().unwrap();
        post.send(DriverCommand::Shutdown);
        assert!(!rung(&mailbox), "it looks by itself");
        assert!(!mailbox.fall_asleep(), "it has to look first");
        assert!(mailbox.has_mail());
        assert!(!mailbox.has_mail());
        assert!(mailbox.take().is_ok());
        assert!(mailbox.fall_asleep());
        post.send(DriverCommand::Shutdown);
        assert!(rung(&mailbox));
        post.send(DriverCommand::Shutdown);
        assert!(!rung(&mailbox), "it is awake, or about to be");
        mailbox.wake_up();
        assert!(mailbox.has_mail(), "what was told during the sleep is not forgotten");
        assert!(mailbox.fall_asleep());
        mailbox.wake_up();
        assert!(!mailbox.has_mail());
    }
}
