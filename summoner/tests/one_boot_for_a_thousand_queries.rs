//! However many ask at once, a cold service boots once and everybody is served.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::SocketAddr;
use std::sync::Barrier;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use support::{World, hello, http_get};

const QUERIES: usize = 1000;
const CONNECTIONS: usize = 200;
const ASKERS: usize = 20;

#[test]
fn a_thousand_queries_and_two_hundred_connections() {
    let Some(world) = World::start(&hello("web", "idle = \"60s\"")) else { return };
    let address = SocketAddr::new(world.service("web").ipv4.unwrap().into(), 80);
    let start = Barrier::new(ASKERS + CONNECTIONS);
    std::thread::scope(|scope| {
        for _ in 0..ASKERS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..QUERIES / ASKERS {
                    let answer = world.query("web", RecordType::A);
                    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
                    assert_eq!(answer.answers.len(), 1);
                }
            });
        }
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                start.wait();
                let page = http_get(address, "/healthz").expect("every connection is served");
                assert_eq!(page.status, 200);
            });
        }
    });
    let first = world.service("web").generation.unwrap() & 0xffff_ffff;
    assert_eq!(first, 1, "the service booted more than once");
    assert_eq!(world.metric("summoner_summon_seconds_count{until=\"ready\"}"), 1.0);
    let failed = ["expired", "overflow", "refused"].map(|outcome| {
        world.metric(&format!("summoner_holds_total{{outcome=\"{outcome}\",service=\"web\"}}"))
    });
    assert_eq!(failed, [0.0; 3], "held connections were given up");
}
