//! What guests may expect, and what becomes of those that break the rules: on any KVM, software or hardware.

mod support;

use std::os::fd::AsFd;

use images::{Device, DeviceKind, Manifest, Plan};
use monitor::protocol::{Ending, Report, Request, Start, send_request};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Pid, Signal, kill_process};
use support::{Boot, CODE, MAC, Monitor, can_run, code, instance, request, trial};

#[test]
fn become_a_monitor() {
    support::become_a_monitor();
}

/// Defines tests that need a KVM.
macro_rules! guests {
    ($($(#[$doc:meta])* fn $name:ident() $body:block)+) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            if can_run() $body
        }
    )+ };
}

guests! {
    fn a_guest_boots_and_halts() {
        let life = trial("halt=7");
        life.assert_halted(7);
        let stages: Vec<_> = life.reports.iter().map(std::mem::discriminant).collect();
        assert_eq!(stages, [std::mem::discriminant(&Report::Prepared)]);
        let Some(Ending::Halted { cookie, .. }) = trial("halt-cookie").ending else { panic!("not halted") };
        assert_eq!(cookie.len(), 512);
    }

    fn an_honest_guest_finds_what_the_abi_promises() {
        let life = trial("puts=hello facts sse memory stack walltime poll=5 poll-once");
        life.assert_halted(0);
        for fact in [
            "hello",
            "command line: --act=puts=hello --act=facts",
            "memory: 8388608",
            "generation: Some(7) features: 0xf0001",
            "handle: 1, mac: [2, 0, 0, 0, 0, 1], mtu: 1500",
        ] {
            assert!(life.console.contains(fact), "{fact}: {}", life.console);
        }
        assert!(life.status.success(), "{}", life.status);
        let ready = life.reports.iter().filter(|report| matches!(report, Report::Ready(_))).count();
        assert_eq!(ready, 1, "ready is told once, at the first wait");
    }

    fn a_panic_is_in_the_log() {
        let life = trial("panic");
        life.assert_halted(101);
        assert!(life.console.contains("panicked"), "{}", life.console);
    }

    fn the_built_in_guest_gets_ready_and_ends_when_asked() {
        let mut monitor = Monitor::shell();
        monitor.boot(images::builtin::HELLO, "--name=test --ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1");
        monitor.wait_until_ready();
        send_request(monitor.control.as_fd(), &Request::Shutdown, &[]).unwrap();
        monitor.watch().assert_halted(0);
    }

    fn frames_reach_the_guest_and_come_back() {
        let mut monitor = Monitor::shell();
        monitor.boot(images::builtin::HELLO, "--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1");
        monitor.wait_until_ready();
        let sender = [2, 0, 0, 0, 0, 9];
        // Who has 10.0.0.2? Tell 10.0.0.1 (RFC 826).
        let mut frame = vec![0xff; 6];
        frame.extend(sender);
        frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(sender);
        frame.extend([10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        send(&monitor.port, &frame, SendFlags::empty()).unwrap();
        let mut buffer = [0; 2000];
        let reply = loop {
            let (_, length) = recv(&monitor.port, &mut buffer, RecvFlags::empty()).unwrap();
            assert!(length > 0, "the guest hung up");
            // Besides, the guest may ask or announce something.
            if length >= 42 && buffer[12..14] == [0x08, 0x06] && buffer[20..22] == [0, 2] {
                break &buffer[..length];
            }
        };
        assert_eq!(reply[..6], sender);
        assert_eq!(reply[22..28], MAC);
        assert_eq!(reply[28..32], [10, 0, 0, 2]);
        send_request(monitor.control.as_fd(), &Request::Shutdown, &[]).unwrap();
        monitor.watch().assert_halted(0);
    }

    fn memory_may_be_small_and_large() {
        // Calls halt with an argument on its stack, at the top of memory: mov qword [rsp - 16], 0; mov dword [rsp - 8], 5;
        // lea rax, [rsp - 16]; mov dx, 0x508; out dx, eax.
        let halt = [
            0x48, 0xc7, 0x44, 0x24, 0xf0, 0, 0, 0, 0, 0xc7, 0x44, 0x24, 0xf8, 5, 0, 0, 0, 0x48, 0x8d, 0x44, 0x24, 0xf0,
            0x66, 0xba, 0x08, 0x05, 0xef,
        ];
        for memory in [2 << 20, 4 << 20, 1 << 30, 4 << 30] {
            code(&halt, memory).assert_halted(5);
        }
    }

    fn what_cannot_be_loaded_is_refused_with_its_reason() {
        let image = images::builtin::TRIAL;
        let plan = images::plan(image).unwrap();
        let good = request(plan.clone(), "");
        let with = |kinds: &[DeviceKind]| {
            let devices = kinds.iter().map(|&kind| Device { name: "data".to_owned(), kind }).collect();
            Boot { plan: Plan { manifest: Manifest { devices }, ..plan.clone() }, ..good.clone() }
        };
        let cut = &image[..image.len() / 2];
        let told = |command_line: &str| Boot { instance: instance(Start::Image, command_line), ..good.clone() };
        let cases: [(Boot, &[u8], &str); 7] = [
            (with(&[DeviceKind::Block]), image, "block device `data`"),
            (with(&[DeviceKind::Net, DeviceKind::Net]), image, "net device `data`"),
            (Boot { memory: (8 << 20) + 4096, ..good.clone() }, image, "memory"),
            (Boot { memory: 4 << 20, ..good.clone() }, image, "memory"),
            (told(&"x".repeat(8192)), image, "command line has 8192 octets"),
            (told("a\0b"), image, "command line"),
            (good.clone(), cut, "is it complete?"),
        ];
        for (request, image, reason) in cases {
            let mut monitor = Monitor::shell();
            monitor.boot_request(request, image);
            let life = monitor.watch();
            assert!(
                matches!(&life.ending, Some(Ending::Failed(text)) if text.contains(reason)),
                "{reason}: {:?}",
                life.ending
            );
            assert!(!life.status.success(), "{reason}");
        }
    }

    fn exceptions_are_reported_by_name() {
        for (act, name) in [
            ("divide", "divide error"),
            ("breakpoint", "breakpoint"),
            ("undefined", "undefined instruction"),
            ("privileged=hlt", "general protection"),
            ("privileged=mov-cr3", "general protection"),
            ("privileged=wrmsr", "general protection"),
            ("misaligned-sse", "general protection"),
            ("non-canonical", "general protection"),
        ] {
            let life = trial(act);
            assert!(life.crash().starts_with(name), "{act}: {}", life.crash());
            assert!(life.crash().contains("rip 0x2") && life.crash().contains("rax 0x"), "{}", life.crash());
        }
    }

    fn what_a_processor_may_refuse_in_two_ways_is_refused() {
        for act in ["interrupt", "system-call"] {
            trial(act).crash();
        }
        // Some KVMs answer a call of theirs from ring 3 with an error, and the guest goes on to complain.
        let life = trial("hypervisor-call");
        assert!(
            matches!(life.ending, Some(Ending::Crashed(_) | Ending::Halted { status: 1, .. })),
            "{:?}",
            life.ending
        );
        // Another port faults where the I/O bitmap is honoured, and is a violation where only the privilege level is.
        for act in ["port-read", "port-write"] {
            let life = trial(act);
            assert!(matches!(life.ending, Some(Ending::Crashed(_) | Ending::Violation(_))), "{act}: {:?}", life.ending);
        }
    }

    fn no_guest_touches_what_it_may_not() {
        for (act, what, place) in [
            ("read-null", "reading", "null page"),
            ("write-null", "writing", "null page"),
            ("jump-null", "execution", "null page"),
            ("read-tables", "reading", "nothing is mapped"),
            ("read-outside", "reading", ""),
            ("write-code", "writing is not allowed", "code"),
            ("write-constant", "writing is not allowed", "code"),
            ("write-boot-info", "writing is not allowed", "read-only"),
            ("execute-data", "execution is not allowed", "data"),
            ("execute-heap", "execution is not allowed", "heap"),
            ("execute-stack", "execution is not allowed", "stack"),
            ("execute-boot-info", "execution is not allowed", "read-only"),
            ("stack-overflow", "writing", "the stack is full"),
        ] {
            let life = trial(act);
            let report = life.crash();
            assert!(report.starts_with("page fault"), "{act}: {report}");
            let first = report.lines().next().unwrap();
            assert!(first.contains(what) && first.contains(place), "{act}: {report}");
        }
    }

    fn hostile_hypercalls_end_the_guest_with_a_reason() {
        for act in [
            "call-unknown=0",
            "call-unknown=9",
            "call-wide=8",
            "call-wide=16",
            "call-wide=in",
            "argument-in-tables",
            "ring-index=1025",
            "ring-operation=2",
            "ring-operation=3",
            "argument-in-code",
            "puts-outside",
            "puts-huge",
            "puts-wraps",
            "puts-tables",
            "net-write-outside",
            "net-write-tables",
            "net-read-outside",
            "net-read-tables",
            "net-read-code",
            "net-read-boot-info",
            "net-read-huge",
            "halt-cookie-outside",
        ] {
            let life = trial(act);
            // A port that is no hypercall's may be closed by the I/O bitmap already.
            let closed = matches!(&life.ending, Some(Ending::Crashed(report)) if report.starts_with("general protection"));
            assert!((closed && act.starts_with("call-")) || !life.violation().is_empty(), "{act}");
        }
        for number in 1..=8 {
            for act in ["argument-outside", "argument-straddles", "argument-last"] {
                let life = trial(&format!("{act}={number}"));
                assert!(life.violation().contains("argument"), "{act} {number}: {}", life.violation());
            }
        }
    }

    fn what_is_merely_wrong_is_answered_and_the_guest_goes_on() {
        for act in [
            "argument-misaligned",
            "argument-overlaps",
            "puts-nothing",
            "net-write-size=0",
            "net-write-size=13",
            "net-write-size=1514",
            "net-write-size=1515",
            "net-write-size=65535",
            "net-read-short",
            "net-handle=0",
            "net-handle=2",
            "net-handle=64",
            "net-handle=18446744073709551615",
            "block",
            "kick",
            "ring-index=0",
        ] {
            let life = trial(act);
            assert!(matches!(life.ending, Some(Ending::Halted { status: 0, .. })), "{act}: {:?} {}", life.ending, life.console);
        }
    }

    fn a_guest_cannot_make_up_a_crash() {
        // mov al, 14; out 0x7f, al: what a stub does. Where the I/O bitmap is honoured it is a fault of its own.
        let life = code(&[0xb0, 0x0e, 0xe6, 0x7f, 0xeb, 0xfe], 2 << 20);
        match &life.ending {
            Some(Ending::Violation(text)) => assert!(text.contains("port 0x7f"), "{text}"),
            Some(Ending::Crashed(report)) => {
                assert!(report.starts_with("general protection"), "{report}");
                assert!(report.contains(&format!("at rip {:#x} (code)", CODE + 2)), "{report}");
            }
            other => panic!("{other:?}"),
        }
    }

    fn a_guest_cannot_shut_its_monitor_out() {
        // cli; 1: jmp 1b. Where I/O privilege is honoured that is allowed, and must not matter.
        let mut monitor = Monitor::shell();
        monitor.boot_code(&[0xfa, 0xeb, 0xfe], 2 << 20);
        monitor.wait_for(|report| matches!(report, Report::Prepared).then_some(()));
        let mut child = monitor.child;
        drop(monitor.control);
        assert!(!child.wait().unwrap().success());
    }

    fn string_output_is_no_way_around_the_checks() {
        // mov dx, 0x502; mov esi, 0x10000; mov ecx, 1000; rep outsd: a thousand times puts, with arguments out of the boot
        // information.
        let life = code(&[
            0x66, 0xba, 0x02, 0x05, 0xbe, 0x00, 0x00, 0x01, 0x00, 0xb9, 0xe8, 0x03, 0x00, 0x00, 0xf3, 0x6f, 0xeb, 0xfe,
        ], 2 << 20);
        life.violation();
    }

    fn floods_drown_nobody() {
        // 64 KiB at once and per second come through, however long a slow machine takes; and a last line.
        let start = std::time::Instant::now();
        let life = trial("flood-console=20000");
        let allowed = 64.0 * 1024.0 * (1.0 + start.elapsed().as_secs_f64()) + 200.0;
        life.assert_halted(0);
        let passed = u32::try_from(life.console.len()).unwrap();
        assert!(f64::from(passed) < allowed, "{passed} octets came through");
        assert!(life.console.contains("octets of console output were dropped"), "{}", life.console);
        trial("flood-net=20000").assert_halted(0);
        trial("flood-heap").assert_halted(101);
    }

    fn a_guest_that_never_exits_ends_with_its_daemon() {
        let mut monitor = Monitor::shell();
        monitor.boot(images::builtin::TRIAL, "--act=puts=here --act=spin");
        monitor.wait_until_heard();
        let mut child = monitor.child;
        drop(monitor.control);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(1), "{status}");
    }

    fn a_waiting_shell_ends_with_its_daemon() {
        let monitor = Monitor::shell();
        let mut child = monitor.child;
        drop(monitor.control);
        assert!(child.wait().is_ok());
    }

    fn a_killed_monitor_is_noticed() {
        let mut monitor = Monitor::shell();
        monitor.boot(images::builtin::TRIAL, "--act=deaf");
        monitor.wait_until_ready();
        let pid = Pid::from_child(&monitor.child);
        kill_process(pid, Signal::KILL).unwrap();
        let life = monitor.watch();
        assert_eq!(life.ending, None);
        assert!(!life.status.success());
    }

    fn a_running_guest_s_monitor_has_given_up_everything() {
        let mut monitor = Monitor::shell();
        monitor.boot(images::builtin::TRIAL, "--act=deaf");
        monitor.wait_until_ready();
        let process = monitor.child.id();
        let mut filtered = 0;
        for task in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim().to_owned()).unwrap_or_default()
            };
            assert_eq!(field("Seccomp:"), "2", "a thread without a filter");
            assert_eq!(field("NoNewPrivs:"), "1");
            // The first thread is the test harness's, which a real monitor has not: it becomes one on its first thread.
            if field("Pid:") != process.to_string() {
                for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                    assert_eq!(field(set), "0000000000000000", "{set}");
                }
            }
            filtered += 1;
        }
        assert!(filtered >= 1, "only {filtered} threads were looked at");
        monitor.child.kill().unwrap();
        monitor.child.wait().unwrap();
    }
}
