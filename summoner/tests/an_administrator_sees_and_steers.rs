//! `check`, `ps`, `wake`, `stop`, `logs` and `snapshot`, as typed.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::os::fd::AsFd;
use std::process::Output;

use summoner::snapshots::{Kind, SnapshotKey, Store};
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
    let services = hello("web", "names = [\"web\", \"www\"]\nidle = \"60s\"\nsnapshot = false")
        + &trial("bad", "read-null", "");
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

#[test]
fn what_is_kept_of_services() {
    let Some(mut world) = World::without_daemon() else { return };
    world.configure("", &hello("web", "names = [\"web\", \"www\"]"));
    // Left by a daemon of another version: whatever it is, it is not used.
    let state = world.folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let store = Store::open(&state).unwrap();
    let body = std::fs::File::open(world.configuration()).unwrap();
    assert!(
        store
            .save("web", &SnapshotKey::from_bytes([1; 32]), Kind::Ready, body.as_fd(), 4096)
            .is_err()
    );
    let body = rustix::fs::memfd_create("state", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&body, 4096).unwrap();
    for (service, kind) in
        [("web", Kind::Ready), ("web", Kind::Suspended), ("gone", Kind::Suspended)]
    {
        store.save(service, &SnapshotKey::from_bytes([1; 32]), kind, body.as_fd(), 4096).unwrap();
    }
    drop(store);
    world.start_daemon();

    let listed = text(&world.command(&["snapshot", "ls"]));
    let words = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = listed.lines().map(words).collect();
    let expected =
        ["SERVICE KIND SIZE", "gone suspended 4KiB", "web ready 4KiB", "web suspended 4KiB"];
    assert_eq!(lines, expected, "{listed}");
    assert!(listed.contains("no such service") && listed.contains("changed since"), "{listed}");
    let json = world.command(&["snapshot", "ls", "--json"]);
    let rows: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((rows[1]["service"].as_str(), rows[1]["size"].as_u64()), (Some("web"), Some(4096)));

    let removed = world.command(&["snapshot", "rm", "gone"]);
    assert!(text(&removed).contains("removed 1"), "{}", text(&removed));
    let unknown = world.command(&["snapshot", "rm", "gone"]);
    assert!(unknown.status.code() == Some(69) && text(&unknown).contains("gone"));

    let rebuilt = world.command(&["snapshot", "rebuild", "www.jit.test"]);
    assert!(rebuilt.status.success(), "{}", text(&rebuilt));
    assert_eq!(world.service("web").timeline.unwrap().restored, None, "it booted from its image");
    let usable =
        |line: &str| line.starts_with("web ") && line.contains("ready") && line.contains("usable");
    world.wait_until("the new snapshot is there", || {
        text(&world.command(&["snapshot", "ls"])).lines().any(usable)
    });
    assert!(!text(&world.command(&["snapshot", "ls"])).contains("stale"));
}
