//! What a guest sends.

use std::net::IpAddr;

use policies::Instant;

use super::{Gate, MAX_LISTENING, Port};
use crate::flow::{Entered, FlowKey, Tracked};
use crate::frame::{Icmp, Packet, Segment, Transport};
use crate::hold::Serial;
use crate::shared::Shared;
use crate::tcp::{Offer, Quoted, requote};
use crate::{FrameSink, HoldOutcome, MilestoneKind};

/// What becomes of a guest's packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes to whoever has its destination address.
    Forward,
    /// What was written to the scratch buffer goes there in its place.
    ForwardScratch,
    /// It goes nowhere, and is counted.
    Stop,
}

impl Port {
    /// Looks at an IP packet of the guest whose port is open.
    pub(crate) fn handle_outbound(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) -> Verdict {
        if !self.settings.owns(packet.source) {
            shared.counters.dropped_spoofed_source += 1;
            return Verdict::Stop;
        }
        if !is_elsewhere(packet.destination) || self.settings.owns(packet.destination) {
            shared.counters.dropped_destination += 1;
            return Verdict::Stop;
        }
        let verdict = match &packet.transport {
            Transport::Tcp(segment) => {
                let key = FlowKey {
                    local: packet.source,
                    local_port: segment.source_port,
                    remote: packet.destination,
                    remote_port: segment.destination_port,
                };
                match self.hold.find(&key) {
                    Some(serial) => {
                        let answer = (packet, segment);
                        self.outbound_of_held(now, serial, key, answer, shared, out)
                    }
                    None => self.outbound_tcp(now, key, (packet, segment), shared, out),
                }
            }
            Transport::Icmp(icmp) => self.outbound_icmp(now, packet, icmp, shared),
            Transport::Fragment(fragment) if self.is_cut_segment(fragment) => {
                shared.counters.dropped_fragment += 1;
                Verdict::Stop
            }
            Transport::Udp | Transport::EchoRequest | Transport::Fragment(_) | Transport::Other => {
                Verdict::Forward
            }
        };
        if verdict != Verdict::Stop
            && let Gate::Open(instance) = &mut self.gate
        {
            instance.last_packet = Some(now);
        }
        verdict
    }

    /// An ICMP message, which may be an error about a client's segment.
    fn outbound_icmp(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        icmp: &Icmp<'_>,
        shared: &mut Shared,
    ) -> Verdict {
        let quotation = icmp.quotation().filter(|quoted| quoted.from.0 == packet.destination);
        let Some(quotation) = quotation else { return Verdict::Forward };
        let key = quotation.sent_by_client();
        if let Some(serial) = self.hold.find(&key) {
            if icmp.is_unreachable() {
                self.hide_refusal(now, serial, shared);
            }
            return Verdict::Stop;
        }
        let Some(distance) = self.distance(&key) else { return Verdict::Forward };
        let header = quotation.header;
        requote(packet, header, (Quoted::Ack, distance), &mut shared.scratch);
        Verdict::ForwardScratch
    }

    /// A segment of a flow that is not held.
    fn outbound_tcp(
        &mut self,
        now: Instant,
        key: FlowKey,
        (packet, segment): (&Packet<'_>, &Segment),
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) -> Verdict {
        if segment.syn || segment.rst {
            self.answer_passed(now, &key, segment, shared);
        }
        if let Some(verdict) = self.outbound_spliced(now, &key, segment, packet, shared, out) {
            return verdict;
        }
        self.track_outbound(now, key, segment, shared);
        Verdict::Forward
    }

    /// A segment of a flow whose SYN the guest was given, maybe more than once.
    fn outbound_of_held(
        &mut self,
        now: Instant,
        serial: Serial,
        key: FlowKey,
        (packet, segment): (&Packet<'_>, &Segment),
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) -> Verdict {
        let settled = self.is_settled(now, segment.source_port);
        let Some((syn, held)) = self.hold.syn_mut(serial) else { return Verdict::Stop };
        if segment.rst {
            if settled && syn.answered.is_some() && syn.is_refused_by(segment) {
                // It listens, and does not want this one.
                self.give_up(now, serial, HoldOutcome::Refused, shared, out);
            } else {
                self.hide_refusal(now, serial, shared);
            }
            return Verdict::Stop;
        }
        if !syn.is_accepted_by(segment) {
            shared.counters.dropped_held_segment += 1;
            self.reject_answer(now, serial, segment, shared, out);
            return Verdict::Stop;
        }
        if let Some(answer) = packet.tcp().map(|tcp| Offer::of(&tcp)) {
            let asked = Packet::parse(held).ok().and_then(|syn| Some(Offer::of(&syn.tcp()?)));
            shared.learned.learn(self.settings.image, &key, &asked.unwrap_or_default(), answer);
            if syn.answered.is_some() {
                self.splice(now, serial, segment, &answer, shared, out);
                return Verdict::Stop;
            }
        }
        self.end(now, serial, HoldOutcome::HandedOver, shared);
        self.continue_story(&key, now, MilestoneKind::HandedOver, shared);
        self.track_outbound(now, key, segment, shared);
        Verdict::Forward
    }

    pub(super) fn track_outbound(
        &mut self,
        now: Instant,
        key: FlowKey,
        segment: &Segment,
        shared: &mut Shared,
    ) {
        let Gate::Open(instance) = &mut self.gate else { return };
        let service = self.settings.service;
        if segment.syn && segment.ack.is_some() && instance.listening.len() < MAX_LISTENING {
            instance.listening.insert(segment.source_port);
        }
        match instance.flows.sent_by_guest(now, key, segment) {
            Entered::Tracked(tracked) => shared.note_flow(service, key, tracked),
            Entered::InPlaceOf(tracked, oldest, deadline) => {
                shared.counters.flows_untracked += 1;
                shared.note_flow(service, oldest, Tracked::Ended(deadline));
                shared.note_flow(service, key, tracked);
            }
            Entered::Full => shared.counters.flows_untracked += 1,
        }
        if segment.payload > 0 && self.awaits_first_byte() {
            self.continue_story(&key, now, MilestoneKind::FirstByte, shared);
        }
    }
}

/// Whether an address can be that of one other host, on this link or beyond.
fn is_elsewhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_multicast()
                && !address.is_broadcast()
                && !address.is_unspecified()
                && !address.is_loopback()
        }
        IpAddr::V6(address) => {
            !address.is_multicast()
                && !address.is_unspecified()
                && !address.is_loopback()
                && !address.is_unicast_link_local()
        }
    }
}
