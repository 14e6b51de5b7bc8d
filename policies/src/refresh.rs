//! Telling a cache that stays fresh from somebody who wants to connect.
//!
//! A resolver that keeps a name fresh asks for it again when its TTL has passed, or a little before that (prefetching),
//! whether anybody wants to connect or not. A first use comes at any time after that. So a question is a *refresh* if the
//! same network asked the same, and that is about one TTL ago: between half of it and one and a half.
//!
//! ```text
//!   last question                                 TTL
//!        |-------------------|---------------------|---------------------|---------------->
//!              not from a               a refresh                         a new visit
//!              cache at all
//! ```
//!
//! It is a guess, and it errs on both sides. A visitor who comes just when the answer has expired looks like a refresh:
//! nobody can tell the two apart, and his packet still wakes the service. Two caches in one network look like none, and
//! keep the service awake, as if nobody had guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::budget::SourcePrefix;
use crate::{Instant, ServiceId};

/// The most questions that are remembered: about two mebibytes.
///
/// Beyond, the oldest is forgotten, and its cache's next question counts as a first use. So whoever fills the table, from
/// forged sources for example, makes services wake for refreshes, within the wakes' budget, as if nobody had guessed.
pub const REMEMBERED: usize = 16_384;

/// The earliest refresh, in halves of a TTL.
const EARLIEST: u32 = 1;
/// The latest.
const LATEST: u32 = 3;

/// What is asked for, by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    source: SourcePrefix,
    service: ServiceId,
    /// QTYPE: each RRset is in a cache for itself, and those of one visitor's questions must not look like one another's.
    qtype: u16,
}

/// The questions of late, as far as they matter for what is a refresh.
///
/// ```
/// use std::time::Duration;
/// use policies::refresh::Refreshes;
/// use policies::{Instant, ServiceId};
///
/// let ttl = Duration::from_secs(60);
/// let mut refreshes = Refreshes::default();
/// let mut ask = |seconds: u64| {
///     let now = Instant::from_nanos(seconds * 1_000_000_000);
///     refreshes.is_refresh(now, [192, 0, 2, 1].into(), ServiceId(0), 1, ttl)
/// };
/// assert!(!ask(1000), "the first one");
/// assert!(ask(1060) && ask(1114), "when it has expired, and when it nearly has");
/// assert!(!ask(1300), "after a pause");
/// ```
#[derive(Debug, Default)]
pub struct Refreshes {
    last: BTreeMap<Asked, (Instant, Instant)>,
    /// The same in the order in which they are of no use any more.
    order: BTreeSet<(Instant, Asked)>,
}

impl Refreshes {
    /// Whether a question at `now` for a service, of type `qtype`, whose answer may be cached for `ttl`, only keeps a cache
    /// fresh. It is remembered in any case. Nothing that must not be cached is ever refreshed.
    pub fn is_refresh(
        &mut self,
        now: Instant,
        source: IpAddr,
        service: ServiceId,
        qtype: u16,
        ttl: Duration,
    ) -> bool {
        self.forget(now);
        let asked = Asked { source: SourcePrefix::of(source), service, qtype };
        let (earliest, latest) = (ttl.saturating_mul(EARLIEST) / 2, ttl.saturating_mul(LATEST) / 2);
        let useless_at = now + latest;
        let before = self.last.insert(asked, (now, useless_at));
        if let Some((_, useless_at)) = before {
            self.order.remove(&(useless_at, asked));
        }
        self.order.insert((useless_at, asked));
        if self.last.len() > REMEMBERED {
            self.forget_first();
        }
        before.is_some_and(|(last, _)| {
            let since = now.saturating_since(last);
            !ttl.is_zero() && (earliest..=latest).contains(&since)
        })
    }

    /// How many questions are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Forgets what is of no use any more. Each was put in once, so this costs no more than that did.
    fn forget(&mut self, now: Instant) {
        while self.order.first().is_some_and(|(useless_at, _)| *useless_at < now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, asked)) = self.order.pop_first() {
            self.last.remove(&asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(60);
    const A: u16 = 1;
    const AAAA: u16 = 28;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn ask(refreshes: &mut Refreshes, seconds: u64, source: [u8; 4], qtype: u16) -> bool {
        refreshes.is_refresh(at(seconds), source.into(), ServiceId(0), qtype, TTL)
    }

    #[test]
    fn a_refresh_comes_after_about_a_ttl() {
        for (after, expected) in
            [(0, false), (29, false), (30, true), (60, true), (90, true), (91, false)]
        {
            let mut refreshes = Refreshes::default();
            assert!(!ask(&mut refreshes, 1000, [192, 0, 2, 1], A));
            assert_eq!(ask(&mut refreshes, 1000 + after, [192, 0, 2, 9], A), expected, "{after} s");
        }
    }

    #[test]
    fn types_networks_and_services_are_apart() {
        let mut refreshes = Refreshes::default();
        // A visitor asks for both families at once; then both are kept fresh.
        for (seconds, expected) in [(1000, false), (1060, true), (1120, true)] {
            for qtype in [A, AAAA] {
                assert_eq!(ask(&mut refreshes, seconds, [192, 0, 2, 1], qtype), expected);
            }
        }
        assert!(!ask(&mut refreshes, 1120, [198, 51, 100, 1], A), "another network");
        let other = refreshes.is_refresh(at(1120), [192, 0, 2, 1].into(), ServiceId(1), A, TTL);
        assert!(!other, "another service");
    }

    #[test]
    fn what_may_not_be_cached_is_not_refreshed() {
        let mut refreshes = Refreshes::default();
        for _ in 0..3 {
            let source = [192, 0, 2, 1].into();
            assert!(!refreshes.is_refresh(at(5), source, ServiceId(0), A, Duration::ZERO));
        }
    }

    #[test]
    fn the_table_is_bounded_and_empties_itself() {
        let mut refreshes = Refreshes::default();
        for number in 0_u32..20_000 {
            let [_, a, b, c] = number.to_be_bytes();
            assert!(!ask(&mut refreshes, 1000, [a, b, c, 1], A));
        }
        assert_eq!((refreshes.len(), refreshes.order.len()), (REMEMBERED, REMEMBERED));
        ask(&mut refreshes, 1091, [192, 0, 2, 1], A);
        assert_eq!((refreshes.len(), refreshes.order.len()), (1, 1));
    }

    proptest! {
        /// Whatever is asked when: the two tables say the same, and a refresh has a question before it.
        #[test]
        fn the_tables_agree(questions in prop::collection::vec((0_u64..200, 0_u8..3, 0_u64..90), 0..60)) {
            let mut refreshes = Refreshes::default();
            let mut now = 1000;
            let mut seen: Vec<(u8, u64)> = Vec::new();
            for (later, source, ttl) in questions {
                now += later;
                let ttl = Duration::from_secs(ttl);
                let refresh =
                    refreshes.is_refresh(at(now), [192, 0, source, 1].into(), ServiceId(0), A, ttl);
                let last = seen.iter().rev().find(|(of, _)| *of == source).map(|(_, at)| *at);
                if refresh {
                    let since = Duration::from_secs(now - last.expect("somebody asked before"));
                    prop_assert!(ttl / 2 <= since && since <= ttl * 3 / 2);
                }
                seen.push((source, now));
                prop_assert_eq!(refreshes.last.len(), refreshes.order.len());
            }
        }
    }
}
