//! A guest at rest can be captured, cloned, put back and suspended; and whatever a snapshot says, it does no harm.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use monitor::protocol::{BootRequest, Ending, PrepareRequest, Report, Request, Start};
use support::{Boot, Monitor, can_run, instance, memory_file, request};

#[test]
fn become_a_monitor() {
    support::become_a_monitor();
}

const COMMAND_LINE: &str = "--name=test --ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1";
const MEMORY: u64 = 8 << 20;

fn hello() -> Boot {
    request(images::plan(images::builtin::HELLO).unwrap(), COMMAND_LINE)
}

fn boot(start: Start, generation: u64) -> BootRequest {
    let entropy = [u8::try_from(generation).unwrap(); 32];
    BootRequest { generation, entropy, ..instance(start, COMMAND_LINE) }
}

/// A shell with the built-in guest's image in it.
fn prepared() -> Monitor {
    let mut monitor = Monitor::shell();
    monitor.prepare(hello().plan, MEMORY, images::builtin::HELLO);
    monitor.wait_for(|report| matches!(report, Report::Prepared).then_some(()));
    monitor
}

/// A guest that was captured at its first poll, and its snapshot.
fn captured() -> (Monitor, OwnedFd, u64) {
    let mut monitor = prepared();
    let file = memory_file();
    monitor.instance(&boot(Start::ImageAndCapture, 1), Some(&file));
    monitor.wait_until_ready();
    let length = monitor.wait_for(|report| match report {
        Report::Captured { length } => Some(*length),
        _ => None,
    });
    (monitor, file, length)
}

fn ends_when_asked(monitor: Monitor) {
    monitor.say(&Request::Shutdown, &[]);
    monitor.watch().assert_halted(0);
}

#[test]
fn a_captured_guest_goes_on_and_so_do_its_clones() {
    if !can_run() {
        return;
    }
    let (original, file, length) = captured();
    assert!(length > 0 && length.is_multiple_of(4096), "{length}");
    assert_eq!(File::from(file.try_clone().unwrap()).metadata().unwrap().len(), length);
    for generation in 2..4 {
        let mut clone = prepared();
        clone.instance(&boot(Start::Snapshot { offset: 0 }, generation), Some(&file));
        clone.wait_until_ready();
        ends_when_asked(clone);
    }
    ends_when_asked(original);
}

#[test]
fn a_recycled_guest_is_there_again_and_again() {
    if !can_run() {
        return;
    }
    let (mut monitor, ..) = captured();
    for generation in 2..5 {
        monitor.say(&Request::Recycle, &[]);
        monitor.wait_for(|report| matches!(report, Report::Parked).then_some(()));
        monitor.instance(&boot(Start::Parked, generation), None);
        monitor.wait_until_ready();
    }
    ends_when_asked(monitor);
}

#[test]
fn a_suspended_guest_goes_on_elsewhere() {
    if !can_run() {
        return;
    }
    let (monitor, ..) = captured();
    let state = memory_file();
    monitor.say(&Request::Suspend, &[state.as_fd()]);
    let life = monitor.watch();
    assert_eq!(life.ending, Some(Ending::Suspended));
    assert!(matches!(life.reports[..], [Report::Captured { length: 1.. }]), "{:?}", life.reports);
    let mut resumed = prepared();
    resumed.instance(&boot(Start::Snapshot { offset: 0 }, 2), Some(&state));
    resumed.wait_until_ready();
    ends_when_asked(resumed);
}

#[test]
fn what_is_no_snapshot_is_refused_and_never_worse() {
    if !can_run() {
        return;
    }
    let (_original, file, length) = captured();
    let mut good = Vec::new();
    let mut source = File::from(file);
    source.seek(SeekFrom::Start(0)).unwrap();
    source.read_to_end(&mut good).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut octets = good.clone();
        change(&mut octets);
        octets
    };
    // Not these: the registers and pages of a snapshot are whatever they are, and only the guest has to live with them.
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("nothing".to_owned(), Vec::new()),
        ("zeroes".to_owned(), vec![0; 8192]),
        ("no magic".to_owned(), with(&|octets| octets[0] ^= 1)),
        ("another version".to_owned(), with(&|octets| octets[7] ^= 0x40)),
        ("an endless head".to_owned(), with(&|octets| octets[8..16].fill(0xff))),
        (
            "a head too short".to_owned(),
            with(&|octets| octets[8..16].copy_from_slice(&9_u64.to_le_bytes())),
        ),
        ("a cut head".to_owned(), good[..100].to_vec()),
        ("cut pages".to_owned(), good[..good.len() - 4096].to_vec()),
    ];
    // The end of the head, where it says which pages there are: each octet wrong in turn. Some still make a snapshot.
    let head = 16 + usize::try_from(u64::from_le_bytes(good[8..16].try_into().unwrap())).unwrap();
    for at in head.saturating_sub(24)..head {
        cases.push((format!("octet {at}"), with(&|octets| octets[at] ^= 0x81)));
    }
    assert_eq!(good.len() as u64, length);
    let mut refused = 0;
    let count = cases.len();
    for (what, octets) in cases {
        let broken = memory_file();
        File::from(broken.try_clone().unwrap()).write_all(&octets).unwrap();
        let mut monitor = prepared();
        monitor.instance(&boot(Start::Snapshot { offset: 0 }, 2), Some(&broken));
        // If it takes it after all, it is to end.
        monitor.say(&Request::Shutdown, &[]);
        let life = monitor.watch();
        match life.ending {
            Some(Ending::Failed(text)) => {
                assert!(text.contains("snapshot"), "{what}: {text}");
                refused += 1;
            }
            Some(_) => {}
            None => panic!("{what}: the monitor died: {}", life.status),
        }
    }
    assert!(refused >= count / 2, "only {refused} of {count} were refused");
}

#[test]
fn what_is_not_possible_now_is_refused() {
    if !can_run() {
        return;
    }
    let refused = |monitor: Monitor| match monitor.watch().ending {
        Some(Ending::Failed(text)) => text,
        other => panic!("{other:?}"),
    };
    let mut early = Monitor::shell();
    early.instance(&boot(Start::Image, 1), None);
    assert!(refused(early).contains("before there was an image"));

    let twice = prepared();
    let plan = hello().plan;
    twice.say(&Request::Prepare(PrepareRequest { plan, memory: MEMORY }), &[memory_file().as_fd()]);
    assert!(refused(twice).contains("something else than a boot"));

    let mut never_parked = prepared();
    never_parked.instance(&boot(Start::Parked, 1), None);
    assert!(refused(never_parked).contains("not parked"));

    let mut without = prepared();
    without.instance(&boot(Start::Snapshot { offset: 0 }, 1), None);
    assert!(refused(without).contains("the file is missing"));

    let mut from_nothing = prepared();
    from_nothing.instance(&boot(Start::Image, 1), None);
    from_nothing.wait_until_ready();
    from_nothing.say(&Request::Recycle, &[]);
    assert!(refused(from_nothing).contains("came from no snapshot"));
}
