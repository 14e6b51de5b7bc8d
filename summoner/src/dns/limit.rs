//! Response rate limiting in front of a UDP socket: who is exempt, what is counted, what a limited client gets instead.

use std::net::IpAddr;
use std::sync::Arc;

use policies::Instant;
use policies::access::Prefix;
use policies::response_rate::{ResponseClass, ResponseLimits, ResponseRate, Verdict};

use super::DnsMetrics;
use super::wire::{HEADER, QUESTION_FIXED, RECORD_FIXED, after_name, number};
use crate::entropy;

/// The type of an OPT record (RFC 6891, section 6.1.2).
const OPT: u16 = 41;
/// TC, in the third octet of the header.
const TRUNCATED: u8 = 0b10;

/// `[dns.rate_limit]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// How many responses each source prefix gets.
    pub limits: ResponseLimits,
    /// Networks without a limit.
    pub allow: Vec<Prefix>,
    /// Whether what is beyond the limits is only counted.
    pub dry_run: bool,
    /// How many prefixes and classes are remembered by each thread that answers.
    pub slots: usize,
}

/// What became of a response that was beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// It was truncated.
    Slipped,
    /// It was not sent.
    Dropped,
    /// It was sent all the same, in a dry run.
    DryRun,
}

impl Limited {
    const ALL: [Self; 3] = [Self::Slipped, Self::Dropped, Self::DryRun];

    /// The word for metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Slipped => "slipped",
            Self::Dropped => "dropped",
            Self::DryRun => "dry_run",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Slipped => 0,
            Self::Dropped => 1,
            Self::DryRun => 2,
        }
    }
}

/// Decides what becomes of the responses of one thread.
#[derive(Debug)]
pub(super) struct RateLimiter {
    settings: Arc<RateLimit>,
    rate: ResponseRate,
    counts: [[u64; Limited::ALL.len()]; ResponseClass::COUNT],
    counted: bool,
}

impl RateLimiter {
    /// A limiter that has seen nobody yet.
    pub(super) fn new(settings: Arc<RateLimit>) -> Self {
        let mut secret = [0; 16];
        entropy::fill(&mut secret);
        let rate = ResponseRate::new(settings.limits, settings.slots, secret);
        Self { settings, rate, counts: Default::default(), counted: false }
    }

    /// What becomes of a response to `source`. Who has proven to be there is not limited: nobody else gets what he is sent.
    pub(super) fn verdict(
        &mut self,
        now: Instant,
        source: IpAddr,
        class: ResponseClass,
        proven: bool,
    ) -> Verdict {
        if proven || self.is_allowed(source) {
            return Verdict::Send;
        }
        let verdict = self.rate.verdict(now, source, class);
        let limited = match verdict {
            Verdict::Send => return Verdict::Send,
            Verdict::Slip | Verdict::Drop if self.settings.dry_run => Limited::DryRun,
            Verdict::Slip => Limited::Slipped,
            Verdict::Drop => Limited::Dropped,
        };
        self.counts[class.index()][limited.index()] += 1;
        self.counted = true;
        if limited == Limited::DryRun { Verdict::Send } else { verdict }
    }

    /// Hands on what was counted since the last time. Cheap if it was nothing.
    pub(super) fn report(&mut self, metrics: &dyn DnsMetrics) {
        if !std::mem::take(&mut self.counted) {
            return;
        }
        for class in ResponseClass::ALL {
            for limited in Limited::ALL {
                let count = std::mem::take(&mut self.counts[class.index()][limited.index()]);
                if count > 0 {
                    metrics.rate_limited(class, limited, count);
                }
            }
        }
    }

    fn is_allowed(&self, source: IpAddr) -> bool {
        self.settings.allow.iter().any(|prefix| prefix.contains(source))
    }
}

/// What is sent instead of a response that slips: its header with the TC bit, its question, its OPT record.
///
/// `None` for what is not a response that could be shortened; nothing is sent then.
pub(super) fn slipped(response: &[u8]) -> Option<Vec<u8>> {
    let count = |at| number(response, at);
    let (questions, answers, authorities, additionals) =
        (count(4)?, count(6)?, count(8)?, count(10)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(response, at)? + QUESTION_FIXED;
    }
    let mut short = response.get(..at)?.to_vec();
    let mut opt = None;
    for _ in 0..u32::from(answers) + u32::from(authorities) + u32::from(additionals) {
        let fixed = after_name(response, at)?;
        let length = number(response, fixed + RECORD_FIXED - 2)?;
        let end = fixed + RECORD_FIXED + usize::from(length);
        if number(response, fixed) == Some(OPT) {
            opt = Some(response.get(at..end)?);
        }
        at = end;
    }
    short[2] |= TRUNCATED;
    short[6..HEADER].fill(0);
    if let Some(opt) = opt {
        short[HEADER - 1] = 1;
        short.extend_from_slice(opt);
    }
    Some(short)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use policies::budget::{Limit, Rate};
    use prometheus::IntCounter;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default)]
    struct Counts(Mutex<Vec<(&'static str, &'static str, u64)>>);

    impl DnsMetrics for Counts {
        fn queries(&self, _: &'static str, _: &'static str) -> IntCounter {
            IntCounter::new("queries", "not shown").unwrap()
        }
        fn wake_dropped(&self) {}
        fn wake_withheld(&self, _: &'static str) {}
        fn unmade(&self, _: &'static str) {}
        fn connection_opened(&self, _: &'static str) {}
        fn connection_closed(&self, _: &'static str, _: &'static str) {}
        fn transfer(&self, _: &'static str, _: &'static str) {}
        fn notified(&self, _: &'static str) {}
        fn rate_limited(&self, class: ResponseClass, limited: Limited, count: u64) {
            self.0.lock().unwrap().push((class.label(), limited.label(), count));
        }
    }

    fn limiter(allow: &[&str], dry_run: bool) -> RateLimiter {
        let limit = Limit { rate: Rate::per_second(1).unwrap(), burst: 2 };
        let limits = ResponseLimits { classes: [Some(limit); ResponseClass::COUNT], slip: 2 };
        let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
        RateLimiter::new(Arc::new(RateLimit { limits, allow, dry_run, slots: 16 }))
    }

    fn verdicts(limiter: &mut RateLimiter, source: &str, proven: bool) -> [Verdict; 4] {
        let source = source.parse().unwrap();
        let class = ResponseClass::Refused;
        [(); 4].map(|()| limiter.verdict(Instant::from_nanos(1), source, class, proven))
    }

    #[test]
    fn who_is_beyond_the_limit_is_counted() {
        use Verdict::{Drop, Send, Slip};
        let mut limiter = limiter(&[], false);
        assert_eq!(verdicts(&mut limiter, "192.0.2.1", false), [Send, Send, Slip, Drop]);
        assert_eq!(verdicts(&mut limiter, "192.0.2.1", true), [Send; 4]);
        let counts = Counts::default();
        limiter.report(&counts);
        limiter.report(&counts);
        let expected = vec![("refused", "slipped", 1), ("refused", "dropped", 1)];
        assert_eq!(*counts.0.lock().unwrap(), expected);
    }

    #[test]
    fn a_dry_run_and_allowed_networks_lose_nothing() {
        let mut dry = limiter(&[], true);
        assert_eq!(verdicts(&mut dry, "192.0.2.1", false), [Verdict::Send; 4]);
        let counts = Counts::default();
        dry.report(&counts);
        assert_eq!(*counts.0.lock().unwrap(), vec![("refused", "dry_run", 2)]);

        let mut allowing = limiter(&["192.0.2.0/25", "2001:db8::/32"], false);
        for source in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
            assert_eq!(verdicts(&mut allowing, source, false), [Verdict::Send; 4]);
        }
        assert_eq!(verdicts(&mut allowing, "192.0.2.129", false)[3], Verdict::Drop);
    }

    #[test]
    fn what_slips_is_a_question_that_cannot_be_answered_here() {
        let name = Name::from_ascii("www.jit.test.").unwrap();
        let mut message = Message::new(77, MessageType::Response, OpCode::Query);
        message.metadata.response_code = ResponseCode::NXDomain;
        message.add_query(Query::query(name.clone(), RecordType::A));
        let record = Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1)));
        message.answers = vec![record; 9];
        for edns in [None, Some(Edns::new())] {
            message.edns = edns;
            let short = slipped(&message.to_vec().unwrap()).unwrap();
            let read = Message::from_vec(&short).unwrap();
            assert_eq!((read.metadata.id, read.metadata.truncation), (77, true));
            assert_eq!(read.metadata.response_code, ResponseCode::NXDomain);
            assert_eq!(read.queries, message.queries);
            assert_eq!(read.all_sections().count(), 0);
            assert_eq!(read.edns.is_some(), message.edns.is_some());
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_looked_at(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(short) = slipped(&octets) {
                prop_assert!(short.len() <= octets.len());
            }
        }
    }
}
