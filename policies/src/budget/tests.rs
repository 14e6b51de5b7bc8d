//! Never more than was allowed, nothing remembered for longer than it matters, and nobody punished for others.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn limit(count: u32, burst: u32) -> Limit {
    Limit { rate: Rate::per_second(count).unwrap(), burst }
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// The address of a network of its own.
fn source(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number << 8 | 7).into()
}

#[test]
fn rates_are_never_more_than_they_say() {
    assert_eq!(Rate::per_second(200).unwrap().interval(), Duration::from_millis(5));
    assert_eq!(Rate::per_second(3).unwrap().interval(), Duration::from_nanos(333_333_334));
    let hourly = Rate::new(2, Duration::from_secs(3600)).unwrap();
    assert_eq!(hourly.interval(), Duration::from_secs(1800));
    assert_eq!(Rate::per_second(0), None);
    assert_eq!(Rate::new(1, Duration::ZERO), None);
    assert_eq!(Rate::new(1, Duration::MAX), None);
    assert!(Rate::per_second(u32::MAX).is_some());
}

#[test]
fn prefixes_are_networks() {
    let of = |text: &str| SourcePrefix::of(text.parse().unwrap());
    assert_eq!(of("192.0.2.1"), of("192.0.2.255"));
    assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_eq!(of("2001:db8:0:12ff::1"), of("2001:db8:0:1200:ffff::"));
    assert_ne!(of("2001:db8:0:1200::1"), of("2001:db8:0:1300::1"));
}

#[test]
fn nothing_is_nothing() {
    let none = limit(1000, 0);
    let mut budget =
        WakeBudget::new(WakeLimits { forgeable: none, proven: limit(1, 1), prefix: limit(1, 1) });
    for second in 1..100 {
        let refused = budget.try_take(at(second * SECOND), source(1), Credibility::Forgeable);
        assert_eq!(refused, Err(Exhausted::Total));
    }
    assert_eq!(budget.tracked_prefixes(at(0), Credibility::Forgeable), 0);
    assert_eq!(budget.try_take(at(SECOND), source(1), Credibility::Proven), Ok(()));
}

#[test]
fn absurd_limits_are_no_loophole() {
    let slow = Limit { rate: Rate::new(1, Duration::from_secs(1 << 33)).unwrap(), burst: u32::MAX };
    let mut budget = WakeBudget::new(WakeLimits { forgeable: slow, proven: slow, prefix: slow });
    let taken =
        (0..5).filter(|_| budget.try_take(at(1), source(1), Credibility::Forgeable).is_ok());
    assert_eq!(taken.count(), 1, "292 years hold one token of 272 years");
}

/// Sources without end: the total bounds what is remembered, and when it does not, the table does.
#[test]
fn memory_is_bounded() {
    let mut budget = WakeBudget::new(WakeLimits {
        forgeable: limit(10, 40),
        proven: limit(1_000_000, 1_000_000),
        prefix: limit(1, 5),
    });
    for number in 0..50_000 {
        let now = at(u64::from(number) * SECOND / 10_000);
        let _ = budget.try_take(now, source(number), Credibility::Forgeable);
        let _ = budget.try_take(at(0), source(number), Credibility::Proven);
        if number % 5_000 == 0 {
            assert!(budget.tracked_prefixes(now, Credibility::Forgeable) <= 40 + 5 * 10);
        }
    }
    assert_eq!(budget.tracked_prefixes(at(0), Credibility::Proven), TRACKED_PREFIXES);
    assert_eq!(budget.tracked_prefixes(at(6 * SECOND), Credibility::Proven), 0, "full again");
}

/// When the table is full, who has used most is remembered.
#[test]
fn a_crowd_does_not_wash_a_heavy_user_away() {
    let generous = limit(1_000_000, 1_000_000);
    let mut budget =
        WakeBudget::new(WakeLimits { forgeable: generous, proven: generous, prefix: limit(1, 2) });
    let mut wake = |number| budget.try_take(at(SECOND), source(number), Credibility::Forgeable);
    assert_eq!([wake(1), wake(1), wake(1)], [Ok(()), Ok(()), Err(Exhausted::Prefix)]);
    for number in 2..40_000 {
        assert_eq!(wake(number), Ok(()));
    }
    assert_eq!(wake(1), Err(Exhausted::Prefix));
}

#[test]
fn new_limits_hold_at_once_and_forgive_nothing() {
    let wide = limit(1, 10);
    let mut budget = WakeBudget::new(WakeLimits { forgeable: wide, proven: wide, prefix: wide });
    let mut now = at(SECOND);
    let take = |budget: &mut WakeBudget, now, tries| {
        let wake = |_: &u32| budget.try_take(now, source(1), Credibility::Forgeable).is_ok();
        (0..tries).filter(wake).count()
    };
    assert_eq!(take(&mut budget, now, 6), 6);
    let hourly = Limit { rate: Rate::new(1, Duration::from_secs(3600)).unwrap(), burst: 8 };
    budget.set_limits(now, WakeLimits { forgeable: hourly, proven: hourly, prefix: hourly });
    assert_eq!(take(&mut budget, now, 5), 2, "six of the eight are used");
    let quick = limit(1000, 3);
    budget.set_limits(now, WakeLimits { forgeable: quick, proven: quick, prefix: quick });
    assert_eq!(take(&mut budget, now, 5), 0);
    now = now + Duration::from_millis(2);
    assert_eq!(take(&mut budget, now, 5), 2, "what was slow to come back is so no longer");
}

#[test]
fn the_last_prefix_is_forgotten_in_time() {
    let wide = limit(1, 10);
    let mut budget = WakeBudget::new(WakeLimits { forgeable: wide, proven: wide, prefix: wide });
    assert_eq!(budget.forgotten_at(), None);
    for _ in 0..3 {
        budget.try_take(at(SECOND), source(1), Credibility::Forgeable).unwrap();
    }
    budget.try_take(at(SECOND), source(2), Credibility::Proven).unwrap();
    let then = budget.forgotten_at().unwrap();
    assert_eq!(then, at(4 * SECOND));
    assert_eq!(budget.tracked_prefixes(at(4 * SECOND - 1), Credibility::Forgeable), 1);
    assert_eq!(budget.tracked_prefixes(then, Credibility::Forgeable), 0);
    assert_eq!(budget.forgotten_at().map(|last| last <= then), Some(true));
    assert_eq!(budget.tracked_prefixes(then, Credibility::Proven), 0);
    assert_eq!(budget.forgotten_at(), None);
}

#[derive(Debug, Clone)]
struct Step {
    wait: u64,
    source: IpAddr,
    credibility: Credibility,
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![3 => Just(0), 2 => 0..SECOND / 100, 1 => 0..3 * SECOND];
    let v4 = (0..4_u32).prop_map(source);
    let v6 = (0..3_u128).prop_map(|n| Ipv6Addr::from_bits(0x2001_0db8 << 96 | n << 72).into());
    let credibility = prop_oneof![Just(Credibility::Forgeable), Just(Credibility::Proven)];
    (wait, prop_oneof![v4, v6], credibility).prop_map(|(wait, source, credibility)| Step {
        wait,
        source,
        credibility,
    })
}

fn limits() -> impl Strategy<Value = WakeLimits> {
    let one = || (1..50_u32, 0..12_u32).prop_map(|(count, burst)| limit(count, burst));
    (one(), one(), one()).prop_map(|(forgeable, proven, prefix)| WakeLimits {
        forgeable,
        proven,
        prefix,
    })
}

/// The obvious bucket: counts tokens, in parts of one, so that nothing is rounded.
struct Slow {
    tokens: u128,
    filled: Instant,
}

impl Slow {
    fn fill(&mut self, now: Instant, limit: &Limit) {
        // One token is an interval's nanoseconds.
        let interval = limit.rate.interval().as_nanos();
        let passed = now.saturating_since(self.filled).as_nanos();
        self.tokens = (self.tokens + passed).min(u128::from(limit.burst) * interval);
        self.filled = now;
    }

    fn new(now: Instant, limit: &Limit) -> Self {
        let interval = limit.rate.interval().as_nanos();
        Self { tokens: u128::from(limit.burst) * interval, filled: now }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The same verdicts as buckets that are filled and never forgotten.
    #[test]
    fn it_is_as_good_as_the_obvious_one(limits in limits(), steps in prop::collection::vec(step(), 1..200)) {
        let mut budget = WakeBudget::new(limits);
        let mut now = at(SECOND);
        let mut totals: HashMap<Credibility, Slow> = HashMap::new();
        let mut prefixes: HashMap<(Credibility, SourcePrefix), Slow> = HashMap::new();
        for Step { wait, source, credibility } in steps {
            now = now + Duration::from_nanos(wait);
            let total_limit = limits.total(credibility);
            let total = totals.entry(credibility).or_insert_with(|| Slow::new(now, total_limit));
            let key = (credibility, SourcePrefix::of(source));
            let own = prefixes.entry(key).or_insert_with(|| Slow::new(now, &limits.prefix));
            total.fill(now, total_limit);
            own.fill(now, &limits.prefix);
            let price = (total_limit.rate.interval().as_nanos(), limits.prefix.rate.interval().as_nanos());
            let expected = if own.tokens < price.1 {
                Err(Exhausted::Prefix)
            } else if total.tokens < price.0 {
                Err(Exhausted::Total)
            } else {
                total.tokens -= price.0;
                own.tokens -= price.1;
                Ok(())
            };
            prop_assert_eq!(budget.try_take(now, source, credibility), expected);
            let remembered = prefixes.iter().filter(|((of, _), bucket)| {
                let mut bucket = Slow { ..**bucket };
                bucket.fill(now, &limits.prefix);
                *of == credibility && bucket.tokens < u128::from(limits.prefix.burst) * price.1
            });
            prop_assert_eq!(budget.tracked_prefixes(now, credibility), remembered.count());
        }
    }

    /// In whatever span of time one looks: no more than the burst and what came in that time.
    #[test]
    fn no_span_has_more_than_its_due(
        limits in limits(),
        steps in prop::collection::vec(step(), 1..120),
        reloads in prop::collection::vec(0..120_usize, 0..3),
    ) {
        let mut budget = WakeBudget::new(limits);
        let mut now = at(SECOND);
        let mut admitted: Vec<(Instant, SourcePrefix, Credibility)> = Vec::new();
        for (index, Step { wait, source, credibility }) in steps.into_iter().enumerate() {
            now = now + Duration::from_nanos(wait);
            if reloads.contains(&index) {
                // Equal ones: a reload alone must not give anything away.
                budget.set_limits(now, limits);
            }
            if budget.try_take(now, source, credibility).is_ok() {
                admitted.push((now, SourcePrefix::of(source), credibility));
            }
        }
        let within = |limit: &Limit, times: &[Instant]| {
            times.iter().enumerate().all(|(first, from)| {
                times[first..].iter().enumerate().all(|(more, to)| {
                    let span = to.saturating_since(*from).as_nanos();
                    let due = u128::from(limit.burst) + span / limit.rate.interval().as_nanos();
                    u128::try_from(more + 1).unwrap() <= due
                })
            })
        };
        for credibility in Credibility::ALL {
            let of = |prefix: Option<SourcePrefix>| -> Vec<Instant> {
                let own = admitted.iter().filter(|one| one.2 == credibility);
                own.filter(|one| prefix.is_none_or(|prefix| one.1 == prefix)).map(|one| one.0).collect()
            };
            prop_assert!(within(limits.total(credibility), &of(None)));
            for (_, prefix, _) in &admitted {
                prop_assert!(within(&limits.prefix, &of(Some(*prefix))));
            }
        }
    }

    /// Whatever others do, a prefix that was quiet for long enough has its burst, as far as the total goes.
    #[test]
    fn quiet_is_forgotten(prefix in (1..50_u32, 1..12_u32), steps in prop::collection::vec(step(), 1..100)) {
        let generous = limit(1_000_000, 1_000_000);
        let prefix = limit(prefix.0, prefix.1);
        let mut budget = WakeBudget::new(WakeLimits { forgeable: generous, proven: generous, prefix });
        let mut now = at(SECOND);
        for Step { wait, source, credibility } in steps {
            now = now + Duration::from_nanos(wait);
            let _ = budget.try_take(now, source, credibility);
        }
        now = now + prefix.rate.interval() * prefix.burst;
        for number in 0..4 {
            let wake = |_: &u32| budget.try_take(now, source(number), Credibility::Forgeable).is_ok();
            prop_assert_eq!((0..=prefix.burst).filter(wake).count(), usize::try_from(prefix.burst).unwrap());
        }
    }
}
