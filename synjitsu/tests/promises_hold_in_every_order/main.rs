//! Random histories of clients, a guest and its owner, checked after every step.

#[path = "../support/mod.rs"]
mod support;

mod guest;
mod model;

use std::time::Duration;

use model::{Answers, Model, Step};
use proptest::prelude::*;
use synjitsu::Overflow;

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0_u64..40).prop_map(Duration::from_millis),
        2 => (0_u64..1_200).prop_map(Duration::from_millis),
        1 => (0_u64..6_000).prop_map(Duration::from_millis),
        1 => (0_u64..8_000).prop_map(Duration::from_secs),
    ]
}

fn answers() -> impl Strategy<Value = Answers> {
    prop_oneof![
        7 => Just(Answers::Once),
        2 => Just(Answers::Twice),
        1 => Just(Answers::Lost),
        2 => Just(Answers::NotAsked),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 1_u16..5;
    prop_oneof![
        6 => (client(), prop_oneof![3 => Just(80_u16), 1 => Just(81)])
            .prop_map(|(client, service_port)| Step::Connect { client, service_port }),
        4 => client().prop_map(|client| Step::Repeat { client }),
        1 => client().prop_map(|client| Step::Abort { client }),
        3 => client().prop_map(|client| Step::Talk { client }),
        2 => any::<bool>().prop_map(|echo| Step::Datagram { echo }),
        8 => (1_usize..6, answers()).prop_map(|(packets, answers)| Step::GuestWorks { packets, answers }),
        3 => Just(Step::GuestListens),
        2 => Just(Step::GuestTalks),
        4 => Just(Step::Open),
        2 => Just(Step::Close),
        3 => any::<bool>().prop_map(|fresh| Step::CloseIfIdle { fresh }),
        1 => Just(Step::Stale),
        6 => time().prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Lossy),
        1 => (any::<bool>(), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(guest, bytes)| Step::Garbage { guest, bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_every_promise(
        flows in 1_u32..7,
        reset in any::<bool>(),
        wake_on_packet in prop::bool::weighted(0.8),
        steps in prop::collection::vec(step(), 1..70),
    ) {
        let overflow = if reset { Overflow::Reset } else { Overflow::Drop };
        let mut model = Model::new(flows, overflow, wake_on_packet);
        for step in steps {
            model.step(step);
        }
        model.settle();
    }
}
