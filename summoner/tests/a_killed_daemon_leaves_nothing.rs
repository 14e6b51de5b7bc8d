//! After `kill -9` nothing is left over, and the next daemon gives everybody the same address.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::time::Instant;

use nix::sys::signal::Signal;
use support::{PATIENCE, World, hello, http_get, process_exists};

fn interfaces() -> String {
    // Of this thread's namespace: /proc/self would be that of the main thread.
    std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()
}

fn children_of(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks
        .flat_map(|task| {
            let children =
                std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
            children.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
        })
        .collect()
}

#[test]
fn and_addresses_stay() {
    let services: String = ["one", "two", "three"].map(|key| hello(key, "idle = \"60s\"")).concat();
    let Some(mut world) = World::start(&services) else { return };
    let before: Vec<_> =
        world.services().into_iter().map(|s| (s.service, s.ipv4, s.ipv6)).collect();
    let address = world.resolve("one");
    assert_eq!(http_get((address, 80).into(), "/").unwrap().status, 200);
    let generation = world.service("one").generation.unwrap();
    let shells = children_of(world.daemon_pid().as_raw().cast_unsigned());
    assert!(!shells.is_empty(), "there is a guest, so there is a process");
    assert!(interfaces().contains("summon0"));

    world.end_daemon(Signal::SIGKILL);
    let start = Instant::now();
    while shells.iter().any(|shell| process_exists(*shell)) || interfaces().contains("summon0") {
        assert!(start.elapsed() < PATIENCE, "left over: {shells:?}\n{}", interfaces());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }

    // A new service that comes first in the file must not move the others.
    world.configure("", &(hello("a-new-one", "") + &services));
    world.start_daemon();
    let after: Vec<_> = world.services().into_iter().map(|s| (s.service, s.ipv4, s.ipv6)).collect();
    assert!(before.iter().all(|service| after.contains(service)), "{before:?} became {after:?}");
    assert_eq!(http_get((address, 80).into(), "/").unwrap().status, 200);
    assert!(world.service("one").generation.unwrap() > generation, "a generation was used again");
}

#[test]
fn and_a_clean_end_takes_everything_down_too() {
    let Some(mut world) = World::start(&hello("web", "idle = \"60s\"")) else { return };
    assert_eq!(http_get((world.resolve("web"), 80).into(), "/").unwrap().status, 200);
    let shells = children_of(world.daemon_pid().as_raw().cast_unsigned());
    assert!(world.end_daemon(Signal::SIGTERM).success(), "{}", world.log());
    assert!(!interfaces().contains("summon0"));
    assert!(!shells.iter().any(|shell| process_exists(*shell)), "{shells:?}");
}
