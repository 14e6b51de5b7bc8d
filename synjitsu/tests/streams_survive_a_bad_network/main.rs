//! Streams of octets come through the switch as they were sent, whatever the network does, whenever the guest
//! boots, and whichever stacks the two ends have.
//!
//! Model clients and a model guest ([`endpoint`]) talk through a [`synjitsu::Switch`] over ways that lose, double
//! and delay packets ([`network`]), in simulated time ([`world`]). Every segment is judged by whoever gets it, and
//! once more when it passes the switch. Single situations are in [`directed`]. `SYNJITSU_CASES` sets how many runs are drawn in each mode.

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
use proptest::test_runner::{TestCaseError, TestRunner};
use scenario::{Scenario, scenario};
use synjitsu::HoldMode;
use world::World;

/// How many runs are drawn.
#[expect(clippy::disallowed_methods, reason = "whoever soaks the switch says for how long")]
fn cases() -> u32 {
    std::env::var("SYNJITSU_CASES").ok().map_or(80, |cases| cases.parse().unwrap())
}

fn draw(mode: HoldMode, crowded: bool) {
    let config = ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    };
    let run = |scenario: Scenario| World::new(scenario).run().map_err(TestCaseError::fail);
    if let Err(failure) = TestRunner::new(config).run(&scenario(mode, crowded), run) {
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
