//! SYNs that went straight to a guest that is known to listen.
//!
//! They are kept until it has answered: if it goes away before, they are held for the next instance, and their
//! clients need not send them again. Apart from that they are the guest's, refusals and silence included, and
//! nothing is told about them. They are bounded like held ones, by as much again; the oldest one is given up
//! for a new one.

use policies::Instant;

use super::Port;
use crate::flow::FlowKey;
use crate::frame::{Packet, Segment};
use crate::hold::{Held, HeldSyn, Kind, Serial};
use crate::shared::Shared;
use crate::timer::Timer;
use crate::{HoldLimits, MilestoneKind};

impl Port {
    /// Keeps a SYN that has just been forwarded to the guest.
    pub(super) fn keep_passed(
        &mut self,
        now: Instant,
        key: FlowKey,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
    ) {
        if let Some(serial) = self.passed.find(&key) {
            if self.passed.syn_mut(serial).is_some_and(|(syn, _)| syn.is_same_attempt(segment)) {
                return;
            }
            self.drop_passed(serial, shared);
        }
        let limits = HoldLimits::from(&self.settings.hold);
        let length = packet.bytes.len();
        while !self.passed.has_room(packet.source, length, limits, &shared.passed) {
            let Some(oldest) = self.passed.oldest() else {
                self.abandon_story(&key, shared);
                return;
            };
            self.give_up_passed(oldest, shared);
        }
        let deadline = now + self.settings.hold.time;
        let kind = Kind::Syn(HeldSyn::new(key, *segment));
        let serial = shared.next_serial();
        self.passed.insert(serial, Held::new(now, deadline, packet, kind), &mut shared.passed);
        shared.timers.set(deadline, Timer::Expire(self.settings.service, serial));
        shared.counters.passed_syns += 1;
        // Unless it is a new attempt of the first flow.
        self.begin_story(key, now, MilestoneKind::Passed, shared);
    }

    /// The guest sends a SYN or a RST of a flow that is not held.
    pub(super) fn answer_passed(
        &mut self,
        now: Instant,
        key: &FlowKey,
        segment: &Segment,
        shared: &mut Shared,
    ) {
        let Some((serial, syn)) = self.find_passed(key) else { return };
        let (accepts, refuses) = (syn.is_accepted_by(segment), syn.is_refused_by(segment));
        if accepts {
            self.drop_passed(serial, shared);
            self.continue_story(key, now, MilestoneKind::HandedOver, shared);
        } else if refuses {
            self.give_up_passed(serial, shared);
        }
    }

    /// The client sends a RST of a flow that is not held.
    pub(super) fn withdraw_passed(
        &mut self,
        key: &FlowKey,
        segment: &Segment,
        shared: &mut Shared,
    ) {
        let Some((serial, syn)) = self.find_passed(key) else { return };
        if syn.is_given_up_by(segment) {
            self.give_up_passed(serial, shared);
        }
    }

    /// The port closes: what the guest has not answered is held from now on, as far as there is room.
    pub(super) fn take_back_passed(&mut self, shared: &mut Shared) {
        let limits = HoldLimits::from(&self.settings.hold);
        for serial in self.passed.serials() {
            let Some(held) = self.passed.remove(serial, &mut shared.passed) else { continue };
            if self.hold.has_room(held.source, held.packet.len(), limits, &shared.held) {
                shared.counters.held_syns += 1;
                // The deadline stays, and its timer with it.
                self.hold.insert(serial, held, &mut shared.held);
            } else if let Some(deadline) = held.deadline {
                shared.timers.clear(deadline, Timer::Expire(self.settings.service, serial));
            }
        }
    }

    /// The guest had as long to answer as anybody is held.
    pub(super) fn expire_passed(&mut self, serial: Serial, shared: &mut Shared) {
        let Some(held) = self.passed.remove(serial, &mut shared.passed) else { return };
        if let Kind::Syn(syn) = &held.kind {
            self.abandon_story(&syn.key, shared);
        }
    }

    /// Keeps a SYN no longer that was not accepted.
    fn give_up_passed(&mut self, serial: Serial, shared: &mut Shared) {
        if let Some(held) = self.drop_passed(serial, shared)
            && let Kind::Syn(syn) = &held.kind
        {
            self.abandon_story(&syn.key, shared);
        }
    }

    /// Keeps a SYN no longer; nothing is said to anybody.
    pub(super) fn drop_passed(&mut self, serial: Serial, shared: &mut Shared) -> Option<Held> {
        let held = self.passed.remove(serial, &mut shared.passed)?;
        if let Some(deadline) = held.deadline {
            shared.timers.clear(deadline, Timer::Expire(self.settings.service, serial));
        }
        Some(held)
    }

    fn find_passed(&mut self, key: &FlowKey) -> Option<(Serial, &HeldSyn)> {
        let serial = self.passed.find(key)?;
        let (syn, _) = self.passed.syn_mut(serial)?;
        Some((serial, syn))
    }
}
