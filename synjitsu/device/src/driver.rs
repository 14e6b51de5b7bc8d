//! The loop around the switch: one thread that owns it, reads frames in bursts, and sleeps until there is something.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use policies::{Generation, Instant, ServiceId};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use synjitsu::{Command, Counters, Event, FrameSink, PortId, Switch};

use crate::{DeviceError, GuestPort, NetworkPort, Sent};

/// Frames that are read from one port before the others get their turn.
const BURST: usize = 64;
/// The longest frame that is read whole; longer ones are cut, and dropped by the switch.
const LONGEST_FRAME: usize = 64 * 1024;
/// The pause after the uplink failed (it is down, for example), so that the loop does not spin.
const UPLINK_PAUSE: Duration = Duration::from_millis(10);

const TOKEN_UPLINK: u64 = 0;
const TOKEN_COMMANDS: u64 = 1;
const FIRST_GUEST_TOKEN: u64 = 2;

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

/// The driver's thread.
#[derive(Debug)]
pub struct Driver {
    handle: DriverHandle,
    thread: JoinHandle<()>,
}

/// A way to tell the driver's thread something; never waits.
#[derive(Debug, Clone)]
pub struct DriverHandle {
    commands: Sender<DriverCommand>,
    wake: Arc<OwnedFd>,
    counters: Arc<Mutex<Snapshot>>,
}

/// The switch's counters and the driver's own.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    switch: Counters,
    lost: Lost,
}

/// Frames that the kernel did not take.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    to_full_guests: u64,
    to_gone_guests: u64,
    to_uplink: u64,
}

impl Driver {
    /// Starts the thread. `on_event` is called in it for everything that the switch tells, and dropped when the
    /// thread ends, however it does: an owner that captures a channel in it learns of the end.
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
        let failed = |what| move |error: Errno| DeviceError::Driver { what, source: error.into() };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(failed("eventfd"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll"))?;
        epoll::add(&epoll, &uplink, EventData::new_u64(TOKEN_UPLINK), EventFlags::IN)
            .map_err(failed("uplink"))?;
        epoll::add(&epoll, &wake, EventData::new_u64(TOKEN_COMMANDS), EventFlags::IN)
            .map_err(failed("eventfd"))?;
        let (sender, commands) = channel();
        let handle =
            DriverHandle { commands: sender, wake: Arc::new(wake), counters: Arc::default() };
        let ports = Ports {
            epoll,
            uplink,
            guests: HashMap::new(),
            tokens: HashMap::new(),
            next_token: FIRST_GUEST_TOKEN,
            lost: Lost::default(),
        };
        let mut looper = Loop {
            switch,
            ports,
            commands,
            wake: handle.wake.clone(),
            counters: handle.counters.clone(),
            clock,
            on_event,
            buffer: vec![0; LONGEST_FRAME],
        };
        let thread = std::thread::Builder::new()
            .name("switch".to_owned())
            .spawn(move || looper.run())
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
    /// Tells the thread something. After its end nothing happens.
    pub fn send(&self, command: DriverCommand) {
        if self.commands.send(command).is_ok() {
            // It can fail only when 2^64 commands wait already; then it is awake.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }

    /// The counters, as of the last burst.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let snapshot = self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Lost { to_full_guests, to_gone_guests, to_uplink } = snapshot.lost;
        let lost = [
            ("lost_to_full_guests", to_full_guests),
            ("lost_to_gone_guests", to_gone_guests),
            ("lost_to_uplink", to_uplink),
        ];
        snapshot.switch.iter().chain(lost).collect()
    }
}

/// Every port, and where the switch's frames go.
struct Ports<U> {
    epoll: OwnedFd,
    uplink: U,
    guests: HashMap<PortId, (u64, GuestPort)>,
    tokens: HashMap<u64, PortId>,
    next_token: u64,
    lost: Lost,
}

impl<U: NetworkPort> Ports<U> {
    fn install(&mut self, id: PortId, port: GuestPort) {
        let token = self.next_token;
        self.next_token += 1;
        if epoll::add(&self.epoll, &port, EventData::new_u64(token), EventFlags::IN).is_err() {
            // Without memory for it in the kernel the guest is mute; its service will be refused after the hold time.
            return;
        }
        self.tokens.insert(token, id);
        self.guests.insert(id, (token, port));
    }

    fn remove(&mut self, id: PortId) {
        if let Some((token, port)) = self.guests.remove(&id) {
            self.tokens.remove(&token);
            // Closing would do, were there no duplicate of the descriptor anywhere.
            let _ = epoll::delete(&self.epoll, &port);
        }
    }

    fn remove_all_of(&mut self, service: ServiceId) {
        let of_service =
            |id: &PortId| matches!(id, PortId::Guest { service: whose, .. } if *whose == service);
        let gone: Vec<PortId> = self.guests.keys().copied().filter(of_service).collect();
        gone.into_iter().for_each(|id| self.remove(id));
    }
}

impl<U: NetworkPort> FrameSink for Ports<U> {
    fn send(&mut self, to: PortId, head: &[u8], body: &[u8]) {
        match to {
            PortId::Uplink => match self.uplink.transmit(head, body) {
                Ok(Sent::Taken) => {}
                Ok(Sent::Full) | Err(_) => self.lost.to_uplink += 1,
            },
            PortId::Guest { .. } => {
                match self.guests.get_mut(&to).map(|(_, port)| port.transmit(head, body)) {
                    Some(Ok(Sent::Taken)) => {}
                    Some(Ok(Sent::Full)) => self.lost.to_full_guests += 1,
                    Some(Err(_)) | None => self.lost.to_gone_guests += 1,
                }
            }
        }
    }
}

struct Loop<U, F> {
    switch: Switch,
    ports: Ports<U>,
    commands: Receiver<DriverCommand>,
    wake: Arc<OwnedFd>,
    counters: Arc<Mutex<Snapshot>>,
    clock: fn() -> Instant,
    on_event: F,
    buffer: Vec<u8>,
}

impl<U: NetworkPort, F: FnMut(Event)> Loop<U, F> {
    fn run(&mut self) {
        let mut ready = Vec::with_capacity(BURST);
        loop {
            ready.clear();
            self.wait(&mut ready);
            // Commands first: a packet that was sent because of one must find it carried out.
            if ready.iter().any(|event| event.data.u64() == TOKEN_COMMANDS) && self.obey() {
                return;
            }
            for event in &ready {
                match event.data.u64() {
                    TOKEN_UPLINK => self.read_uplink(),
                    TOKEN_COMMANDS => {}
                    token => self.read_guest(token),
                }
            }
            let now = (self.clock)();
            if self.switch.poll_timeout().is_some_and(|due| due <= now) {
                self.switch.handle_timeout(now, &mut self.ports);
            }
            self.tell();
        }
    }

    fn wait(&mut self, ready: &mut Vec<epoll::Event>) {
        let timeout = self.switch.poll_timeout().map(|due| {
            let left = due.saturating_since((self.clock)());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        let buffer = rustix::buffer::spare_capacity(ready);
        if let Err(error) = epoll::wait(&self.ports.epoll, buffer, timeout.as_ref()) {
            // Interrupted by a signal: nothing is ready. Anything else would be a closed or foreign descriptor.
            assert_eq!(error, Errno::INTR, "epoll_wait of our own descriptor failed");
        }
    }

    fn read_uplink(&mut self) {
        for _ in 0..BURST {
            match self.ports.uplink.receive(&mut self.buffer) {
                Ok(Some(length)) => self.handle(PortId::Uplink, length),
                Ok(None) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // A device that is down reads as an error and is readable all the time.
                    std::thread::sleep(UPLINK_PAUSE);
                    return;
                }
            }
        }
    }

    fn read_guest(&mut self, token: u64) {
        // Removed by a command of the same round.
        let Some(&id) = self.ports.tokens.get(&token) else { return };
        for _ in 0..BURST {
            let Some((_, port)) = self.ports.guests.get_mut(&id) else { return };
            match port.receive(&mut self.buffer) {
                Ok(Some(length)) => self.handle(id, length),
                Ok(None) => return,
                Err(_) => {
                    // The monitor is gone. What is left to do comes from its owner, as a command.
                    self.ports.remove(id);
                    return;
                }
            }
        }
    }

    fn handle(&mut self, from: PortId, length: usize) {
        let now = (self.clock)();
        self.switch.handle_frame(now, from, &self.buffer[..length], &mut self.ports);
    }

    /// Carries out the commands that wait; true if the thread is to end.
    fn obey(&mut self) -> bool {
        // Reading resets the count; it can only fail when there is nothing to reset.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        loop {
            match self.commands.try_recv() {
                Ok(DriverCommand::Switch(command)) => self.command(command),
                Ok(DriverCommand::Open { service, generation, port }) => {
                    // First the way, then the permission: the switch replays at once.
                    self.ports.install(PortId::Guest { service, generation }, port);
                    self.command(Command::Open { service, generation });
                }
                Ok(DriverCommand::Shutdown) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
    }

    fn command(&mut self, command: Command) {
        let now = (self.clock)();
        self.switch.handle_command(now, command, &mut self.ports);
        if let Command::Detach(service) = command {
            self.ports.remove_all_of(service);
        }
    }

    /// Tells the owner what the switch has to tell, and updates what others may look at.
    fn tell(&mut self) {
        while let Some(event) = self.switch.poll_event() {
            if let Event::Closed { service, generation } = event {
                self.ports.remove(PortId::Guest { service, generation });
            }
            (self.on_event)(event);
        }
        let mut snapshot = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.switch.clone_from(self.switch.counters());
        snapshot.lost = self.ports.lost;
    }
}
