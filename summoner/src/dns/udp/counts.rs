//! What a worker has counted and not told yet: telling takes longer than a query.

use super::super::DnsMetrics;

/// Queries that are counted before they are told, at most, if they come faster than they are answered.
const MOST: u64 = 4096;

/// Counts of queries, by type and result code: closed sets, so there are few.
#[derive(Debug, Default)]
pub(super) struct Counts {
    queries: Vec<((&'static str, &'static str), u64)>,
    untold: u64,
}

impl Counts {
    /// Counts a query.
    pub(super) fn query(&mut self, labels: (&'static str, &'static str)) {
        self.untold += 1;
        match self.queries.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, count)) => *count += 1,
            None => self.queries.push((labels, 1)),
        }
    }

    /// Tells what was counted, unless there is more to do at once.
    pub(super) fn tell(&mut self, metrics: &dyn DnsMetrics, is_busy: bool) {
        if self.untold == 0 || (is_busy && self.untold < MOST) {
            return;
        }
        self.untold = 0;
        for ((qtype, rcode), count) in &mut self.queries {
            match std::mem::take(count) {
                0 => {}
                count => metrics.queries(qtype, rcode, count),
            }
        }
    }
}
