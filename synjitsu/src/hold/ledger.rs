//! How much is held, of whom, and how much may be.

use std::collections::HashMap;
use std::net::IpAddr;

use policies::budget::SourcePrefix;

use crate::HoldLimits;

/// How much is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) flows: u32,
    pub(crate) bytes: u64,
}

impl Usage {
    pub(super) const fn with(self, more: Self) -> Self {
        let flows = self.flows.saturating_add(more.flows);
        Self { flows, bytes: self.bytes.saturating_add(more.bytes) }
    }

    /// Without what was counted before.
    pub(super) const fn without(self, less: Self) -> Self {
        Self { flows: self.flows - less.flows, bytes: self.bytes - less.bytes }
    }

    pub(super) const fn fits(self, limits: HoldLimits) -> bool {
        self.flows <= limits.flows && self.bytes <= limits.bytes
    }
}

/// What is held for all services together, in total and by source.
///
/// A prefix has an entry only while something of it is held, so there are never more entries than held packets and
/// connections.
#[derive(Debug)]
pub(crate) struct Ledger {
    total: Usage,
    by_prefix: HashMap<SourcePrefix, Usage>,
    limits: HoldLimits,
    prefix_limits: HoldLimits,
}

impl Ledger {
    pub(crate) fn new(limits: HoldLimits, prefix_limits: HoldLimits) -> Self {
        Self { total: Usage::default(), by_prefix: HashMap::new(), limits, prefix_limits }
    }

    /// What is held of everybody.
    pub(crate) const fn total(&self) -> HoldLimits {
        HoldLimits { flows: self.total.flows, bytes: self.total.bytes }
    }

    fn of(&self, source: IpAddr) -> Usage {
        self.by_prefix.get(&SourcePrefix::of(source)).copied().unwrap_or_default()
    }

    pub(super) fn has_room(&self, source: IpAddr, more: Usage) -> bool {
        self.total.with(more).fits(self.limits)
            && self.of(source).with(more).fits(self.prefix_limits)
    }

    /// Whether half of what may be held is.
    pub(crate) fn is_half_full(&self, source: IpAddr) -> bool {
        self.total.flows >= self.limits.flows.div_ceil(2)
            || self.of(source).flows >= self.prefix_limits.flows.div_ceil(2)
    }

    /// How many octets more may be kept of a source.
    pub(super) fn space(&self, source: IpAddr) -> u64 {
        let total = self.limits.bytes.saturating_sub(self.total.bytes);
        total.min(self.prefix_limits.bytes.saturating_sub(self.of(source).bytes))
    }

    pub(super) fn add(&mut self, source: IpAddr, more: Usage) {
        self.total = self.total.with(more);
        if more != Usage::default() {
            let usage = self.by_prefix.entry(SourcePrefix::of(source)).or_default();
            *usage = usage.with(more);
        }
    }

    pub(super) fn remove(&mut self, source: IpAddr, less: Usage) {
        self.total = self.total.without(less);
        let prefix = SourcePrefix::of(source);
        let Some(usage) = self.by_prefix.get_mut(&prefix) else { return };
        *usage = usage.without(less);
        if *usage == Usage::default() {
            self.by_prefix.remove(&prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_bounded_alone_and_forgotten_when_nothing_of_it_is_held() {
        let limits = |flows| HoldLimits { flows, bytes: 1000 };
        let mut ledger = Ledger::new(limits(4), limits(2));
        let one = Usage { flows: 1, bytes: 10 };
        let [a, b, other]: [IpAddr; 3] =
            [[192, 0, 2, 1].into(), [192, 0, 2, 200].into(), [192, 0, 3, 1].into()];
        ledger.add(a, one);
        ledger.add(b, one);
        assert!(!ledger.has_room(a, one) && ledger.has_room(other, one));
        ledger.add(other, one);
        ledger.add(other, one);
        assert!(!ledger.has_room([198, 51, 100, 1].into(), one), "the total is reached");
        for source in [a, b, other, other] {
            ledger.remove(source, one);
        }
        assert_eq!((ledger.total, ledger.by_prefix.len()), (Usage::default(), 0));
    }
}
