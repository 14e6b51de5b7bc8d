//! The loop around the switch: one thread that owns it, reads frames in bursts, sends what follows from each at its end, and
//! sleeps until there is something.

use std::io;
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policies::Instant;
use rustix::event::{Timespec, epoll};
use synjitsu::{Command, Event, PortId, Switch};

use super::incoming::{Incoming, LONGEST_FRAME};
use super::mailbox::Mailbox;
use super::ports::{Ports, READY, Source, source};
use super::vigil::Vigil;
use super::{DriverCommand, Snapshot};
use crate::NetworkPort;

/// The pause after the uplink failed (it is down, for example), so that the loop does not spin.
const UPLINK_PAUSE: Duration = Duration::from_millis(10);
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// See the module.
pub(super) struct Loop<U, F> {
    switch: Switch,
    ports: Ports<U>,
    mailbox: Mailbox,
    counters: Arc<Mutex<Snapshot>>,
    clock: fn() -> Instant,
    on_event: F,
    vigil: Vigil,
    /// Counts how often the loop went round.
    round: u64,
    /// Whether it was told to end.
    ends: bool,
    buffer: Vec<u8>,
}

impl<U: NetworkPort, F: FnMut(Event)> Loop<U, F> {
    pub(super) fn new(
        switch: Switch,
        ports: Ports<U>,
        mailbox: Mailbox,
        counters: Arc<Mutex<Snapshot>>,
        clock: fn() -> Instant,
        on_event: F,
        vigil: Vigil,
    ) -> Self {
        Self {
            switch,
            ports,
            mailbox,
            counters,
            clock,
            on_event,
            vigil,
            round: 0,
            ends: false,
            buffer: vec![0; LONGEST_FRAME],
        }
    }

    pub(super) fn run(&mut self) {
        let mut ready = Vec::with_capacity(READY);
        let mut incoming = Incoming::new();
        while !self.ends {
            self.wait(&mut ready);
            self.round += 1;
            self.obey();
            self.ports.flush();
            for event in &ready {
                match source(event) {
                    Source::Uplink => self.read_uplink(),
                    Source::Mailbox => {}
                    Source::Guest(place) => self.read_guest(place, &mut incoming),
                }
                self.ports.flush();
                // A wake must not wait until everybody else was heard.
                self.tell();
            }
            let now = (self.clock)();
            if self.switch.poll_timeout().is_some_and(|due| due <= now) {
                self.switch.handle_timeout(now, &mut self.ports);
                self.ports.flush();
            }
            self.tell();
            self.publish();
        }
    }

    /// Waits for something: awake for a moment, then asleep.
    fn wait(&mut self, ready: &mut Vec<epoll::Event>) {
        let length = self.vigil.length();
        let begun = (self.clock)();
        if length > Duration::ZERO {
            loop {
                self.ports.wait(ready, Some(AT_ONCE));
                let now = (self.clock)();
                let due = self.switch.poll_timeout().is_some_and(|due| due <= now);
                if !ready.is_empty() || self.mailbox.is_told() || due {
                    self.vigil.pays();
                    return;
                }
                if now.saturating_since(begun) >= length {
                    break;
                }
                std::hint::spin_loop();
            }
        }
        if !self.mailbox.fall_asleep() {
            ready.clear();
            return;
        }
        let asleep = (self.clock)();
        let timeout = self.switch.poll_timeout().map(|due| {
            let left = due.saturating_since(asleep);
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        self.ports.wait(ready, timeout);
        self.mailbox.wake_up();
        self.vigil.was_in_vain((self.clock)().saturating_since(asleep));
    }

    fn read_uplink(&mut self) {
        let most = self.ports.burst.begin(self.round);
        for _ in 0..most {
            match self.ports.uplink.receive(&mut self.buffer) {
                Ok(Some(length)) => {
                    self.handle_uplink(length);
                    while self.ports.uplink.has_more()
                        && let Ok(Some(length)) = self.ports.uplink.receive(&mut self.buffer)
                    {
                        self.handle_uplink(length);
                    }
                }
                Ok(None) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // A device that is down reads as an error and is readable all the time.
                    std::thread::sleep(UPLINK_PAUSE);
                    return;
                }
            }
        }
        self.ports.burst.was_full(self.round);
    }

    fn read_guest(&mut self, place: usize, incoming: &mut Incoming) {
        let Some(attached) = self.ports.guest(place) else { return };
        let id = attached.id;
        let most = attached.burst.begin(self.round);
        let came = incoming.receive(&mut attached.port, most);
        if came.is_full {
            attached.burst.was_full(self.round);
        }
        for frame in incoming.frames() {
            // A frame that was sent because of a command must find it carried out; and if that closes the port that the frame
            // came by, the switch knows.
            self.obey();
            self.switch.handle_frame((self.clock)(), id, frame, &mut self.ports);
        }
        if came.end.is_some()
            && let PortId::Guest { service, generation } = id
        {
            // The monitor is gone. What is left to do comes from its owner, as a command.
            self.ports.remove(service, generation);
        }
    }

    /// A packet is in the buffer.
    fn handle_uplink(&mut self, length: usize) {
        // As above.
        self.obey();
        let packet = &self.buffer[..length];
        self.switch.handle_frame((self.clock)(), PortId::Uplink, packet, &mut self.ports);
    }

    /// Carries out the commands that wait.
    fn obey(&mut self) {
        if !self.mailbox.has_mail() {
            return;
        }
        loop {
            match self.mailbox.take() {
                Ok(DriverCommand::Switch(command)) => self.command(command),
                Ok(DriverCommand::Open { service, generation, port }) => {
                    // First the way, then the permission: the switch replays at once.
                    self.ports.install(service, generation, port);
                    self.command(Command::Open { service, generation });
                }
                Ok(DriverCommand::Shutdown) | Err(TryRecvError::Disconnected) => {
                    self.ends = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
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

    /// Tells the owner what the switch has to tell.
    fn tell(&mut self) {
        while let Some(event) = self.switch.poll_event() {
            if let Event::Closed { service, generation } = event {
                self.ports.remove(service, generation);
            }
            (self.on_event)(event);
        }
    }

    /// Updates what others may look at.
    fn publish(&self) {
        let mut snapshot = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.switch.clone_from(self.switch.counters());
        snapshot.lost = self.ports.lost;
    }
}
