//! Builds the guests, which [`builtin`](src/builtin.rs) embeds, and the programs they are measured against,
//! which [`baseline`](src/baseline.rs) embeds.
//!
//! Each of the two is a workspace of its own (`guests/`, `baseline/`), compiled by the same toolchain with other
//! flags, always in the release profile. The inner cargo gets a target directory of its own, or it would wait
//! for the lock that the outer one holds, and an environment without the outer one's flags.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// The target whose libraries the programs are built with; named in their `.cargo/config.toml` as well.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A workspace whose programs are embedded.
struct Workspace {
    /// Its folder, relative to this one.
    folder: &'static str,
    /// What its programs are, for messages.
    what: &'static str,
    /// The programs and the variables that tell the library where they are.
    programs: [(&'static str, &'static str); 2],
    /// The most octets that one of them may have.
    size_max: u64,
}

/// Each boot copies the image, and the daemon carries it.
const GUESTS: Workspace = Workspace {
    folder: "guests",
    what: "guests",
    programs: [("hello", "GUEST_HELLO"), ("trial", "GUEST_TRIAL")],
    size_max: 512 * 1024,
};

/// Most of these is the C library's and the standard library's code.
const BASELINE: Workspace = Workspace {
    folder: "baseline",
    what: "baseline programs",
    programs: [("baseline-http", "BASELINE_HTTP"), ("baseline-exit", "BASELINE_EXIT")],
    size_max: 2 * 1024 * 1024,
};

/// What the programs are made from, relative to this folder. Single entries, so that a target directory left
/// by a build made by hand does not count.
const SOURCES: [&str; 16] = [
    "guests/Cargo.toml",
    "guests/Cargo.lock",
    "guests/.cargo",
    "guests/hello",
    "guests/trial",
    "baseline/Cargo.toml",
    "baseline/Cargo.lock",
    "baseline/.cargo",
    "baseline/src",
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
    if variable("CARGO_CFG_TARGET_ARCH")? != OsStr::new("x86_64") {
        return Err(
            "the built-in guests exist for x86-64 only so far; build for an x86-64 target".into()
        );
    }
    GUESTS.build()?.map_err(|failure| GUESTS.explain(&failure))?;
    match BASELINE.build()? {
        Ok(()) => Ok(()),
        Err(failure) if lacks_static_library(&failure) => BASELINE.leave_out(),
        Err(failure) => Err(BASELINE.explain(&failure)),
    }
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"))
}

impl Workspace {
    fn path(&self) -> Result<PathBuf, String> {
        Ok(PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join(self.folder))
    }

    /// Builds the programs, and tells the library where they are; the inner error is that of cargo.
    fn build(&self) -> Result<Result<(), Output>, String> {
        let path = self.path()?;
        let target = PathBuf::from(variable("OUT_DIR")?).join(self.folder);
        let mut cargo = Command::new(variable("CARGO")?);
        cargo.args([
            "build",
            "--release",
            "--locked",
            "--bins",
            "--target",
            TARGET,
            "--target-dir",
        ]);
        cargo.arg(&target).current_dir(&path);
        // Added to the flags of the workspace's own configuration.
        cargo.arg("--config").arg(format!("target.{TARGET}.rustflags = {:?}", remappings(&path)));
        for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
            if !is_inherited(&name) {
                cargo.env_remove(name);
            }
        }
        // What the linker says is read, see `lacks_static_library`.
        cargo.env("LC_ALL", "C");
        let output = cargo.output().map_err(|error| {
            format!("cannot run cargo in {} to build the {}: {error}", path.display(), self.what)
        })?;
        if !output.status.success() {
            return Ok(Err(output));
        }
        let folder = target.join(TARGET).join("release");
        for (name, variable) in self.programs {
            self.announce(&folder.join(name), variable)?;
        }
        Ok(Ok(()))
    }

    fn explain(&self, failure: &Output) -> String {
        format!(
            "the {} do not build ({}); to see it alone: cd images/{} && cargo build --release --locked\n{}",
            self.what,
            failure.status,
            self.folder,
            String::from_utf8_lossy(&failure.stderr)
        )
    }

    /// Tells the library where a program is, if that is small enough.
    fn announce(&self, program: &Path, variable: &str) -> Result<(), String> {
        let size = fs::metadata(program)
            .map_err(|error| format!("{} was not built: {error}", program.display()))?
            .len();
        if size > self.size_max {
            return Err(format!(
                "{} has {size} bytes, at most {} are allowed; leave something out",
                program.display(),
                self.size_max
            ));
        }
        println!("cargo::rustc-env={variable}={}", program.display());
        Ok(())
    }

    /// Has nothing in the place of each program; whoever needs them says so then.
    fn leave_out(&self) -> Result<(), String> {
        println!(
            "cargo::warning=the {} are left out, because there is no static C library (libc.a) here; to have \
             them, install it (Fedora: glibc-static; on Debian it is in libc6-dev) and build again",
            self.what
        );
        let out = PathBuf::from(variable("OUT_DIR")?);
        // A file that never exists has every build look again whether the library has come.
        println!("cargo::rerun-if-changed={}", out.join("absent").display());
        let nothing = out.join("nothing");
        fs::write(&nothing, [])
            .map_err(|error| format!("cannot write {}: {error}", nothing.display()))?;
        for (_, variable) in self.programs {
            println!("cargo::rustc-env={variable}={}", nothing.display());
        }
        Ok(())
    }
}

/// Whether a build failed because the linker found no library to link statically; in the words of GNU ld and
/// of LLD. Not every distribution has `libc.a` where there is a compiler, and only the benchmark needs it.
fn lacks_static_library(failure: &Output) -> bool {
    let errors = String::from_utf8_lossy(&failure.stderr);
    errors.contains("cannot find -l") || errors.contains("unable to find library -l")
}

/// Flags that keep this machine's folders out of the programs, so that equal sources give equal images. (The
/// places of panics name source files.)
fn remappings(workspace: &Path) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    [(cargo_home, "cargo"), (workspace.parent().map(Path::to_path_buf), "images")]
        .into_iter()
        .filter_map(|(from, to)| {
            Some(format!("--remap-path-prefix={}={to}", from?.to_str()?.trim_end_matches('/')))
        })
        .collect()
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
