//! The connections of one instance, watched and not touched.
//!
//! What is remembered is only what decides how many are open, when to forget one, and how to end one properly
//! when its guest goes away. A flow is entered when the guest takes part: with its SYN-ACK, or with its own
//! SYN; so nobody outside fills the table with SYNs.
//!
//! Numbers that matter are taken from the guest's own segments, because everything that comes from outside may
//! be forged by somebody who does not see the connection.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use policies::Instant;

use crate::frame::Segment;
use crate::seq::SeqNumber;

/// Established connections are kept at least this long (RFC 5382, REQ-5: 2 hours 4 minutes).
const ESTABLISHED: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
/// Connections that open or close are kept at least this long (RFC 5382, REQ-5: 4 minutes).
const TRANSITORY: Duration = Duration::from_secs(4 * 60);
/// Deadlines are rounded up to a multiple of this, so that most packets of a busy flow move no timer.
const GRANULARITY: Duration = Duration::from_secs(1);
/// A RST ends a connection if it is at most this far after what the guest expects next; no more than the
/// largest window without scaling, twice.
const RESET_WINDOW: u32 = 1 << 17;

/// Connections that are tracked per instance.
pub(crate) const MAX_FLOWS: usize = 16_384;

/// A TCP connection of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FlowKey {
    /// The service's address.
    pub(crate) local: IpAddr,
    pub(crate) local_port: u16,
    /// The other side's.
    pub(crate) remote: IpAddr,
    pub(crate) remote_port: u16,
}

/// What a tracked segment was for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracked {
    /// Of no connection in the table.
    Unknown,
    /// Of this connection; with its deadline before and after.
    Alive {
        /// When the connection would have been forgotten, if it was in the table before.
        before: Option<Instant>,
        /// When it is forgotten now, if nothing more comes.
        after: Instant,
    },
    /// The last one of its connection, which would have been forgotten at this point.
    Ended(Instant),
}

impl Tracked {
    /// Whether the segment belongs to no connection in the table.
    pub(crate) fn is_unknown(self) -> bool {
        self == Self::Unknown
    }
}

/// A connection that must be ended on behalf of its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenEnd {
    pub(crate) key: FlowKey,
    /// What the other side expects next of the guest.
    pub(crate) seq: SeqNumber,
    /// What the guest expects next of the other side, if it ever said so.
    pub(crate) ack: Option<SeqNumber>,
    pub(crate) deadline: Instant,
}

#[derive(Debug)]
struct Flow {
    /// The guest's initial sequence number.
    iss: SeqNumber,
    /// The guest's SND.NXT.
    snd_nxt: SeqNumber,
    /// The guest's RCV.NXT as last acknowledged.
    rcv_nxt: Option<SeqNumber>,
    stage: Stage,
    deadline: Instant,
    /// The place in the order of connections that may be given up for new ones.
    half_open: Option<u64>,
    /// The other side's initial sequence number, if the guest has accepted a connection from there.
    irs: Option<SeqNumber>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The guest's SYN went out.
    Asked,
    /// The guest's SYN-ACK went out.
    Answered,
    /// Both sides have spoken since.
    Established,
    /// At least one side sent its FIN.
    Closing { guest: Fin, remote: Fin },
}

/// One side's FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fin {
    None,
    /// Sent; this acknowledgment number answers it.
    Sent(SeqNumber),
    Acknowledged,
}

impl Fin {
    fn acknowledged_by(self, ack: Option<SeqNumber>) -> Self {
        match self {
            Self::Sent(end) if ack == Some(end) => Self::Acknowledged,
            Self::None | Self::Sent(_) | Self::Acknowledged => self,
        }
    }

    fn or_sent(self, segment: &Segment) -> Self {
        match self {
            Self::None if segment.fin => Self::Sent(segment.end()),
            Self::None | Self::Sent(_) | Self::Acknowledged => self,
        }
    }
}

impl Flow {
    fn refresh(&mut self, now: Instant) -> Instant {
        let timeout = match self.stage {
            Stage::Established => ESTABLISHED,
            Stage::Asked | Stage::Answered | Stage::Closing { .. } => TRANSITORY,
        };
        let before = self.deadline;
        self.deadline = round_up(now + timeout);
        before
    }

    /// Moves the deadline; `None` if both FINs are acknowledged.
    fn touch(&mut self, now: Instant, half_open: &mut BTreeMap<u64, FlowKey>) -> Option<Tracked> {
        if self.is_over() {
            return None;
        }
        let before = self.refresh(now);
        if !matches!(self.stage, Stage::Asked | Stage::Answered)
            && let Some(place) = self.half_open.take()
        {
            half_open.remove(&place);
        }
        Some(Tracked::Alive { before: Some(before), after: self.deadline })
    }

    fn is_over(&self) -> bool {
        self.stage == Stage::Closing { guest: Fin::Acknowledged, remote: Fin::Acknowledged }
    }

    fn fins(&self) -> (Fin, Fin) {
        match self.stage {
            Stage::Closing { guest, remote } => (guest, remote),
            Stage::Asked | Stage::Answered | Stage::Established => (Fin::None, Fin::None),
        }
    }

    fn set_fins(&mut self, guest: Fin, remote: Fin) {
        if (guest, remote) != (Fin::None, Fin::None) {
            self.stage = Stage::Closing { guest, remote };
        }
    }
}

fn round_up(at: Instant) -> Instant {
    let step = u64::try_from(GRANULARITY.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(at.as_nanos().checked_next_multiple_of(step).unwrap_or(u64::MAX))
}

/// The connections of one instance.
#[derive(Debug, Default)]
pub(crate) struct FlowTable {
    flows: HashMap<FlowKey, Flow>,
    /// Connections of which only one side has spoken, oldest first: given up first when the table is full.
    half_open: BTreeMap<u64, FlowKey>,
    next_half_open: u64,
    /// Connections in `Asked`, which are not open yet.
    asked: usize,
}

/// What happened to a connection by which the guest's segment asks for a place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It has one.
    Tracked(Tracked),
    /// It has one; another one lost its place, which would have been forgotten at the given point.
    InPlaceOf(Tracked, FlowKey, Instant),
    /// There is none.
    Full,
}

impl FlowTable {
    /// Connections from their SYN-ACK on.
    pub(crate) fn open_connections(&self) -> u32 {
        u32::try_from(self.flows.len() - self.asked).unwrap_or(u32::MAX)
    }

    /// Takes note of a segment of the guest that goes out.
    pub(crate) fn sent_by_guest(
        &mut self,
        now: Instant,
        key: FlowKey,
        segment: &Segment,
    ) -> Entered {
        let opens = segment.syn && !segment.rst;
        let Some(flow) = self.flows.get_mut(&key) else {
            return if opens {
                self.enter(now, key, segment)
            } else {
                Entered::Tracked(Tracked::Unknown)
            };
        };
        if opens && flow.iss != segment.seq {
            return self.enter(now, key, segment);
        }
        if segment.rst {
            return Entered::Tracked(self.remove(&key));
        }
        flow.snd_nxt = flow.snd_nxt.latest(segment.end());
        flow.rcv_nxt = segment.ack.or(flow.rcv_nxt);
        let (guest, remote) = flow.fins();
        flow.set_fins(guest.or_sent(segment), remote.acknowledged_by(segment.ack));
        let touched = flow.touch(now, &mut self.half_open);
        Entered::Tracked(touched.unwrap_or_else(|| self.remove(&key)))
    }

    /// Takes note of a segment that goes to the guest.
    pub(crate) fn sent_to_guest(
        &mut self,
        now: Instant,
        key: FlowKey,
        segment: &Segment,
    ) -> Tracked {
        let Some(flow) = self.flows.get_mut(&key) else { return Tracked::Unknown };
        if segment.rst {
            let expected = flow.rcv_nxt;
            let answers_syn = flow.stage == Stage::Asked && segment.ack == Some(flow.snd_nxt);
            let in_window =
                expected.is_some_and(|next| segment.seq.distance_from(next) < RESET_WINDOW);
            let touched = match answers_syn || in_window {
                true => None,
                false => flow.touch(now, &mut self.half_open),
            };
            return touched.unwrap_or_else(|| self.remove(&key));
        }
        match flow.stage {
            Stage::Asked if segment.syn && segment.ack == Some(flow.snd_nxt) => {
                flow.stage = Stage::Established;
                flow.rcv_nxt = Some(segment.end());
                self.asked -= 1;
            }
            Stage::Answered if !segment.syn && segment.ack == Some(flow.iss.after(1)) => {
                flow.stage = Stage::Established;
            }
            Stage::Asked | Stage::Answered | Stage::Established | Stage::Closing { .. } => {}
        }
        if flow.stage != Stage::Asked {
            let (guest, remote) = flow.fins();
            flow.set_fins(guest.acknowledged_by(segment.ack), remote.or_sent(segment));
        }
        let touched = flow.touch(now, &mut self.half_open);
        touched.unwrap_or_else(|| self.remove(&key))
    }

    /// Connections of which the guest has answered the SYN and heard nothing since.
    pub(crate) fn half_open(&self) -> usize {
        self.half_open.len() - self.asked
    }

    /// Whether every connection of the guest is in the table.
    pub(crate) fn has_room(&self) -> bool {
        self.flows.len() < MAX_FLOWS
    }

    /// Whether a connection is in the table.
    pub(crate) fn knows(&self, key: &FlowKey) -> bool {
        self.flows.contains_key(key)
    }

    /// Takes out the oldest connection that is half open, if nothing was heard of it for so long.
    pub(crate) fn give_up_half_open(
        &mut self,
        now: Instant,
        patience: Duration,
    ) -> Option<OpenEnd> {
        let answered =
            |key: &&FlowKey| self.flows.get(key).is_some_and(|flow| flow.stage == Stage::Answered);
        let key = *self.half_open.values().find(answered)?;
        let flow = self.flows.get(&key)?;
        // Its deadline was last moved by the guest's answer.
        if flow.deadline + patience > now + TRANSITORY + GRANULARITY {
            return None;
        }
        let (seq, ack, deadline) = (flow.snd_nxt, flow.rcv_nxt, flow.deadline);
        self.remove(&key);
        Some(OpenEnd { key, seq, ack, deadline })
    }

    /// Whether the guest has accepted the connection that a SYN from the other side asks for.
    pub(crate) fn has_accepted(&self, key: &FlowKey, syn: &Segment) -> bool {
        self.flows.get(key).is_some_and(|flow| flow.irs == Some(syn.seq))
    }

    /// Forgets a connection; the caller knows that its deadline is reached.
    pub(crate) fn forget(&mut self, key: &FlowKey) {
        self.remove(key);
    }

    /// Takes out all connections for which `choose` says so, in a fixed order.
    pub(crate) fn drain(&mut self, choose: impl Fn(&FlowKey) -> bool) -> Vec<OpenEnd> {
        let mut ends: Vec<OpenEnd> = self
            .flows
            .iter()
            .filter(|(key, _)| choose(key))
            .map(|(key, flow)| OpenEnd {
                key: *key,
                seq: flow.snd_nxt,
                ack: flow.rcv_nxt,
                deadline: flow.deadline,
            })
            .collect();
        ends.sort_unstable_by_key(|end| end.key);
        for end in &ends {
            self.remove(&end.key);
        }
        ends
    }

    /// A new connection, or a new one between the same ports.
    fn enter(&mut self, now: Instant, key: FlowKey, segment: &Segment) -> Entered {
        let before = match self.remove(&key) {
            Tracked::Ended(deadline) => Some(deadline),
            Tracked::Unknown | Tracked::Alive { .. } => None,
        };
        let mut given_up = None;
        if self.flows.len() >= MAX_FLOWS {
            let Some((_, oldest)) = self.half_open.first_key_value() else { return Entered::Full };
            let oldest = *oldest;
            if let Tracked::Ended(deadline) = self.remove(&oldest) {
                given_up = Some((oldest, deadline));
            }
        }
        let stage = if segment.ack.is_some() { Stage::Answered } else { Stage::Asked };
        self.asked += usize::from(stage == Stage::Asked);
        let mut flow = Flow {
            iss: segment.seq,
            snd_nxt: segment.end(),
            rcv_nxt: segment.ack,
            stage,
            deadline: now,
            half_open: Some(self.next_half_open),
            // A guest that takes octets in the SYN acknowledges these too: a repetition of that SYN looks like a
            // new one then, and is kept for nothing.
            irs: segment.ack.map(|ack| ack.after(u32::MAX)),
        };
        flow.refresh(now);
        self.half_open.insert(self.next_half_open, key);
        self.next_half_open += 1;
        let tracked = Tracked::Alive { before, after: flow.deadline };
        self.flows.insert(key, flow);
        match given_up {
            Some((oldest, deadline)) => Entered::InPlaceOf(tracked, oldest, deadline),
            None => Entered::Tracked(tracked),
        }
    }

    fn remove(&mut self, key: &FlowKey) -> Tracked {
        let Some(flow) = self.flows.remove(key) else { return Tracked::Unknown };
        self.asked -= usize::from(flow.stage == Stage::Asked);
        if let Some(place) = flow.half_open {
            self.half_open.remove(&place);
        }
        Tracked::Ended(flow.deadline)
    }
}

#[cfg(test)]
mod tests;
