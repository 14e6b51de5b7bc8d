//! Idle means: no packet, no query and, unless told otherwise, no open connection for the idle time.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use support::{World, hello, http_get, process_exists};

#[test]
fn with_its_process_and_its_memory() {
    let Some(world) = World::start(&hello("web", "idle = \"100ms\"")) else { return };
    let address = SocketAddr::new(world.resolve("web").into(), 80);
    assert_eq!(http_get(address, "/").unwrap().status, 200);
    // The page may be here before the daemon has heard of its first byte.
    let summons = || world.metric("summoner_summon_seconds_count{until=\"ready\"}");
    world.wait_until("the summon is counted", || summons() >= 1.0);
    let cold = world.wait_for_state("web", "cold");
    assert_eq!((cold.process, cold.memory, cold.generation), (None, 0, None));
    assert_eq!(world.metric("summoner_stops_total{reason=\"idle\",service=\"web\"}"), 1.0);
}

#[test]
fn and_its_process_is_gone_when_it_is_cold() {
    let Some(world) = World::start(&hello("web", "idle = \"500ms\"\nsnapshot = false")) else {
        return;
    };
    world.resolve("web");
    let process = world.wait_for_state("web", "running").process.unwrap();
    assert!(process_exists(process));
    world.wait_for_state("web", "cold");
    assert!(!process_exists(process));
}

/// An open, silent connection to the guest's echo port, proved to be open.
fn silent_connection(world: &World, name: &str) -> TcpStream {
    let mut stream = TcpStream::connect((world.resolve(name), 7)).unwrap();
    stream.write_all(b"open").unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"open");
    stream
}

#[test]
fn but_not_while_a_connection_is_open() {
    let services = hello("kept", "idle = \"100ms\"") + &hello("clock", "idle = \"100ms\"");
    let Some(world) = World::start(&services) else { return };
    let mut stream = silent_connection(&world, "kept");
    let generation = world.service("kept").generation;
    // Another service with the same idle time lives and dies five times meanwhile: an event, not a guess at time.
    for _ in 0..5 {
        world.resolve("clock");
        world.wait_for_state("clock", "running");
        world.wait_for_state("clock", "cold");
    }
    let service = world.service("kept");
    assert_eq!((service.state.as_str(), service.generation), ("running", generation));
    assert_eq!(service.open_connections, 1);
    stream.write_all(b"!").unwrap();
    let mut echo = [0; 1];
    stream.read_exact(&mut echo).unwrap();
    drop(stream);
    world.wait_for_state("kept", "cold");
}

#[test]
fn unless_open_connections_do_not_count() {
    let settings = "idle = \"100ms\"\ncount_open_connections = false";
    let Some(world) = World::start(&hello("web", settings)) else { return };
    let mut stream = silent_connection(&world, "web");
    world.wait_for_state("web", "cold");
    // The client is told: its connection ends instead of hanging.
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    assert!(
        matches!(&ended, Ok(0))
            || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
    );
}

#[test]
fn asked_first_if_so_configured() {
    let settings = "idle = \"100ms\"\nstop = \"shutdown\"";
    let Some(world) = World::start(&hello("web", settings)) else { return };
    world.resolve("web");
    world.wait_for_state("web", "running");
    world.wait_for_state("web", "cold");
    let console = world.console("web").join("\n");
    assert!(console.contains("halted with status 0"), "{console}");
}
