//! What clients and guests know, and what follows from it for what they may be shown.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use policies::{Generation, Instant};
use synjitsu::{Command, HoldMode, PortId, ServicePort};

use super::super::packet::{ACK, FIN, RST, SYN, Segment};
use super::super::world::{HOLD_TIME, World, service, service_v4, service_v6};

/// The client's end of a connection, and the service's.
pub type Flow = (SocketAddr, SocketAddr);

/// How far from its beginning the numbers of one connection come within one input.
const SPAN: u32 = 1 << 22;
/// Guests speak no more of connections that were silent for so long: the switch may have forgotten them.
const MEMORY: Duration = Duration::from_secs(50);

/// One of eight: two prefixes of each family.
pub fn client_address(index: u8) -> SocketAddr {
    let (net, host) = (index >> 2 & 1, 10 + index);
    let ip: IpAddr = if index & 1 == 0 {
        Ipv4Addr::new(192, 0, 2 + net, host).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, net.into(), 0, 0, 0, 0, host.into()).into()
    };
    (ip, 40_000 + u16::from(index)).into()
}

pub fn service_address(index: u8, v6: bool, other_port: bool) -> SocketAddr {
    let ip: IpAddr = if v6 { service_v6(index).into() } else { service_v4(index).into() };
    (ip, 80 + u16::from(other_port)).into()
}

/// What a client knows of its connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Client {
    pub isn: u32,
    pub next: u32,
    pub expected: u32,
}

/// What a guest knows of a connection that it has accepted.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    pub irs: u32,
    pub iss: u32,
    pub next: u32,
    pub expected: u32,
    used: Instant,
}

#[derive(Debug, Default)]
struct Guest {
    /// SYNs that it has got and not answered.
    asked: BTreeMap<Flow, u32>,
    accepted: BTreeMap<Flow, Accepted>,
    opened: Option<Instant>,
    /// Whether it has sent a segment.
    spoke: bool,
}

/// Why the switch does something.
#[derive(Debug, Clone)]
enum Cause {
    Client(Flow, Segment),
    /// Of anybody: an ICMP message, a datagram.
    Packet,
    Guest,
    Owner,
    Time,
}

#[derive(Debug)]
pub struct Model {
    world: World,
    generation: u64,
    clients: HashMap<Flow, Client>,
    guests: [Guest; 2],
    /// Numbers of SYN-ACKs that clients were shown.
    shown: HashMap<Flow, Vec<u32>>,
    /// Clients that have acknowledged one of them, ever.
    proven: HashSet<Flow>,
    /// SYNs that a guest may see although nobody has answered them.
    plain: HashSet<(Flow, u32)>,
    /// Answered by the switch, held, and silent since: the client's number, and when the hold ends by itself.
    half_open: HashMap<Flow, (u32, Instant)>,
    /// Whether the first service was always in mode `handshake`.
    always_answers: bool,
    /// Connections that guests have accepted.
    accepted: u32,
}

impl Model {
    pub fn new(world: World) -> Self {
        Self {
            world,
            generation: 0,
            clients: HashMap::new(),
            guests: [Guest::default(), Guest::default()],
            shown: HashMap::new(),
            proven: HashSet::new(),
            plain: HashSet::new(),
            half_open: HashMap::new(),
            always_answers: true,
            accepted: 0,
        }
    }

    /// Whose address that is.
    pub fn index(service: SocketAddr) -> u8 {
        u8::from(service.ip() == service_v4(1) || service.ip() == service_v6(1))
    }

    fn guest(&mut self, index: u8) -> &mut Guest {
        &mut self.guests[usize::from(index)]
    }

    pub fn client(&mut self, flow: Flow) -> &mut Client {
        self.clients.entry(flow).or_default()
    }

    pub fn client_sends(&mut self, flow: Flow, segment: Segment) {
        let accepts = |number: &u32| number.wrapping_add(1) == segment.ack;
        if segment.has(ACK) && self.shown.get(&flow).is_some_and(|shown| shown.iter().any(accepts))
        {
            self.proven.insert(flow);
        }
        let again = segment.is_first_syn() && segment.seq == self.client(flow).isn;
        if !again {
            self.half_open.remove(&flow);
        }
        if segment.options.contains(&19) {
            self.plain.insert((flow, segment.seq));
        }
        let (held, cookies) = (self.world.counter("held_syns"), self.world.counter("cookies_sent"));
        let sent = self.world.uplink(&segment.packet());
        let shown = sent.iter().any(|(to, _)| *to == PortId::Uplink);
        let now_held = self.world.counter("held_syns") > held;
        if segment.is_first_syn()
            && shown
            && now_held
            && self.world.counter("cookies_sent") == cookies
        {
            self.half_open.insert(flow, (segment.seq, self.world.now + HOLD_TIME));
        }
        self.observe(sent, &Cause::Client(flow, segment));
    }

    /// Any packet but a segment of a client.
    pub fn uplink(&mut self, packet: &[u8]) {
        let sent = self.world.uplink(packet);
        self.observe(sent, &Cause::Packet);
    }

    pub fn guest_frame(&mut self, index: u8, frame: &[u8]) {
        let sent = self.world.guest_frame(index, frame);
        self.observe(sent, &Cause::Guest);
    }

    pub fn guest_packet(&mut self, index: u8, packet: &[u8]) {
        let sent = self.world.guest_packet(index, packet);
        self.observe(sent, &Cause::Guest);
    }

    /// A guest sends a segment of a connection that it knows.
    pub fn guest_sends(&mut self, index: u8, segment: Segment) {
        let now = self.world.now;
        let flow = (segment.to, segment.from);
        let guest = self.guest(index);
        guest.spoke = true;
        if let Some(connection) = guest.accepted.get_mut(&flow) {
            connection.used = now;
            if segment.end().wrapping_sub(connection.next) < SPAN {
                connection.next = segment.end();
            }
            if segment.has(RST) {
                guest.accepted.remove(&flow);
            }
        }
        self.guest_packet(index, &segment.packet());
    }

    /// One of the connections that the guest can answer, or can answer once more.
    pub fn accept(&mut self, index: u8, which: u8) -> Option<(Flow, Accepted)> {
        self.world.open_generation(index)?;
        let now = self.world.now;
        let flows = self.guest(index).asked.len() + self.guest(index).accepted.len();
        let which = usize::from(which).checked_rem(flows)?;
        let guest = &mut self.guests[usize::from(index)];
        let Some((flow, irs)) = guest.asked.iter().nth(which).map(|(flow, irs)| (*flow, *irs))
        else {
            let again = guest.accepted.iter().nth(which - guest.asked.len())?;
            return Some((*again.0, *again.1));
        };
        guest.asked.remove(&flow);
        self.accepted += 1;
        let iss = 0x4000_0000_u32.wrapping_add(self.accepted.wrapping_mul(0x0110_0000));
        let (next, expected) = (iss.wrapping_add(1), irs.wrapping_add(1));
        let accepted = Accepted { irs, iss, next, expected, used: now };
        guest.accepted.insert(flow, accepted);
        Some((flow, accepted))
    }

    /// One of the connections that the guest has.
    pub fn connection(&mut self, index: u8, which: u8) -> Option<(Flow, Accepted)> {
        self.world.open_generation(index)?;
        let now = self.world.now;
        let guest = self.guest(index);
        guest.accepted.retain(|_, connection| now - connection.used < MEMORY);
        let which = usize::from(which).checked_rem(guest.accepted.len())?;
        guest.accepted.iter().nth(which).map(|(flow, accepted)| (*flow, *accepted))
    }

    /// The guest does not listen on a port.
    pub fn refuse(&mut self, flow: Flow) {
        let index = Self::index(flow.1);
        let Some(irs) = self.guest(index).asked.remove(&flow) else { return };
        let (from, to) = (flow.1, flow.0);
        let (ack, flags) = (irs.wrapping_add(1), RST | ACK);
        let (options, payload) = (Vec::new(), Vec::new());
        let refusal = Segment { from, to, seq: 0, ack, flags, window: 0, options, payload };
        self.guest_sends(index, refusal);
    }

    pub fn command(&mut self, command: Command) {
        let sent = self.world.command(command);
        self.observe(sent, &Cause::Owner);
    }

    pub fn open(&mut self, index: u8) {
        if self.world.is_attached(index) {
            let opened = Some(self.world.now);
            *self.guest(index) = Guest { opened, ..Guest::default() };
        }
        self.generation += 1;
        let generation = Generation(self.generation);
        self.command(Command::Open { service: service(index), generation });
    }

    pub fn close(&mut self, index: u8, only_if_idle: bool) {
        let Some(generation) = self.world.open_generation(index) else { return };
        let only_if_idle_since = only_if_idle.then_some(self.world.now);
        let service = service(index);
        self.command(Command::Close { service, generation, only_if_idle_since });
    }

    pub fn attach(&mut self, settings: ServicePort) {
        self.half_open.clear();
        if settings.service == service(0) {
            // Its clients are reset, and the guest is not told: what it says later is translated no more.
            if settings.ipv4.is_none() {
                let guest = self.guest(0);
                guest.asked.clear();
                guest.accepted.clear();
            }
            self.always_answers &= settings.hold.mode == HoldMode::Handshake;
        }
        self.command(Command::Attach(settings));
    }

    pub fn detach(&mut self, index: u8) {
        self.half_open.clear();
        self.command(Command::Detach(service(index)));
    }

    pub fn pass(&mut self, time: Duration) {
        let sent = self.world.pass(time);
        self.observe(sent, &Cause::Time);
    }

    pub fn oversleep(&mut self, time: Duration) {
        let sent = self.world.oversleep(time);
        self.observe(sent, &Cause::Time);
    }

    pub fn end(self) {
        self.world.end();
    }

    fn observe(&mut self, sent: Vec<(PortId, Vec<u8>)>, cause: &Cause) {
        for (to, bytes) in sent {
            match to {
                PortId::Uplink => {
                    if let Some(segment) = Segment::parse(&bytes) {
                        self.client_hears(&segment, cause);
                    }
                }
                PortId::Guest { .. } => {
                    if let Some(segment) = Segment::parse(&bytes[14..]) {
                        self.guest_hears(&segment, cause);
                    }
                }
            }
        }
    }

    /// A client is shown the numbers of one that has answered its SYN, and no others.
    fn client_hears(&mut self, segment: &Segment, cause: &Cause) {
        let flow = (segment.to, segment.from);
        let shown = self.shown.entry(flow).or_default();
        if segment.has(SYN | ACK) && !segment.has(RST) {
            if !shown.contains(&segment.seq) {
                shown.push(segment.seq);
            }
            let client = self.clients.entry(flow).or_default();
            client.expected = segment.end();
            return;
        }
        let is_known = shown.iter().any(|number| segment.seq.wrapping_sub(*number) < SPAN);
        // A RST for a segment of nothing takes its number from that, and one for a SYN is without a number.
        let is_answer = match cause {
            Cause::Client(of, asked) => segment.has(RST) && *of == flow && segment.seq == asked.ack,
            Cause::Packet | Cause::Guest | Cause::Owner | Cause::Time => false,
        };
        let is_bare = segment.has(RST) && segment.seq == 0;
        assert!(is_known || is_answer || is_bare, "{segment:?} after {cause:?}; shown {shown:x?}");
        let client = self.clients.entry(flow).or_default();
        if segment.seq == client.expected && !segment.has(RST) {
            client.expected = segment.end();
        }
    }

    /// A guest hears of nobody who has not shown that it exists, unless it was seen to listen.
    fn guest_hears(&mut self, segment: &Segment, cause: &Cause) {
        let flow = (segment.from, segment.to);
        let index = Self::index(segment.to);
        let now = self.world.now;
        // It may still be told that an earlier attempt of the client is over.
        let half_open = self.half_open.get(&flow).copied().filter(|(isn, until)| {
            *until > now && !(segment.has(RST) && segment.seq != isn.wrapping_add(1))
        });
        assert_eq!(half_open, None, "{segment:?} of a client that has not answered, {cause:?}");
        if segment.is_first_syn() {
            // Its MSS may be another one by now.
            let directly = matches!(cause, Cause::Client(of, syn)
                if *of == flow && syn.is_first_syn() && syn.seq == segment.seq);
            let opened = self.guest(index).opened.unwrap_or(now);
            if directly && (self.guest(index).spoke || opened + HOLD_TIME <= now) {
                self.plain.insert((flow, segment.seq));
            }
            let may_see = index == 1
                || !self.always_answers
                || self.proven.contains(&flow)
                || self.plain.contains(&(flow, segment.seq));
            assert!(may_see, "{segment:?} unproven, after {cause:?}");
        }
        let guest = self.guest(index);
        if segment.has(RST) {
            guest.asked.remove(&flow);
            guest.accepted.remove(&flow);
        } else if segment.is_first_syn() {
            if guest.accepted.get(&flow).is_none_or(|accepted| accepted.irs != segment.seq) {
                guest.asked.insert(flow, segment.seq);
            }
        } else if let Some(accepted) = guest.accepted.get_mut(&flow) {
            accepted.used = now;
            let known = accepted.expected.wrapping_sub(segment.seq);
            let ahead = segment.end().wrapping_sub(accepted.expected);
            if known < SPAN && ahead < SPAN && (segment.has(FIN) || !segment.payload.is_empty()) {
                accepted.expected = segment.end();
            }
        }
    }
}
