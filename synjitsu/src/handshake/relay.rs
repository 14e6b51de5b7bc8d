//! Between the guest's SYN-ACK and the moment when it has taken all that the switch has acknowledged in its name.
//!
//! The guest is given what was kept, within its window and in segments of its size, until it acknowledges it. What the
//! client sends meanwhile goes the same way; what the guest sends is shown to the client at once, but with our
//! acknowledgment, because the client must never see a number go back. When nothing is kept any more and the guest's
//! window reaches as far as the client was promised, translation by constants says the same, and takes over.

use std::time::Duration;

use policies::Instant;

use super::client::{Client, Heard, Reply};
use super::translation::{Translation, Windows};
use crate::frame::{Packet, Segment};
use crate::seq::SeqNumber;
use crate::tcp::{Draft, Offer, Rewrite, Sack};

/// The first wait for the guest's acknowledgment; it is near, and may still be busy with its start.
const FIRST_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3);
/// What may be under way after a loss, in segments (RFC 5681, section 3.1).
const LOSS_WINDOW: u32 = 2;
/// So many acknowledgments of the same number mean a loss (RFC 5681, section 3.2).
const DUPLICATES: u8 = 3;
const DEFAULT_MSS_V4: u16 = 536;
const DEFAULT_MSS_V6: u16 = 1220;

/// See the module.
#[derive(Debug)]
pub(crate) struct Relay {
    client: Client,
    /// The constants of the translation to come.
    translation: Translation,
    /// The largest segment that the guest takes.
    mss: u32,
    /// The guest's SND.NXT.
    guest_nxt: SeqNumber,
    /// What the guest has acknowledged of the client's numbers.
    una: SeqNumber,
    /// What the guest was sent since the last loss.
    sent: SeqNumber,
    /// What the guest was ever sent.
    sent_most: SeqNumber,
    /// Where the guest's window ends.
    edge: SeqNumber,
    /// What may be under way at once, in octets.
    flight: u32,
    duplicates: u8,
    timeout: Duration,
    due: Option<Instant>,
    /// What the guest was last told of the client: its acknowledgment and window.
    told: (SeqNumber, u32),
    /// How much may be kept of this client.
    limit: u32,
}

/// What is to be sent, and what has become of the connection.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) to_client: Vec<Vec<u8>>,
    pub(crate) to_guest: Vec<Vec<u8>>,
    /// Octets of the client that were taken.
    pub(crate) taken: usize,
    /// Octets of the client that are no longer kept: the guest has acknowledged them, or they were given up.
    pub(crate) released: usize,
    /// It is over, and both sides have been told.
    pub(crate) over: bool,
}

impl Relay {
    /// The guest has accepted the connection with `answer`, which offers `offer`.
    pub(crate) fn begin(
        now: Instant,
        client: Client,
        answer: &Segment,
        offer: &Offer,
        limit: u32,
    ) -> (Self, Wire) {
        let terms = *client.terms();
        let guest = terms.scale.and(offer.window_scale);
        let default = if client.key().local.is_ipv6() { DEFAULT_MSS_V6 } else { DEFAULT_MSS_V4 };
        let una = client.irs().after(1);
        let mut relay = Self {
            translation: Translation {
                guest_iss: answer.seq,
                distance: client.iss().distance_from(answer.seq),
                windows: Windows { agreed: terms.scale, guest },
                sack: terms.sack && offer.sack,
            },
            mss: offer.mss.unwrap_or(default).clamp(64, terms.our_mss.max(64)).into(),
            guest_nxt: answer.seq.after(1),
            una,
            sent: una,
            sent_most: una,
            edge: una.after(offer.window.into()),
            flight: u32::MAX,
            duplicates: 0,
            timeout: FIRST_TIMEOUT,
            due: None,
            // Nothing yet: the first acknowledgment is due in any case.
            told: (client.iss(), 0),
            limit,
            client,
        };
        let mut wire = Wire::default();
        relay.pump(now, &mut wire);
        relay.tell_guest(&mut wire);
        (relay, wire)
    }

    /// When [`on_timeout`](Self::on_timeout) is due.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) const fn translation(&self) -> &Translation {
        &self.translation
    }

    /// What is kept of the client, in octets.
    pub(crate) fn kept(&self) -> usize {
        self.client.kept()
    }

    /// What of it the guest can be given.
    fn ready(&self) -> usize {
        self.client.data().len()
    }

    /// The service's next number as the client knows it.
    fn snd_nxt(&self) -> SeqNumber {
        self.guest_nxt.after(self.translation.distance)
    }

    /// Ends the connection for the client.
    pub(crate) fn reset_client(&self) -> Vec<u8> {
        self.client.reset(self.snd_nxt())
    }

    /// The constants, if they say all that is left to say; and an acknowledgment, if the client does not know yet how far
    /// the guest's window reaches.
    pub(crate) fn settle(&self) -> Option<(Translation, Option<Vec<u8>>)> {
        // A guest that takes smaller segments than the client was told gets them cut, until the client has closed.
        let cuts = self.mss < self.client.terms().our_mss.into();
        let missing = self.client.data().len() != self.kept();
        if missing || self.una != self.client.rcv_nxt() || (cuts && !self.client.fin()) {
            return None;
        }
        let ours = self.client.terms().scale.map_or(0, |(_, ours)| ours);
        let window = self.edge.distance_from(self.una) >> ours << ours;
        let edge = self.una.after(window);
        if !self.client.fin() && edge.precedes(self.client.told()) {
            return None;
        }
        let left = self.client.told().distance_from(self.una);
        let is_news = left < 2 * self.mss && self.client.told().precedes(edge);
        let field = u16::try_from(window >> ours).unwrap_or(u16::MAX);
        let update = || {
            let ack = Some(self.client.rcv_nxt());
            let draft = Draft::to_remote(self.client.key(), self.snd_nxt(), ack);
            Draft { window: field, ..draft }.packet()
        };
        Some((self.translation, (is_news && !self.client.fin()).then(update)))
    }

    /// A segment of the client; at most `space` octets of it may be kept.
    pub(crate) fn hear_client(
        &mut self,
        now: Instant,
        segment: &Segment,
        packet: &Packet<'_>,
        space: usize,
    ) -> Wire {
        let mut wire = Wire::default();
        let snd_nxt = self.snd_nxt();
        let Heard { reply, taken, given_up, .. } =
            self.client.hear(segment, packet.tcp_payload(), snd_nxt, space);
        (wire.taken, wire.released) = (taken, given_up);
        match reply {
            Reply::None => {}
            Reply::Ack | Reply::SynAck => wire.to_client.push(self.client.ack(snd_nxt)),
            Reply::Reset(seq) => {
                let draft = Draft::to_remote(self.client.key(), seq, None);
                wire.to_client.push(Draft { rst: true, ..draft }.packet());
            }
            Reply::Gone => {
                // The guest takes a RST only with the number that it expects next: what it was sent may be on its way, or lost.
                for next in [Some(self.sent), (self.una != self.sent).then_some(self.una)] {
                    let Some(next) = next else { continue };
                    let draft = Draft::to_guest(self.client.key(), next, None);
                    wire.to_guest.push(Draft { rst: true, ..draft }.packet());
                }
                wire.over = true;
                return wire;
            }
        }
        self.pump(now, &mut wire);
        let bare = segment.payload == 0 && !segment.syn && !segment.fin && reply == Reply::None;
        if bare && segment.ack.is_some() {
            // As it is, because of what it acknowledges selectively and because repetitions mean something.
            let mut copy = Vec::new();
            let rewrite = self.translation.to_guest(segment);
            Rewrite { seq: Some(self.sent), ..rewrite }.write(packet, &mut copy);
            wire.to_guest.push(copy);
            self.told = (self.client.una(), self.client.window());
        } else {
            self.tell_guest(&mut wire);
        }
        wire
    }

    /// A segment of the guest.
    pub(crate) fn hear_guest(
        &mut self,
        now: Instant,
        segment: &Segment,
        packet: &Packet<'_>,
    ) -> Wire {
        let mut wire = Wire::default();
        if segment.syn {
            // It has not got the third part of the handshake.
            self.told.0 = self.client.iss();
            self.tell_guest(&mut wire);
            return wire;
        }
        let is_old = segment.len() == 0 && segment.seq == self.guest_nxt;
        self.guest_nxt = self.guest_nxt.latest(segment.end());
        if segment.rst {
            wire.over = true;
        } else if let Some(ack) = segment.ack {
            self.hear_acknowledgment(now, ack, segment, &mut wire);
        }
        if !is_old || segment.rst {
            wire.to_client.push(self.shown(segment, packet));
        } else {
            self.reopen(&mut wire);
        }
        self.pump(now, &mut wire);
        wire
    }

    /// A segment of the guest as the client sees it.
    fn shown(&mut self, segment: &Segment, packet: &Packet<'_>) -> Vec<u8> {
        self.extend_promise();
        let mut copy = Vec::new();
        let rewrite = Rewrite {
            ack: segment.ack.map(|_| self.client.rcv_nxt()),
            window: Some(self.client.window_field()),
            // All that it could acknowledge is acknowledged.
            sack: Sack::Strip,
            ..self.translation.to_client(segment)
        };
        rewrite.write(packet, &mut copy);
        copy
    }

    fn hear_acknowledgment(
        &mut self,
        now: Instant,
        ack: SeqNumber,
        segment: &Segment,
        wire: &mut Wire,
    ) {
        if self.sent_most.precedes(ack) || ack.precedes(self.una) {
            return;
        }
        let window = self.translation.windows.of_guest(segment.window);
        let edge = ack.after(window);
        let moved = self.edge.precedes(edge);
        self.edge = self.edge.latest(edge);
        let acknowledged = ack.distance_from(self.una);
        if acknowledged > 0 {
            let octets = usize::try_from(acknowledged).unwrap_or(usize::MAX).min(self.ready());
            self.client.forget_data(octets);
            wire.released = octets;
            self.una = ack;
            self.sent = self.sent.latest(ack);
            self.duplicates = 0;
            self.timeout = FIRST_TIMEOUT;
            self.flight = self.flight.saturating_add(acknowledged.saturating_mul(2));
            self.due = (self.una != self.sent).then(|| now + self.timeout);
        } else if self.una != self.sent && segment.len() == 0 && !moved {
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == DUPLICATES {
                self.go_back();
            }
        }
    }

    /// What was sent and not acknowledged counts as lost.
    const fn go_back(&mut self) {
        self.sent = self.una;
        self.flight = LOSS_WINDOW * self.mss;
    }

    /// The guest did not acknowledge in time, or its window has been closed for so long.
    pub(crate) fn on_timeout(&mut self, now: Instant) -> Wire {
        let mut wire = Wire::default();
        self.due = None;
        self.go_back();
        self.timeout = (self.timeout * 2).min(LONGEST_TIMEOUT);
        self.pump(now, &mut wire);
        if wire.to_guest.is_empty() && self.una != self.client.rcv_nxt() {
            // A probe of the closed window (RFC 9293, section 3.8.6.1).
            self.send(1, &mut wire);
            self.due = Some(now + self.timeout);
        }
        wire
    }

    /// Sends what may be sent.
    fn pump(&mut self, now: Instant, wire: &mut Wire) {
        while self.sent != self.client.rcv_nxt() {
            let under_way = self.sent.distance_from(self.una);
            let window = self.edge.distance_from(self.una).min(self.flight);
            let Some(room) = window.checked_sub(under_way).filter(|room| *room > 0) else { break };
            // A loss window that is full of small pieces is not filled with smaller ones.
            self.send(room.min(self.mss), wire);
        }
        if self.due.is_none() && self.una != self.client.rcv_nxt() {
            self.due = Some(now + self.timeout);
        }
    }

    /// Sends a segment with at most `room` numbers from `sent` on.
    fn send(&mut self, room: u32, wire: &mut Wire) {
        let start = usize::try_from(self.sent.distance_from(self.una)).unwrap_or(usize::MAX);
        let left = self.ready().saturating_sub(start);
        let length = left.min(usize::try_from(room).unwrap_or(usize::MAX));
        let range = start.min(self.ready())..start.min(self.ready()) + length;
        let payload: Vec<u8> = self.client.data().range(range).copied().collect();
        let octets = u32::try_from(length).unwrap_or(0);
        let fin = self.client.fin() && length == left && octets < room;
        let ack = self.guest_ack();
        let draft = Draft::to_guest(self.client.key(), self.sent, Some(ack));
        let window = self.translation.windows.for_guest(self.client.window());
        let push = length == left && length > 0;
        wire.to_guest.push(Draft { window, push, fin, payload: &payload, ..draft }.packet());
        self.sent = self.sent.after(octets).after(u32::from(fin));
        self.sent_most = self.sent_most.latest(self.sent);
        self.told = (self.client.una(), self.client.window());
    }

    /// What the client has acknowledged, in the guest's numbers.
    fn guest_ack(&self) -> SeqNumber {
        self.client.una().after(0_u32.wrapping_sub(self.translation.distance))
    }

    /// Tells the guest what the client has acknowledged and how much it takes, if that is news.
    fn tell_guest(&mut self, wire: &mut Wire) {
        let news = (self.client.una(), self.client.window());
        if self.told != news {
            self.told = news;
            let draft = Draft::to_guest(self.client.key(), self.sent, Some(self.guest_ack()));
            let window = self.translation.windows.for_guest(self.client.window());
            wire.to_guest.push(Draft { window, ..draft }.packet());
        }
    }

    /// Promises the client what both the buffer and the guest's window have room for.
    fn extend_promise(&mut self) {
        let kept = u32::try_from(self.kept()).unwrap_or(u32::MAX);
        let buffer = self.client.rcv_nxt().after(self.limit.saturating_sub(kept));
        let edge = if self.edge.precedes(buffer) { self.edge } else { buffer };
        // Before the guest has taken anything its window may end where the client already is.
        if self.client.rcv_nxt().precedes(edge) {
            self.client.promise(edge);
        }
    }

    /// Tells a client that could send nothing that it can again (RFC 9293, section 3.8.6.2.2).
    fn reopen(&mut self, wire: &mut Wire) {
        let before = self.client.room();
        self.extend_promise();
        if before < self.mss && self.client.room() >= self.mss.min(self.limit) {
            wire.to_client.push(self.client.ack(self.snd_nxt()));
        }
    }
}
