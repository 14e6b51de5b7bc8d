//! Source prefixes, and a bucket for each that has used something.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::bucket::{Bucket, Limit};
use crate::Instant;

/// The most prefixes that are remembered, for forgeable and for proven wakes each: about a mebibyte.
///
/// The limits rarely allow as many. A prefix is remembered from a wake that was let through until its bucket is full, so
/// there are no more than wakes that were let through *in total* during the refill of one prefix; whoever sends from millions
/// of prefixes is stopped by the total, and what is refused leaves no trace. If the limits do allow more, the prefix
/// that lacks least is forgotten, and may use its burst anew: whoever wants a heavy user's bucket forgotten has to make
/// all the others heavier first, out of the same total.
pub const TRACKED_PREFIXES: usize = 16_384;

/// A network that counts as one source: what a site or a household is usually given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourcePrefix {
    /// The first 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// The first 56 bits of an IPv6 address.
    V6([u8; 7]),
}

impl SourcePrefix {
    /// The prefix of an address. One that is an IPv4 address in IPv6's clothes (`::ffff:192.0.2.1`), as a socket for both
    /// families gives it, belongs to its IPv4 prefix: all of IPv4 would be one network otherwise.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

/// The buckets that are not full, by prefix. Trees and no hash table: their worst case cannot be provoked.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    buckets: BTreeMap<SourcePrefix, Bucket>,
    /// The same in the order in which they will be full.
    order: BTreeSet<(Instant, SourcePrefix)>,
}

impl Prefixes {
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Forgets the buckets that are full. Each was put in once, so this costs no more than that did.
    pub(super) fn forget_full(&mut self, now: Instant) {
        while self.order.first().is_some_and(|(full_at, _)| *full_at <= now) {
            self.forget_first();
        }
    }

    /// A prefix's bucket.
    pub(super) fn get(&self, prefix: &SourcePrefix) -> Bucket {
        self.buckets.get(prefix).copied().unwrap_or_default()
    }

    /// Remembers a prefix's bucket.
    pub(super) fn put(&mut self, prefix: SourcePrefix, bucket: Bucket) {
        if let Some(before) = self.buckets.insert(prefix, bucket) {
            self.order.remove(&(before.full_at(), prefix));
        }
        self.order.insert((bucket.full_at(), prefix));
        if self.buckets.len() > TRACKED_PREFIXES {
            self.forget_first();
        }
    }

    pub(super) fn rescale(&mut self, now: Instant, from: &Limit, to: &Limit) {
        self.order.clear();
        for (prefix, bucket) in &mut self.buckets {
            bucket.rescale(now, from, to);
            self.order.insert((bucket.full_at(), *prefix));
        }
        self.forget_full(now);
    }

    /// When the last of them will be full.
    pub(super) fn last_full_at(&self) -> Option<Instant> {
        self.order.last().map(|(full_at, _)| *full_at)
    }

    fn forget_first(&mut self) {
        if let Some((_, prefix)) = self.order.pop_first() {
            self.buckets.remove(&prefix);
        }
    }
}
