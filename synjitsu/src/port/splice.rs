//! Connections that the switch has answered and a guest has taken over: relayed until the guest has all that was
//! acknowledged in its name, and translated from then on.

use std::collections::HashMap;
use std::time::Duration;

use policies::Instant;

use super::answer::{HANDED_OVER, into_client};
use super::{Gate, Port, Verdict};
use crate::flow::{FlowKey, MAX_FLOWS, OpenEnd, Tracked};
use crate::frame::{Packet, Segment, Transport};
use crate::handshake::{Relay, Translation, Wire};
use crate::hold::Serial;
use crate::shared::Shared;
use crate::tcp::Offer;
use crate::timer::Timer;
use crate::{FrameSink, HoldLimits, MilestoneKind, reset};

/// Spliced connections of one instance; beyond, SYNs are held instead of answered.
pub(super) const MAX_SPLICES: usize = MAX_FLOWS;
/// A connection that is over may still have segments on their way, or not be over for the guest (RFC 9293, section 3.4.3: twice the
/// longest life of a segment; 30 seconds, as most stacks have it).
const LINGER: Duration = Duration::from_secs(60);

/// The spliced connections of one instance.
#[derive(Debug, Default)]
pub(super) struct Splices(HashMap<FlowKey, Splice>);

#[derive(Debug)]
struct Splice {
    stage: Stage,
    /// When something is to be done about it.
    due: Option<Instant>,
    /// When its last segment was translated.
    used: Instant,
}

#[derive(Debug)]
enum Stage {
    Relay(Box<Relay>),
    Translated(Translation),
}

impl Splices {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &FlowKey> {
        self.0.keys()
    }

    /// Finds one; most connections are not spliced, and most of the time none is.
    fn get_mut(&mut self, key: &FlowKey) -> Option<&mut Splice> {
        if self.0.is_empty() { None } else { self.0.get_mut(key) }
    }

    /// The RST that tells the other side that a connection's guest is gone.
    pub(super) fn end(&self, open: &OpenEnd) -> Vec<u8> {
        match self.0.get(&open.key).map(|splice| &splice.stage) {
            None => reset::end(open),
            Some(Stage::Relay(relay)) => relay.reset_client(),
            Some(Stage::Translated(translation)) => {
                reset::end(&OpenEnd { seq: open.seq.after(translation.distance), ..*open })
            }
        }
    }
}

impl Port {
    /// How far the client's view of the guest's numbers is after the guest's own, if they differ.
    pub(super) fn distance(&self, key: &FlowKey) -> Option<u32> {
        let Gate::Open(instance) = &self.gate else { return None };
        let translation = match &instance.splices.0.get(key)?.stage {
            Stage::Relay(relay) => relay.translation(),
            Stage::Translated(translation) => translation,
        };
        Some(translation.distance)
    }

    /// The guest has accepted the connection of a client that was answered: `segment` is its SYN-ACK, which offers `offer`.
    pub(super) fn splice(
        &mut self,
        now: Instant,
        serial: Serial,
        segment: &Segment,
        offer: &Offer,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Some(client) = self.end(now, serial, HANDED_OVER, shared).and_then(into_client) else {
            return;
        };
        let key = *client.key();
        self.hold.lend(key.remote, client.kept(), &mut shared.held);
        self.continue_story(&key, now, MilestoneKind::HandedOver, shared);
        self.track_outbound(now, key, segment, shared);
        self.unsplice(&key, shared);
        let (relay, wire) = Relay::begin(now, client, segment, offer, self.settings.hold.buffer);
        let Gate::Open(instance) = &mut self.gate else { return };
        instance.last_packet = Some(now);
        let stage = Stage::Relay(Box::new(relay));
        instance.splices.0.insert(key, Splice { stage, due: None, used: now });
        shared.counters.spliced += 1;
        self.carry_out(now, &key, wire, shared, out);
    }

    /// A client's segment, if its connection is spliced; returns whether it is.
    pub(super) fn inbound_spliced(
        &mut self,
        now: Instant,
        key: &FlowKey,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) -> bool {
        let limits = HoldLimits::from(&self.settings.hold);
        let Gate::Open(instance) = &mut self.gate else { return false };
        let Some(splice) = instance.splices.get_mut(key) else { return false };
        match &mut splice.stage {
            Stage::Relay(relay) => {
                if !packet.has_tcp_checksum() {
                    shared.counters.dropped_checksum += 1;
                    return true;
                }
                instance.last_packet = Some(now);
                let space = self.hold.space(packet.source, limits, &shared.held);
                let wire = relay.hear_client(now, segment, packet, space);
                shared.counters.early_octets += u64::try_from(wire.taken).unwrap_or(0);
                self.carry_out(now, key, wire, shared, out);
            }
            // A new connection between the same ports, if the guest agrees.
            Stage::Translated(_) if segment.is_first_syn() => return false,
            Stage::Translated(translation) => {
                (instance.last_packet, splice.used) = (Some(now), now);
                let seen = translation.seen_by_guest(segment);
                translation.write_to_guest(packet, segment, &mut shared.scratch);
                let tracked = instance.flows.sent_to_guest(now, *key, &seen);
                shared.counters.forwarded_to_guests += 1;
                let generation = instance.generation;
                shared.send_to_guest(&self.settings, generation, &shared.scratch, out);
                shared.note_flow(self.settings.service, *key, tracked);
                if let Tracked::Ended(_) = tracked {
                    // Also after a RST: the guest may question it.
                    self.set_due(key, Some(now + LINGER), shared);
                }
            }
        }
        true
    }

    /// A guest's segment, if its connection is spliced; what is to become of it.
    pub(super) fn outbound_spliced(
        &mut self,
        now: Instant,
        key: &FlowKey,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) -> Option<Verdict> {
        let Gate::Open(instance) = &mut self.gate else { return None };
        let splice = instance.splices.get_mut(key)?;
        match &mut splice.stage {
            Stage::Relay(relay) => {
                if segment.syn && segment.seq != relay.translation().guest_iss {
                    // The client has a connection, and the guest begins another one.
                    shared.counters.dropped_held_segment += 1;
                    return Some(Verdict::Stop);
                }
                instance.last_packet = Some(now);
                let wire = relay.hear_guest(now, segment, packet);
                self.track_outbound(now, *key, segment, shared);
                self.carry_out(now, key, wire, shared, out);
                Some(Verdict::Stop)
            }
            Stage::Translated(translation) => {
                if segment.syn && segment.seq != translation.guest_iss {
                    self.unsplice(key, shared);
                    return None;
                }
                splice.used = now;
                let mut rewrite = translation.to_client(segment);
                // The window of a SYN is never scaled.
                rewrite.window = rewrite.window.filter(|_| !segment.syn);
                rewrite.write(packet, &mut shared.scratch);
                let before = instance.flows.knows(key);
                self.track_outbound(now, *key, segment, shared);
                let Gate::Open(instance) = &self.gate else { return None };
                if segment.rst {
                    // Nothing is answered to it, and what answers later segments takes its number from these.
                    self.unsplice(key, shared);
                } else if before && !instance.flows.knows(key) {
                    self.set_due(key, Some(now + LINGER), shared);
                }
                Some(Verdict::ForwardScratch)
            }
        }
    }

    /// Sends what a relay has to send, and sees what has become of it.
    fn carry_out(
        &mut self,
        now: Instant,
        key: &FlowKey,
        wire: Wire,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        self.hold.lend(key.remote, wire.taken, &mut shared.held);
        self.hold.take_back(key.remote, wire.released, &mut shared.held);
        for packet in &wire.to_guest {
            self.send_relayed(now, key, packet, shared, out);
        }
        shared.replies.extend(wire.to_client);
        if wire.over {
            self.unsplice(key, shared);
            return;
        }
        let Gate::Open(instance) = &mut self.gate else { return };
        let Some(splice) = instance.splices.0.get_mut(key) else { return };
        let Stage::Relay(relay) = &mut splice.stage else { return };
        let mut due = relay.due();
        if let Some((translation, update)) = relay.settle() {
            shared.replies.extend(update);
            splice.stage = Stage::Translated(translation);
            // Both sides may have closed while it was relayed.
            due = (!instance.flows.knows(key)).then(|| now + LINGER);
        }
        self.set_due(key, due, shared);
    }

    /// Sends the guest a segment in the client's name.
    fn send_relayed(
        &mut self,
        now: Instant,
        key: &FlowKey,
        packet: &[u8],
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Gate::Open(instance) = &mut self.gate else { return };
        if let Ok(Packet { transport: Transport::Tcp(segment), .. }) = Packet::parse(packet) {
            let tracked = instance.flows.sent_to_guest(now, *key, &segment);
            shared.note_flow(self.settings.service, *key, tracked);
        }
        shared.counters.forwarded_to_guests += 1;
        shared.send_to_guest(&self.settings, instance.generation, packet, out);
    }

    /// Something is due about a spliced connection.
    pub(crate) fn tend_splice(
        &mut self,
        now: Instant,
        key: &FlowKey,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Gate::Open(instance) = &mut self.gate else { return };
        let Some(splice) = instance.splices.0.get_mut(key) else { return };
        splice.due = None;
        match &mut splice.stage {
            Stage::Relay(relay) => {
                let wire = relay.on_timeout(now);
                self.carry_out(now, key, wire, shared, out);
            }
            Stage::Translated(_) => match splice.used + LINGER {
                until if until > now => self.set_due(key, Some(until), shared),
                _ => self.unsplice(key, shared),
            },
        }
    }

    fn set_due(&mut self, key: &FlowKey, due: Option<Instant>, shared: &mut Shared) {
        let timer = Timer::Splice(self.settings.service, *key);
        let Gate::Open(instance) = &mut self.gate else { return };
        let Some(splice) = instance.splices.0.get_mut(key) else { return };
        if splice.due == due {
            return;
        }
        if let Some(before) = std::mem::replace(&mut splice.due, due) {
            shared.timers.clear(before, timer);
        }
        if let Some(due) = due {
            shared.timers.set(due, timer);
        }
    }

    /// Forgets that a connection was spliced.
    pub(super) fn unsplice(&mut self, key: &FlowKey, shared: &mut Shared) {
        let Gate::Open(instance) = &mut self.gate else { return };
        let Some(splice) = instance.splices.0.remove(key) else { return };
        if let Some(due) = splice.due {
            shared.timers.clear(due, Timer::Splice(self.settings.service, *key));
        }
        if let Stage::Relay(relay) = &splice.stage {
            self.hold.take_back(key.remote, relay.kept(), &mut shared.held);
        }
    }
}
