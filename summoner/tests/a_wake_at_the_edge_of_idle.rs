//! A client that comes just when the reaper does is served: never refused, reset or lost.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{World, hello, http_get};

/// Rounds of "wait about the idle time, then connect"; the waits sweep over the edge.
const ROUNDS: u64 = 400;
const IDLE: Duration = Duration::from_millis(30);

#[test]
fn is_served_hundreds_of_times() {
    let idle = format!("idle = \"{}ms\"\nminimum_uptime = \"0s\"", IDLE.as_millis());
    let Some(world) = World::start(&hello("web", &idle)) else { return };
    let address = SocketAddr::new(world.service("web").ipv4.unwrap().into(), 80);
    for round in 0..ROUNDS {
        // From 8 ms before the idle time to 8 ms after it, in steps of 160 us, in an order that jumps about.
        let offset = Duration::from_micros((round * 37 % 100) * 160);
        std::thread::sleep(IDLE + offset - Duration::from_millis(8));
        if round % 4 == 3 {
            // One in four comes by a query first.
            assert_eq!(world.resolve("web"), address.ip());
        }
        match http_get(address, "/healthz") {
            Ok(page) => assert_eq!(page.status, 200, "round {round}"),
            Err(error) => panic!("round {round}: {error}\n{}", world.log()),
        }
    }
    // The test is about both sides of the edge: some rounds found the guest gone, some found it running.
    let boots = world.metric("summoner_summon_seconds_count{until=\"ready\"}");
    assert!(boots > 10.0, "the reaper hardly ever came: {boots} boots in {ROUNDS} rounds");
    let reaped = world.metric("summoner_stops_total{reason=\"idle\",service=\"web\"}");
    assert!(reaped >= boots - 1.0, "{boots} boots, but only {reaped} reaped");
}
