//! How a packet comes to be held and how it ends.

use std::time::Duration;

use etherparse::IpNumber;
use policies::Instant;

use super::{Gate, Port};
use crate::flow::FlowKey;
use crate::frame::{Fragment, Packet, Segment};
use crate::hold::{Held, HeldSyn, Kind, Serial};
use crate::icmp::Datagram;
use crate::replay::Replay;
use crate::shared::Shared;
use crate::timer::Timer;
use crate::{Event, FrameSink, HoldLimits, HoldOutcome, MilestoneKind, Overflow, Trigger, reset};

impl Port {
    /// Holds the first SYN of a flow; an open port gives it to the guest at once.
    pub(super) fn hold_syn(
        &mut self,
        now: Instant,
        key: FlowKey,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        if let Some(serial) = self.passed.find(&key) {
            // Only after the hold time was made longer; a flow is kept once.
            self.drop_passed(serial, shared);
        }
        if let Some(offer) = self.may_answer(packet) {
            self.answer_syn(now, key, segment, (packet, &offer), shared);
            return;
        }
        let kind = Kind::Syn(HeldSyn::new(key, *segment));
        let Some(serial) = self.hold(now, packet, kind, shared) else {
            if self.refuse(now, Trigger::TcpSyn, packet, shared) && shared.resets.try_take(now) {
                shared.reset(reset::answer(&key, segment));
            }
            return;
        };
        shared.counters.held_syns += 1;
        match &mut self.gate {
            Gate::Open(instance) => {
                instance.last_packet = Some(now);
                self.release(now, serial, shared, out);
                self.begin_story(key, now, MilestoneKind::Passed, shared);
            }
            Gate::Closed => {
                self.begin_story(key, now, MilestoneKind::Held, shared);
                self.request_wake(now, Trigger::TcpSyn, packet.source, shared);
            }
        }
    }

    /// Holds a datagram for a guest that is to come; returns whether there was room for it.
    pub(super) fn hold_datagram(
        &mut self,
        now: Instant,
        trigger: Trigger,
        packet: &Packet<'_>,
        shared: &mut Shared,
    ) -> bool {
        let held = self.hold(now, packet, Kind::Datagram(trigger), shared).is_some();
        if held {
            shared.counters.held_datagrams += 1;
            self.request_wake(now, trigger, packet.source, shared);
        } else if self.refuse(now, trigger, packet, shared) {
            let Packet { source, destination, bytes: packet, .. } = *packet;
            shared.tell_unreachable(now, &Datagram { trigger, source, destination, packet });
        }
        held
    }

    /// Holds a part of a datagram, so that the guest gets all parts or none: those that come after the first one while
    /// that is held. What comes in another order has to be sent again.
    pub(super) fn hold_fragment(
        &mut self,
        now: Instant,
        fragment: Fragment,
        packet: &Packet<'_>,
        shared: &mut Shared,
    ) {
        let whole = (packet.source, packet.destination, fragment.id);
        let begins = fragment.first && fragment.protocol == IpNumber::UDP;
        if !begins && !self.hold.has_first_part(&whole) {
            shared.counters.dropped_fragment += 1;
            return;
        }
        if self.hold_datagram(now, Trigger::Udp, packet, shared) && begins {
            self.hold.mark_first_part(whole);
        }
    }

    /// Keeps a packet, unless that would exceed a bound.
    fn hold(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        kind: Kind,
        shared: &mut Shared,
    ) -> Option<Serial> {
        let limits = HoldLimits::from(&self.settings.hold);
        // Asked before anything is copied: a flood must not even cost that.
        if !self.hold.has_room(packet.source, packet.bytes.len(), limits, &shared.held) {
            return None;
        }
        let deadline = now + self.settings.hold.time;
        let held = Held::new(now, deadline, packet, kind);
        let serial = shared.next_serial();
        self.hold.insert(serial, held, &mut shared.held);
        shared.timers.set(deadline, Timer::Expire(self.settings.service, serial));
        Some(serial)
    }

    /// A bound was reached; returns whether the client is to be told.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        trigger: Trigger,
        packet: &Packet<'_>,
        shared: &mut Shared,
    ) -> bool {
        let service = self.settings.service;
        shared.counters.dropped_overflow += 1;
        if shared.overflows.try_take(now) {
            let (outcome, waited) = (HoldOutcome::Overflow, Duration::ZERO);
            shared.tell(Event::HoldEnded { service, outcome, waited });
        }
        // The client comes again, and then there may be room: the guest is needed all the same.
        self.request_wake(now, trigger, packet.source, shared);
        self.settings.hold.overflow == Overflow::Reset
    }

    /// Gives a held packet to the guest for the first time.
    pub(super) fn release(
        &mut self,
        now: Instant,
        serial: Serial,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Gate::Open(instance) = &self.gate else { return };
        let generation = instance.generation;
        let service = self.settings.service;
        let Some(held) = self.hold.get(serial) else { return };
        if matches!(&held.kind, Kind::Syn(syn) if syn.is_half_open()) {
            // Whoever does not answer is no client; a guest is not to be bothered with it.
            return;
        }
        shared.counters.replays += 1;
        shared.send_to_guest(&self.settings, generation, &held.packet, out);
        let Some((syn, _)) = self.hold.syn_mut(serial) else {
            self.end(now, serial, HoldOutcome::Delivered, shared);
            return;
        };
        let replay = Replay::start(now);
        shared.timers.set(replay.next, Timer::Replay(service, serial));
        syn.replay = Some(replay);
        let key = syn.key;
        self.continue_story(&key, now, MilestoneKind::Replayed, shared);
    }

    /// Gives a held SYN to the guest once more; its replay is due.
    pub(crate) fn replay(
        &mut self,
        now: Instant,
        serial: Serial,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Gate::Open(instance) = &self.gate else { return };
        let Some((syn, packet)) = self.hold.syn_mut(serial) else { return };
        let Some(replay) = &mut syn.replay else { return };
        replay.again(now);
        shared.timers.set(replay.next, Timer::Replay(self.settings.service, serial));
        shared.counters.replays += 1;
        shared.send_to_guest(&self.settings, instance.generation, packet, out);
    }

    /// The guest refused a held SYN; the client is not told.
    pub(super) fn hide_refusal(&mut self, now: Instant, serial: Serial, shared: &mut Shared) {
        let Some((syn, _)) = self.hold.syn_mut(serial) else { return };
        shared.counters.hidden_refusals += 1;
        syn.refused = true;
        self.hasten_replay(now, serial, shared);
    }

    /// The guest answers another attempt than the held one: it has a connection left that the client replaced,
    /// and the RST about that one was lost. It is told once more, as a client in SYN-SENT does (RFC 9293, section
    /// 3.10.7.3), and asked again.
    pub(super) fn reject_answer(
        &mut self,
        now: Instant,
        serial: Serial,
        segment: &Segment,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Gate::Open(instance) = &self.gate else { return };
        let Some((syn, _)) = self.hold.syn_mut(serial) else { return };
        let Some(ack) = segment.ack else { return };
        let packet = reset::to_guest(&syn.key, ack);
        shared.send_to_guest(&self.settings, instance.generation, &packet, out);
        self.hasten_replay(now, serial, shared);
    }

    /// The guest's stack lives, so the next replay need not wait for long.
    fn hasten_replay(&mut self, now: Instant, serial: Serial, shared: &mut Shared) {
        let Some((syn, _)) = self.hold.syn_mut(serial) else { return };
        let Some(replay) = &mut syn.replay else { return };
        let timer = Timer::Replay(self.settings.service, serial);
        shared.timers.clear(replay.next, timer);
        replay.refuse(now);
        shared.timers.set(replay.next, timer);
    }

    /// A held packet's deadline is reached; its timer is gone already.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        serial: Serial,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Some(held) = self.hold.get_mut(serial) else {
            self.expire_passed(serial, shared);
            return;
        };
        held.deadline = None;
        let outcome = match &held.kind {
            Kind::Syn(syn) if syn.refused => HoldOutcome::Refused,
            Kind::Syn(_) | Kind::Datagram(_) => HoldOutcome::Expired,
        };
        self.give_up(now, serial, outcome, shared, out);
    }

    /// Ends a hold that led to nothing, and tells the client and a guest that may know of it.
    pub(super) fn give_up(
        &mut self,
        now: Instant,
        serial: Serial,
        outcome: HoldOutcome,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Some(held) = self.end(now, serial, outcome, shared) else { return };
        match &held.kind {
            Kind::Syn(syn) => {
                match &syn.answered {
                    // Whoever has never heard of us asks once more, and the guest is there to answer.
                    Some(_) if syn.is_half_open() && self.is_settled(now, syn.key.local_port) => {}
                    Some(answered) => {
                        shared.reset(answered.client.reset(answered.client.iss().after(1)));
                    }
                    None => shared.reset(reset::answer(&syn.key, &syn.segment)),
                }
                self.retract(syn, shared, out);
                self.abandon_story(&syn.key, shared);
            }
            Kind::Datagram(trigger) => {
                let Held { source, destination, ref packet, .. } = held;
                let datagram = Datagram { trigger: *trigger, source, destination, packet };
                shared.tell_unreachable(now, &datagram);
            }
        }
    }

    /// Tells the guest that a client whose SYN it got is gone, so that it does not answer later.
    pub(super) fn retract(&self, syn: &HeldSyn, shared: &Shared, out: &mut impl FrameSink) {
        if let (Gate::Open(instance), Some(_)) = (&self.gate, &syn.replay) {
            let packet = reset::to_guest(&syn.key, syn.segment.seq.after(1));
            shared.send_to_guest(&self.settings, instance.generation, &packet, out);
        }
    }

    /// Ends a hold: its timers, its place in the bounds, and the one event about it.
    pub(super) fn end(
        &mut self,
        now: Instant,
        serial: Serial,
        outcome: HoldOutcome,
        shared: &mut Shared,
    ) -> Option<Held> {
        let service = self.settings.service;
        let held = self.hold.remove(serial, &mut shared.held)?;
        if let Some(deadline) = held.deadline {
            shared.timers.clear(deadline, Timer::Expire(service, serial));
        }
        if let Kind::Syn(syn) = &held.kind
            && let Some(at) = syn.replay_at()
        {
            shared.timers.clear(at, Timer::Replay(service, serial));
        }
        if let Kind::Syn(syn) = &held.kind
            && let Some((at, _)) = syn.answered.as_ref().and_then(|answered| answered.again)
        {
            shared.timers.clear(at, Timer::Answer(service, serial));
        }
        shared.tell(Event::HoldEnded { service, outcome, waited: now - held.since });
        Some(held)
    }
}
