//! Boots guests in monitor processes of their own: this very test program, called again to become one.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a helper of tests: a failure is the test's")]

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use images::{Abi, Access, Digest, Machine, Manifest, Plan, Segment, Takes};
use monitor::protocol::{
    BootRequest, Ending, MAX_MESSAGE, PrepareRequest, Report, Request, Start, recv_report,
    send_request,
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
        assert!(matches!(monitor.report(), Some(Report::ShellReady { .. })));
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
            takes: Takes::default(),
            digest: Digest::of(code),
        };
        self.boot_request(Boot { memory, ..request(plan, "") }, code);
    }

    /// Has an image prepared and an instance booted, whatever the requests say.
    pub(crate) fn boot_request(&mut self, boot: Boot, image: &[u8]) {
        self.prepare(boot.plan, boot.memory, image);
        self.instance(&boot.instance, None);
    }

    /// Has an image prepared.
    pub(crate) fn prepare(&mut self, plan: Plan, memory: u64, image: &[u8]) {
        let file = memory_file();
        std::fs::File::from(file.try_clone().unwrap()).write_all(image).unwrap();
        self.say(&Request::Prepare(PrepareRequest { plan, memory }), &[file.as_fd()]);
    }

    /// Has an instance booted, from a new port.
    pub(crate) fn instance(&mut self, request: &BootRequest, file: Option<&OwnedFd>) {
        let (ours, theirs) = pair();
        self.port = ours;
        let descriptors: Vec<_> = std::iter::once(&theirs).chain(file).map(AsFd::as_fd).collect();
        self.say(&Request::Boot(request.clone()), &descriptors);
    }

    /// Sends a request; a monitor that has ended meanwhile does not get it.
    pub(crate) fn say(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) {
        let _ = send_request(self.control.as_fd(), request, descriptors);
    }

    /// Waits for a report that `is_it` knows; the ending is none.
    pub(crate) fn wait_for<T>(&mut self, is_it: impl Fn(&Report) -> Option<T>) -> T {
        loop {
            match self.report() {
                Some(Report::Ended(ending)) => panic!("{ending}"),
                Some(report) => {
                    if let Some(found) = is_it(&report) {
                        return found;
                    }
                }
                None => panic!("the monitor ended"),
            }
        }
    }

    /// Waits until the guest waits for input.
    pub(crate) fn wait_until_ready(&mut self) {
        self.wait_for(|report| matches!(report, Report::Ready(_)).then_some(()));
    }

    /// Waits until the guest has written something.
    pub(crate) fn wait_until_heard(&mut self) {
        self.wait_for(|report| matches!(report, Report::Console(_)).then_some(()));
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

/// An image and an instance of it.
#[derive(Clone)]
pub(crate) struct Boot {
    pub(crate) plan: Plan,
    pub(crate) memory: u64,
    pub(crate) instance: BootRequest,
}

/// An ordinary boot.
pub(crate) fn request(plan: Plan, command_line: &str) -> Boot {
    Boot { plan, memory: 8 << 20, instance: instance(Start::Image, command_line) }
}

/// An ordinary instance.
pub(crate) fn instance(start: Start, command_line: &str) -> BootRequest {
    BootRequest {
        start,
        command_line: command_line.to_owned(),
        mac: MAC,
        mtu: 1500,
        generation: 7,
        entropy: [42; 32],
    }
}

/// An empty memory file.
pub(crate) fn memory_file() -> OwnedFd {
    memfd_create("test", MemfdFlags::CLOEXEC).unwrap()
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
