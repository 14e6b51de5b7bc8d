//! The service in a container made by crun.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use serde_json::json;

use super::client::PATIENCE;
use super::launch::Launched;
use super::{BaselineError, Sample, program};

/// Where version 2 of the control groups lies on a host that has both versions.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// The most octets of crun's complaints that are repeated.
const SAID_MAX: u64 = 1024;

/// crun, and a bundle for it to run.
#[derive(Debug)]
pub(super) struct Crun {
    executable: PathBuf,
    /// The bundle: `config.json` and `root/`.
    bundle: PathBuf,
    /// Where it keeps its own files.
    state: PathBuf,
    /// Containers made so far, for their names.
    made: AtomicU64,
}

impl Crun {
    /// Looks for crun, and if it is there, makes a bundle of the service in `folder`.
    pub(super) fn find(folder: &Path, service: &[u8]) -> Result<Option<Self>, BaselineError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).map(|folder| folder.join("crun"));
        let Some(executable) = found.into_iter().find(|file| file.is_file()) else {
            return Ok(None);
        };
        let (bundle, state) = (folder.join("bundle"), folder.join("state"));
        let unpack = |path: &Path| {
            let path = path.to_owned();
            |source| BaselineError::Unpack { path, source }
        };
        // crun looks into /dev, whether anything is mounted there or not.
        for made in [&state, &bundle.join("root/dev"), &bundle.join("root/proc")] {
            fs::create_dir_all(made).map_err(unpack(made))?;
        }
        program::write(&bundle.join("root/http"), service)?;
        let config = bundle.join("config.json");
        fs::write(&config, configuration()).map_err(unpack(&config))?;
        Ok(Some(Self { executable, bundle, state, made: AtomicU64::new(0) }))
    }

    pub(super) fn sample(&self) -> Result<Sample, BaselineError> {
        thread::scope(|scope| {
            // A thread of its own, because it may leave the mount namespace of this process.
            let measured = scope.spawn(|| {
                hide_unified().map_err(|source| BaselineError::Prepare {
                    what: "hide the control groups, version 2, from crun",
                    source,
                })?;
                self.run()
            });
            measured.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn run(&self) -> Result<Sample, BaselineError> {
        let name = format!("baseline-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let mut command = self.command();
        // Without control groups: faster, and the same on every host.
        command.arg("--cgroup-manager=disabled").arg("run").arg("--bundle").arg(&self.bundle);
        command.arg(&name).stderr(Stdio::piped());
        let mut launched = Launched::start(command)?;
        let sample = launched.sample();
        let ended = self.end(&name, &mut launched);
        let said = launched.process().0.stderr.take();
        drop(launched);
        ended?;
        sample.map_err(|source| {
            let mut text = Vec::new();
            if let Some(said) = said {
                // What can be read is told.
                let _ = said.take(SAID_MAX).read_to_end(&mut text);
            }
            let said = String::from_utf8_lossy(&text).trim().to_owned();
            BaselineError::Crun { said, source: Box::new(source) }
        })
    }

    /// Ends the container, so that crun ends: killed itself, it would leave the container behind.
    fn end(&self, name: &str, launched: &mut Launched) -> Result<(), BaselineError> {
        let started = Instant::now();
        // Once may not do: the service can be up before crun has written down that there is a container.
        while started.elapsed() < PATIENCE {
            let mut delete = self.command();
            delete.args(["delete", "--force", name]).stdout(Stdio::null()).stderr(Stdio::null());
            delete.status().map_err(|source| BaselineError::Start {
                program: self.executable.display().to_string(),
                source,
            })?;
            if launched.has_ended_within(Duration::from_millis(100)) {
                break;
            }
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.env_clear().arg("--root").arg(&self.state);
        command
    }
}

/// The container: as little as crun accepts (Open Container Initiative, runtime specification 1.0).
fn configuration() -> String {
    let namespaces = ["mount", "pid", "ipc", "uts"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/http", "listen"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "root", "readonly": true },
        "mounts": [],
        "linux": { "namespaces": namespaces },
    })
    .to_string()
}

/// Has this thread see a host with both versions of control groups as one with version 1 only: crun refuses the
/// former even when it is told to use none.
fn hide_unified() -> io::Result<()> {
    if !Path::new(UNIFIED).is_dir() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    unmount(UNIFIED, UnmountFlags::DETACH)?;
    Ok(())
}
