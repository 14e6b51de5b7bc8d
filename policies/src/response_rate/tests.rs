//! Against an obvious reference, and that nobody pays for others.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::budget::Rate;

const SECOND: u64 = 1_000_000_000;

fn limits(count: u32, slip: u32) -> ResponseLimits {
    let limit = Limit::of_a_second(Rate::per_second(count).unwrap());
    ResponseLimits { classes: [Some(limit); ResponseClass::COUNT], slip }
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// An address of a network of its own.
fn source(network: u32) -> IpAddr {
    Ipv4Addr::from_bits(network << 8 | 7).into()
}

#[test]
fn a_class_has_one_place() {
    for (index, class) in ResponseClass::ALL.into_iter().enumerate() {
        assert_eq!(class.index(), index);
    }
}

#[test]
fn keys_are_never_alike() {
    let sources: [IpAddr; 6] = [
        Ipv4Addr::new(0, 0, 0, 1).into(),
        Ipv4Addr::new(255, 255, 255, 1).into(),
        Ipv6Addr::UNSPECIFIED.into(),
        Ipv6Addr::from_bits(u128::MAX).into(),
        Ipv6Addr::from_bits(1 << 127).into(),
        Ipv6Addr::from_bits(0x00ff_ffff << 72).into(),
    ];
    let mut seen = HashMap::new();
    for source in sources {
        for class in ResponseClass::ALL {
            let key = key(source, class);
            assert_ne!(key, 0);
            assert_eq!(seen.insert(key, (source, class)), None, "{source} {class:?}");
        }
    }
    let mapped = "::ffff:192.0.2.1".parse().unwrap();
    let plain = "192.0.2.200".parse().unwrap();
    assert_eq!(key(mapped, ResponseClass::Answer), key(plain, ResponseClass::Answer));
}

#[test]
fn a_rate_is_kept() {
    let mut rate = ResponseRate::new(limits(100, 0), 16, [1; 16]);
    let answered = (0..10_000_u64)
        .filter(|millis| {
            let now = at(SECOND + millis * 1_000_000);
            rate.verdict(now, source(1), ResponseClass::NxDomain) == Verdict::Send
        })
        .count();
    // The burst of the first second, and a hundred in each of ten.
    assert!((1090..=1100).contains(&answered), "{answered}");
}

#[test]
fn every_so_manieth_slips() {
    for (slip, slipped) in [(0, 0), (1, 90), (2, 45), (3, 30)] {
        let mut rate = ResponseRate::new(limits(10, slip), 16, [1; 16]);
        let verdicts: Vec<_> =
            (0..100).map(|_| rate.verdict(at(1), source(1), ResponseClass::Refused)).collect();
        let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
        assert_eq!((count(Verdict::Send), count(Verdict::Slip)), (10, slipped), "slip {slip}");
    }
}

#[test]
fn who_is_flooded_stays_limited_whoever_else_comes() {
    let mut rate = ResponseRate::new(limits(5, 2), 64, [3; 16]);
    let mut sent = 0;
    for round in 0..20_000_u32 {
        let now = at(SECOND + u64::from(round) * 10_000);
        // As from addresses drawn at random: each once.
        let stranger = rate.verdict(now, source(1000 + round), ResponseClass::Answer);
        assert_eq!(stranger, Verdict::Send);
        let victim = rate.verdict(now, source(1), ResponseClass::Answer);
        sent += u32::from(victim == Verdict::Send);
    }
    assert!(sent <= 6, "{sent} in a fifth of a second");
}

#[test]
fn what_is_not_limited_leaves_no_trace() {
    let mut some = limits(1, 2);
    some.classes[ResponseClass::Answer.index()] = None;
    let mut rate = ResponseRate::new(some, 4, [3; 16]);
    for network in 0..100 {
        for _ in 0..10 {
            let verdict = rate.verdict(at(1), source(network), ResponseClass::Answer);
            assert_eq!(verdict, Verdict::Send);
        }
    }
    assert!(rate.sets.iter().flatten().all(|slot| slot.key == 0));
}

proptest! {
    /// With room for all, it is as if each prefix and class had a limiter of its own.
    #[test]
    fn nobody_pays_for_others(
        queries in proptest::collection::vec((0_u64..300_000_000, 0_u32..12, 0_usize..6), 1..400),
        secret in any::<[u8; 16]>(),
    ) {
        let limits = limits(3, 2);
        let mut rate = ResponseRate::new(limits, 4096, secret);
        let mut alone: HashMap<_, ResponseRate> = HashMap::new();
        let mut now = SECOND;
        for (pause, network, class) in queries {
            now += pause;
            let class = ResponseClass::ALL[class];
            let own = alone
                .entry((network, class))
                .or_insert_with(|| ResponseRate::new(limits, 1, [0; 16]));
            let expected = own.verdict(at(now), source(network), class);
            prop_assert_eq!(rate.verdict(at(now), source(network), class), expected);
        }
    }
}
