//! Clients and a guest that behave like real ones, and what must be true of the switch between them.

mod observe;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use policies::{Generation, Instant, ServiceId};
use synjitsu::{Command, Event, HoldOutcome, MilestoneKind, Overflow, PortId};

use crate::guest::Guest;
use crate::support::segment::{self, Segment, Side, ack, rst, syn, syn_ack};
use crate::support::{HOLD_TIME, SERVICE, World, port};

/// After so much silence the switch may have forgotten a connection.
const LONG: Duration = Duration::from_secs(3600);

/// What can happen.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A client begins anew, from a port that may be in use.
    Connect {
        client: u16,
        service_port: u16,
    },
    /// A client sends its last SYN again.
    Repeat {
        client: u16,
    },
    /// A client gives up.
    Abort {
        client: u16,
    },
    /// A client that is connected sends data; one that is not sends them all the same.
    Talk {
        client: u16,
    },
    Datagram {
        echo: bool,
    },
    /// The guest reads what it was sent, in order; some of it may be lost on the way, and answers may double.
    GuestWorks {
        packets: usize,
        answers: Answers,
    },
    GuestListens,
    GuestTalks,
    Open,
    Close,
    CloseIfIdle {
        fresh: bool,
    },
    /// Messages about a generation that is over.
    Stale,
    Pass(Duration),
    /// Answers to clients are lost from now on, or no longer.
    Lossy(bool),
    Garbage {
        guest: bool,
        bytes: Vec<u8>,
    },
}

/// What becomes of what a guest is told, and of its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    Once,
    Twice,
    /// The guest answers, and nobody hears it.
    Lost,
    /// What the guest was told is lost.
    NotAsked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Idle,
    Waiting { isn: u32 },
    Connected { isn: u32, iss: u32 },
}

/// A SYN that the switch said it holds.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    isn: u32,
    since: Instant,
    /// Whether the guest of the open port got it.
    seen_by_guest: bool,
}

pub(crate) struct Model {
    world: World,
    flows: u32,
    wake_on_packet: bool,
    clients: BTreeMap<u16, (Client, u16)>,
    /// Acknowledgments of SYN-ACKs that clients are about to send.
    acknowledgments: VecDeque<Segment>,
    /// When a client last heard of its connection or used it.
    contact: BTreeMap<u16, Instant>,
    guest: Guest,
    lossy: bool,
    next_isn: u32,
    open: Option<Generation>,
    newest: u64,
    waiting: BTreeMap<(u16, u16), Waiting>,
    /// SYNs that went straight to the guest and are not answered, oldest first; with initial sequence number.
    passed: Vec<((u16, u16), u32, Instant)>,
    /// The last milestone told since the port was last closed.
    told: Option<MilestoneKind>,
    datagrams: Vec<Instant>,
    ended: u64,
    last_packet: Option<Instant>,
    woken: Option<Instant>,
}

impl Model {
    pub(crate) fn new(flows: u32, overflow: Overflow, wake_on_packet: bool) -> Self {
        let mut settings = port();
        settings.hold.flows = flows;
        settings.hold.overflow = overflow;
        (settings.wake_on_packet, settings.wake_on_echo) = (wake_on_packet, wake_on_packet);
        Self {
            world: World::with(settings),
            flows,
            wake_on_packet,
            clients: BTreeMap::new(),
            acknowledgments: VecDeque::new(),
            contact: BTreeMap::new(),
            guest: Guest::default(),
            lossy: false,
            next_isn: u32::MAX - 50,
            open: None,
            newest: 0,
            waiting: BTreeMap::new(),
            passed: Vec::new(),
            told: None,
            datagrams: Vec::new(),
            ended: 0,
            last_packet: None,
            woken: None,
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Connect { client, service_port } => {
                self.next_isn = self.next_isn.wrapping_add(7);
                let isn = self.next_isn;
                self.clients.insert(client, (Client::Waiting { isn }, service_port));
                let before = self.fates_of_syns();
                self.send_syn(client, service_port, isn);
                assert!(self.fates_of_syns() > before, "a SYN that nobody keeps");
            }
            Step::Repeat { client } => match self.client(client) {
                (Client::Waiting { isn }, service_port) => {
                    self.send_syn(client, service_port, isn);
                }
                // A segment that was under way for long (RFC 9293, section 3.4.2: two minutes).
                (Client::Connected { isn, .. }, service_port) if !self.is_forgotten(client) => {
                    self.send_syn(client, service_port, isn);
                }
                (Client::Connected { .. } | Client::Idle, _) => {}
            },
            Step::Abort { client } => {
                let (state, service_port) = self.client(client);
                if let Client::Waiting { isn } | Client::Connected { isn, .. } = state {
                    self.clients.insert(client, (Client::Idle, service_port));
                    let key = (client, service_port);
                    if self.waiting.get(&key).is_some_and(|waiting| waiting.isn == isn) {
                        self.waiting.remove(&key);
                    }
                    self.passed.retain(|passed| (passed.0, passed.1) != (key, isn));
                    self.client_sends(
                        rst(isn.wrapping_add(1)).on_port(client).to_port(service_port),
                    );
                }
            }
            // Who comes back after hours may be unknown to the switch, which then cannot tell it of the guest's end.
            Step::Talk { client } if self.is_forgotten(client) => {}
            Step::Talk { client } => {
                let (state, service_port) = self.client(client);
                let segment = match state {
                    Client::Connected { isn, iss } => {
                        ack(isn.wrapping_add(1), iss.wrapping_add(1)).with(5)
                    }
                    Client::Idle | Client::Waiting { .. } => ack(123, 456),
                };
                self.client_sends(segment.on_port(client).to_port(service_port));
            }
            Step::Datagram { echo } => self.send_datagram(echo),
            Step::GuestWorks { packets, answers } => self.guest_works(packets, answers),
            Step::GuestListens => self.guest.listens = true,
            Step::GuestTalks => self.guest_talks(),
            Step::Open => {
                self.newest += 1;
                self.command_open(self.newest);
            }
            Step::Close => self.close(None),
            Step::CloseIfIdle { fresh } => {
                let (last, ..) = self.world.activity();
                let stamp = if fresh { last.unwrap_or(Instant::ZERO) } else { Instant::ZERO };
                self.close(Some(stamp));
            }
            Step::Stale => self.stale(),
            Step::Pass(time) => self.world.pass(time),
            Step::Lossy(lossy) => self.lossy = lossy,
            Step::Garbage { guest, bytes } => self.garbage(guest, &bytes),
        }
        self.observe();
        while let Some(segment) = self.acknowledgments.pop_front() {
            self.client_sends(segment);
            self.observe();
        }
        self.check();
    }

    /// Nobody does anything any more.
    pub(crate) fn settle(&mut self) {
        self.step(Step::Lossy(false));
        self.serve();
        self.step(Step::Pass(HOLD_TIME));
        assert_eq!(self.world.activity().2, 0, "something is held for ever");
        self.step(Step::Close);
        assert_eq!(self.world.switch.poll_timeout(), None, "a timer is left over");
        for (client, (state, _)) in &self.clients {
            // Longer silence than that, and the switch may have forgotten the connection.
            if self.world.now - self.contact[client] > LONG {
                continue;
            }
            assert!(!matches!(state, Client::Connected { .. }), "{client} was not told of the end");
        }
    }

    /// The guest does its work, and within a second or so everybody who waits is served, whatever was lost before.
    fn serve(&mut self) {
        if self.open.is_none() {
            return;
        }
        self.step(Step::GuestListens);
        let deadline = self.world.now + Duration::from_millis(1500);
        while self.world.now < deadline {
            self.step(Step::GuestWorks { packets: usize::MAX, answers: Answers::Once });
            self.step(Step::Pass(Duration::from_millis(50)));
        }
        let left: Vec<_> = self.waiting.values().map(|waiting| waiting.since).collect();
        assert_eq!(left, [], "not served by a guest that listens");
    }

    /// SYNs that are kept, or for which there was no room.
    fn fates_of_syns(&self) -> u64 {
        let fates = ["held_syns", "passed_syns", "dropped_overflow"];
        fates.iter().map(|fate| self.world.counter(fate)).sum()
    }

    /// The port closes: what the guest has not answered is held, as far as there is room.
    fn take_back_passed(&mut self) {
        self.told = None;
        for (key, isn, since) in std::mem::take(&mut self.passed) {
            let room = self.waiting.len() < self.most();
            if self.world.now < since + HOLD_TIME && room {
                self.waiting.insert(key, Waiting { isn, since, seen_by_guest: false });
            }
        }
    }

    /// How many flows are held at most.
    fn most(&self) -> usize {
        usize::try_from(self.flows).expect("a small number")
    }

    fn client(&self, client: u16) -> (Client, u16) {
        self.clients.get(&client).copied().unwrap_or((Client::Idle, 80))
    }

    fn send_syn(&mut self, client: u16, service_port: u16, isn: u32) {
        let key = (client, service_port);
        let before = self.world.counter("held_syns");
        let passed = self.world.counter("passed_syns");
        if self.waiting.get(&key).is_some_and(|waiting| waiting.isn != isn) {
            self.waiting.remove(&key);
        }
        self.client_sends(syn(isn).on_port(client).to_port(service_port));
        if self.world.counter("held_syns") > before {
            let waiting = Waiting { isn, since: self.world.now, seen_by_guest: false };
            self.waiting.insert(key, waiting);
        }
        if self.world.counter("passed_syns") > passed {
            assert!(self.open.is_some());
            self.passed.retain(|passed| passed.0 != key);
            if self.passed.len() == self.most() {
                self.passed.remove(0);
            }
            self.passed.push((key, isn, self.world.now));
        }
    }

    fn send_datagram(&mut self, echo: bool) {
        let packet = if echo { segment::echo(true, b"x") } else { segment::udp(false, b"y") };
        let before = self.world.counter("held_datagrams");
        self.uplink(&packet);
        if self.world.counter("held_datagrams") > before {
            assert!(self.wake_on_packet && self.open.is_none());
            self.datagrams.push(self.world.now);
        }
    }

    fn client_sends(&mut self, segment: Segment) {
        self.contact.insert(segment.client_port, self.world.now);
        self.uplink(&segment.packet(Side::Client));
    }

    /// One packet of a client, of which exactly one thing must become.
    fn uplink(&mut self, packet: &[u8]) {
        let count = |world: &World, of_drops: bool| -> u64 {
            let fates = [
                "forwarded_to_guests",
                "held_syns",
                "held_datagrams",
                "held_retransmissions",
                "held_withdrawals",
            ];
            let counters = world.switch.counters().iter();
            let chosen = counters.filter(|(name, _)| {
                if of_drops { name.starts_with("dropped_") } else { fates.contains(name) }
            });
            chosen.map(|(_, count)| count).sum()
        };
        let used = count(&self.world, false);
        let before = used + count(&self.world, true);
        let resets = self.world.counter("resets_sent");
        self.world.uplink(packet);
        let after = count(&self.world, false) + count(&self.world, true);
        let answered = after == before && self.world.counter("resets_sent") == resets + 1;
        assert!(after == before + 1 || answered, "a packet with no fate or two");
        if self.open.is_some() && count(&self.world, false) > used {
            self.last_packet = Some(self.world.now);
        }
    }

    fn report(&mut self) -> Event {
        self.world.command(Command::Report(SERVICE));
        self.world.events.pop().expect("a report is answered")
    }

    fn guest_sends(&mut self, segment: Segment) {
        let before = self.world.counter("forwarded_to_uplink");
        self.world.guest(self.newest, segment);
        if self.world.counter("forwarded_to_uplink") > before {
            self.last_packet = Some(self.world.now);
        }
    }

    fn guest_works(&mut self, packets: usize, answers: Answers) {
        if self.open.is_none() {
            return;
        }
        for _ in 0..packets {
            let Some(packet) = self.guest.inbox.pop_front() else { return };
            if answers == Answers::NotAsked || !is_tcp(&packet) {
                continue;
            }
            let Some(answer) = self.guest.answer(&Segment::parse(&packet)) else { continue };
            let times = match answers {
                Answers::Once => 1,
                Answers::Twice => 2,
                Answers::Lost | Answers::NotAsked => 0,
            };
            for _ in 0..times {
                self.guest_sends(answer);
                self.observe();
            }
        }
    }

    /// Whether a connection has been silent for so long that the switch may have forgotten it.
    fn is_forgotten(&self, client: u16) -> bool {
        let silent_since = self.contact.get(&client).copied().unwrap_or(self.world.now);
        matches!(self.client(client).0, Client::Connected { .. })
            && self.world.now - silent_since >= LONG
    }

    /// On the connections that are established: before that a guest sends nothing but its SYN-ACK.
    fn guest_talks(&mut self) {
        if self.open.is_none() {
            return;
        }
        for ((client, service_port), (isn, iss)) in self.guest.connections.clone() {
            let connected = Client::Connected { isn, iss };
            if self.client(client) != (connected, service_port) || self.is_forgotten(client) {
                continue;
            }
            let segment = ack(iss.wrapping_add(1), isn.wrapping_add(1)).with(3);
            self.guest_sends(segment.on_port(client).to_port(service_port));
        }
    }

    fn command_open(&mut self, generation: u64) {
        self.woken = None;
        if self.open.is_some() {
            self.take_back_passed();
        }
        let held = self.waiting.values().map(|waiting| waiting.since);
        self.last_packet = held.chain(self.datagrams.iter().copied()).max();
        for waiting in self.waiting.values_mut() {
            waiting.seen_by_guest = false;
        }
        self.datagrams.clear();
        self.guest = Guest { salt: self.guest.salt + 1, ..Guest::default() };
        self.open = Some(Generation(generation));
        // What the instance before it had not sent yet is never sent.
        self.world.open(generation);
    }

    fn close(&mut self, only_if_idle_since: Option<Instant>) {
        let Some(generation) = self.open else { return };
        let used = |stamp| self.last_packet > Some(stamp) || !self.waiting.is_empty();
        let refused = only_if_idle_since.is_some_and(used);
        if !refused {
            self.woken = None;
            self.open = None;
            self.take_back_passed();
        }
        self.world.close_if(generation.0, only_if_idle_since);
        let answer = self.world.events.iter().find_map(|event| match event {
            Event::Closed { generation, .. } => Some((*generation, false)),
            Event::CloseRefused { generation, .. } => Some((*generation, true)),
            _ => None,
        });
        assert_eq!(
            answer,
            Some((generation, refused)),
            "compare-and-close of {only_if_idle_since:?}"
        );
    }

    /// Late messages change nothing at all.
    fn stale(&mut self) {
        let before = (self.report(), self.world.switch.poll_timeout());
        let sent = self.world.out.0.len();
        for generation in 0..self.newest {
            self.world.open(generation);
            self.world.close(generation);
            self.world.guest(generation, syn_ack(1, 2));
        }
        if self.open.is_none() && self.newest > 0 {
            self.world.open(self.newest);
            self.world.guest(self.newest, syn_ack(1, 2));
        }
        self.world.command(Command::Detach(ServiceId(99)));
        assert_eq!(self.world.out.0.len(), sent);
        assert_eq!(self.world.events, []);
        assert_eq!((self.report(), self.world.switch.poll_timeout()), before);
    }

    fn garbage(&mut self, guest: bool, bytes: &[u8]) {
        if guest {
            self.world.guest_frame(self.newest, bytes);
        } else {
            self.world.uplink(bytes);
        }
        assert_eq!(self.world.out.0, [], "an answer to garbage");
    }
}

fn is_tcp(packet: &[u8]) -> bool {
    packet[0] >> 4 == 4 && packet[9] == 6
}
