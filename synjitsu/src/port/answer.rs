//! How a client is answered in the name of a guest that is not up, or has too many half-open connections.
//!
//! Whatever there is no room for is answered with a cookie, so that a flood of forged SYNs fills what is theirs and
//! keeps nobody else out. A client counts as real when it has answered the answer; before that no guest hears of it.

use std::time::Duration;

use policies::Instant;

use super::splice::MAX_SPLICES;
use super::{Gate, Port};
use crate::flow::FlowKey;
use crate::frame::{Packet, Segment};
use crate::handshake::{Client, Heard, Reply, Terms};
use crate::hold::{Answered, Held, HeldSyn, Kind, Serial};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::tcp::{Draft, Offer};
use crate::timer::Timer;
use crate::{
    FrameSink, HoldLimits, HoldMode, HoldOutcome, MilestoneKind, Overflow, Trigger, reset,
};

/// The first wait for the client's answer; doubled each time (RFC 6298, section 2).
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// A guest that has so many half-open connections gets no SYN that may be forged.
const MAX_HALF_OPEN: usize = 64;
/// A half-open connection of this age is given up for a new one if there are too many.
const HALF_OPEN_PATIENCE: Duration = Duration::from_secs(10);

impl Port {
    /// What the SYN in `packet` offers, if the switch may answer it.
    pub(super) fn may_answer(&self, packet: &Packet<'_>) -> Option<Offer> {
        if self.settings.hold.mode != HoldMode::Handshake {
            return None;
        }
        let spliced = match &self.gate {
            Gate::Closed => 0,
            Gate::Open(instance) => instance.splices.len(),
        };
        let offer = Offer::of(&packet.tcp()?);
        // A signature covers numbers that would have to be changed later.
        (!offer.signed && spliced < MAX_SPLICES).then_some(offer)
    }

    /// Whether the guest's RST is its own word: it had so long to listen that it means it, or was seen to listen, and
    /// then there is nothing to hide.
    pub(super) fn is_settled(&self, now: Instant, port: u16) -> bool {
        match &self.gate {
            Gate::Closed => false,
            Gate::Open(instance) => {
                instance.opened_at + self.settings.hold.time <= now
                    || instance.listening.contains(&port)
            }
        }
    }

    /// Whether the guest has too many half-open connections.
    pub(super) fn is_crowded(&self) -> bool {
        let Gate::Open(instance) = &self.gate else { return false };
        // Those that it has not answered yet are on their way to become half open: a burst of SYNs is faster than any guest.
        let passed = usize::try_from(self.passed.len()).unwrap_or(usize::MAX);
        // No more than so many are kept until they are answered.
        let most = usize::try_from(self.settings.hold.flows).unwrap_or(usize::MAX);
        self.settings.hold.mode == HoldMode::Handshake
            && instance.flows.half_open() + passed >= MAX_HALF_OPEN.min(most)
    }

    /// Answers a SYN in the guest's name.
    pub(super) fn answer_syn(
        &mut self,
        now: Instant,
        key: FlowKey,
        segment: &Segment,
        (packet, offer): (&Packet<'_>, &Offer),
        shared: &mut Shared,
    ) {
        let crowded = self.hold.half_open() >= self.settings.hold.flows.div_ceil(2)
            || shared.held.is_half_full(packet.source);
        let limits = HoldLimits::from(&self.settings.hold);
        let full = !self.hold.has_room(packet.source, packet.bytes.len(), limits, &shared.held);
        // The same SYN gets the same answer, whether it finds room this time or the next time.
        let client = if crowded || full || shared.cookies.may_be_out(now) {
            self.client_by_cookie(now, key, segment, offer, shared)
        } else {
            let guest = shared.learned.get(self.settings.image, &key);
            let v6 = key.local.is_ipv6();
            let terms = Terms::agree(offer, guest, shared.config.max_mss(v6), v6);
            let numbers = (segment.seq, shared.numbers.initial(now, &key));
            Client::new(key, terms, numbers, segment.window, self.early_limit(guest))
        };
        let answer = client.syn_ack();
        if crowded || full {
            Self::give_cookie(now, answer, shared);
            return;
        }
        if self.hold_answered(now, *segment, client, shared).is_none() {
            // Its SYN for the guest is longer than its own one, and there was room for that one exactly.
            shared.counters.dropped_overflow += 1;
            return;
        }
        shared.counters.answered_syns += 1;
        shared.replies.push_back(answer);
        match &mut self.gate {
            Gate::Open(instance) => instance.last_packet = Some(now),
            Gate::Closed => self.request_wake(now, Trigger::TcpSyn, packet.source, shared),
        }
        self.begin_story(key, now, MilestoneKind::Held, shared);
    }

    /// What a client may send before its guest takes it: more than the guest's first window would only keep the relay busy.
    fn early_limit(&self, guest: Option<&Offer>) -> u32 {
        let first = guest.map_or(u32::MAX, |guest| guest.window.max(1460).into());
        self.settings.hold.buffer.min(first)
    }

    /// Holds a client that is answered, unless a bound is reached.
    fn hold_answered(
        &mut self,
        now: Instant,
        segment: Segment,
        client: Client,
        shared: &mut Shared,
    ) -> Option<Serial> {
        let key = *client.key();
        let packet = client.syn_for_guest();
        let limits = HoldLimits::from(&self.settings.hold);
        if !self.hold.has_room(key.remote, packet.len(), limits, &shared.held) {
            return None;
        }
        let service = self.settings.service;
        let serial = shared.next_serial();
        let (again, deadline) = (now + FIRST_WAIT, now + self.settings.hold.time);
        let waits = !client.is_established();
        let answered = Box::new(Answered { client, again: waits.then_some((again, FIRST_WAIT)) });
        let syn = HeldSyn { answered: Some(answered), ..HeldSyn::new(key, segment) };
        let ends = (key.remote, key.local);
        let held = Held::made(now, deadline, packet, ends, Kind::Syn(syn));
        self.hold.insert(serial, held, &mut shared.held);
        shared.timers.set(deadline, Timer::Expire(service, serial));
        if waits {
            shared.timers.set(again, Timer::Answer(service, serial));
        }
        shared.counters.held_syns += 1;
        Some(serial)
    }

    /// A client whose SYN need not be kept: everything about it is in the number that answers it.
    fn client_by_cookie(
        &self,
        now: Instant,
        key: FlowKey,
        segment: &Segment,
        offer: &Offer,
        shared: &Shared,
    ) -> Client {
        let guest = shared.learned.get(self.settings.image, &key);
        let offer = Offer { sack: offer.sack && guest.is_none_or(|guest| guest.sack), ..*offer };
        let iss = shared.cookies.number(now, &key, segment.seq, &offer);
        self.client_of_cookie(key, &offer, (segment.seq, iss), segment.window, shared)
    }

    /// The client that a cookie stands for, with what the switch offers in every answer of that kind.
    fn client_of_cookie(
        &self,
        key: FlowKey,
        offer: &Offer,
        numbers: (SeqNumber, SeqNumber),
        window: u16,
        shared: &Shared,
    ) -> Client {
        let v6 = key.local.is_ipv6();
        let terms = Terms::agree(offer, None, shared.config.max_mss(v6), v6);
        Client::new(key, terms, numbers, window, self.settings.hold.buffer)
    }

    /// Answers a SYN without keeping anything of it.
    fn give_cookie(now: Instant, answer: Vec<u8>, shared: &mut Shared) {
        shared.cookies.give(now);
        shared.counters.answered_syns += 1;
        shared.counters.cookies_sent += 1;
        shared.replies.push_back(answer);
    }

    /// The guest has too many half-open connections: a new SYN gets a cookie, and the oldest connection is given up if it
    /// has waited for long. Returns whether that could be done.
    pub(super) fn relieve(
        &mut self,
        now: Instant,
        key: &FlowKey,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) -> bool {
        let Some(offer) = self.may_answer(packet) else { return false };
        let answer = self.client_by_cookie(now, *key, segment, &offer, shared).syn_ack();
        Self::give_cookie(now, answer, shared);
        let Gate::Open(instance) = &mut self.gate else { return true };
        if let Some(open) = instance.flows.give_up_half_open(now, HALF_OPEN_PATIENCE)
            && let Some(ack) = open.ack
        {
            shared.counters.half_open_withdrawn += 1;
            shared.timers.clear(open.deadline, Timer::Forget(self.settings.service, open.key));
            let reset = reset::to_guest(&open.key, ack);
            shared.send_to_guest(&self.settings, instance.generation, &reset, out);
        }
        true
    }

    /// A segment that may be the answer to a cookie; returns whether it was.
    pub(super) fn open_by_cookie(
        &mut self,
        now: Instant,
        key: &FlowKey,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) -> bool {
        let Some(ack) = segment.ack.filter(|_| !segment.syn && !segment.rst) else { return false };
        let known = matches!(&self.gate, Gate::Open(instance) if instance.flows.knows(key));
        if known || self.settings.hold.mode != HoldMode::Handshake {
            return false;
        }
        let iss = ack.before(1);
        // The next number after the SYN's, or once more that of the SYN, to see whether the connection is alive: that is
        // how a client that does not speak first is heard of again if there was no room for its first answer.
        let first = [segment.seq.before(1), segment.seq];
        let find = |irs: SeqNumber| Some((irs, shared.cookies.check(now, key, irs, iss)?));
        let Some((irs, offer)) = first.into_iter().find_map(find) else { return false };
        if !packet.has_tcp_checksum() {
            shared.counters.dropped_checksum += 1;
            return true;
        }
        let client = self.client_of_cookie(*key, &offer, (irs, iss), segment.window, shared);
        let client = client.prove();
        let syn = Segment { seq: irs, ack: None, syn: true, payload: 0, ..*segment };
        let Some(serial) = self.hold_answered(now, syn, client, shared) else {
            // What it sends will be looked at again: by then there may be room.
            let trigger = Trigger::TcpHandshake;
            if self.refuse(now, trigger, packet, shared) && shared.resets.try_take(now) {
                shared.reset(reset::answer(key, segment));
            }
            return true;
        };
        shared.counters.cookies_accepted += 1;
        self.begin_story(*key, now, MilestoneKind::Held, shared);
        self.hear_client(now, serial, segment, packet, shared, out);
        self.release(now, serial, shared, out);
        true
    }

    /// Whether a segment of no connection may be of a client that got a cookie and whose answer to it is lost, or found no
    /// room. A RST would end what the next transmission of that answer opens.
    pub(super) fn may_be_late_for_cookie(
        &self,
        now: Instant,
        key: &FlowKey,
        segment: &Segment,
        shared: &Shared,
    ) -> bool {
        let unknown = match &self.gate {
            Gate::Closed => true,
            // In a full table connections are missing that the guest knows.
            Gate::Open(instance) => instance.flows.has_room() && !instance.flows.knows(key),
        };
        unknown
            && segment.ack.is_some()
            && !segment.syn
            && !segment.rst
            && self.settings.hold.mode == HoldMode::Handshake
            && self.settings.hold.overflow == Overflow::Drop
            && shared.cookies.are_fresh(now)
    }

    /// A client that is answered sends a segment.
    pub(super) fn hear_client(
        &mut self,
        now: Instant,
        serial: Serial,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        // What is acknowledged is not sent again: it must be what the client meant.
        if !packet.has_tcp_checksum() {
            shared.counters.dropped_checksum += 1;
            return;
        }
        if self.accepts_older_cookie(now, serial, segment, shared) {
            let key = FlowKey {
                local: packet.destination,
                local_port: segment.destination_port,
                remote: packet.source,
                remote_port: segment.source_port,
            };
            self.open_by_cookie(now, &key, segment, packet, shared, out);
            return;
        }
        let limits = HoldLimits::from(&self.settings.hold);
        let space = self.hold.space(packet.source, limits, &shared.held);
        let Some((syn, _)) = self.hold.syn_mut(serial) else { return };
        let key = syn.key;
        let Some(answered) = &mut syn.answered else { return };
        let client = &mut answered.client;
        let next = client.iss().after(1);
        let Heard { reply, opened, taken, given_up } =
            client.hear(segment, packet.tcp_payload(), next, space);
        match reply {
            Reply::None => {}
            Reply::Ack => shared.replies.push_back(client.ack(next)),
            Reply::SynAck => {
                shared.counters.answers_again += 1;
                shared.replies.push_back(client.syn_ack());
            }
            Reply::Reset(seq) => {
                if shared.resets.try_take(now) {
                    let draft = Draft::to_remote(&key, seq, None);
                    shared.reset(Draft { rst: true, ..draft }.packet());
                }
            }
            Reply::Gone => {
                shared.counters.held_withdrawals += 1;
                self.withdraw(now, serial, shared, out);
                self.abandon_story(&key, shared);
                return;
            }
        }
        let timer = Timer::Answer(self.settings.service, serial);
        if opened && let Some((at, _)) = answered.again.take() {
            shared.timers.clear(at, timer);
        }
        let trigger = if client.is_established() { Trigger::TcpHandshake } else { Trigger::TcpSyn };
        shared.counters.early_octets += u64::try_from(taken).unwrap_or(0);
        self.hold.grow(serial, taken, opened, &mut shared.held);
        self.hold.shrink(serial, given_up, &mut shared.held);
        match &mut self.gate {
            Gate::Open(instance) => {
                instance.last_packet = Some(now);
                if opened {
                    self.release(now, serial, shared, out);
                }
            }
            Gate::Closed => self.request_wake(now, trigger, packet.source, shared),
        }
    }

    /// A client answers a cookie that it got before it was held; the later answer is withdrawn then.
    fn accepts_older_cookie(
        &mut self,
        now: Instant,
        serial: Serial,
        segment: &Segment,
        shared: &mut Shared,
    ) -> bool {
        let Some((syn, _)) = self.hold.syn_mut(serial) else { return false };
        let Some(answered) = &syn.answered else { return false };
        let Some(iss) = segment.ack.map(|ack| ack.before(1)) else { return false };
        let accepts = syn.is_half_open()
            && !segment.syn
            && !segment.rst
            && iss != answered.client.iss()
            && shared.cookies.check(now, &syn.key, segment.seq.before(1), iss).is_some();
        if accepts {
            self.end(now, serial, HoldOutcome::ClientGone, shared);
        }
        accepts
    }

    /// The client has not shown that it got our answer.
    pub(crate) fn answer_again(&mut self, now: Instant, serial: Serial, shared: &mut Shared) {
        let Some((syn, _)) = self.hold.syn_mut(serial) else { return };
        let Some(answered) = &mut syn.answered else { return };
        let Some((_, waited)) = answered.again else { return };
        let (wait, timer) = (waited * 2, Timer::Answer(self.settings.service, serial));
        answered.again = Some((now + wait, wait));
        shared.timers.set(now + wait, timer);
        shared.counters.answers_again += 1;
        shared.replies.push_back(answered.client.syn_ack());
    }
}

/// Whom a client's hold ended for, if the guest accepted it.
pub(super) fn into_client(held: Held) -> Option<Client> {
    match held.kind {
        Kind::Syn(HeldSyn { answered: Some(answered), .. }) => Some(answered.client),
        Kind::Syn(_) | Kind::Datagram(_) => None,
    }
}

/// What a hold that is handed over ends with.
pub(super) const HANDED_OVER: HoldOutcome = HoldOutcome::HandedOver;
