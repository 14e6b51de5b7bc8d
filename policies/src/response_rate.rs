//! How many responses one network gets: a server that answers datagrams must not answer those that somebody else sent.
//!
//! A query by UDP may come under anybody's address, and its response is larger: whoever forges the address of a victim
//! has it flooded with what he did not send himself. So the responses of one kind to one source prefix (/24 of IPv4, /56
//! of IPv6) have a rate, as in BIND, NSD and Knot ("DNS Response Rate Limiting", Vixie and Schryver, 2012). Of those beyond
//! it every n-th is sent with the TC bit and nothing else ([`Verdict::Slip`]): no longer than the query, so of no use to the
//! attacker, and a real client in that network comes again by TCP, which is not limited. The others are not sent.
//!
//! ```text
//!   (prefix, class) --SipHash with a secret--> set --> [bucket|bucket|bucket|bucket]
//! ```
//!
//! The table never grows. Each set keeps four buckets under their whole keys, so nobody is limited for somebody else. When
//! a fifth key comes, the bucket that lacks least is forgotten: one that is full loses nothing by that, and to have a bucket
//! that is used forgotten somebody has to use four others of its set more. Which those are, the secret hides.

#[cfg(test)]
mod tests;

use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::Instant;
use crate::budget::{Bucket, Limit, SourcePrefix};

/// Buckets that a key may be in.
const WAYS: usize = 4;

/// The kinds of response that are counted apart: a flood of one kind does not cost a network the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResponseClass {
    /// Records that were asked for.
    Answer,
    /// The name exists, but not the type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Another zone's name servers.
    Referral,
    /// Not our zone, or not for this client.
    Refused,
    /// A query that cannot be answered: FORMERR, NOTIMP, BADVERS, SERVFAIL.
    Error,
}

impl ResponseClass {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All, in the order of [`index`](Self::index).
    pub const ALL: [Self; Self::COUNT] =
        [Self::Answer, Self::NoData, Self::NxDomain, Self::Referral, Self::Refused, Self::Error];

    /// The word for metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::Referral => "referral",
            Self::Refused => "refused",
            Self::Error => "error",
        }
    }

    /// Its place among [all](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Answer => 0,
            Self::NoData => 1,
            Self::NxDomain => 2,
            Self::Referral => 3,
            Self::Refused => 4,
            Self::Error => 5,
        }
    }
}

/// What becomes of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is sent.
    Send,
    /// It is beyond the rate: only its header, with the TC bit, and its question are sent.
    Slip,
    /// It is beyond the rate and not sent.
    Drop,
}

/// What each source prefix gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseLimits {
    /// The limit of each class, by its [index](ResponseClass::index); `None`: not limited.
    pub classes: [Option<Limit>; ResponseClass::COUNT],
    /// Every so-manieth response beyond its limit is truncated instead of dropped: 1 for all of them, 0 for none.
    pub slip: u32,
}

/// One source prefix and class.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// 0: free.
    key: u64,
    bucket: Bucket,
    /// Responses that were beyond the limit.
    limited: u32,
}

/// Who has been answered how often lately.
///
/// ```
/// use policies::Instant;
/// use policies::budget::{Limit, Rate};
/// use policies::response_rate::{ResponseClass, ResponseLimits, ResponseRate, Verdict};
///
/// let limit = Limit { rate: Rate::per_second(1).unwrap(), burst: 2 };
/// let mut rate = ResponseRate::new(ResponseLimits { classes: [Some(limit); 6], slip: 2 }, 64, [7; 16]);
/// let mut answer = |seconds: u64| {
///     let now = Instant::from_nanos(seconds * 1_000_000_000);
///     rate.verdict(now, [192, 0, 2, 1].into(), ResponseClass::Answer)
/// };
/// assert_eq!([answer(9), answer(9)], [Verdict::Send; 2]);
/// assert_eq!([answer(9), answer(9), answer(9)], [Verdict::Slip, Verdict::Drop, Verdict::Slip]);
/// assert_eq!([answer(10), answer(10)], [Verdict::Send, Verdict::Drop]);
/// ```
#[derive(Debug)]
pub struct ResponseRate {
    limits: ResponseLimits,
    secret: [u8; 16],
    sets: Vec<[Slot; WAYS]>,
}

impl ResponseRate {
    /// Nobody has been answered yet. At least `slots` prefixes and classes are remembered; the table has all its memory from
    /// now on, 24 octets for each. `secret` must be known to nobody.
    #[must_use]
    pub fn new(limits: ResponseLimits, slots: usize, secret: [u8; 16]) -> Self {
        let sets = slots.div_ceil(WAYS).max(1);
        Self { limits, secret, sets: vec![[Slot::default(); WAYS]; sets] }
    }

    /// What becomes of a response to `source`; it is counted.
    pub fn verdict(&mut self, now: Instant, source: IpAddr, class: ResponseClass) -> Verdict {
        let Some(limit) = self.limits.classes[class.index()] else { return Verdict::Send };
        let slip = self.limits.slip;
        let slot = self.slot(key(source, class));
        if slot.bucket.has_token(now, &limit) {
            slot.bucket.take(now, &limit);
            return Verdict::Send;
        }
        // The first one slips, so that a real client knows at once.
        let slips = slot.limited.checked_rem(slip) == Some(0);
        slot.limited = slot.limited.wrapping_add(1);
        if slips { Verdict::Slip } else { Verdict::Drop }
    }

    /// The slot of a key, which may be a new one.
    fn slot(&mut self, key: u64) -> &mut Slot {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write_u64(key);
        let sets = self.sets.len();
        // Less than the number of sets, which is a `usize`.
        let set = usize::try_from(hasher.finish() % sets as u64).unwrap_or_default();
        let set = &mut self.sets[set];
        let way = match set.iter().position(|slot| slot.key == key) {
            Some(way) => way,
            None => {
                let least = (0..WAYS).min_by_key(|way| set[*way].bucket.full_at());
                let way = least.expect("a set has ways");
                set[way] = Slot { key, ..Slot::default() };
                way
            }
        };
        &mut set[way]
    }
}

/// A source prefix and a class as one number that is never 0: the family, 24 or 56 bits, the class.
fn key(source: IpAddr, class: ResponseClass) -> u64 {
    let prefix = match SourcePrefix::of(source) {
        SourcePrefix::V4([a, b, c]) => u64::from_be_bytes([0x80, 0, 0, 0, 0, a, b, c]),
        SourcePrefix::V6([a, b, c, d, e, f, g]) => u64::from_be_bytes([0, a, b, c, d, e, f, g]),
    };
    // The family's bit stays the first; there are fewer than 15 classes.
    let family = prefix & 1 << 63;
    family | (prefix & !(1 << 63)) << 4 | (class.index() as u64 + 1)
}
