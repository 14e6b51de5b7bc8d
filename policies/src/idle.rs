//! Has nobody used this instance for long enough?
//!
//! Idle means: no packet and no query for the idle time and, unless they do not count, no open connection. The
//! last query counts because its client is about to come: its cache may hold the answer for the TTL.

use std::time::Duration;

use crate::Instant;

/// When an instance counts as idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdlePolicy {
    /// How long an instance is kept after its last packet or query.
    pub idle: Duration,
    /// Whether an open connection keeps an instance however silent it is.
    pub count_open_connections: bool,
    /// How long an instance is kept at the least once it is ready, against flapping.
    pub minimum_uptime: Duration,
}

/// What is known about a running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleFacts {
    /// When its guest was ready.
    pub ready_at: Instant,
    /// The last packet to it or from it, if there was one.
    pub last_packet: Option<Instant>,
    /// The last query for one of its names, possibly before it was ready.
    pub last_query: Option<Instant>,
    /// Its open connections.
    pub open_connections: u32,
}

/// The decision about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleVerdict {
    /// In use: ask again at `until`, which is later than now.
    Keep {
        /// The earliest moment at which the answer can be another.
        until: Instant,
    },
    /// Idle.
    Stop,
}

/// Decides whether an instance is idle.
#[must_use]
pub fn decide(policy: &IdlePolicy, facts: &IdleFacts, now: Instant) -> IdleVerdict {
    let last_use = [facts.last_packet, facts.last_query]
        .into_iter()
        .flatten()
        .fold(facts.ready_at, Instant::max);
    let until = (last_use + policy.idle).max(facts.ready_at + policy.minimum_uptime);
    if until > now {
        return IdleVerdict::Keep { until };
    }
    if policy.count_open_connections && facts.open_connections > 0 {
        // When a silent connection ends nobody tells; look again after another idle time, but do not spin.
        return IdleVerdict::Keep { until: now + policy.idle.max(SHORTEST_LOOK) };
    }
    IdleVerdict::Stop
}

/// How soon a silent connection is looked at again, at the earliest.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    const POLICY: IdlePolicy = IdlePolicy {
        idle: Duration::from_millis(100),
        count_open_connections: true,
        minimum_uptime: Duration::from_millis(30),
    };
    const FACTS: IdleFacts = IdleFacts {
        ready_at: Instant::ZERO,
        last_packet: None,
        last_query: None,
        open_connections: 0,
    };

    #[test]
    fn the_edge_is_the_idle_time_to_the_nanosecond() {
        let facts = IdleFacts { last_packet: Some(at(50)), ..FACTS };
        let edge = at(150);
        let before = Instant::from_nanos(edge.as_nanos() - 1);
        assert_eq!(decide(&POLICY, &facts, before), IdleVerdict::Keep { until: edge });
        assert_eq!(decide(&POLICY, &facts, edge), IdleVerdict::Stop);
    }

    #[test]
    fn a_query_counts_as_use() {
        let facts = IdleFacts { last_packet: Some(at(10)), last_query: Some(at(90)), ..FACTS };
        assert_eq!(decide(&POLICY, &facts, at(150)), IdleVerdict::Keep { until: at(190) });
    }

    #[test]
    fn a_silent_connection_keeps_it_unless_it_does_not_count() {
        let facts = IdleFacts { open_connections: 1, ..FACTS };
        assert_eq!(decide(&POLICY, &facts, at(500)), IdleVerdict::Keep { until: at(600) });
        let policy = IdlePolicy { count_open_connections: false, ..POLICY };
        assert_eq!(decide(&policy, &facts, at(500)), IdleVerdict::Stop);
    }

    #[test]
    fn a_short_idle_time_does_not_undercut_the_minimum_uptime() {
        let policy = IdlePolicy { idle: Duration::ZERO, ..POLICY };
        assert_eq!(decide(&policy, &FACTS, at(10)), IdleVerdict::Keep { until: at(30) });
        assert_eq!(decide(&policy, &FACTS, at(30)), IdleVerdict::Stop);
    }

    proptest! {
        /// Nothing in use is stopped, `until` lies ahead, and it is not later than it needs to be: asked again
        /// then with the same facts, an instance without connections is stopped.
        #[test]
        fn in_use_is_kept_and_unused_is_stopped(
            idle in 0..200_u64,
            minimum_uptime in 0..200_u64,
            count_open_connections: bool,
            ready_at in 0..300_u64,
            last_packet in proptest::option::of(0..400_u64),
            last_query in proptest::option::of(0..400_u64),
            open_connections in 0..2_u32,
            now in 0..800_u64,
        ) {
            let policy = IdlePolicy {
                idle: Duration::from_millis(idle),
                count_open_connections,
                minimum_uptime: Duration::from_millis(minimum_uptime),
            };
            let facts = IdleFacts {
                ready_at: at(ready_at),
                last_packet: last_packet.map(at),
                last_query: last_query.map(at),
                open_connections,
            };
            let used = |stamp: Option<u64>| stamp.is_some_and(|stamp| stamp + idle > now);
            let in_use = used(last_packet)
                || used(last_query)
                || used(Some(ready_at))
                || ready_at + minimum_uptime > now
                || (count_open_connections && open_connections > 0);
            match decide(&policy, &facts, at(now)) {
                IdleVerdict::Stop => prop_assert!(!in_use),
                IdleVerdict::Keep { until } => {
                    prop_assert!(in_use);
                    prop_assert!(until > at(now));
                    if open_connections == 0 {
                        prop_assert_eq!(decide(&policy, &facts, until), IdleVerdict::Stop);
                    }
                }
            }
        }
    }
}
