//! With `stop = "suspend"` a service keeps its memory across idleness and restarts of the daemon, and goes on from each
//! state once.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;

use nix::sys::signal::Signal;
use support::{World, http_get, trial};

/// What the guest answers: its generation, a random number, and how often it was asked in its life.
fn asked(world: &World) -> (u64, String, u64) {
    let address = SocketAddr::new(world.resolve("memory").into(), 80);
    let page = http_get(address, "/").unwrap();
    assert_eq!(page.status, 200);
    let value = |name: &str| {
        let found = page.body.split_whitespace().find_map(|word| word.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{}", page.body)).to_owned()
    };
    (value("generation=").parse().unwrap(), value("random="), value("count=").parse().unwrap())
}

fn kept(world: &World) -> String {
    let listed = world.command(&["snapshot", "ls"]);
    String::from_utf8(listed.stdout).unwrap()
}

/// Suspended at a moment of the test's choice: the reaper does the same at its own.
fn suspend(world: &World) {
    let stopped = world.command(&["stop", "memory"]);
    assert!(stopped.status.success(), "{stopped:?}\n{}", world.log());
    assert!(kept(world).contains("suspended"), "{}\n{}", kept(world), world.log());
}

#[test]
fn where_it_was() {
    let services = trial("memory", "remember", "stop = \"suspend\"\nidle = \"60s\"");
    let Some(mut world) = World::start(&services) else { return };
    let (first, random, count) = asked(&world);
    assert_eq!(count, 1);
    let mut generations = HashSet::from([first]);
    let mut randoms = HashSet::from([random]);
    let mut check = |world: &World, expected: u64| {
        let (generation, random, count) = asked(world);
        assert_eq!(count, expected, "{}", world.log());
        assert!(generations.insert(generation), "generation {generation} again");
        assert!(randoms.insert(random), "the same random number again");
    };

    suspend(&world);
    check(&world, 2);
    assert!(
        !kept(&world).contains("suspended"),
        "it goes on, so nothing is left to go on from again"
    );

    // A daemon that ends in order suspends whoever runs.
    assert!(world.end_daemon(Signal::SIGTERM).success(), "{}", world.log());
    world.start_daemon();
    check(&world, 3);

    // One that is killed takes the running instance with it: back to nothing, never to an old state.
    world.end_daemon(Signal::SIGKILL);
    world.start_daemon();
    assert!(!kept(&world).contains("suspended"), "{}", kept(&world));
    check(&world, 1);

    // Killed while it is suspended it goes on.
    suspend(&world);
    world.end_daemon(Signal::SIGKILL);
    world.start_daemon();
    check(&world, 2);
}
