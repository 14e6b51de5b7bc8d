//! A service's port: closed, and its clients are held; or open, and they are its guest's.
//!
//! `inbound` is what clients send, `outbound` what the guest sends, `held` how a held packet goes its way,
//! `answer` how a client is answered in the guest's name and `splice` how it comes to the guest, `passed` what is kept
//! of a SYN that was not held, `story` which milestones are told, and this file how the port opens and closes.

mod answer;
mod held;
mod inbound;
mod outbound;
mod passed;
mod splice;
mod story;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use policies::{Generation, Instant};

use crate::flow::{FlowKey, FlowTable};
use crate::hold::{Held, Hold};
use crate::shared::Shared;
use crate::timer::Timer;
use crate::{Event, FrameSink, HoldOutcome, ServicePort, Trigger, reset};

pub(crate) use outbound::Verdict;
use splice::Splices;
use story::Story;

/// Wakes of one service are at least so far apart.
const WAKE_INTERVAL: Duration = Duration::from_secs(1);
/// Ports on which a guest was seen to listen, at most so many; for others a new SYN is held for a moment.
const MAX_LISTENING: usize = 64;

/// One service's port and all that is known about its clients.
#[derive(Debug)]
pub(crate) struct Port {
    settings: ServicePort,
    gate: Gate,
    /// The newest generation that was open; an older one never opens again.
    newest: Option<Generation>,
    hold: Hold,
    /// SYNs that went straight to the guest and that it has not answered yet.
    passed: Hold,
    /// When the owner was last told to wake the service, since the port was last opened.
    woken: Option<Instant>,
    /// The same for wakes by clients whose address is not forged.
    woken_by_proof: Option<Instant>,
    /// When the timer for the next one is due, if it is set.
    wakes_again: Option<Instant>,
    /// The flow whose milestones are told.
    story: Story,
}

#[derive(Debug)]
enum Gate {
    Closed,
    Open(Instance),
}

/// What is known of the guest behind an open port.
#[derive(Debug)]
struct Instance {
    generation: Generation,
    opened_at: Instant,
    /// The last packet that was forwarded in either direction, or held for this instance.
    last_packet: Option<Instant>,
    /// Ports on which it accepted a connection.
    listening: BTreeSet<u16>,
    flows: FlowTable,
    /// Connections whose numbers differ on both sides.
    splices: Splices,
}

impl Port {
    pub(crate) fn new(settings: ServicePort) -> Self {
        Self {
            settings,
            gate: Gate::Closed,
            newest: None,
            hold: Hold::default(),
            passed: Hold::default(),
            woken: None,
            woken_by_proof: None,
            wakes_again: None,
            story: Story::default(),
        }
    }

    pub(crate) const fn settings(&self) -> &ServicePort {
        &self.settings
    }

    /// The generation whose port is open.
    pub(crate) const fn generation(&self) -> Option<Generation> {
        match &self.gate {
            Gate::Closed => None,
            Gate::Open(instance) => Some(instance.generation),
        }
    }

    pub(crate) fn activity(&self) -> Event {
        let (generation, last_packet, open_connections) = match &self.gate {
            Gate::Closed => (None, None, 0),
            Gate::Open(instance) => {
                let open_connections = instance.flows.open_connections();
                (Some(instance.generation), instance.last_packet, open_connections)
            }
        };
        Event::Activity {
            service: self.settings.service,
            generation,
            last_packet,
            open_connections,
            held: self.hold.len(),
        }
    }

    /// Takes over new settings; whatever belongs to an address that is lost by them ends.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        settings: ServicePort,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let may_wake_now = settings.wake_on_packet && !self.settings.wake_on_packet;
        self.settings = settings;
        let lost: Vec<_> = self
            .hold
            .iter()
            .filter(|(_, held)| !settings.owns(held.destination))
            .map(|(serial, _)| serial)
            .collect();
        for serial in lost {
            self.give_up(now, serial, HoldOutcome::Expired, shared, out);
        }
        self.end_passed(shared, |key| !settings.owns(key.local));
        self.end_flows(shared, |key| !settings.owns(key.local));
        if may_wake_now {
            self.wake_for_held(now, shared);
        }
    }

    /// Opens the port and gives the guest everything that is held, in the order of arrival.
    ///
    /// Returns whether that was a current generation.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        generation: Generation,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) -> bool {
        if self.newest.is_some_and(|newest| generation <= newest) {
            return false;
        }
        if let Some(before) = self.generation() {
            // Two boots at once are somebody's mistake, but two responders would be worse.
            self.shut(before, shared);
        }
        self.newest = Some(generation);
        (self.woken, self.woken_by_proof) = (None, None);
        self.gate = Gate::Open(Instance {
            generation,
            opened_at: now,
            // What waits was sent to this instance: the stamp keeps an idle verdict from overlooking it.
            last_packet: self.hold.iter().map(|(_, held)| held.since).max(),
            listening: BTreeSet::new(),
            flows: FlowTable::default(),
            splices: Splices::default(),
        });
        for serial in self.hold.serials() {
            self.release(now, serial, shared, out);
        }
        true
    }

    /// Whether anything happened since `stamp`, or somebody waits for the guest to listen.
    pub(crate) fn is_used_since(&self, stamp: Instant) -> bool {
        match &self.gate {
            Gate::Closed => false,
            Gate::Open(instance) => {
                instance.last_packet.is_some_and(|last| last > stamp) || !self.hold.is_empty()
            }
        }
    }

    /// Closes the port, if it is open for `generation`. Clients of the guest are reset; those that it never
    /// answered are held on, for the next one.
    pub(crate) fn close(
        &mut self,
        now: Instant,
        generation: Generation,
        shared: &mut Shared,
    ) -> bool {
        if self.generation() != Some(generation) {
            return false;
        }
        self.shut(generation, shared);
        self.wake_for_held(now, shared);
        true
    }

    /// The part of closing that takes leave of the instance.
    fn shut(&mut self, generation: Generation, shared: &mut Shared) {
        self.take_back_passed(shared);
        self.end_flows(shared, |_| true);
        self.gate = Gate::Closed;
        let service = self.settings.service;
        shared.tell(Event::Closed { service, generation });
        for serial in self.hold.serials() {
            let Some((syn, _)) = self.hold.syn_mut(serial) else { continue };
            if let Some(replay) = syn.replay.take() {
                shared.timers.clear(replay.next, Timer::Replay(service, serial));
            }
        }
        self.restart_story(shared);
    }

    /// Ends everything; the service no longer exists.
    pub(crate) fn detach(&mut self, now: Instant, shared: &mut Shared, out: &mut impl FrameSink) {
        for serial in self.hold.serials() {
            self.give_up(now, serial, HoldOutcome::Expired, shared, out);
        }
        self.end_passed(shared, |_| true);
        if let Some(generation) = self.generation() {
            self.close(now, generation, shared);
        }
        // A service of the same name may come at once, and has a timer of its own.
        if let Some(at) = self.wakes_again.take() {
            shared.timers.clear(at, Timer::Wake(self.settings.service));
        }
    }

    /// A connection was silent for too long.
    pub(crate) fn forget(&mut self, key: &FlowKey, shared: &mut Shared) {
        if let Gate::Open(instance) = &mut self.gate {
            instance.flows.forget(key);
            self.unsplice(key, shared);
        }
    }

    fn end_flows(&mut self, shared: &mut Shared, choose: impl Fn(&FlowKey) -> bool) {
        let Gate::Open(instance) = &mut self.gate else { return };
        let mut ends = Vec::new();
        for open in instance.flows.drain(&choose) {
            shared.timers.clear(open.deadline, Timer::Forget(self.settings.service, open.key));
            // Whoever has begun anew from the same port knows nothing of the old connection.
            if self.hold.find(&open.key).is_none() {
                ends.push(instance.splices.end(&open));
            }
        }
        let spliced: Vec<_> = instance.splices.keys().filter(|key| choose(key)).copied().collect();
        for key in spliced {
            self.unsplice(&key, shared);
        }
        ends.into_iter().for_each(|end| shared.reset(end));
    }

    /// Resets clients whose SYN went straight to the guest and was not answered.
    fn end_passed(&mut self, shared: &mut Shared, choose: impl Fn(&FlowKey) -> bool) {
        for serial in self.passed.serials() {
            let Some((syn, _)) = self.passed.syn_mut(serial) else { continue };
            if choose(&syn.key) {
                let reset = reset::answer(&syn.key, &syn.segment);
                self.drop_passed(serial, shared);
                shared.reset(reset);
            }
        }
    }

    /// Asks for the service on behalf of whoever has waited longest.
    fn wake_for_held(&mut self, now: Instant, shared: &mut Shared) {
        let Some((_, held)) = self.hold.iter().next() else { return };
        let (trigger, source) = (held.kind.trigger(), held.source);
        self.request_wake(now, trigger, source, shared);
    }

    /// Asks for the service on behalf of a client that is known to exist, if one still waits.
    pub(crate) fn wake_again(&mut self, now: Instant, shared: &mut Shared) {
        self.wakes_again = None;
        let is_proven = |held: &Held| held.kind.trigger() == Trigger::TcpHandshake;
        let Some((_, held)) = self.hold.iter().find(|(_, held)| is_proven(held)) else { return };
        let source = held.source;
        self.request_wake(now, Trigger::TcpHandshake, source, shared);
    }

    /// Asks for the service, if its port is closed and it was not asked for just now.
    fn request_wake(
        &mut self,
        now: Instant,
        trigger: Trigger,
        source: IpAddr,
        shared: &mut Shared,
    ) {
        // A wake by somebody who may not exist may be refused; one by somebody who does is told all the same.
        let woken = match trigger {
            Trigger::TcpHandshake => &mut self.woken_by_proof,
            Trigger::TcpSyn | Trigger::Udp | Trigger::IcmpEcho => &mut self.woken,
        };
        let again = woken.is_none_or(|last| now - last >= WAKE_INTERVAL);
        let may_wake = match trigger {
            Trigger::IcmpEcho => self.settings.wake_on_echo,
            Trigger::TcpSyn | Trigger::TcpHandshake | Trigger::Udp => self.settings.wake_on_packet,
        };
        if matches!(self.gate, Gate::Closed) && may_wake && again {
            *woken = Some(now);
            if trigger == Trigger::TcpHandshake && self.wakes_again.is_none() {
                // Such a client need not send anything more, and its wake may have been refused.
                let at = now + WAKE_INTERVAL;
                self.wakes_again = Some(at);
                shared.timers.set(at, Timer::Wake(self.settings.service));
            }
            shared.counters.wakes += 1;
            shared.tell(Event::Wake { service: self.settings.service, trigger, source, at: now });
        }
    }
}
