//! The law of dependencies and the other rules that a page can only ask for.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// For each crate, what it must never reach, however indirectly, and why.
const FORBIDDEN: [(&str, &[&str], &str); 8] = [
    (
        "policies",
        &["tokio", "libc", "rustix", "nix", "etherparse", "hickory-proto"],
        "decisions are pure",
    ),
    ("lifecycle", &["tokio", "libc", "rustix", "images", "synjitsu"], "the state machine is pure"),
    (
        "synjitsu",
        &["pnet", "libc", "rustix", "tokio", "zone", "hickory-proto"],
        "the switch is pure",
    ),
    ("zone", &["tokio", "hickory-server", "synjitsu", "images"], "answers are pure"),
    (
        "hvt-abi",
        &["serde", "libc", "images"],
        "both sides of the ABI use it, one of them without an OS",
    ),
    (
        "images",
        &["kvm-ioctls", "kvm-bindings", "tokio"],
        "looking into an image needs no hypervisor",
    ),
    (
        "synjitsu-device",
        &["summoner", "images", "monitor", "tokio"],
        "the packet path knows no guests",
    ),
    (
        "monitor",
        &["tokio", "hickory-proto", "synjitsu", "config"],
        "what a guest attacks must be small",
    ),
];

/// Where `unsafe` may be written, with its reason; a prefix of the path from the root.
const UNSAFE: [&str; 3] = ["summoner/monitor/", "synjitsu/device/src/", "images/unikernel/"];
/// The test guest commits crimes for a living.
const UNSAFE_ON_PURPOSE: &str = "images/guests/trial/";

/// The longest source file, in lines; a longer one is more than one idea.
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a crate reaches through normal dependencies, itself left out.
fn reached(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().skip(1).filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn no_crate_reaches_what_it_must_not() {
    for (package, forbidden, reason) in FORBIDDEN {
        let reached = reached(package);
        for name in forbidden {
            assert!(!reached.contains(*name), "`{package}` reaches `{name}`: {reason}");
        }
    }
}

#[test]
fn the_law_can_fail() {
    // The same look-up finds what is there: an empty answer would pass every ban.
    assert!(reached("summoner").contains("tokio"));
    assert!(reached("monitor").contains("kvm-ioctls"));
    assert!(reached("synjitsu").contains("etherparse"));
}

/// Every source file that git knows or would take, from the root, with its text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((relative, text));
            }
        }
    }
    assert!(found.len() > 50, "the walk found only {} files", found.len());
    found
}

#[test]
fn unsafe_stays_where_it_may_be() {
    let marks = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe(naked)"];
    for (path, text) in sources() {
        let allowed = UNSAFE.iter().any(|place| path.starts_with(place))
            || path.starts_with(UNSAFE_ON_PURPOSE);
        // This file names what it looks for.
        if allowed || path.ends_with("tests/tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            assert!(!marks.iter().any(|mark| code.contains(mark)), "{path}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn files_have_one_idea() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{path} has {lines} lines");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    // Written apart, so that this line does not find itself.
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
    ];
    for (path, text) in sources() {
        for mark in marks {
            assert!(!text.contains(mark), "{path} has `{mark}`");
        }
    }
}

#[test]
fn the_top_level_is_the_map() {
    let expected = BTreeSet::from(
        [
            "Cargo.lock",
            "Cargo.toml",
            "LICENSE",
            "README.md",
            "clippy.toml",
            "deny.toml",
            "docs",
            "examples",
            "images",
            "policies",
            "rustfmt.toml",
            "summoner",
            "synjitsu",
        ]
        .map(str::to_owned),
    );
    let found: BTreeSet<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    assert_eq!(found, expected);
}
