//! Builds the guests, which [`builtin`](src/builtin.rs) embeds.
//!
//! They are a workspace of their own (`guests/`), compiled by the same toolchain with other flags, always in
//! the release profile. The inner cargo gets a target directory of its own, or it would wait for the lock
//! that the outer one holds, and an environment without the outer one's flags.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The target whose core library guests are built with; named in `guests/.cargo/config.toml` as well.
const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The guests and the variables that tell the library where their images are.
const GUESTS: [(&str, &str); 2] = [("hello", "GUEST_HELLO"), ("trial", "GUEST_TRIAL")];

/// The most octets that a built-in image may have: each boot copies it, and the daemon carries it.
const SIZE_MAX: u64 = 512 * 1024;

/// What the guests are made from, relative to this folder. Single entries, so that a target directory left
/// by a build made by hand does not count.
const SOURCES: [&str; 12] = [
    "guests/Cargo.toml",
    "guests/Cargo.lock",
    "guests/.cargo",
    "guests/hello",
    "guests/trial",
    "unikernel/Cargo.toml",
    "unikernel/build.rs",
    "unikernel/link",
    "unikernel/src",
    "abi/Cargo.toml",
    "abi/src",
    "build.rs",
];

fn main() {
    if let Err(message) = build() {
        // Each line of its own, because cargo shows one line per message.
        for line in message.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn build() -> Result<(), String> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let variable =
        |name: &str| env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"));
    if variable("CARGO_CFG_TARGET_ARCH")? != OsStr::new("x86_64") {
        return Err(
            "the built-in guests exist for x86-64 only so far; build for an x86-64 target".into()
        );
    }
    let guests = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("guests");
    let target = PathBuf::from(variable("OUT_DIR")?).join("guests");
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args([
        "build",
        "--release",
        "--locked",
        "--bins",
        "--target",
        GUEST_TARGET,
        "--target-dir",
    ]);
    cargo.arg(&target).current_dir(&guests);
    // Added to the flags of the guests' own configuration.
    cargo
        .arg("--config")
        .arg(format!("target.{GUEST_TARGET}.rustflags = {:?}", remappings(&guests)));
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if !is_inherited(&name) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().map_err(|error| {
        format!("cannot run cargo in {} to build the guests: {error}", guests.display())
    })?;
    if !output.status.success() {
        return Err(format!(
            "the guests do not build ({}); to see it alone: cd {} && cargo build --release --locked\n{}",
            output.status,
            guests.display(),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let folder = target.join(GUEST_TARGET).join("release");
    GUESTS.iter().try_for_each(|(name, variable)| announce(&folder.join(name), variable))
}

/// Flags that keep this machine's folders out of the images, so that equal sources give equal images. (The
/// places of panics name source files.)
fn remappings(guests: &Path) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    [(cargo_home, "cargo"), (guests.parent().map(Path::to_path_buf), "images")]
        .into_iter()
        .filter_map(|(from, to)| {
            Some(format!("--remap-path-prefix={}={to}", from?.to_str()?.trim_end_matches('/')))
        })
        .collect()
}

/// Tells the library where an image is, if that is small enough.
fn announce(image: &Path, variable: &str) -> Result<(), String> {
    let size = fs::metadata(image)
        .map_err(|error| format!("the guest {} was not built: {error}", image.display()))?
        .len();
    if size > SIZE_MAX {
        return Err(format!(
            "the guest {} has {size} bytes, at most {SIZE_MAX} are allowed; leave something out",
            image.display()
        ));
    }
    println!("cargo::rustc-env={variable}={}", image.display());
    Ok(())
}

/// Whether the inner cargo may see a variable: not those that tell the outer one how to build (flags,
/// wrappers such as clippy's, profiles, targets), but those that tell where crates come from.
fn is_inherited(name: &str) -> bool {
    const SETTINGS: [&str; 4] = ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_SOURCE_"];
    const DROPPED: [&str; 4] =
        ["RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
    match name {
        // The job server, so that both cargos together start as many jobs as were asked for.
        "CARGO_HOME" | "CARGO_MAKEFLAGS" => true,
        _ if SETTINGS.iter().any(|prefix| name.starts_with(prefix)) => true,
        _ => {
            // A build script of the guests' network stack reads the last ones.
            let build =
                ["CARGO", "__CARGO", "SMOLTCP_"].iter().any(|prefix| name.starts_with(prefix));
            !build && !DROPPED.contains(&name)
        }
    }
}
