//! What clients send to a service.

use etherparse::IpNumber;
use policies::Instant;

use super::{Gate, Port};
use crate::flow::FlowKey;
use crate::frame::{Fragment, Icmp, Packet, Segment, Transport};
use crate::hold::{Kind, Serial};
use crate::shared::Shared;
use crate::tcp::{Quoted, requote};
use crate::{FrameSink, HoldMode, HoldOutcome, Trigger, reset};

impl Port {
    /// Takes a packet that is addressed to the service, from the uplink or another service's guest.
    pub(crate) fn handle_inbound(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        if let Transport::Tcp(segment) = &packet.transport {
            // What is kept may be given to a guest again and again: it must be what the client meant.
            if segment.is_first_syn() && !packet.has_tcp_checksum() {
                shared.counters.dropped_checksum += 1;
                return;
            }
            let key = FlowKey {
                local: packet.destination,
                local_port: segment.destination_port,
                remote: packet.source,
                remote_port: segment.source_port,
            };
            if let Some(serial) = self.hold.find(&key) {
                self.inbound_of_held(now, serial, segment, packet, shared, out);
            } else if !self.inbound_spliced(now, &key, segment, packet, shared, out) {
                self.inbound_tcp(now, key, segment, packet, shared, out);
            }
            return;
        }
        match (&self.gate, &packet.transport) {
            (_, Transport::Icmp(icmp)) if icmp.is_link_business() => {
                shared.counters.dropped_neighbour += 1;
            }
            (_, Transport::Fragment(fragment)) if self.is_cut_segment(fragment) => {
                shared.counters.dropped_fragment += 1;
            }
            (Gate::Open(_), Transport::Icmp(icmp)) => {
                self.inbound_icmp(now, packet, icmp, shared, out);
            }
            (Gate::Open(_), _) => self.forward_inbound(now, packet, shared, out),
            (Gate::Closed, Transport::Udp) if self.settings.wake_on_packet => {
                self.hold_datagram(now, Trigger::Udp, packet, shared);
            }
            (Gate::Closed, Transport::EchoRequest) if self.settings.wake_on_echo => {
                self.hold_datagram(now, Trigger::IcmpEcho, packet, shared);
            }
            (Gate::Closed, Transport::Fragment(fragment)) if self.settings.wake_on_packet => {
                self.hold_fragment(now, *fragment, packet, shared);
            }
            (Gate::Closed, Transport::Fragment(_)) => shared.counters.dropped_fragment += 1,
            (Gate::Closed, _) => shared.counters.dropped_not_holdable += 1,
        }
    }

    /// Whether this is a part of a TCP segment whose numbers would have to be translated, which cannot be done: the
    /// checksum covers all parts. No TCP sends such segments, because the largest one it is offered fits the network.
    pub(super) fn is_cut_segment(&self, fragment: &Fragment) -> bool {
        fragment.protocol == IpNumber::TCP && self.settings.hold.mode == HoldMode::Handshake
    }

    /// An ICMP message, which may be an error about a guest's segment.
    fn inbound_icmp(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        icmp: &Icmp<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let quotation = icmp.quotation().filter(|quoted| quoted.from.0 == packet.destination);
        let translated = quotation.and_then(|quoted| {
            Some((quoted.header, 0_u32.wrapping_sub(self.distance(&quoted.sent_by_guest())?)))
        });
        let Some((header, distance)) = translated else {
            self.forward_inbound(now, packet, shared, out);
            return;
        };
        let Gate::Open(instance) = &mut self.gate else { return };
        instance.last_packet = Some(now);
        shared.counters.forwarded_to_guests += 1;
        requote(packet, header, (Quoted::Seq, distance), &mut shared.scratch);
        shared.send_to_guest(&self.settings, instance.generation, &shared.scratch, out);
    }

    /// A segment of a flow that is not held.
    fn inbound_tcp(
        &mut self,
        now: Instant,
        key: FlowKey,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        if self.open_by_cookie(now, &key, segment, packet, shared, out) {
            return;
        }
        if self.may_be_late_for_cookie(now, &key, segment, shared) {
            shared.counters.dropped_stray_segment += 1;
            return;
        }
        let settled = self.is_settled(now, segment.destination_port);
        let crowded = self.is_crowded();
        match &mut self.gate {
            Gate::Open(instance) => {
                let tracked = instance.flows.sent_to_guest(now, key, segment);
                let mut keep = false;
                if segment.is_first_syn() {
                    if tracked.is_unknown() && !settled {
                        self.hold_syn(now, key, segment, packet, shared, out);
                        return;
                    }
                    if tracked.is_unknown()
                        && crowded
                        && self.relieve(now, &key, segment, packet, shared, out)
                    {
                        return;
                    }
                    let Gate::Open(instance) = &mut self.gate else { return };
                    keep = tracked.is_unknown() || !instance.flows.has_accepted(&key, segment);
                }
                shared.note_flow(self.settings.service, key, tracked);
                self.forward_inbound(now, packet, shared, out);
                if keep {
                    self.keep_passed(now, key, segment, packet, shared);
                } else if segment.rst {
                    self.withdraw_passed(&key, segment, shared);
                }
            }
            Gate::Closed if segment.is_first_syn() => {
                self.hold_syn(now, key, segment, packet, shared, out);
            }
            Gate::Closed => {
                // Of a connection with an instance that is gone; no reason to wake the next one.
                if !segment.rst && shared.resets.try_take(now) {
                    shared.reset(reset::answer(&key, segment));
                } else {
                    shared.counters.dropped_stray_segment += 1;
                }
            }
        }
    }

    /// A segment of a flow whose SYN is held.
    fn inbound_of_held(
        &mut self,
        now: Instant,
        serial: Serial,
        segment: &Segment,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Some((syn, _)) = self.hold.syn_mut(serial) else { return };
        let key = syn.key;
        if syn.answered.is_some() {
            self.hear_client(now, serial, segment, packet, shared, out);
            return;
        }
        if syn.is_same_attempt(segment) {
            shared.counters.held_retransmissions += 1;
            match &mut self.gate {
                Gate::Open(instance) => instance.last_packet = Some(now),
                Gate::Closed => self.request_wake(now, Trigger::TcpSyn, packet.source, shared),
            }
        } else if segment.is_first_syn() {
            // The new attempt takes the old one's part in the story, if there is room for it.
            self.withdraw(now, serial, shared, out);
            self.hold_syn(now, key, segment, packet, shared, out);
            if self.hold.find(&key).is_none() {
                self.abandon_story(&key, shared);
            }
        } else if syn.is_given_up_by(segment) {
            shared.counters.held_withdrawals += 1;
            self.withdraw(now, serial, shared, out);
            self.abandon_story(&key, shared);
        } else {
            shared.counters.dropped_held_segment += 1;
        }
    }

    /// The client has given up a held flow.
    pub(super) fn withdraw(
        &mut self,
        now: Instant,
        serial: Serial,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        if let Gate::Open(instance) = &mut self.gate {
            instance.last_packet = Some(now);
        }
        if let Some(held) = self.end(now, serial, HoldOutcome::ClientGone, shared)
            && let Kind::Syn(syn) = &held.kind
        {
            self.retract(syn, shared, out);
        }
    }

    fn forward_inbound(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        shared: &mut Shared,
        out: &mut impl FrameSink,
    ) {
        let Gate::Open(instance) = &mut self.gate else { return };
        instance.last_packet = Some(now);
        shared.counters.forwarded_to_guests += 1;
        shared.send_to_guest(&self.settings, instance.generation, packet.bytes, out);
    }
}
