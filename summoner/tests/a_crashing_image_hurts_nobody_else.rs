//! A guest that ends at once: its clients get a defined refusal in time, it is not booted in a loop, and its
//! neighbours never notice.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};

use support::{PATIENCE, World, hello, http_get, trial};

const HOLD: &str = "[services.{key}.hold]\ntime = \"700ms\"\nmode = \"{mode}\"";

#[test]
fn refused_backed_off_and_contained() {
    for mode in ["syn", "handshake"] {
        refused_in(mode);
    }
}

fn refused_in(mode: &str) {
    let hold = HOLD.replace("{key}", "bad").replace("{mode}", mode);
    let bad = trial("bad", "read-null", "") + &hold + "\n";
    let good = hello("good", "idle = \"60s\"");
    let Some(world) = World::start(&(bad + &good)) else { return };
    let good = SocketAddr::new(world.resolve("good").into(), 80);
    let bad = SocketAddr::new(world.resolve("bad").into(), 80);
    std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            for _ in 0..50 {
                assert_eq!(
                    http_get(good, "/healthz").expect("the neighbour is served").status,
                    200
                );
            }
        });
        for _ in 0..3 {
            let connected = TcpStream::connect_timeout(&bad, PATIENCE);
            if mode == "syn" {
                let error = connected.expect_err("nobody can be there");
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
            } else {
                let mut stream = connected.expect("it is answered for the guest");
                let error = stream.read(&mut [0; 1]).expect_err("nobody can be there");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            }
        }
        neighbour.join().expect("the neighbour was disturbed");
    });
    let expired = || world.metric("summoner_holds_total{outcome=\"expired\",service=\"bad\"}");
    world.wait_until("the metric says why", || expired() >= 3.0);

    // Three clients retransmitted and waited for two seconds and more; without a back-off of 0.5, 1, 2 s there
    // would have been a boot for every millisecond of that.
    let boots = world.metric("summoner_stops_total{reason=\"exit\",service=\"bad\"}");
    assert!((1.0..=8.0).contains(&boots), "{boots} boots");
    let console = world.console("bad").join("\n");
    assert!(console.contains("page fault"), "{console}");
    assert_eq!(
        world.metric("summoner_summon_seconds_count{until=\"ready\"}"),
        1.0,
        "only the good one was ready"
    );
}

#[test]
fn a_crash_of_a_running_guest_is_told_to_its_client_and_survived() {
    let services = trial("fragile", "crash-after=200", "idle = \"60s\"");
    let Some(world) = World::start(&services) else { return };
    let address = SocketAddr::new(world.resolve("fragile").into(), 80);
    // Whether the first request is served or hit by the crash is the guest's timing; that it ends is ours.
    let _ = http_get(address, "/");
    world.wait_for("fragile", "crashed", |service| service.state != "running");
    let console = world.console("fragile").join("\n");
    assert!(console.contains('*'), "no report: {console}");
}

#[test]
fn a_killed_monitor_is_a_named_event_and_the_next_client_is_served() {
    let Some(world) = World::start(&hello("web", "idle = \"60s\"")) else { return };
    let address = SocketAddr::new(world.resolve("web").into(), 80);
    assert_eq!(http_get(address, "/").unwrap().status, 200);
    let process = world.wait_for_state("web", "running").process.unwrap();
    let pid = nix::unistd::Pid::from_raw(process.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    world.wait_for("web", "not that process", |service| service.process != Some(process));
    assert!(world.console("web").join("\n").contains("signal: 9"), "{:?}", world.console("web"));
    assert_eq!(http_get(address, "/").unwrap().status, 200);
}
