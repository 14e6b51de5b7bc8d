//! What happened when, from the wake to the first byte: the record of one summon.

use std::time::Duration;

use policies::Instant;
use serde::{Deserialize, Serialize};

use crate::engine::ShellSource;

/// Why a service was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A DNS query for one of its names.
    Query,
    /// A TCP SYN to one of its addresses.
    TcpSyn,
    /// A client finished its TCP handshake with the switch.
    TcpHandshake,
    /// A UDP datagram to one of its addresses.
    Udp,
    /// An ICMP echo request to one of its addresses.
    IcmpEcho,
    /// An administrator.
    Admin,
}

impl Cause {
    /// The closed set of words for metrics, logs and people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::TcpSyn => "tcp_syn",
            Self::TcpHandshake => "tcp_handshake",
            Self::Udp => "udp",
            Self::IcmpEcho => "icmp_echo",
            Self::Admin => "admin",
        }
    }
}

/// The stamps of one summon; what did not happen, or not yet, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeline {
    /// The generation that was summoned.
    pub generation: Option<u64>,
    /// Who asked first.
    pub cause: Option<Cause>,
    /// The query that woke the service was received.
    pub query_received: Option<Instant>,
    /// Its answer was handed to the socket.
    pub answer_sent: Option<Instant>,
    /// The orchestrator learnt of the wake.
    pub woken: Option<Instant>,
    /// The first client packet was held.
    pub held: Option<Instant>,
    /// Admission let the service boot.
    pub admitted: Option<Instant>,
    /// A shell had the instance's request.
    pub shell_taken: Option<Instant>,
    /// Where that shell came from.
    pub shell: Option<ShellSource>,
    /// It goes on from a snapshot: from then on packets could be sent to the guest.
    pub restored: Option<Instant>,
    /// The instance's memory was complete.
    pub loaded: Option<Instant>,
    /// The guest's first instruction.
    pub entered: Option<Instant>,
    /// The guest waited for input for the first time.
    pub ready: Option<Instant>,
    /// The first held packet was given to the guest.
    pub replayed: Option<Instant>,
    /// The guest's SYN-ACK went to the client: the hand-over.
    pub handed_over: Option<Instant>,
    /// The guest's first payload went to the client.
    pub first_byte: Option<Instant>,
}

/// The phases that a summon is split into, in order.
pub const PHASES: [&str; 6] = ["queue", "create", "load", "boot", "release", "respond"];

impl Timeline {
    /// The start of everything: the query if there was one, else the held packet, else the wake.
    #[must_use]
    pub fn start(&self) -> Option<Instant> {
        [self.query_received, self.held, self.woken].into_iter().flatten().min()
    }

    /// Each phase's name and length, as far as the summon came.
    ///
    /// queue: start to admission; create: to the shell; load: to the guest's first instruction; boot: to
    /// ready; release: to the hand-over; respond: to the first byte.
    ///
    /// They add up: a step that was stamped after a later one (a clone may answer a SYN before it waits for input for the
    /// first time) ends with that, and one without a stamp (a SYN that needed no holding is not handed over) is part of
    /// the next.
    pub fn phases(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let mut marks = [
            self.start(),
            self.admitted,
            self.shell_taken,
            self.entered,
            self.ready,
            self.handed_over,
            self.first_byte,
        ];
        let mut next = Instant::FAR_FUTURE;
        for mark in marks.iter_mut().rev().flatten() {
            next = next.min(*mark);
            *mark = next;
        }
        let [start, ends @ ..] = marks;
        let mut before = start;
        PHASES.into_iter().zip(ends).filter_map(move |(phase, end)| {
            let from = before?;
            before = end.or(before);
            Some((phase, end?.saturating_since(from)))
        })
    }

    /// From the start until the guest was ready.
    #[must_use]
    pub fn until_ready(&self) -> Option<Duration> {
        Some(self.ready?.saturating_since(self.start()?))
    }

    /// From the start until the first byte left for the client.
    #[must_use]
    pub fn until_first_byte(&self) -> Option<Duration> {
        Some(self.first_byte?.saturating_since(self.start()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Option<Instant> {
        Some(Instant::from_nanos(micros * 1000))
    }

    #[test]
    fn phases_add_up_to_the_whole() {
        let timeline = Timeline {
            query_received: at(100),
            woken: at(110),
            held: at(150),
            admitted: at(120),
            shell_taken: at(200),
            loaded: at(250),
            entered: at(300),
            ready: at(700),
            replayed: at(710),
            handed_over: at(800),
            first_byte: at(1000),
            ..Timeline::default()
        };
        let sum: Duration = timeline.phases().map(|(_, length)| length).sum();
        assert_eq!(timeline.phases().count(), PHASES.len());
        assert_eq!(Some(sum), timeline.until_first_byte());
        assert_eq!(timeline.until_ready(), Some(Duration::from_micros(600)));
    }

    #[test]
    fn phases_out_of_order_add_up_too() {
        let timeline = Timeline {
            query_received: at(100),
            admitted: at(120),
            shell_taken: at(200),
            entered: at(300),
            ready: at(9000),
            handed_over: at(800),
            first_byte: at(1000),
            ..Timeline::default()
        };
        let phases: Vec<u128> = timeline.phases().map(|(_, length)| length.as_micros()).collect();
        assert_eq!(phases, [20, 80, 100, 500, 0, 200]);
        let timeline = Timeline { handed_over: None, ready: at(400), ..timeline };
        let phases: Vec<_> = timeline.phases().collect();
        assert_eq!(
            phases[3..],
            [("boot", Duration::from_micros(100)), ("respond", Duration::from_micros(600))]
        );
    }

    #[test]
    fn a_summon_that_nobody_connected_to_has_no_release() {
        let timeline =
            Timeline { woken: at(1), admitted: at(2), shell_taken: at(3), ..Timeline::default() };
        let phases: Vec<_> = timeline.phases().map(|(phase, _)| phase).collect();
        assert_eq!(phases, ["queue", "create"]);
        assert_eq!(timeline.until_first_byte(), None);
    }
}
