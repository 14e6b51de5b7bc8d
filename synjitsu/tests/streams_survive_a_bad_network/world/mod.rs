//! Clients, a network, the switch and the guests of one service, in simulated time.

mod attempt;
mod guest;
mod trace;
mod verdict;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use policies::{Generation, Instant};
use synjitsu::{Command, HoldPolicy, Overflow, PortId, ServicePort, Switch};

use crate::endpoint::{Cause, Endpoint, State};
use crate::network::{Queue, Way};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::segment::{Checked, Segment, ensure};
use crate::stream::Stream;
use crate::support::{self, GATEWAY_MAC, GUEST_MAC, SERVICE, Sent};
pub(crate) use attempt::{Attempt, Flow};
use guest::Guest;
use trace::Trace;

/// For so long a connection may stand still that is not over: a client that was given a cookie may be answered only when
/// that is no longer good.
const PATIENCE: Duration = Duration::from_secs(150);
const START: Instant = Instant::from_nanos(1_000_000_000);

pub(crate) struct World {
    scenario: Scenario,
    now: Instant,
    switch: Switch,
    out: Sent,
    trace: Trace,
    attempts: Vec<Attempt>,
    /// When plans begin that have not begun, in any order.
    beginnings: Vec<(Instant, usize)>,
    up: Way<Vec<u8>>,
    down: Way<Vec<u8>>,
    to_guest: Queue<Vec<u8>>,
    from_guest: Queue<(Generation, Vec<u8>)>,
    guest: Option<Guest>,
    /// How many of the guests' lives have begun, and when the next thing happens in them.
    lives: usize,
    turn_at: Option<Instant>,
    /// How far everything has come, and when it came so far.
    progress: (i64, Instant),
}

impl World {
    /// Whether so little may be held that the switch may have to answer a SYN without remembering it.
    fn is_crowded(&self) -> bool {
        self.scenario.flows < 64
    }

    pub(crate) fn new(scenario: Scenario) -> Self {
        let seed = scenario.seed;
        let port = ServicePort {
            hold: HoldPolicy {
                mode: scenario.mode,
                time: scenario.hold_time,
                flows: scenario.flows,
                bytes: scenario.bytes,
                buffer: scenario.buffer,
                overflow: Overflow::Drop,
            },
            ..support::port()
        };
        let plenty = synjitsu::HoldLimits { flows: 1_000, bytes: 10_000_000 };
        let config =
            synjitsu::SwitchConfig { hold: plenty, prefix_hold: plenty, ..support::config() };
        let mut out = Sent::default();
        let mut switch = Switch::new(config);
        switch.handle_command(START, Command::Attach(port), &mut out);
        let beginnings =
            scenario.plans.iter().zip(0..).map(|(plan, index)| (START + plan.begins, index));
        Self {
            now: START,
            switch,
            out,
            trace: Trace::default(),
            attempts: Vec::new(),
            beginnings: beginnings.collect(),
            up: Way::new(scenario.faults, Random::part(seed, 1)),
            down: Way::new(scenario.faults, Random::part(seed, 2)),
            to_guest: Queue::new(scenario.queue, scenario.service_time),
            from_guest: Queue::new(scenario.queue, Duration::from_micros(10)),
            guest: None,
            lives: 0,
            turn_at: scenario.guests.first().map(|life| START + life.opens),
            progress: (0, START),
            scenario,
        }
    }

    /// A guest answers clients that offer everything, and is gone again.
    fn teach(&mut self) {
        let generation = Generation(0);
        let open = Command::Open { service: SERVICE, generation };
        self.switch.handle_command(self.now, open, &mut self.out);
        for v6 in [false, true] {
            let (client, service) = support::addresses(v6);
            let (client, service) = (SocketAddr::new(client, 1_000), SocketAddr::new(service, 80));
            let stack = self.scenario.guest.over(v6);
            let plain = Segment {
                syn: true,
                window: u16::try_from(stack.buffer.min(65_535)).expect("a window has 16 bits"),
                mss: Some(stack.mss),
                window_scale: stack.window_scale,
                sack_permitted: stack.sack,
                ..Segment::default()
            };
            let all = Segment { window_scale: Some(7), sack_permitted: true, ..plain.clone() };
            let mut send = |from, packet: &[u8]| {
                self.switch.handle_frame(self.now, from, packet, &mut self.out);
            };
            send(PortId::Uplink, &all.packet(client, service));
            let answered = self.out.0.iter().find_map(|(to, packet)| match to {
                PortId::Uplink => Segment::parse(packet).ok().filter(|told| told.1 == client),
                PortId::Guest { .. } => None,
            });
            let mut send = |from, packet: &[u8]| {
                self.switch.handle_frame(self.now, from, packet, &mut self.out);
            };
            if let Some((_, _, answer)) = answered {
                let ack = Some(answer.seq.wrapping_add(1));
                let third = Segment { seq: 1, ack, ..Segment::default() };
                send(PortId::Uplink, &third.packet(client, service));
            }
            let answer = Segment { ack: Some(1), ..plain };
            let from = PortId::Guest { service: SERVICE, generation };
            send(from, &framed(&answer.packet(service, client)));
        }
        let close = Command::Close { service: SERVICE, generation, only_if_idle_since: None };
        self.switch.handle_command(self.now, close, &mut self.out);
        while self.switch.poll_event().is_some() {}
        self.out.0.clear();
    }

    /// Runs until nothing more happens, and says what went wrong with the last things that happened before.
    pub(crate) fn run(mut self) -> Checked {
        self.live().map_err(|what| {
            let ends: String = self
                .attempts
                .iter()
                .map(|attempt| {
                    let guest = attempt.guest.as_ref().map(Endpoint::describe);
                    format!(
                        "{} isn {}: client {}; guest {guest:?}; {:?}\n",
                        attempt.flow.client,
                        attempt.isn,
                        attempt.client.describe(),
                        attempt.seen,
                    )
                })
                .collect();
            format!("{what}\nat {:?}, after:\n{}{ends}", self.now, self.trace)
        })
    }

    fn live(&mut self) -> Checked {
        if self.scenario.known {
            self.teach();
        }
        while let Some(next) = self.next() {
            ensure!(next >= self.now, "a timer of the past");
            self.now = next;
            self.begin_plans();
            self.turn_guests()?;
            self.deliver()?;
            if self.switch.poll_timeout().is_some_and(|due| due <= self.now) {
                self.switch.handle_timeout(self.now, &mut self.out);
                self.observe()?;
                let again = self.switch.poll_timeout().is_some_and(|due| due <= self.now);
                ensure!(!again, "a timer of the switch is stuck");
            }
            self.poll_endpoints();
            self.judge_progress()?;
        }
        self.judge_end()
    }

    fn judge_progress(&mut self) -> Checked {
        let guest = |attempt: &Attempt| attempt.guest.as_ref().map_or(0, Endpoint::progress);
        let all = self.attempts.iter().map(|attempt| attempt.client.progress() + guest(attempt));
        let progress = all.sum::<i64>();
        if progress != self.progress.0 || self.attempts.iter().all(Attempt::is_over) {
            self.progress = (progress, self.now);
        }
        ensure!(self.now < self.progress.1 + PATIENCE, "a connection does not come to an end");
        Ok(())
    }

    fn next(&self) -> Option<Instant> {
        let endpoints = self.attempts.iter().flat_map(|attempt| {
            [attempt.client.poll_at(), attempt.guest.as_ref().and_then(Endpoint::poll_at)]
        });
        let others = [
            self.switch.poll_timeout(),
            self.up.next(),
            self.down.next(),
            self.to_guest.next(),
            self.from_guest.next(),
            self.turn_at,
            self.beginnings.iter().map(|(at, _)| *at).min(),
        ];
        endpoints.chain(others).flatten().min()
    }

    fn begin_plans(&mut self) {
        let (due, later): (Vec<_>, Vec<_>) =
            self.beginnings.iter().partition(|(at, _)| *at <= self.now);
        self.beginnings = later;
        for (_, plan) in due {
            self.begin(plan);
        }
    }

    /// A client connects, maybe anew from the same port.
    fn begin(&mut self, index: usize) {
        let plan = self.scenario.plans[index];
        let before = self.attempts.iter().filter(|attempt| attempt.plan == index).count();
        let (client, service): (IpAddr, IpAddr) = support::addresses(plan.v6);
        let nth = u16::try_from(index).expect("few plans");
        let flow = Flow {
            client: SocketAddr::new(client, 40_000 + nth),
            service: SocketAddr::new(service, 80),
        };
        let number = u32::try_from(self.attempts.len()).expect("few attempts") * 2;
        // Initial numbers of one port are far apart (RFC 6528).
        let isn = plan.isn.0.wrapping_add(u32::try_from(before).expect("few attempts") << 26);
        let streams = (
            Stream { name: number, length: plan.client.octets },
            Stream { name: number + 1, length: plan.guest.octets },
        );
        let seed = Random::part(self.scenario.seed, 100 + u64::from(number)).next();
        let mut client = Endpoint::connect(
            self.now,
            (plan.stack.over(plan.v6), plan.client),
            streams,
            isn,
            seed,
        );
        if let Some((after, _)) = plan.aborts.filter(|_| before == 0) {
            client.abort_at(self.now + after);
        }
        let (guest, seen) = (None, attempt::Seen::default());
        self.attempts.push(Attempt { plan: index, flow, isn, streams, client, guest, seen });
    }

    /// The next thing in the guests' lives.
    fn turn_guests(&mut self) -> Checked {
        if self.turn_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        if let Some(guest) = self.guest.take() {
            return self.close(&guest);
        }
        let life = self.scenario.guests[self.lives];
        self.lives += 1;
        let generation = Generation(u64::try_from(self.lives).expect("few lives"));
        self.guest = Some(Guest::new(self.now, generation, self.now + life.listens, life.refuses));
        self.turn_at = life.closes.map(|after| self.now + after);
        self.trace.note(self.now, format!("open {generation:?}"));
        let open = Command::Open { service: SERVICE, generation };
        self.switch.handle_command(self.now, open, &mut self.out);
        self.observe()
    }

    fn close(&mut self, guest: &Guest) -> Checked {
        let generation = guest.generation;
        self.turn_at = self.scenario.guests.get(self.lives).map(|life| self.now + life.opens);
        self.trace.note(self.now, format!("close {generation:?}"));
        while self.to_guest.arrive(Instant::from_nanos(u64::MAX)).is_some() {}
        for attempt in &mut self.attempts {
            attempt.seen.cut |= attempt.seen.answered.is_some();
            attempt.guest = None;
            if attempt.seen.answered.take().is_some() {
                (attempt.seen.shown, attempt.seen.guest_ack) = (None, 0);
            }
        }
        let close = Command::Close { service: SERVICE, generation, only_if_idle_since: None };
        self.switch.handle_command(self.now, close, &mut self.out);
        self.observe()
    }

    /// Everything arrives that is due.
    fn deliver(&mut self) -> Checked {
        while let Some(packet) = self.up.arrive(self.now) {
            self.note_inbound(&packet)?;
            self.switch.handle_frame(self.now, PortId::Uplink, &packet, &mut self.out);
            self.observe()?;
        }
        while let Some((generation, packet)) = self.from_guest.arrive(self.now) {
            self.note_outbound(generation, &packet)?;
            let from = PortId::Guest { service: SERVICE, generation };
            self.switch.handle_frame(self.now, from, &framed(&packet), &mut self.out);
            self.observe()?;
        }
        while let Some(packet) = self.down.arrive(self.now) {
            self.client_gets(&packet)?;
        }
        while let Some(packet) = self.to_guest.arrive(self.now) {
            self.guest_gets(&packet)?;
        }
        Ok(())
    }

    fn client_gets(&mut self, packet: &[u8]) -> Checked {
        let (service, client, segment) = Segment::parse(packet)?;
        let flow = Flow { client, service };
        self.trace.segment(self.now, "client <-", client, &segment);
        let is_anew = self.attempts.iter().filter(|attempt| attempt.flow == flow).count() > 1;
        // A port belongs to its last connection.
        let Some(attempt) = self.attempts.iter_mut().rfind(|attempt| attempt.flow == flow) else {
            return Err(format!("{flow:?} was sent something that never sent anything"));
        };
        let before = attempt.client.state;
        let judged = attempt.client.handle(self.now, &segment, is_anew);
        judged.map_err(|what| format!("{client} was sent {segment:?}: {what}"))?;
        let is_reset = attempt.client.state == State::Closed(Cause::Reset);
        if is_reset && before != attempt.client.state {
            let hold_time = self.scenario.hold_time;
            attempt.explain_reset(self.now, hold_time)?;
        }
        Ok(())
    }

    /// Endpoints do what they have to do, and what they say goes its way.
    fn poll_endpoints(&mut self) {
        let generation = self.guest.as_ref().map(|guest| guest.generation);
        for attempt in &mut self.attempts {
            let (now, flow) = (self.now, attempt.flow);
            let is_given_up = attempt.client.is_over();
            for segment in attempt.client.poll(now) {
                self.trace.segment(now, "client ->", flow.client, &segment);
                self.up.send(now, segment.packet(flow.client, flow.service));
            }
            let aborts = self.scenario.plans[attempt.plan].aborts;
            let is_aborted = attempt.client.state == State::Closed(Cause::Aborted);
            if is_aborted && !is_given_up && aborts.is_some_and(|(_, anew)| anew) {
                self.beginnings.push((now + Duration::from_millis(1), attempt.plan));
            }
            let Some((guest, generation)) = attempt.guest.as_mut().zip(generation) else {
                continue;
            };
            for segment in guest.poll(now) {
                self.trace.segment(now, "         <- guest", flow.client, &segment);
                self.from_guest.send(now, (generation, segment.packet(flow.service, flow.client)));
            }
        }
    }
}

/// A guest's frame that carries a packet.
fn framed(packet: &[u8]) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
    [&GATEWAY_MAC[..], &GUEST_MAC, &kind, packet].concat()
}
