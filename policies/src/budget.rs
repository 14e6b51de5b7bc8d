//! How many wakes may cost a boot: token buckets, in total and for each source prefix.
//!
//! A query and the first packet of a connection are forgeable and free for their sender; a boot is not. So a wake that
//! would boot something takes a token, twice: from a bucket for everybody, and from one for the network that it came from.
//! There are two such pairs, and they share nothing:
//!
//! ```text
//!                      total          of the source's prefix (/24 of IPv4, /56 of IPv6)
//!   Forgeable  ---->  [bucket]  and  [bucket] [bucket] ...    a query by UDP, a bare SYN, a datagram
//!   Proven     ---->  [bucket]  and  [bucket] [bucket] ...    who sent it has received what we sent there
//! ```
//!
//! Whoever forges sources can empty the first pair, and then queries and bare SYNs boot nothing for a while, from
//! wherever they come. The second pair he cannot touch: a client that answers is served in the meantime, and how
//! often is bounded by where it really is.
//!
//! A prefix is remembered only while its bucket is not full: forgetting a full one loses nothing, because a new one is
//! full. So what is remembered follows from the limits, [and has a bound of its own](TRACKED_PREFIXES).

mod bucket;
mod prefix;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub(crate) use bucket::Bucket;
pub use bucket::{Limit, Rate};
pub use prefix::{SourcePrefix, TRACKED_PREFIXES};

use crate::Instant;
use prefix::Prefixes;

/// Whether a wake's source may be somebody else's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Credibility {
    /// It may: anybody can send a packet under any address.
    Forgeable,
    /// It is not: who sent it has received what was sent there, such as the sequence number of a SYN-ACK.
    Proven,
}

impl Credibility {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Forgeable, Self::Proven];

    /// The word for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Forgeable => "forgeable",
            Self::Proven => "proven",
        }
    }
}

/// How many wakes may cost a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakeLimits {
    /// Forgeable ones together.
    pub forgeable: Limit,
    /// Proven ones together.
    pub proven: Limit,
    /// Those of one source prefix; forgeable and proven ones are counted apart.
    pub prefix: Limit,
}

impl WakeLimits {
    const fn total(&self, credibility: Credibility) -> &Limit {
        match credibility {
            Credibility::Forgeable => &self.forgeable,
            Credibility::Proven => &self.proven,
        }
    }
}

/// The bucket that had no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// That of the wake's source prefix.
    Prefix,
    /// The one for everybody.
    Total,
}

impl Exhausted {
    /// The word for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Total => "total",
        }
    }
}

/// One bucket for everybody and one for each prefix.
#[derive(Debug, Default)]
struct Pair {
    total: Bucket,
    prefixes: Prefixes,
}

impl Pair {
    fn try_take(
        &mut self,
        now: Instant,
        source: IpAddr,
        total: &Limit,
        prefix: &Limit,
    ) -> Result<(), Exhausted> {
        let source = SourcePrefix::of(source);
        self.prefixes.forget_full(now);
        // Both are asked before either pays: what one refuses must not cost the other.
        let mut own = self.prefixes.get(&source);
        if !own.has_token(now, prefix) {
            return Err(Exhausted::Prefix);
        }
        if !self.total.has_token(now, total) {
            return Err(Exhausted::Total);
        }
        self.total.take(now, total);
        own.take(now, prefix);
        self.prefixes.put(source, own);
        Ok(())
    }
}

/// Who has woken what lately, as far as it matters for who may wake now.
///
/// ```
/// use policies::Instant;
/// use policies::budget::{Credibility, Exhausted, Limit, Rate, WakeBudget, WakeLimits};
///
/// let limit = |burst| Limit { rate: Rate::per_second(1).unwrap(), burst };
/// let limits = WakeLimits { forgeable: limit(2), proven: limit(2), prefix: limit(1) };
/// let mut budget = WakeBudget::new(limits);
/// let now = Instant::from_nanos(1);
/// let mut wake = |source: [u8; 4], credibility| budget.try_take(now, source.into(), credibility);
/// assert_eq!(wake([192, 0, 2, 1], Credibility::Forgeable), Ok(()));
/// assert_eq!(wake([192, 0, 2, 9], Credibility::Forgeable), Err(Exhausted::Prefix));
/// assert_eq!(wake([198, 51, 100, 1], Credibility::Forgeable), Ok(()));
/// assert_eq!(wake([203, 0, 113, 1], Credibility::Forgeable), Err(Exhausted::Total));
/// assert_eq!(wake([192, 0, 2, 9], Credibility::Proven), Ok(()));
/// ```
#[derive(Debug)]
pub struct WakeBudget {
    limits: WakeLimits,
    forgeable: Pair,
    proven: Pair,
}

impl WakeBudget {
    /// A budget of which nothing was used yet.
    #[must_use]
    pub fn new(limits: WakeLimits) -> Self {
        Self { limits, forgeable: Pair::default(), proven: Pair::default() }
    }

    /// Takes a token for a wake that would boot something, if both buckets have one; else neither pays.
    ///
    /// # Errors
    /// With the bucket that is empty; the prefix's, if both are.
    pub fn try_take(
        &mut self,
        now: Instant,
        source: IpAddr,
        credibility: Credibility,
    ) -> Result<(), Exhausted> {
        let (total, prefix) = (*self.limits.total(credibility), self.limits.prefix);
        self.pair(credibility).try_take(now, source, &total, &prefix)
    }

    /// Goes by other limits from now on. What was used stays used: a bucket that lacks three tokens lacks three of the
    /// new ones, and at most all of them.
    pub fn set_limits(&mut self, now: Instant, limits: WakeLimits) {
        let before = std::mem::replace(&mut self.limits, limits);
        for credibility in Credibility::ALL {
            let (from, to) = (*before.total(credibility), *limits.total(credibility));
            let pair = self.pair(credibility);
            pair.total.rescale(now, &from, &to);
            pair.prefixes.rescale(now, &before.prefix, &limits.prefix);
        }
    }

    /// How many prefixes are remembered.
    pub fn tracked_prefixes(&mut self, now: Instant, credibility: Credibility) -> usize {
        let prefixes = &mut self.pair(credibility).prefixes;
        prefixes.forget_full(now);
        prefixes.len()
    }

    /// When the last of the prefixes that are remembered now is forgotten, if none wakes anything until then.
    #[must_use]
    pub fn forgotten_at(&self) -> Option<Instant> {
        self.forgeable.prefixes.last_full_at().max(self.proven.prefixes.last_full_at())
    }

    const fn pair(&mut self, credibility: Credibility) -> &mut Pair {
        match credibility {
            Credibility::Forgeable => &mut self.forgeable,
            Credibility::Proven => &mut self.proven,
        }
    }
}
