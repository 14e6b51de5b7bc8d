//! With `wake_on_refresh = false` a service sleeps although a cache keeps its name fresh; a visitor wakes it.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use support::{World, hello, http_get};

/// Long enough that a slow machine can ask in the middle of the window for refreshes.
const TTL: Duration = Duration::from_secs(10);
const WITHHELD: &str = "summoner_dns_wakes_withheld_total{reason=\"refresh\"}";

fn generation(world: &World, key: &str) -> Option<u64> {
    world.service(key).timeline.and_then(|timeline| timeline.generation)
}

fn ask(world: &World, key: &str) -> Instant {
    let answer = world.query(key, RecordType::A);
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
    Instant::now()
}

#[test]
fn a_cache_that_stays_fresh_wakes_nobody() {
    let settings = |more: &str| format!("ttl = {}\nidle = \"100ms\"\n{more}", TTL.as_secs());
    let services =
        [hello("sleeper", &settings("wake_on_refresh = false")), hello("eager", &settings(""))];
    let Some(world) = World::start(&services.concat()) else { return };
    // The window is from half a TTL to one and a half: again, if the machine was too slow to meet it for certain.
    let before = loop {
        let asked_before = Instant::now();
        let asked = ask(&world, "sleeper").max(ask(&world, "eager"));
        for key in ["sleeper", "eager"] {
            world.wait_for(key, "cold again", |service| {
                service.state == "cold" && service.timeline.is_some()
            });
        }
        let generations = ["sleeper", "eager"].map(|key| generation(&world, key));
        let withheld = world.metric(WITHHELD);
        std::thread::sleep((asked + TTL * 8 / 10).saturating_duration_since(Instant::now()));
        ask(&world, "sleeper");
        let again = ask(&world, "eager");
        if again < asked_before + TTL * 3 / 2 {
            assert_eq!(world.metric(WITHHELD), withheld + 1.0, "one of the two was a refresh");
            break generations;
        }
    };
    world.wait_for("eager", "woken by a refresh", |service| {
        service.timeline.as_ref().and_then(|timeline| timeline.generation) > before[1]
    });
    assert_eq!(world.service("sleeper").state, "cold");
    assert_eq!(generation(&world, "sleeper"), before[0], "nothing has woken it");

    // A visitor's packet wakes it, and so does a question that no cache would ask so soon.
    let address = SocketAddr::new(world.service("sleeper").ipv4.unwrap().into(), 80);
    assert_eq!(http_get(address, "/healthz").unwrap().status, 200);
    world.wait_for_state("sleeper", "cold");
    let visited = generation(&world, "sleeper");
    assert!(visited > before[0]);
    ask(&world, "sleeper");
    world.wait_for("sleeper", "woken by a first use", |service| {
        service.timeline.as_ref().and_then(|timeline| timeline.generation) > visited
    });
}
