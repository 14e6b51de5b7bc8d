//! Forged SYNs boot no more than the wakes' budget allows, fill no more than the bounds, and real clients are served.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::{SocketAddr, TcpStream};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use summoner::bench::flood::sender::{Sender, Sent};
use support::{World, hello, http_get};

/// Forged SYNs to each address: many times what may be held.
const FORGED: u64 = 4_000;
/// As many as a slow machine's switch can read while they come, so that it is its table that fills and not the queue before it.
const PER_SECOND: f64 = 20_000.0;
/// Packets that may be held for a service.
const HELD: u32 = 64;
/// Bounds so small that the flood meets all of them, and a budget that does not come back while this runs.
const LIMITS: &str =
    "[limits.wakes]\nrate = \"1/d\"\nburst = 2\nproven_rate = \"1/d\"\nproven_burst = 3\n";

fn services() -> String {
    let settings = format!("idle = \"1h\"\nhold = {{ flows = {HELD}, time = \"120s\" }}");
    [hello("cold", &settings), hello("running", &settings)].concat()
}

fn flood(targets: &[SocketAddr]) {
    let seed = 1;
    let count = FORGED * u64::try_from(targets.len()).unwrap();
    let sent = Sender::new(seed)
        .unwrap()
        .flood(targets, PER_SECOND, |Sent { packets, .. }| packets >= count)
        .unwrap();
    assert!(sent.packets >= count);
}

fn boots(world: &World, key: &str) -> u64 {
    world.service(key).timeline.and_then(|timeline| timeline.generation).unwrap_or(0) & 0xffff_ffff
}

#[test]
fn who_is_real_is_served_and_who_is_forged_boots_little() {
    let Some(mut world) = World::without_daemon() else { return };
    world.configure(LIMITS, &services());
    world.start_daemon();
    let [cold, running] = ["cold", "running"].map(|key| {
        let service = world.service(key);
        let addresses = [service.ipv4.unwrap().into(), service.ipv6.unwrap().into()];
        addresses.map(|address| SocketAddr::new(address, 80))
    });
    assert!(world.command(&["wake", "running"]).status.success());

    // Two forged wakes are paid for; who has stopped the guest after them finds it cold however many more come.
    for _ in 0..4 {
        flood(&[cold[0], cold[1], running[0], running[1]]);
        for key in ["cold", "running"] {
            let held = world.service(key).held;
            assert!(held <= HELD, "{held} packets are held for `{key}`");
        }
        // Real ones, while what was forged is still held.
        for address in running {
            assert_eq!(
                http_get(address, "/healthz").expect("the running service answers").status,
                200
            );
        }
        assert!(world.command(&["stop", "cold"]).status.success());
    }
    assert_eq!(boots(&world, "cold"), 2, "the budget has two tokens for who may be forged");
    assert_eq!(boots(&world, "running"), 1);
    assert_eq!(world.service("cold").state, "cold");
    assert!(world.service("cold").refused_wakes > 0);
    let over = "summoner_wakes_over_budget_total{budget=\"total\",credibility=\"forgeable\",result=\"refused\",trigger=\"tcp_syn\"}";
    assert!(world.metric(over) > 0.0);

    // A query is answered and boots nothing; who finishes a handshake does.
    let answer = world.query("cold", RecordType::A);
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
    for (number, address) in (1..).zip([cold[0], cold[1], cold[0]]) {
        assert_eq!(world.service("cold").state, "cold");
        assert_eq!(http_get(address, "/healthz").expect("a client is served").status, 200);
        assert_eq!(boots(&world, "cold"), 2 + number);
        assert!(world.command(&["stop", "cold"]).status.success());
    }
    let service = world.service("cold");
    let cause = service.timeline.unwrap().cause.unwrap().label();
    assert_eq!(cause, "tcp_handshake", "of forged SYNs there is no token left");
}

/// More than the smallest guest has room for, and than its tables were made for.
const CONNECTIONS: usize = 300;

#[test]
fn a_guest_survives_more_connections_than_it_has_room_for() {
    let Some(world) = World::start(&hello("web", "idle = \"1h\"")) else { return };
    let address = SocketAddr::new(world.service("web").ipv4.unwrap().into(), 80);
    // Clients that say nothing; the oldest of them are given up for the newer ones.
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(http_get(address, "/healthz").expect("a client is served").status, 200);
    drop(clients);
    assert_eq!(boots(&world, "web"), 1, "the guest crashed:\n{}", world.console("web").join("\n"));
}
