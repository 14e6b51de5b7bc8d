//! Who may not wake is answered and boots nothing; everybody else is served, and what runs serves all.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use support::{World, hello, http_get};

const WITHHELD: &str = "summoner_dns_wakes_withheld_total{reason=\"denied\"}";

#[test]
fn only_who_may_wakes() {
    let Some(mut world) = World::without_daemon() else { return };
    // Queries come from the loopback network, packets from the daemon's own address in the service prefix.
    let deny = |prefixes: &str| format!("[limits.wakes]\ndeny = [{prefixes}]\n");
    let service = hello("web", "idle = \"1h\"");
    world.configure(&deny("\"127.0.0.0/8\""), &service);
    world.start_daemon();
    let address = SocketAddr::new(world.resolve("web").into(), 80);
    let asked = world.query("web", RecordType::AAAA);
    assert_eq!((asked.metadata.response_code, asked.answers.len()), (ResponseCode::NoError, 1));
    assert!((world.metric(WITHHELD) - 2.0).abs() < f64::EPSILON);
    let status = world.service("web");
    assert_eq!((status.state.as_str(), status.last_used), ("cold", None));
    // A packet of somebody else.
    assert_eq!(http_get(address, "/healthz").unwrap().status, 200);

    // The other way round: in force as soon as the configuration is read again.
    world.configure(&deny("\"10.77.0.0/16\""), &service);
    world.signal(Signal::SIGHUP);
    world.wait_until("the configuration is in force", || world.log().contains("reloaded"));
    // What runs serves everybody.
    assert_eq!(http_get(address, "/healthz").unwrap().status, 200);
    assert!(world.command(&["stop", "web"]).status.success());
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let denied =
        "summoner_wakes_total{result=\"denied\",service=\"web\",trigger=\"tcp_handshake\"}";
    world.wait_until("the proven client's wake is counted", || world.metric(denied) > 0.0);
    assert_eq!(world.service("web").state, "cold");
    // A query of somebody else brings the guest up, and then whoever is held is served.
    world.query("web", RecordType::A);
    world.wait_for_state("web", "running");
    assert_eq!(http_get(address, "/healthz").unwrap().status, 200);
}
