//! A connection to a service that is not up succeeds, and its client never sends a SYN twice.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::{IpAddr, SocketAddr};

use support::{Page, World, hello, http_get, trial};

fn get(address: impl Into<IpAddr>, world: &World) -> Page {
    let page = http_get(SocketAddr::new(address.into(), 80), "/");
    page.unwrap_or_else(|error| panic!("{error}\n{}", world.log()))
}

/// The client's kernel was never in doubt, and a real guest answered.
fn assert_served(page: &Page, world: &World) {
    assert_eq!(page.status, 200);
    assert_eq!(page.retransmissions, 0, "a segment was sent again\n{}", world.log());
}

#[test]
fn after_a_query_over_ipv4() {
    let Some(world) = World::start(&hello("web", "")) else { return };
    let page = get(world.resolve("web"), &world);
    assert_served(&page, &world);
    let timeline = world.service("web").timeline.unwrap();
    assert_eq!(timeline.cause.map(|cause| cause.label()), Some("query"));
    assert!(timeline.held.is_some() && timeline.handed_over.is_some(), "{timeline:?}");
}

#[test]
fn after_a_query_over_ipv6() {
    let Some(world) = World::start(&hello("web", "")) else { return };
    assert_served(&get(world.resolve6("web"), &world), &world);
}

#[test]
fn without_any_query() {
    let Some(world) = World::start(&hello("web", "")) else { return };
    let service = world.service("web");
    assert_eq!(service.state, "cold");
    assert_served(&get(service.ipv4.unwrap(), &world), &world);
    let cause = world.service("web").timeline.unwrap().cause;
    assert_eq!(cause.map(|cause| cause.label()), Some("tcp_syn"));
}

#[test]
fn without_any_query_over_ipv6() {
    let Some(world) = World::start(&hello("web", "")) else { return };
    let address = world.service("web").ipv6.unwrap();
    assert_served(&get(address, &world), &world);
}

/// The guest's stack is up and answers RST long before the service listens.
fn a_slow_guest(milliseconds: u32) {
    let act = format!("slow-listen={milliseconds}");
    let Some(world) = World::start(&trial("slow", &act, "idle = \"60s\"")) else { return };
    let address = world.resolve("slow");
    let page = get(address, &world);
    // Beyond a second, the client's kernel sends its SYN again because it was not answered; that it connects at
    // the first moment is what the hold is for.
    if milliseconds < 1000 {
        assert_served(&page, &world);
    }
    assert_eq!(page.status, 200);
    let timeline = world.service("slow").timeline.unwrap();
    let waited = timeline.handed_over.unwrap().saturating_since(timeline.ready.unwrap());
    assert!(waited.as_millis() >= 100, "the guest was not slow: {waited:?}");
    assert!(world.metric("summoner_holds_total{outcome=\"handed_over\",service=\"slow\"}") >= 1.0);
}

#[test]
fn while_the_guest_answers_rst_for_300_ms() {
    a_slow_guest(300);
}

#[test]
fn while_the_guest_answers_rst_for_2500_ms() {
    a_slow_guest(2500);
}
