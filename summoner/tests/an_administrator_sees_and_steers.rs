//! `check`, `ps`, `wake`, `stop`, `logs` and `image inspect`, as typed.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::process::Output;

use support::{World, hello, process_exists, trial};

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn what_runs() {
    let services =
        hello("web", "names = [\"web\", \"www\"]\nidle = \"60s\"") + &trial("bad", "read-null", "");
    let Some(world) = World::start(&services) else { return };
    let ps = |world: &World| text(&world.command(&["ps"]));
    let line = |text: &str, key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    assert!(line(&ps(&world), "web").contains("cold"));

    let woken = world.command(&["wake", "www.jit.test"]);
    assert!(woken.status.success(), "{}", text(&woken));
    let running = line(&ps(&world), "web");
    assert!(
        running.contains("running") && running.contains("admin") && running.contains("8MiB"),
        "{running}"
    );
    world.wait_until("the log shows the guest", || {
        text(&world.command(&["logs", "web"])).contains("listening")
    });

    let process = world.service("web").process.unwrap();
    let stopped = world.command(&["stop", "web"]);
    assert!(stopped.status.success(), "{}", text(&stopped));
    assert!(!process_exists(process));
    assert!(line(&ps(&world), "web").contains("cold"));

    let failed = world.command(&["wake", "bad"]);
    assert_eq!(failed.status.code(), Some(69));
    assert!(text(&failed).contains("page fault"), "{}", text(&failed));
    let unknown = world.command(&["wake", "nobody"]);
    assert!(!unknown.status.success() && text(&unknown).contains("nobody"), "{}", text(&unknown));
}

#[test]
fn what_is_wrong_with_a_configuration() {
    let Some(world) = World::without_daemon() else { return };
    world.configure("", &hello("web", ""));
    let good = world.command(&["check"]);
    assert!(good.status.success(), "{}", text(&good));

    world.configure("", &hello("web", "memory = \"7MiB\"\nidle = \"soon\""));
    let bad = world.command(&["check"]);
    assert_eq!(bad.status.code(), Some(78));
    let told = text(&bad);
    for part in ["summoner.toml", "services.web.idle", "soon", "services.web.memory", "7MiB"] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
    let refused = world.command(&["serve"]);
    assert_eq!(refused.status.code(), Some(78));
}

#[test]
fn that_no_daemon_runs() {
    let Some(world) = World::without_daemon() else { return };
    world.configure("", &hello("web", ""));
    let nobody = world.command(&["ps"]);
    assert_eq!(nobody.status.code(), Some(69));
    assert!(text(&nobody).contains("summoner serve"), "{}", text(&nobody));
}
