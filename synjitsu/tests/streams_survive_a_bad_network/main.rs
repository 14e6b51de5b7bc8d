//! Streams of octets come through the switch as they were sent, whatever the network does, whenever the guest
//! boots, and whichever stacks the two ends have.
//!
//! Model clients and a model guest ([`endpoint`]) talk through a [`synjitsu::Switch`] over ways that lose, double
//! and delay packets ([`network`]), in simulated time ([`world`]). Every segment is judged by whoever gets it, and
//! once more when it passes the switch. Single situations are in [`directed`]. The usual runs are always
//! the same; with `SYNJITSU_CASES` so many others are drawn in each mode, and a failure is shown as the smallest run
//! that was found to fail.

#![allow(clippy::unwrap_used, reason = "only tests use this")]

#[path = "../support/mod.rs"]
mod support;

mod directed;
mod endpoint;
mod network;
mod random;
mod scenario;
mod segment;
mod stream;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use scenario::{Scenario, scenario};
use synjitsu::HoldMode;
use world::World;

/// How many runs are drawn, if somebody wants to know more than whether all is as it was.
#[expect(clippy::disallowed_methods, reason = "whoever soaks the switch says for how long")]
fn soak() -> Option<u32> {
    std::env::var("SYNJITSU_CASES").ok().map(|cases| cases.parse().unwrap())
}

fn draw(mode: HoldMode, crowded: bool) {
    let config = ProptestConfig {
        cases: soak().unwrap_or(50),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    };
    // The usual runs are the same each time; a soak draws others.
    let mut runner = match soak() {
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::new(config),
    };
    let run = |scenario: Scenario| World::new(scenario).run().map_err(TestCaseError::fail);
    if let Err(failure) = runner.run(&scenario(mode, crowded), run) {
        panic!("{failure}");
    }
}

#[test]
fn streams_survive_in_mode_syn() {
    draw(HoldMode::Syn, false);
}

#[test]
fn streams_survive_in_mode_syn_when_little_can_be_held() {
    draw(HoldMode::Syn, true);
}

#[test]
fn streams_survive_in_mode_handshake() {
    draw(HoldMode::Handshake, false);
}

#[test]
fn streams_survive_in_mode_handshake_when_little_can_be_held() {
    draw(HoldMode::Handshake, true);
}
