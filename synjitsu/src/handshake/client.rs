//! The client's side of a connection that the switch answers: the part of a TCB that receives (RFC 9293, section 3.3.1).
//!
//! Data are acknowledged at once; what is out of order is kept as well, as far as there is room, and acknowledged selectively
//! if the client understands that. Nothing is ever acknowledged that is not kept.

use std::collections::VecDeque;

use etherparse::TcpOptionElement;

use super::reassembly::Reassembly;
use crate::flow::FlowKey;
use crate::frame::Segment;
use crate::seq::SeqNumber;
use crate::tcp::{Draft, Offer};

/// The largest segment that everybody takes (RFC 9293, section 3.7.1).
const DEFAULT_MSS_V4: u16 = 536;
const DEFAULT_MSS_V6: u16 = 1220;
/// The shift of our windows while nobody knows that of the guest.
const DEFAULT_SCALE: u8 = 7;

/// What client and switch have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The largest segment that the client takes.
    pub(crate) client_mss: u16,
    /// The largest one that we have said we take.
    pub(crate) our_mss: u16,
    /// The shifts of the client's windows and of ours, if windows are scaled at all (RFC 7323, section 2.2).
    pub(crate) scale: Option<(u8, u8)>,
    /// Whether selective acknowledgments may be sent; the guest is offered them only if the client may send them too.
    pub(crate) sack: bool,
}

impl Terms {
    /// What follows from the client's offer and what its guest is known to offer. `max_mss` fits the network.
    pub(crate) fn agree(client: &Offer, guest: Option<&Offer>, max_mss: u16, v6: bool) -> Self {
        let default = if v6 { DEFAULT_MSS_V6 } else { DEFAULT_MSS_V4 };
        let ours = guest.map_or(Some(DEFAULT_SCALE), |guest| guest.window_scale);
        Self {
            client_mss: client.mss.unwrap_or(default).clamp(64, max_mss),
            our_mss: guest.map_or(max_mss, |guest| guest.mss.unwrap_or(default).min(max_mss)),
            scale: client.window_scale.zip(ours),
            // Nearly every stack has them. A client that was promised them in the name of one without recovers from losses
            // slowly, until the guest's answer is learned; without them all clients would.
            sack: client.sack && guest.is_none_or(|guest| guest.sack),
        }
    }

    /// What the guest is offered in the client's name.
    pub(crate) const fn for_guest(&self) -> Offer {
        let window_scale = match self.scale {
            Some((client, _)) => Some(client),
            None => None,
        };
        let mss = Some(self.client_mss);
        Offer { mss, window_scale, sack: self.sack, signed: false, window: 0 }
    }

    fn for_client(&self) -> Offer {
        let window_scale = self.scale.map(|(_, ours)| ours);
        Offer { mss: Some(self.our_mss), window_scale, sack: self.sack, signed: false, window: 0 }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    key: FlowKey,
    terms: Terms,
    iss: SeqNumber,
    irs: SeqNumber,
    /// Whether our SYN is acknowledged.
    established: bool,
    rcv_nxt: SeqNumber,
    /// Where the window ends that the client was promised; never goes back.
    edge: SeqNumber,
    /// Where the window ended at the most that the client was told: less, because windows are told in rough steps.
    told: SeqNumber,
    /// Taken in order and not acknowledged by the guest, the FIN not included.
    data: VecDeque<u8>,
    /// Taken out of order.
    ahead: Reassembly,
    /// The number of the client's FIN, if it has come.
    fin_at: Option<SeqNumber>,
    /// Whether everything before the FIN was taken, and it with that.
    fin: bool,
    /// What the client has acknowledged, SND.UNA.
    una: SeqNumber,
    /// The client's window in octets, SND.WND.
    window: u32,
    /// The sequence number of the segment that it is from, SND.WL1.
    window_from: SeqNumber,
}

/// What follows from a segment of the client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) reply: Reply,
    /// The handshake is finished by it.
    pub(crate) opened: bool,
    /// Octets taken.
    pub(crate) taken: usize,
    /// Octets given up that were taken before.
    pub(crate) given_up: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Reply {
    #[default]
    None,
    /// Say what is expected next.
    Ack,
    /// Say the second part of the handshake again.
    SynAck,
    /// The segment acknowledges what was never sent: refuse it with this number (RFC 9293, section 3.10.7.4).
    Reset(SeqNumber),
    /// The client is gone.
    Gone,
}

impl Heard {
    fn reply(reply: Reply) -> Self {
        Self { reply, ..Self::default() }
    }
}

impl Client {
    /// A client whose SYN is `irs` and gets the answer `iss`; it may send `limit` octets before the guest is there.
    pub(crate) fn new(
        key: FlowKey,
        terms: Terms,
        (irs, iss): (SeqNumber, SeqNumber),
        window: u16,
        limit: u32,
    ) -> Self {
        let rcv_nxt = irs.after(1);
        // In a SYN-ACK a window cannot be scaled.
        let promised = if terms.scale.is_some() { limit } else { limit.min(u16::MAX.into()) };
        Self {
            key,
            terms,
            iss,
            irs,
            established: false,
            rcv_nxt,
            edge: rcv_nxt.after(promised),
            told: rcv_nxt.after(promised.min(u16::MAX.into())),
            data: VecDeque::new(),
            ahead: Reassembly::default(),
            fin_at: None,
            fin: false,
            una: iss,
            window: window.into(),
            window_from: irs,
        }
    }

    /// The client has shown by a cookie that it got our answer.
    pub(crate) const fn prove(mut self) -> Self {
        self.established = true;
        self.una = self.iss.after(1);
        self
    }

    pub(crate) const fn key(&self) -> &FlowKey {
        &self.key
    }

    pub(crate) const fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) const fn is_established(&self) -> bool {
        self.established
    }

    /// The client's initial sequence number.
    pub(crate) const fn irs(&self) -> SeqNumber {
        self.irs
    }

    /// Ours.
    pub(crate) const fn iss(&self) -> SeqNumber {
        self.iss
    }

    pub(crate) const fn rcv_nxt(&self) -> SeqNumber {
        self.rcv_nxt
    }

    /// Where the window ended at the most that the client was told.
    pub(crate) const fn told(&self) -> SeqNumber {
        self.told
    }

    /// How many octets are kept, in order and out of it.
    pub(crate) fn kept(&self) -> usize {
        self.data.len() + self.ahead.octets()
    }

    pub(crate) const fn una(&self) -> SeqNumber {
        self.una
    }

    pub(crate) const fn window(&self) -> u32 {
        self.window
    }

    pub(crate) const fn fin(&self) -> bool {
        self.fin
    }

    pub(crate) const fn data(&self) -> &VecDeque<u8> {
        &self.data
    }

    /// The guest has acknowledged so many octets of data.
    pub(crate) fn forget_data(&mut self, octets: usize) {
        self.data.drain(..octets.min(self.data.len()));
    }

    /// Promises the client a window up to `edge`, unless it has more already.
    pub(crate) fn promise(&mut self, edge: SeqNumber) {
        self.edge = self.edge.latest(edge);
    }

    /// What is left of the promised window, in octets.
    pub(crate) const fn room(&self) -> u32 {
        self.edge.distance_from(self.rcv_nxt)
    }

    /// The answer to the client's SYN.
    pub(crate) fn syn_ack(&self) -> Vec<u8> {
        let draft = Draft::to_remote(&self.key, self.iss, Some(self.irs.after(1)));
        let window = u16::try_from(self.room()).unwrap_or(u16::MAX);
        let options = self.terms.for_client().options();
        Draft { syn: true, window, options: &options, ..draft }.packet()
    }

    /// The SYN for the guest, in the client's name.
    pub(crate) fn syn_for_guest(&self) -> Vec<u8> {
        let draft = Draft::to_guest(&self.key, self.irs, None);
        let window = u16::try_from(self.window).unwrap_or(u16::MAX);
        let options = self.terms.for_guest().options();
        Draft { syn: true, window, options: &options, ..draft }.packet()
    }

    /// Says what is expected next and how much; `snd_nxt` is the number of the service's next octet.
    pub(crate) fn ack(&mut self, snd_nxt: SeqNumber) -> Vec<u8> {
        let draft = Draft::to_remote(&self.key, snd_nxt, Some(self.rcv_nxt));
        let window = self.window_field();
        match self.ahead.option().filter(|_| self.terms.sack) {
            None => Draft { window, ..draft }.packet(),
            Some(sack) => {
                let options = [TcpOptionElement::Noop, TcpOptionElement::Noop, sack];
                Draft { window, options: &options, ..draft }.packet()
            }
        }
    }

    /// Ends the connection.
    pub(crate) fn reset(&self, snd_nxt: SeqNumber) -> Vec<u8> {
        Draft { rst: true, ..Draft::to_remote(&self.key, snd_nxt, Some(self.rcv_nxt)) }.packet()
    }

    /// What is left of the promised window, as it is sent.
    pub(crate) fn window_field(&mut self) -> u16 {
        let shift = self.terms.scale.map_or(0, |(_, ours)| ours);
        let field = u16::try_from(self.room() >> shift).unwrap_or(u16::MAX);
        self.told = self.told.latest(self.rcv_nxt.after(u32::from(field) << shift));
        field
    }

    /// Takes a segment of the client (RFC 9293, section 3.10.7.4). `snd_nxt` is the number of the service's next octet; at
    /// most `space` octets may be kept.
    pub(crate) fn hear(
        &mut self,
        segment: &Segment,
        payload: &[u8],
        snd_nxt: SeqNumber,
        space: usize,
    ) -> Heard {
        if !self.established && segment.is_first_syn() && segment.seq == self.irs {
            return Heard::reply(Reply::SynAck);
        }
        if segment.rst {
            return self.hear_reset(segment);
        }
        if segment.syn {
            // Forged, or overtaken by a later one; a client that really begins anew answers this with a RST, and comes again
            // (RFC 5961, section 4.2).
            return Heard::reply(Reply::Ack);
        }
        let Some(ack) = segment.ack else { return Heard::default() };
        if !self.is_acceptable(segment) {
            return Heard::reply(if self.established { Reply::Ack } else { Reply::SynAck });
        }
        let opened = !self.established;
        if opened && ack != self.iss.after(1) {
            return Heard::reply(Reply::Reset(ack));
        }
        if snd_nxt.precedes(ack) {
            return Heard::reply(Reply::Ack);
        }
        self.hear_window(segment, ack);
        self.una = self.una.latest(ack);
        self.established = true;
        if payload.is_empty() && !segment.fin {
            return Heard { opened, ..Heard::default() };
        }
        let (taken, given_up) = self.take(segment, payload, space);
        Heard { reply: Reply::Ack, opened, taken, given_up }
    }

    /// A RST counts only with exactly the number that is expected; near it, it is questioned (RFC 5961, section 3.2).
    fn hear_reset(&self, segment: &Segment) -> Heard {
        let exact = segment.seq == self.rcv_nxt;
        let of_syn = !self.established && segment.seq == self.irs;
        let near = segment.seq.distance_from(self.rcv_nxt) < self.room();
        Heard::reply(match (exact || of_syn, near && self.established) {
            (true, _) => Reply::Gone,
            (false, true) => Reply::Ack,
            (false, false) => Reply::None,
        })
    }

    /// RFC 9293, section 3.4: some of the segment lies in the window; a bare one at its very end counts as well, since
    /// acknowledgments must get through while the window is closed.
    fn is_acceptable(&self, segment: &Segment) -> bool {
        let length = segment.len();
        let begins = segment.seq.distance_from(self.rcv_nxt) <= self.room();
        let last = segment.seq.after(length.wrapping_sub(1));
        let ends = length > 0 && last.distance_from(self.rcv_nxt) < self.room();
        match (length, self.room()) {
            (0, _) => begins,
            // What is sent into a closed window to probe it is refused, but answered.
            (_, 0) => false,
            _ => (begins && segment.seq.distance_from(self.rcv_nxt) < self.room()) || ends,
        }
    }

    /// Of segments that were overtaken only those count that acknowledge more or promise more: a retransmission
    /// has a lower number than what was sent before it and is news all the same. The acknowledgment is not taken yet.
    fn hear_window(&mut self, segment: &Segment, ack: SeqNumber) {
        let shift = self.terms.scale.map_or(0, |(client, _)| client);
        let window = u32::from(segment.window) << shift;
        let newer = self.window_from.precedes(segment.seq) || self.window_from == segment.seq;
        let is_news =
            self.una.precedes(ack) || (self.una == ack && (newer || self.window < window));
        if is_news {
            (self.window, self.window_from) = (window, segment.seq);
        }
    }

    /// Keeps what is new; returns how much, and how much was given up for it.
    fn take(&mut self, segment: &Segment, payload: &[u8], mut space: usize) -> (usize, usize) {
        if self.fin {
            return (0, 0);
        }
        let is_old = segment.seq.precedes(self.rcv_nxt);
        let known = if is_old { self.rcv_nxt.distance_from(segment.seq) } else { 0 };
        let new = payload.get(octets(known)..).unwrap_or_default();
        let start = segment.seq.after(known);
        let window = octets(self.edge.distance_from(start));
        let fits = &new[..new.len().min(window)];
        let mut given_up = 0;
        // What is missing comes first: without it, what lies ahead of it is no use.
        while start == self.rcv_nxt && space < fits.len() {
            let Some(octets) = self.ahead.renege() else { break };
            given_up += octets;
            space += octets;
        }
        let taken = self.ahead.insert(self.rcv_nxt, start, fits, space);
        while let Some(next) = self.ahead.take(self.rcv_nxt) {
            self.rcv_nxt = self.rcv_nxt.after(u32::try_from(next.len()).unwrap_or(0));
            self.data.extend(next);
        }
        if segment.fin && fits.len() == new.len() {
            self.fin_at = Some(segment.end().before(1));
        }
        if self.fin_at == Some(self.rcv_nxt) {
            // It takes no room in the buffer, but it has a number.
            self.fin = true;
            self.rcv_nxt = self.rcv_nxt.after(1);
            self.edge = self.edge.latest(self.rcv_nxt);
        }
        (taken, given_up)
    }
}

fn octets(distance: u32) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}
