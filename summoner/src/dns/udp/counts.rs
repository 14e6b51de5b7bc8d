//! Queries counted by a worker: the counters are looked up once, and added to once a batch.

use prometheus::IntCounter;

use super::super::DnsMetrics;

/// A type and a result code, as metrics name them.
pub(super) type Labels = (&'static str, &'static str);

/// Counts of queries. The labels are of closed sets, so there are few.
#[derive(Debug, Default)]
pub(super) struct Counts(Vec<Count>);

#[derive(Debug)]
struct Count {
    labels: Labels,
    /// Where it is shown, shared with other workers.
    shown: IntCounter,
    /// What is not shown yet.
    new: u64,
}

impl Counts {
    /// Counts a query.
    pub(super) fn query(&mut self, labels: Labels, metrics: &dyn DnsMetrics) {
        match self.0.iter_mut().find(|count| count.labels == labels) {
            Some(count) => count.new += 1,
            None => {
                let shown = metrics.queries(labels.0, labels.1);
                self.0.push(Count { labels, shown, new: 1 });
            }
        }
    }

    /// Shows what was counted.
    pub(super) fn show(&mut self) {
        for count in self.0.iter_mut().filter(|count| count.new > 0) {
            count.shown.inc_by(std::mem::take(&mut count.new));
        }
    }
}
