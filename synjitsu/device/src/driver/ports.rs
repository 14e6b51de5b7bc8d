//! Every port, and where the switch's frames go.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use policies::{Generation, ServiceId};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use synjitsu::{FrameSink, PortId};

use super::mailbox::Mailbox;
use super::outgoing::Outgoing;
use crate::{DeviceError, GuestPort, NetworkPort, Sent};

/// Frames that are read from one port before the others get their turn.
pub(super) const MOST: usize = 64;
/// Frames that are asked for together, in one system call, as soon as there was one just before.
const SOME: usize = 16;
/// Ports that are found ready at once; the others are next.
pub(super) const READY: usize = 64;

const TOKEN_UPLINK: u64 = 0;
const TOKEN_MAILBOX: u64 = 1;
const FIRST_GUEST_TOKEN: u64 = 2;

/// Frames that the kernel did not take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost {
    to_full_guests: u64,
    to_gone_guests: u64,
    to_uplink: u64,
}

impl Lost {
    pub(super) fn iter(self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self { to_full_guests, to_gone_guests, to_uplink } = self;
        [
            ("lost_to_full_guests", to_full_guests),
            ("lost_to_gone_guests", to_gone_guests),
            ("lost_to_uplink", to_uplink),
        ]
        .into_iter()
    }
}

/// Who has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Uplink,
    Mailbox,
    /// The guest in this place.
    Guest(usize),
}

/// How many frames to read before looking elsewhere: the kernel is asked once more whether there is another one
/// only where there was just now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Burst {
    /// The round in which as many frames were there as were asked for.
    full: u64,
    length: usize,
    /// The least after a round in which there were as many.
    step: usize,
}

impl Burst {
    /// For a port that takes a system call for each frame.
    const SINGLE: Self = Self { full: 0, length: 0, step: 1 };
    /// For one that takes one for many. A lone frame is asked for alone all the same, which is quicker.
    const MANY: Self = Self { full: 0, length: 0, step: SOME };

    /// The most to read in this round.
    pub(super) fn begin(&mut self, round: u64) -> usize {
        // Without a round in between: the frames come faster than they are read.
        let follows = self.full + 1 == round;
        self.length = if follows { (self.length * 2).clamp(self.step, MOST) } else { 1 };
        self.length
    }

    /// All of them were there.
    pub(super) const fn was_full(&mut self, round: u64) {
        self.full = round;
    }
}

/// A guest's port.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) id: PortId,
    pub(super) port: GuestPort,
    pub(super) burst: Burst,
}

/// See the module.
pub(super) struct Ports<U> {
    epoll: OwnedFd,
    pub(super) uplink: U,
    pub(super) burst: Burst,
    /// A port stays in its place; its token is made of it.
    places: Vec<Option<Attached>>,
    free: Vec<usize>,
    /// Where the ports of a service are: one, or two for a moment when one boot follows another.
    by_service: HashMap<ServiceId, Vec<(Generation, usize)>>,
    outgoing: Outgoing,
    pub(super) lost: Lost,
}

impl<U: NetworkPort> Ports<U> {
    pub(super) fn new(uplink: U, mailbox: &Mailbox) -> Result<Self, DeviceError> {
        let failed = |what| move |error: Errno| DeviceError::Driver { what, source: error.into() };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll"))?;
        epoll::add(&epoll, &uplink, EventData::new_u64(TOKEN_UPLINK), EventFlags::IN)
            .map_err(failed("uplink"))?;
        // Edges, because nobody reads it.
        let edges = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, mailbox, EventData::new_u64(TOKEN_MAILBOX), edges)
            .map_err(failed("eventfd"))?;
        Ok(Self {
            epoll,
            uplink,
            burst: Burst::SINGLE,
            places: Vec::new(),
            free: Vec::new(),
            by_service: HashMap::new(),
            outgoing: Outgoing::default(),
            lost: Lost::default(),
        })
    }

    /// Waits for something, no longer than `timeout`.
    pub(super) fn wait(&self, ready: &mut Vec<epoll::Event>, timeout: Option<Timespec>) {
        ready.clear();
        if let Err(error) = epoll::wait(&self.epoll, spare_capacity(ready), timeout.as_ref()) {
            // Interrupted by a signal: nothing is ready. Anything else would be a closed or foreign descriptor.
            assert_eq!(error, Errno::INTR, "epoll_wait of our own descriptor failed");
        }
    }

    pub(super) fn install(&mut self, service: ServiceId, generation: Generation, port: GuestPort) {
        let place = self.free.pop().unwrap_or(self.places.len());
        let token = EventData::new_u64(to_token(place));
        if epoll::add(&self.epoll, &port, token, EventFlags::IN).is_err() {
            // Without memory for it in the kernel the guest is mute; its service will be refused after the hold time.
            self.free.push(place);
            return;
        }
        let id = PortId::Guest { service, generation };
        let attached = Some(Attached { id, port, burst: Burst::MANY });
        match self.places.get_mut(place) {
            Some(free) => *free = attached,
            None => self.places.push(attached),
        }
        self.by_service.entry(service).or_default().push((generation, place));
    }

    pub(super) fn remove(&mut self, service: ServiceId, generation: Generation) {
        let Some(of_service) = self.by_service.get_mut(&service) else { return };
        let Some(index) = of_service.iter().position(|(whose, _)| *whose == generation) else {
            return;
        };
        let (_, place) = of_service.swap_remove(index);
        if of_service.is_empty() {
            self.by_service.remove(&service);
        }
        self.vacate(place);
    }

    pub(super) fn remove_all_of(&mut self, service: ServiceId) {
        for (_, place) in self.by_service.remove(&service).unwrap_or_default() {
            self.vacate(place);
        }
    }

    /// The guest in a place; none if its port was removed by a command in the meantime.
    pub(super) fn guest(&mut self, place: usize) -> Option<&mut Attached> {
        self.places.get_mut(place)?.as_mut()
    }

    /// Sends everything that was gathered. To be called before anything is waited for, and after each burst.
    pub(super) fn flush(&mut self) {
        self.flush_guests();
        self.lost.to_uplink += self.uplink.flush();
    }

    fn flush_guests(&mut self) {
        let untaken = self.outgoing.flush(&mut self.places);
        self.lost.to_full_guests += untaken.full;
        self.lost.to_gone_guests += untaken.gone;
    }

    fn vacate(&mut self, place: usize) {
        // What is for the one who leaves must not reach the next one in its place.
        self.flush_guests();
        if let Some(attached) = self.places.get_mut(place).and_then(Option::take) {
            // Closing would do, were there no duplicate of the descriptor anywhere.
            let _ = epoll::delete(&self.epoll, &attached.port);
            // An event that was found for the old port is then one for the next in its place, where it finds nothing.
            self.free.push(place);
        }
    }

    /// Where the port of that boot is.
    fn place(&self, service: ServiceId, generation: Generation) -> Option<usize> {
        let of_service = self.by_service.get(&service)?;
        of_service.iter().find(|(whose, _)| *whose == generation).map(|(_, place)| *place)
    }
}

impl<U: NetworkPort> FrameSink for Ports<U> {
    fn send(&mut self, to: PortId, head: &[u8], body: &[u8]) {
        match to {
            PortId::Uplink => match self.uplink.transmit(head, body) {
                Ok(Sent::Taken) => {}
                Ok(Sent::Full) | Err(_) => self.lost.to_uplink += 1,
            },
            PortId::Guest { service, generation } => {
                let Some(place) = self.place(service, generation) else {
                    self.lost.to_gone_guests += 1;
                    return;
                };
                self.outgoing.push(place, head, body);
                if self.outgoing.is_full() {
                    self.flush_guests();
                }
            }
        }
    }
}

fn to_token(place: usize) -> u64 {
    FIRST_GUEST_TOKEN + u64::try_from(place).expect("places are counted in memory")
}

/// Whom an event is about.
pub(super) fn source(event: &epoll::Event) -> Source {
    match event.data.u64() {
        TOKEN_UPLINK => Source::Uplink,
        TOKEN_MAILBOX => Source::Mailbox,
        token => Source::Guest(
            usize::try_from(token - FIRST_GUEST_TOKEN).expect("tokens are made of places"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_read_at_once_only_from_where_there_was_more() {
        let mut burst = Burst::SINGLE;
        let mut lengths = Vec::new();
        for round in 1..=8 {
            lengths.push(burst.begin(round));
            burst.was_full(round);
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 64, 64]);
        assert_eq!(burst.begin(9), 64);
        assert_eq!(burst.begin(10), 1, "the last burst found an end");
        burst.was_full(10);
        assert_eq!(burst.begin(12), 1, "something else came in between");
        let mut burst = Burst::MANY;
        let mut lengths = Vec::new();
        for round in 2..=5 {
            lengths.push(burst.begin(round));
            burst.was_full(round);
        }
        assert_eq!(lengths, [1, 16, 32, 64]);
        assert_eq!(burst.begin(7), 1);
    }
}
