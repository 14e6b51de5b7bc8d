//! How long a monitor takes: to become a shell, and from a boot request to a guest that waits for input.
//!
//! `cargo run --release -p monitor --example boot_times -- [ROUNDS]` boots the built-in guest that many times, one after the
//! other, each in a process of its own as the daemon does it, and prints the median and the 99th percentile of each step. The
//! numbers mean something only beside others of the same machine and hour.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use monitor::protocol::{BootRequest, MAX_MESSAGE, Report, Request, recv_report, send_request};
use policies::Instant;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::time::{ClockId, clock_gettime};

/// The word by which this program is told to be a monitor.
const MONITOR: &str = "monitor";

const STEPS: [&str; 5] = [
    "process started -> shell ready",
    "boot request -> loaded",
    "loaded -> entered",
    "entered -> guest ready",
    "boot request -> guest ready",
];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some(MONITOR) {
        return match io::stdin().as_fd().try_clone_to_owned() {
            Ok(control) => monitor::run(control),
            Err(_) => ExitCode::FAILURE,
        };
    }
    let rounds = argument.and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    match measure(rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize) -> Result<(), Box<dyn std::error::Error>> {
    let image = images::builtin::HELLO;
    let plan = images::plan(image)?;
    let file = memfd_create("image", MemfdFlags::CLOEXEC)?;
    std::fs::File::from(file.try_clone()?).write_all(image)?;
    let request = Request::Boot(BootRequest {
        plan,
        memory: 8 << 20,
        command_line: "--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1".to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        generation: 1,
        entropy: [1; 32],
    });
    let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
    for _ in 0..rounds {
        for (all, one) in times.iter_mut().zip(boot(&request, &file)?) {
            all.push(one);
        }
    }
    println!("{:<32} {:>10} {:>10}   ({rounds} rounds)", "µs", "median", "p99");
    for (step, times) in STEPS.iter().zip(&mut times) {
        times.sort_unstable();
        let at =
            |percent: usize| times.get(times.len() * percent / 100).map_or(0, Duration::as_micros);
        println!("{step:<32} {:>10} {:>10}", at(50), at(99));
    }
    Ok(())
}

/// Boots once; the durations of [`STEPS`].
fn boot(
    request: &Request,
    image: &OwnedFd,
) -> Result<[Duration; STEPS.len()], Box<dyn std::error::Error>> {
    let (control, theirs) = pair()?;
    let (_nowhere, port) = pair()?;
    let started = now();
    let mut child =
        Command::new("/proc/self/exe").arg(MONITOR).stdin(Stdio::from(theirs)).spawn()?;
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut next = || recv_report(control.as_fd(), &mut buffer);
    match next()? {
        Some(Report::ShellReady) => {}
        other => return Err(format!("no shell: {other:?}").into()),
    }
    let shell = now();
    send_request(control.as_fd(), request, &[image.as_fd(), port.as_fd()])?;
    let (mut loaded, mut entered) = (shell, shell);
    let ready = loop {
        match next()? {
            Some(Report::Loaded { at }) => loaded = at,
            Some(Report::Entered { at }) => entered = at,
            Some(Report::Ready { at }) => break at,
            Some(Report::Console(_)) => {}
            other => return Err(format!("the guest did not get ready: {other:?}").into()),
        }
    };
    child.kill()?;
    child.wait()?;
    Ok([shell - started, loaded - shell, entered - loaded, ready - entered, ready - shell])
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    Instant::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
