//! Hypercalls, meant well and not.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use proptest::prelude::*;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use super::*;
use crate::arch::{Region, RegionKind};
use crate::protocol::{MAX_MESSAGE, Report, recv_report};

const SIZE: u64 = 2 << 20;
const AT: u64 = 0x10_0000;
const DATA: u64 = 0x11_0000;
const NET: u64 = 1;
const MTU: u16 = 1500;

struct Stage {
    memory: GuestMemory,
    devices: Devices,
    shutdown: Arc<ShutdownRequest>,
    /// The switch's end of the port.
    port: OwnedFd,
    /// The daemon's end of the control socket.
    control: OwnedFd,
}

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

fn stage() -> Stage {
    let (control, reports) = pair();
    let (port, theirs) = pair();
    let shutdown = ShutdownRequest::new().unwrap();
    let mut devices = Devices::new(Arc::new(reports), shutdown.clone()).with_net(NET, theirs, MTU);
    devices.note_entry(policies::Instant::ZERO);
    let mut memory = GuestMemory::new(SIZE).unwrap();
    memory.allow(&[Region { start: 0x10_0000, end: SIZE, kind: RegionKind::Data }]);
    Stage { memory, devices, shutdown, port, control }
}

impl Stage {
    fn call<const N: usize>(&mut self, call: Hypercall, argument: [u8; N]) -> [u8; N] {
        self.memory.write(AT, &argument).unwrap();
        let outcome = handle(&mut self.devices, &self.memory, call, AT);
        assert_eq!(outcome, Outcome::Continue, "{call}");
        let mut after = [0; N];
        self.memory.read(AT, &mut after).unwrap();
        after
    }

    fn reports(&self) -> Vec<Report> {
        let mut buffer = vec![0; MAX_MESSAGE];
        std::iter::from_fn(|| recv_report(self.control.as_fd(), &mut buffer).ok().flatten())
            .collect()
    }

    fn net_write(&mut self, handle: u64, len: u64) -> i32 {
        let call = NetWrite { handle, data: DATA, len, ret: -1 };
        NetWrite::from_bytes(&self.call(Hypercall::NetWrite, call.to_bytes())).ret
    }

    fn net_read(&mut self, len: u64) -> (i32, u64) {
        let call = NetRead { handle: NET, data: DATA, len, ret: -1 };
        let after = NetRead::from_bytes(&self.call(Hypercall::NetRead, call.to_bytes()));
        (after.ret, after.len)
    }

    fn poll(&mut self, timeout_nsecs: u64) -> (u64, i32) {
        let call = Poll { timeout_nsecs, ..Poll::default() };
        let after = Poll::from_bytes(&self.call(Hypercall::Poll, call.to_bytes()));
        (after.ready_set, after.ret)
    }
}

#[test]
fn the_clock_tells_this_century() {
    let after = Walltime::from_bytes(&stage().call(Hypercall::Walltime, [0; 8]));
    assert!(after.nsecs > 1_700_000_000_000_000_000);
}

#[test]
fn the_console_is_passed_on_in_bounded_pieces() {
    let mut stage = stage();
    stage.memory.write(DATA, b"hello\n").unwrap();
    stage.call(Hypercall::Puts, Puts { data: DATA, len: 6 }.to_bytes());
    assert_eq!(stage.reports(), [Report::Console(b"hello\n".to_vec())]);
    stage.call(Hypercall::Puts, Puts { data: DATA, len: 9000 }.to_bytes());
    let lengths: Vec<_> = stage
        .reports()
        .into_iter()
        .map(|report| if let Report::Console(text) = report { text.len() } else { 0 })
        .collect();
    assert_eq!(lengths, [4096, 4096, 808]);
}

#[test]
fn frames_go_both_ways() {
    let mut stage = stage();
    stage.memory.write(DATA, &[7; 60]).unwrap();
    assert_eq!(stage.net_write(NET, 60), CallResult::Ok.code());
    let mut buffer = [0; 2000];
    let (_, length) = recv(&stage.port, &mut buffer, RecvFlags::empty()).unwrap();
    assert_eq!(&buffer[..length], [7; 60]);
    assert_eq!(stage.net_read(1514), (CallResult::Again.code(), 1514));
    send(&stage.port, &[9; 100], SendFlags::empty()).unwrap();
    assert_eq!(stage.poll(u64::MAX), (1 << NET, 1));
    assert_eq!(stage.net_read(1514), (CallResult::Ok.code(), 100));
    let mut frame = [0; 100];
    stage.memory.read(DATA, &mut frame).unwrap();
    assert_eq!(frame, [9; 100]);
}

#[test]
fn frames_that_no_network_has_are_refused() {
    let mut stage = stage();
    let invalid = CallResult::InvalidArgument.code();
    for length in [0, 1, 13, 1515, 65_535, 1 << 19] {
        assert_eq!(stage.net_write(NET, length), invalid, "{length}");
    }
    for handle in [0, 2, 63, 64, u64::MAX] {
        assert_eq!(stage.net_write(handle, 60), invalid, "{handle}");
    }
    assert_eq!(stage.net_read(13).0, invalid);
    assert!(recv(&stage.port, &mut [0; 10], RecvFlags::empty()).is_err(), "nothing was sent");
}

#[test]
fn the_first_wait_is_readiness() {
    let mut stage = stage();
    assert_eq!(stage.poll(0), (0, 0));
    assert_eq!(stage.poll(1000), (0, 0));
    stage.net_read(1514);
    assert!(matches!(stage.reports()[..], [Report::Ready(_)]));
}

#[test]
fn a_wish_to_end_is_told_once() {
    let mut stage = stage();
    stage.shutdown.make();
    assert_eq!(stage.poll(u64::MAX), (SHUTDOWN_REQUEST_BIT, 1));
    assert_eq!(stage.poll(0), (0, 0));
}

#[test]
fn a_full_port_and_a_closed_one_harm_nobody() {
    let mut stage = stage();
    for _ in 0..5000 {
        assert_eq!(stage.net_write(NET, 1514), CallResult::Ok.code());
    }
    drop(std::mem::replace(&mut stage.port, pair().0));
    assert_eq!(stage.net_write(NET, 60), CallResult::Ok.code());
    assert_eq!(stage.net_read(1514).0, CallResult::Again.code());
    assert_eq!(stage.poll(1_000_000), (0, 0), "a closed port is not input");
    assert_eq!(stage.poll(0), (0, 0), "nor is it later");
    stage.shutdown.make();
    assert_eq!(stage.poll(u64::MAX), (SHUTDOWN_REQUEST_BIT, 1), "it can still be asked to end");
}

#[test]
fn a_halt_brings_its_cookie() {
    let stage = &mut stage();
    stage.memory.write(DATA, &[5; 512]).unwrap();
    let mut halt = |cookie| {
        stage.memory.write(AT, &Halt { cookie, exit_status: 3 }.to_bytes()).unwrap();
        handle(&mut stage.devices, &stage.memory, Hypercall::Halt, AT)
    };
    assert_eq!(halt(0), Outcome::End(Ending::Halted { status: 3, cookie: Vec::new() }));
    assert_eq!(halt(DATA), Outcome::End(Ending::Halted { status: 3, cookie: vec![5; 512] }));
    assert!(matches!(halt(SIZE - 511), Outcome::End(Ending::Violation(_))));
}

/// Numbers that are likely to hit an edge.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        (SIZE - 600..SIZE + 600),
        (0..2000_u64),
        any::<u64>(),
        (AT - 64..AT + 64),
        (1_u64 << 31..1 << 33),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a guest passes, the monitor goes on, the monitor's area stays as it was, and a violation says what it
    /// was about.
    #[test]
    fn nothing_that_a_guest_passes_harms_the_monitor(
        call in (1..=8_u16).prop_map(|n| Hypercall::from_number(n).unwrap()),
        words in proptest::array::uniform5(number()),
        argument in prop_oneof![3 => Just(AT), 1 => number()],
    ) {
        let mut stage = stage();
        stage.memory.copy_in(SIZE, &[0xa5; 64]).unwrap();
        let mut words = words;
        if call == Hypercall::Poll {
            // Not about how long a guest may sleep.
            words[0] %= 1000;
        }
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let _ = stage.memory.write(argument, &octets);
        if call == Hypercall::Poll && argument != AT {
            let _ = stage.memory.write(argument, &[0; 8]);
        }
        let outcome = handle(&mut stage.devices, &stage.memory, call, argument);
        if let Outcome::End(Ending::Violation(text)) = &outcome {
            prop_assert!(text.starts_with(call.name()), "{}", text);
        }
        let mut area = [0; 64];
        stage.memory.copy_out(SIZE, &mut area).unwrap();
        prop_assert_eq!(area, [0xa5; 64]);
    }
}
