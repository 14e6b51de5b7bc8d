//! Which connections there are, and which one has to go for a new one. Pure.

use std::collections::BTreeMap;

use policies::Instant;
use policies::budget::SourcePrefix;

/// Names a connection; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(u64);

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// In total; at least 1.
    pub(super) total: usize,
    /// Of one source prefix; at least 1.
    pub(super) prefix: usize,
}

/// The connections.
#[derive(Debug)]
pub(super) struct Table {
    bounds: Bounds,
    next: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    /// How many each prefix has; there is no entry with 0. A tree: nobody can aim at its worst case.
    prefixes: BTreeMap<SourcePrefix, usize>,
}

#[derive(Debug)]
struct Connection {
    prefix: SourcePrefix,
    last_use: Instant,
}

impl Table {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, next: 0, connections: BTreeMap::new(), prefixes: BTreeMap::new() }
    }

    /// A new connection is always let in: whoever is turned away cannot ask at all, and a connection that is closed is
    /// opened anew when it is needed (RFC 7766, section 6.2.3). It takes the place of the one that was silent longest: of
    /// its own prefix if that has all it may, so that nobody can drive others out with one network; or of all. The second
    /// value is the one that must be closed.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        prefix: SourcePrefix,
    ) -> (ConnectionId, Option<ConnectionId>) {
        let victim = if self.prefixes.get(&prefix).copied().unwrap_or(0) >= self.bounds.prefix {
            self.silent_longest(Some(prefix))
        } else if self.connections.len() >= self.bounds.total {
            self.silent_longest(None)
        } else {
            None
        };
        if let Some(victim) = victim {
            self.leave(victim);
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        self.connections.insert(id, Connection { prefix, last_use: now });
        *self.prefixes.entry(prefix).or_insert(0) += 1;
        (id, victim)
    }

    /// Notes that a connection is used.
    pub(super) fn touch(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.last_use = connection.last_use.max(now);
        }
    }

    /// When a connection was used last, if it is still there.
    pub(super) fn last_use(&self, id: ConnectionId) -> Option<Instant> {
        self.connections.get(&id).map(|connection| connection.last_use)
    }

    /// Forgets a connection; one that has had to go is forgotten already.
    pub(super) fn leave(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(count) = self.prefixes.get_mut(&connection.prefix) {
            *count -= 1;
            if *count == 0 {
                self.prefixes.remove(&connection.prefix);
            }
        }
    }

    fn silent_longest(&self, prefix: Option<SourcePrefix>) -> Option<ConnectionId> {
        let candidates = self.connections.iter();
        candidates
            .filter(|(_, connection)| prefix.is_none_or(|prefix| connection.prefix == prefix))
            .min_by_key(|(_, connection)| connection.last_use)
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn prefix(number: u8) -> SourcePrefix {
        SourcePrefix::V4([192, 0, number])
    }

    const fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn the_silent_one_goes() {
        let mut table = Table::new(Bounds { total: 3, prefix: 2 });
        let (first, _) = table.admit(at(1), prefix(1));
        let (second, _) = table.admit(at(2), prefix(1));
        table.touch(first, at(3));
        assert_eq!(table.admit(at(4), prefix(1)).1, Some(second), "of its own prefix");
        let (other, none) = table.admit(at(5), prefix(2));
        assert_eq!(none, None);
        assert_eq!(table.admit(at(6), prefix(3)).1, Some(first), "of all");
        table.leave(other);
        assert_eq!(table.admit(at(7), prefix(4)).1, None);
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_a_prefix_drives_only_itself_out(
            steps in proptest::collection::vec((0..4u8, 0..4u8, any::<prop::sample::Index>()), 1..200)
        ) {
            let mut table = Table::new(Bounds { total: 6, prefix: 3 });
            let mut there: BTreeMap<ConnectionId, u8> = BTreeMap::new();
            for (now, (step, from, which)) in steps.into_iter().enumerate() {
                let now = at(now as u64);
                let any = (!there.is_empty()).then(|| *there.keys().nth(which.index(there.len())).unwrap());
                match (step, any) {
                    (0, Some(id)) => {
                        table.leave(id);
                        there.remove(&id);
                    }
                    (1, Some(id)) => table.touch(id, now),
                    _ => {
                        let own = there.values().filter(|&&prefix| prefix == from).count();
                        let (id, victim) = table.admit(now, prefix(from));
                        prop_assert_eq!(victim.is_some(), own == 3 || there.len() == 6);
                        if let Some(victim) = victim {
                            let whose = there.remove(&victim).unwrap();
                            prop_assert!(own < 3 || whose == from);
                        }
                        there.insert(id, from);
                    }
                }
                let known: BTreeSet<_> = table.connections.keys().copied().collect();
                prop_assert_eq!(known, there.keys().copied().collect());
                prop_assert_eq!(table.prefixes.values().sum::<usize>(), there.len());
            }
        }
    }
}
