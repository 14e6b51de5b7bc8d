//! A guest that attacks its monitor ends with a report that says how, and nobody else notices.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::SocketAddr;

use support::{World, hello, http_get, trial};

/// What the test guest does, and a word of the report.
const ATTACKS: [(&str, &str); 8] = [
    ("write-code", "writing is not allowed"),
    ("execute-data", "execution is not allowed"),
    ("stack-overflow", "the stack is full"),
    ("read-outside", "page fault"),
    ("puts-huge", "puts"),
    ("net-write-outside", "net_write"),
    ("net-read-code", "net_read"),
    ("argument-outside=3", "poll"),
];

#[test]
fn whatever_it_tries() {
    let hostile: String = ATTACKS
        .iter()
        .enumerate()
        .map(|(n, (act, _))| trial(&format!("bad{n}"), act, ""))
        .collect();
    let Some(world) = World::start(&(hostile + &hello("good", "idle = \"60s\""))) else { return };
    let good = SocketAddr::new(world.resolve("good").into(), 80);
    assert_eq!(http_get(good, "/").unwrap().status, 200);
    let before = world.service("good").process;
    for (number, (act, word)) in ATTACKS.iter().enumerate() {
        let key = format!("bad{number}");
        let woken = world.command(&["wake", &key]);
        let told = String::from_utf8_lossy(&woken.stderr).into_owned();
        assert_eq!(woken.status.code(), Some(69), "{act}: {told}");
        assert!(told.contains(word), "{act}: {told}");
        let console = world.console(&key).join("\n");
        assert!(console.contains(word), "{act}: {console}");
        assert_eq!(http_get(good, "/healthz").unwrap().status, 200, "after {act}");
    }
    assert_eq!(world.service("good").process, before, "the neighbour was booted again");
}

#[test]
fn whatever_it_sends() {
    let services =
        trial("loud", "flood-net=20000 --act=flood-console=20000 --act=wait", "idle = \"60s\"")
            + &hello("good", "idle = \"60s\"");
    let Some(world) = World::start(&services) else { return };
    let good = SocketAddr::new(world.resolve("good").into(), 80);
    world.resolve("loud");
    for _ in 0..50 {
        assert_eq!(http_get(good, "/healthz").unwrap().status, 200);
    }
    world.wait_for_state("loud", "running");
    let console = world.console("loud");
    assert!(console.iter().map(String::len).sum::<usize>() <= 64 * 1024, "the log is bounded");
}
