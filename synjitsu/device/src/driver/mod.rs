//! The thread that owns the switch, and how it is told something.
//!
//! `looper` is what the thread does, `ports` where frames come from and go to, `incoming` and `outgoing` how many of them do
//! so at once, `mailbox` how commands reach it, `vigil` for how long it stays awake for what comes next.

mod incoming;
mod looper;
mod mailbox;
mod outgoing;
mod ports;
mod vigil;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use policies::{Generation, Instant, ServiceId};
use synjitsu::{Command, Counters, Event, Switch};

use crate::{DeviceError, GuestPort, NetworkPort};
use looper::Loop;
use mailbox::Post;
use ports::{Lost, Ports};
use vigil::Vigil;

/// What the driver's thread can be told.
#[derive(Debug)]
pub enum DriverCommand {
    /// For the switch.
    Switch(Command),
    /// Takes a guest's port and opens it.
    Open {
        /// Whose port.
        service: ServiceId,
        /// Of which boot.
        generation: Generation,
        /// The switch's end of it.
        port: GuestPort,
    },
    /// The thread ends.
    Shutdown,
}

/// How much more of a busy processor the thread gets than others, if it may (nice(2)): packets need little, but at once.
const URGENCY: i32 = 10;

/// How the driver's thread works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverConfig {
    /// For how long at most the thread stays awake after a frame or a command, waiting for the next one. Zero,
    /// the default: it sleeps at once.
    ///
    /// A frame that finds it awake is on its way at once; otherwise a sleeping processor may have to be woken, which
    /// takes some microseconds on a plain machine and some tens of them in a virtual one. That pays where the
    /// thread has a processor to itself: a round trip in a virtual machine of two processors took 163 us without
    /// and 45 us with a vigil of 50 us when clients and guest ran on the other one. Where they run on the
    /// same one, as the kernel often has it, they wait for the end of the vigil: connections took half as long again.
    /// While it pays it may take all of one processor; where it does not, at most a tenth.
    pub vigil: Duration,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self { vigil: Duration::ZERO }
    }
}

/// The driver's thread.
#[derive(Debug)]
pub struct Driver {
    handle: DriverHandle,
    thread: JoinHandle<()>,
}

/// A way to tell the driver's thread something; never waits.
#[derive(Debug, Clone)]
pub struct DriverHandle {
    post: Post,
    counters: Arc<Mutex<Snapshot>>,
}

/// The switch's counters and the driver's own.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    switch: Counters,
    lost: Lost,
}

impl Driver {
    /// Starts the thread, with the default configuration. `on_event` is called in it for everything that the
    /// switch tells, and dropped when the thread ends, however it does: an owner that captures a channel in it
    /// learns of the end.
    ///
    /// # Errors
    /// When the thread or what it waits with cannot be made.
    pub fn spawn<U>(
        switch: Switch,
        uplink: U,
        clock: fn() -> Instant,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, DeviceError>
    where
        U: NetworkPort + Send + 'static,
    {
        Self::spawn_with(DriverConfig::default(), switch, uplink, clock, on_event)
    }

    /// As [`spawn`](Self::spawn), with a configuration.
    ///
    /// # Errors
    /// When the thread or what it waits with cannot be made.
    pub fn spawn_with<U>(
        config: DriverConfig,
        switch: Switch,
        uplink: U,
        clock: fn() -> Instant,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, DeviceError>
    where
        U: NetworkPort + Send + 'static,
    {
        let (post, mailbox) = mailbox::new()?;
        let ports = Ports::new(uplink, &mailbox)?;
        let handle = DriverHandle { post, counters: Arc::default() };
        let counters = handle.counters.clone();
        let vigil = Vigil::new(config.vigil);
        let mut looper = Loop::new(switch, ports, mailbox, counters, clock, on_event, vigil);
        let thread = std::thread::Builder::new()
            .name("switch".to_owned())
            .spawn(move || {
                // Only who is privileged may; for others, that guests yield has to do.
                let _ = rustix::process::nice(-URGENCY);
                looper.run();
            })
            .map_err(|source| DeviceError::Driver { what: "thread", source })?;
        Ok(Self { handle, thread })
    }

    /// A way to tell it something.
    #[must_use]
    pub fn handle(&self) -> DriverHandle {
        self.handle.clone()
    }

    /// Ends the thread and waits for it; the uplink is closed then.
    ///
    /// # Errors
    /// With what it said, if the thread panicked.
    pub fn shutdown(self) -> Result<(), String> {
        self.handle.send(DriverCommand::Shutdown);
        self.thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message")
                .to_owned()
        })
    }
}

impl DriverHandle {
    /// Tells the thread something. A frame that is sent after this has returned finds it carried out. After the
    /// thread's end nothing happens.
    pub fn send(&self, command: DriverCommand) {
        self.post.send(command);
    }

    /// The counters, as of the last burst.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let snapshot = self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        snapshot.switch.iter().chain(snapshot.lost.iter()).collect()
    }
}
