//! A guest that goes on from a snapshot remembers nothing of another instance, and draws its own random numbers.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;

use summoner::engine::ShellSource;
use support::{World, http_get, trial};

/// Summons the service some times; each time it is asked twice, by two connections, and stopped.
fn each_is_fresh(settings: &str, expected: ShellSource) {
    const SUMMONS: usize = 4;
    let services = trial("memory", "remember", "idle = \"60s\"");
    let Some(mut world) = World::without_daemon() else { return };
    world.configure(settings, &services);
    world.start_daemon();
    let (mut generations, mut randoms) = (HashSet::new(), HashSet::new());
    for summon in 0..SUMMONS {
        let address = SocketAddr::new(world.resolve("memory").into(), 80);
        for count in 1..=2 {
            let page = http_get(address, "/").unwrap();
            assert!(
                page.body.contains(&format!("count={count}")),
                "{}\n{}",
                page.body,
                world.log()
            );
            assert_eq!(page.retransmissions, 0);
            let word = |name: &str| {
                let mut words = page.body.split_whitespace();
                words.find(|word| word.starts_with(name)).unwrap().to_owned()
            };
            generations.insert(word("generation="));
            randoms.insert(word("random="));
        }
        let source = world.service("memory").timeline.unwrap().shell;
        if summon > 0 {
            assert_eq!(source, Some(expected), "{}", world.log());
        } else {
            // What comes later needs it.
            world.wait_until("the snapshot is kept", || {
                world.metric("summoner_snapshots_kept_total{kind=\"ready\"}") >= 1.0
            });
        }
        world.command(&["stop", "memory"]);
    }
    assert_eq!(generations.len(), SUMMONS, "{generations:?}");
    assert_eq!(randoms.len(), 2 * SUMMONS, "{randoms:?}");
}

#[test]
fn in_the_shell_that_served_before() {
    each_is_fresh("[limits]\nparked_shells = 4", ShellSource::Parked);
}

#[test]
fn in_a_shell_made_for_it() {
    each_is_fresh("[limits]\nparked_shells = 0\nready_shells = 0", ShellSource::Made);
}
