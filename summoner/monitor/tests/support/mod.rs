//! Boots guests in monitor processes of their own: this very test program, called again to become one.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a helper of tests: a failure is the test's")]

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use images::{Abi, Access, Digest, Machine, Manifest, Plan, Segment};
use monitor::protocol::{
    BootRequest, Ending, MAX_MESSAGE, Report, Request, recv_report, send_request,
};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Set in the environment of a test program that is to become a monitor.
const BECOME: &str = "BECOME_A_MONITOR";

/// To be called by a test named `become_a_monitor`, which does nothing else.
pub(crate) fn become_a_monitor() {
    if std::env::var_os(BECOME).is_some() {
        let control = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        let code = monitor::run(control);
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
}

/// Set in the environment where it is a failure if guests cannot run.
const NEED_KVM: &str = "MONITOR_TESTS_NEED_KVM";

/// Whether guests can run here; says so where not.
pub(crate) fn can_run() -> bool {
    match monitor::probe::check() {
        Ok(_) => true,
        Err(error) if std::env::var_os(NEED_KVM).is_some() => panic!("{error}"),
        Err(error) => {
            let name = std::thread::current().name().unwrap_or("test").to_owned();
            let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {error}");
            false
        }
    }
}

/// Where [`Monitor::boot_code`] puts its code.
pub(crate) const CODE: u64 = 0x10_0000;

/// The link-layer address of every guest.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A monitor process as its daemon sees it.
pub(crate) struct Monitor {
    pub(crate) child: Child,
    pub(crate) control: OwnedFd,
    /// The switch's end of the guest's port.
    pub(crate) port: OwnedFd,
    buffer: Vec<u8>,
}

/// How a guest ended and what came before.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) reports: Vec<Report>,
    pub(crate) console: String,
    pub(crate) ending: Option<Ending>,
    pub(crate) status: ExitStatus,
}

impl Life {
    /// The report of a crash.
    pub(crate) fn crash(&self) -> &str {
        match &self.ending {
            Some(Ending::Crashed(report)) => report,
            other => panic!("no crash but {other:?}; console: {}", self.console),
        }
    }

    /// The text of a violation.
    pub(crate) fn violation(&self) -> &str {
        match &self.ending {
            Some(Ending::Violation(text)) => text,
            other => panic!("no violation but {other:?}; console: {}", self.console),
        }
    }

    /// Panics unless the guest halted with `status`.
    pub(crate) fn assert_halted(&self, status: i32) {
        match &self.ending {
            Some(Ending::Halted { status: found, .. }) if *found == status => {}
            other => panic!("not halted with {status} but {other:?}; console: {}", self.console),
        }
    }
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

impl Monitor {
    /// A shell, waiting.
    pub(crate) fn shell() -> Self {
        let (control, theirs) = pair();
        let child = Command::new("/proc/self/exe")
            .args(["--exact", "become_a_monitor", "--test-threads=1"])
            .env(BECOME, "1")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let port = pair().0;
        let mut monitor = Self { child, control, port, buffer: vec![0; MAX_MESSAGE] };
        assert_eq!(monitor.report(), Some(Report::ShellReady));
        monitor
    }

    /// The next report, or nothing when the process is gone.
    pub(crate) fn report(&mut self) -> Option<Report> {
        recv_report(self.control.as_fd(), &mut self.buffer).unwrap()
    }

    /// Boots an image in it.
    pub(crate) fn boot(&mut self, image: &[u8], command_line: &str) {
        self.boot_request(request(images::plan(image).unwrap(), command_line), image);
    }

    /// Boots some machine code in it, as the smallest image there is, with `memory` octets.
    pub(crate) fn boot_code(&mut self, code: &[u8], memory: u64) {
        let size = code.len() as u64;
        let plan = Plan {
            machine: Machine::X86_64,
            abi: Abi { target: 1, version: 2 },
            entry: CODE,
            segments: vec![Segment {
                gpa: CODE,
                file_offset: 0,
                file_size: size,
                memory_size: size,
                access: Access { read: true, write: false, execute: true },
            }],
            kernel_end: CODE + 0x1000,
            manifest: Manifest { devices: Vec::new() },
            digest: Digest::of(code),
        };
        self.boot_request(BootRequest { memory, ..request(plan, "") }, code);
    }

    /// Sends a boot request, whatever it says.
    pub(crate) fn boot_request(&mut self, request: BootRequest, image: &[u8]) {
        let file = memfd_create("image", MemfdFlags::CLOEXEC).unwrap();
        std::fs::File::from(file.try_clone().unwrap()).write_all(image).unwrap();
        let (ours, theirs) = pair();
        self.port = ours;
        let request = Request::Boot(request);
        send_request(self.control.as_fd(), &request, &[file.as_fd(), theirs.as_fd()]).unwrap();
    }

    /// Waits until the guest waits for input.
    pub(crate) fn wait_until_ready(&mut self) {
        loop {
            match self.report() {
                Some(Report::Ready { .. }) => break,
                Some(Report::Ended(ending)) => panic!("{ending}"),
                Some(_) => {}
                None => panic!("the monitor ended"),
            }
        }
    }

    /// Waits for the end.
    pub(crate) fn watch(mut self) -> Life {
        let (mut reports, mut console, mut ending) = (Vec::new(), Vec::new(), None);
        while let Some(report) = self.report() {
            match report {
                Report::Console(text) => console.extend(text),
                Report::Ended(how) => ending = Some(how),
                other => reports.push(other),
            }
        }
        let console = String::from_utf8_lossy(&console).into_owned();
        Life { reports, console, ending, status: self.child.wait().unwrap() }
    }
}

/// An ordinary boot request.
pub(crate) fn request(plan: Plan, command_line: &str) -> BootRequest {
    BootRequest {
        plan,
        memory: 8 << 20,
        command_line: command_line.to_owned(),
        mac: MAC,
        mtu: 1500,
        generation: 7,
        entropy: [42; 32],
    }
}

/// Lets some machine code run and watches it to its end.
pub(crate) fn code(code: &[u8], memory: u64) -> Life {
    let mut monitor = Monitor::shell();
    monitor.boot_code(code, memory);
    monitor.watch()
}

/// Lets the test guest do `acts` and watches it to its end.
pub(crate) fn trial(acts: &str) -> Life {
    let mut monitor = Monitor::shell();
    let flags: Vec<String> = acts.split(' ').map(|act| format!("--act={act}")).collect();
    monitor.boot(images::builtin::TRIAL, &flags.join(" "));
    monitor.watch()
}
