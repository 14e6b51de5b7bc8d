//! A guest remembers closed connections for a while (TIME-WAIT). With more of them than its memory has room for it forgets the
//! oldest ones, and goes on.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::SocketAddr;

use support::{World, hello, http_get};

#[test]
fn and_serves_a_thousand_one_after_the_other() {
    let Some(world) = World::start(&hello("busy", "idle = \"60s\"\nmemory = \"8MiB\"")) else {
        return;
    };
    let address = SocketAddr::new(world.resolve("busy").into(), 80);
    for request in 0..1000 {
        let response = http_get(address, "/healthz").expect("it goes on");
        assert_eq!(response.status, 200, "request {request}");
    }
    let ends = world.metric("summoner_stops_total{reason=\"exit\",service=\"busy\"}");
    assert_eq!(ends, 0.0, "the guest ended by itself");
    assert_eq!(world.metric("summoner_summon_seconds_count{until=\"ready\"}"), 1.0);
}
