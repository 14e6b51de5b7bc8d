//! Every example runs: an example that nobody runs cannot exist.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::World;

fn run(name: &str) {
    let Some(world) = World::without_daemon() else { return };
    // A copy, so that what the example leaves behind is not in the tree.
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let copied =
        Command::new("cp").arg("-r").arg(examples.join(name)).arg(world.folder.path()).status();
    assert!(copied.unwrap().success());
    let output = Command::new("bash")
        .arg(world.folder.path().join(name).join("run.sh"))
        .env("SUMMONER", env!("CARGO_BIN_EXE_summoner"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{out}\n{err}", output.status);
}

#[test]
fn hello() {
    run("hello");
}

#[test]
fn shared_image() {
    run("shared-image");
}

#[test]
fn zone() {
    run("zone");
}

#[test]
fn there_is_no_other() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut names: Vec<_> = std::fs::read_dir(examples)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["hello", "shared-image", "zone"],
        "an example has no test, or a test no example"
    );
}
