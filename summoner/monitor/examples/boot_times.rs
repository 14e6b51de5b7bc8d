//! How long a monitor takes: to become a shell, and from a boot request to a guest that waits for input, by every way there
//! is: from the image, from a snapshot in a shell that was prepared for the image, and in a shell that ran it before.
//!
//! `cargo run --release -p monitor --example boot_times -- [ROUNDS]` boots the built-in guest that many times by each way,
//! interleaved, each in a process of its own as the daemon does it, and prints the median and the 99th percentile of each
//! step; for comparison, how long this machine takes to start a process that only exits. The numbers mean something only
//! beside others of the same run.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use monitor::protocol::{
    BootRequest, MAX_MESSAGE, PrepareRequest, Report, Request, Stamps, Start, recv_report,
    send_request,
};
use policies::Instant;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::time::{ClockId, clock_gettime};

/// The word by which this program is told to be a monitor.
const MONITOR: &str = "monitor";
/// The word by which it is told to do nothing.
const NOTHING: &str = "nothing";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some(MONITOR) => {
            return match io::stdin().as_fd().try_clone_to_owned() {
                Ok(control) => monitor::run(control),
                Err(_) => ExitCode::FAILURE,
            };
        }
        Some(NOTHING) => return ExitCode::SUCCESS,
        _ => {}
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

#[derive(Default)]
struct Times(Vec<(&'static str, Vec<Duration>)>);

impl Times {
    fn note(&mut self, step: &'static str, time: Duration) {
        match self.0.iter_mut().find(|(name, _)| *name == step) {
            Some((_, times)) => times.push(time),
            None => self.0.push((step, vec![time])),
        }
    }

    fn note_boot(&mut self, (sent, stamps): (Instant, Stamps), steps: [&'static str; 3]) {
        for (step, at) in steps.into_iter().zip([stamps.loaded, stamps.entered, stamps.ready]) {
            self.note(step, at - sent);
        }
    }

    fn print(mut self, rounds: usize) {
        println!("{:<44} {:>8} {:>8}   ({rounds} rounds)", "µs", "median", "p99");
        for (step, times) in &mut self.0 {
            times.sort_unstable();
            let at = |percent: usize| {
                times.get(times.len() * percent / 100).map_or(0, Duration::as_micros)
            };
            println!("{step:<44} {:>8} {:>8}", at(50), at(99));
        }
    }
}

fn measure(rounds: usize) -> Result<()> {
    let image = images::builtin::HELLO;
    let plan = images::plan(image)?;
    let file = memfd_create("image", MemfdFlags::CLOEXEC)?;
    std::fs::File::from(file.try_clone()?).write_all(image)?;
    let prepare = Request::Prepare(PrepareRequest { plan, memory: 8 << 20 });
    let snapshot = memfd_create("snapshot", MemfdFlags::CLOEXEC)?;
    let mut first = Shell::make()?.0;
    first.prepare(&prepare, &file)?;
    first.boot(Start::ImageAndCapture, Some(&snapshot))?;
    let length = first.captured()?;
    println!("the snapshot has {} KiB", length / 1024);
    let mut recycled = Shell::make()?.0;
    recycled.prepare(&prepare, &file)?;
    recycled.boot(Start::Snapshot { offset: 0 }, Some(&snapshot))?;
    let mut times = Times::default();
    for _ in 0..rounds {
        let start = now();
        Command::new("/proc/self/exe").arg(NOTHING).status()?;
        times.note("a process that only exits", now() - start);
        let (mut shell, made) = Shell::make()?;
        times.note("shell: made", made);
        times.note("shell: prepared", shell.prepare(&prepare, &file)?);
        let plain = shell.boot(Start::Image, None)?;
        times.note_boot(plain, ["image: loaded", "image: entered", "image: ready"]);
        drop(shell);
        let mut shell = Shell::make()?.0;
        shell.prepare(&prepare, &file)?;
        let clone = shell.boot(Start::Snapshot { offset: 0 }, Some(&snapshot))?;
        times.note_boot(clone, ["snapshot: loaded", "snapshot: entered", "snapshot: ready"]);
        drop(shell);
        times.note("recycled: put back", recycled.recycle()?);
        let again = recycled.boot(Start::Parked, None)?;
        times.note_boot(again, ["recycled: loaded", "recycled: entered", "recycled: ready"]);
    }
    times.print(rounds);
    Ok(())
}

/// A shell in a process of its own.
struct Shell {
    child: Child,
    control: OwnedFd,
    /// The switch's end of the guest's port.
    _port: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Shell {
    /// With how long that took.
    fn make() -> Result<(Self, Duration)> {
        let (control, theirs) = pair()?;
        let start = now();
        let child =
            Command::new("/proc/self/exe").arg(MONITOR).stdin(Stdio::from(theirs)).spawn()?;
        let mut shell = Self { child, control, _port: None, buffer: vec![0; MAX_MESSAGE] };
        shell.wait_for(|report| matches!(report, Report::ShellReady { .. }).then_some(()))?;
        Ok((shell, now() - start))
    }

    fn prepare(&mut self, request: &Request, image: &OwnedFd) -> Result<Duration> {
        let start = now();
        send_request(self.control.as_fd(), request, &[image.as_fd()])?;
        self.wait_for(|report| matches!(report, Report::Prepared).then_some(()))?;
        Ok(now() - start)
    }

    /// When it was asked for, and how far it came when.
    fn boot(&mut self, start: Start, file: Option<&OwnedFd>) -> Result<(Instant, Stamps)> {
        let (ours, theirs) = pair()?;
        self._port = Some(ours);
        let request = Request::Boot(BootRequest {
            start,
            command_line: "--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1".to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            generation: now().as_nanos(),
            entropy: [1; 32],
        });
        let descriptors: Vec<_> = std::iter::once(&theirs).chain(file).map(AsFd::as_fd).collect();
        let sent = now();
        send_request(self.control.as_fd(), &request, &descriptors)?;
        let stamps = self.wait_for(|report| match report {
            Report::Ready(stamps) => Some(*stamps),
            _ => None,
        })?;
        Ok((sent, stamps))
    }

    fn captured(&mut self) -> Result<u64> {
        self.wait_for(|report| match report {
            Report::Captured { length } => Some(*length),
            _ => None,
        })
    }

    fn recycle(&mut self) -> Result<Duration> {
        let start = now();
        send_request(self.control.as_fd(), &Request::Recycle, &[])?;
        self.wait_for(|report| matches!(report, Report::Parked).then_some(()))?;
        Ok(now() - start)
    }

    fn wait_for<T>(&mut self, is_it: impl Fn(&Report) -> Option<T>) -> Result<T> {
        loop {
            let report = recv_report(self.control.as_fd(), &mut self.buffer)?;
            match report.as_ref().map(|report| (is_it(report), report)) {
                Some((Some(found), _)) => return Ok(found),
                Some((None, Report::Ended(ending))) => return Err(ending.to_string().into()),
                Some((None, _)) => {}
                None => return Err("the shell ended".into()),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    Instant::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
