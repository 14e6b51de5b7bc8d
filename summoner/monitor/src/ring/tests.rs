//! The ring, used well and not.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use hvt_abi::boot_info::SHUTDOWN_REQUEST_BIT;
use hvt_abi::hypercall::{Hypercall, Poll};
use proptest::prelude::*;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use super::*;
use crate::arch::{Region, RegionKind};
use crate::devices::{Devices, ShutdownRequest};
use crate::ending::Ending;
use crate::hypercall::{Outcome, handle, kick};

const MEMORY: u64 = 2 << 20;
const RING: u64 = MEMORY;
const ARGUMENT: u64 = 0x10_0000;
const DATA: u64 = 0x11_0000;
const HANDLE: u32 = 1;

struct Stage {
    memory: GuestMemory,
    devices: Devices,
    shutdown: Arc<ShutdownRequest>,
    /// The switch's end of the port.
    port: OwnedFd,
    /// The daemon's end of the control socket.
    _control: OwnedFd,
    tail: u32,
    head: u32,
}

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// A guest that has a ring.
fn stage() -> Stage {
    let (control, reports) = pair();
    let (port, theirs) = pair();
    let shutdown = ShutdownRequest::new().unwrap();
    let mut memory = GuestMemory::new(MEMORY + RESERVED).unwrap();
    memory.allow(&[Region { start: 0x10_0000, end: MEMORY + RESERVED, kind: RegionKind::Data }]);
    let ring = Ring::new(RING);
    ring.write(&memory).unwrap();
    let devices = Devices::new(Arc::new(reports), shutdown.clone())
        .with_net(u64::from(HANDLE), theirs, 1500)
        .with_ring(Some(ring));
    Stage { memory, devices, shutdown, port, _control: control, tail: 0, head: 0 }
}

fn wish(op: u32, id: u32, len: u32) -> Submission {
    Submission { op, handle: HANDLE, data: DATA + u64::from(id) * 2048, len, id, reserved: 0 }
}

impl Stage {
    /// Submits as a guest does.
    fn submit(&mut self, submission: Submission) {
        let place = RING + abi::submission(self.tail);
        self.memory.write(place, &submission.to_bytes()).unwrap();
        self.tail = self.tail.wrapping_add(1);
        self.tell();
    }

    fn tell(&self) {
        let indices = GuestIndices { submission_tail: self.tail, completion_head: self.head };
        self.memory.write(RING + GUEST_INDICES, &indices.to_bytes()).unwrap();
    }

    fn host(&self) -> HostIndices {
        let mut octets = [0; HostIndices::SIZE];
        self.memory.read(RING + HOST_INDICES, &mut octets).unwrap();
        HostIndices::from_bytes(&octets)
    }

    /// Takes the completions: id, result and length of each.
    fn completions(&mut self) -> Vec<(u32, i32, u32)> {
        let mut found = Vec::new();
        while self.head != self.host().completion_tail {
            let mut octets = [0; Completion::SIZE];
            self.memory.read(RING + abi::completion(self.head), &mut octets).unwrap();
            let Completion { id, ret, len, .. } = Completion::from_bytes(&octets);
            found.push((id, ret, len));
            self.head = self.head.wrapping_add(1);
        }
        self.tell();
        found
    }

    fn call_poll(&mut self, timeout_nsecs: u64) -> Outcome {
        let call = Poll { timeout_nsecs, ..Poll::default() };
        self.memory.write(ARGUMENT, &call.to_bytes()).unwrap();
        handle(&mut self.devices, &self.memory, Hypercall::Poll, ARGUMENT)
    }

    fn poll(&mut self, timeout_nsecs: u64) -> u64 {
        assert_eq!(self.call_poll(timeout_nsecs), Outcome::Continue);
        let mut octets = [0; Poll::SIZE];
        self.memory.read(ARGUMENT, &mut octets).unwrap();
        Poll::from_bytes(&octets).ready_set
    }

    fn kick(&mut self) {
        assert_eq!(kick(&mut self.devices, &self.memory), Outcome::Continue);
    }

    /// The text of the violation that a poll is.
    fn violation(&mut self) -> String {
        match self.call_poll(0) {
            Outcome::End(Ending::Violation(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn arrives(&self, octets: &[u8]) {
        send(&self.port, octets, SendFlags::empty()).unwrap();
    }

    /// The frames that the guest has sent, by their lengths.
    fn sent(&self) -> Vec<usize> {
        let mut buffer = [0; 2000];
        std::iter::from_fn(|| recv(&self.port, &mut buffer, RecvFlags::empty()).ok())
            .map(|(_, length)| length)
            .collect()
    }

    fn data(&self, id: u32) -> [u8; 64] {
        let mut octets = [0; 64];
        self.memory.read(DATA + u64::from(id) * 2048, &mut octets).unwrap();
        octets
    }
}

const OK: i32 = CallResult::Ok.code();
const AGAIN: i32 = CallResult::Again.code();
const INVALID: i32 = CallResult::InvalidArgument.code();

#[test]
fn one_poll_moves_many_frames_both_ways() {
    let mut stage = stage();
    for id in 0..8 {
        stage.submit(wish(OP_READ, id, 1514));
    }
    for (id, length) in [(8, 60), (9, 1514)] {
        stage.submit(wish(OP_WRITE, id, length));
    }
    for octet in [1, 2, 3] {
        stage.arrives(&[octet; 64]);
    }
    assert_eq!(stage.poll(u64::MAX), 1 << HANDLE);
    assert_eq!(stage.devices.exits(), 1);
    assert_eq!(stage.sent(), [60, 1514]);
    assert_eq!(stage.host().submission_head, 10);
    // The latest room first; frames in their order.
    assert_eq!(stage.completions(), [(7, OK, 64), (6, OK, 64), (5, OK, 64)]);
    assert_eq!([7, 6, 5].map(|id| stage.data(id)), [[1; 64], [2; 64], [3; 64]]);
    // The others still wait.
    stage.arrives(&[4; 64]);
    assert_eq!(stage.poll(u64::MAX), 1 << HANDLE);
    assert_eq!(stage.completions(), [(4, OK, 64)]);
}

#[test]
fn frames_without_room_wait_and_are_told() {
    let mut stage = stage();
    stage.arrives(&[1; 64]);
    assert_eq!(stage.poll(u64::MAX), 1 << HANDLE, "as without a ring");
    assert_eq!(stage.completions(), []);
    stage.submit(wish(OP_READ, 3, 1514));
    assert_eq!(stage.poll(u64::MAX), 1 << HANDLE);
    assert_eq!(stage.completions(), [(3, OK, 64)]);
    assert_eq!(stage.poll(0), 0);
}

#[test]
fn waiting_ends_with_a_frame_a_wish_or_the_time() {
    let mut stage = stage();
    stage.submit(wish(OP_READ, 0, 1514));
    stage.submit(wish(OP_READ, 1, 1514));
    assert_eq!(stage.poll(1000), 0);
    stage.shutdown.make();
    assert_eq!(stage.poll(u64::MAX), SHUTDOWN_REQUEST_BIT);
    stage.shutdown.make();
    stage.arrives(&[1; 64]);
    assert_eq!(
        stage.poll(u64::MAX),
        SHUTDOWN_REQUEST_BIT | 1 << HANDLE,
        "a busy guest is asked too"
    );
    let port = stage.port.try_clone().unwrap();
    let sender = std::thread::spawn(move || send(&port, &[2; 64], SendFlags::empty()).unwrap());
    assert_eq!(stage.poll(u64::MAX), 1 << HANDLE);
    sender.join().unwrap();
    // A message of no octets is no frame.
    stage.submit(wish(OP_READ, 1, 1514));
    stage.arrives(&[]);
    assert_eq!(stage.poll(0), 0);
    stage.port = pair().0;
    assert_eq!(stage.poll(1_000_000), 0, "a closed port is not input");
}

#[test]
fn who_kicks_has_every_read_answered() {
    let mut stage = stage();
    assert_ne!(stage.host().needs_kick, 0);
    for id in 0..3 {
        stage.submit(wish(OP_READ, id, 1514));
    }
    stage.submit(wish(OP_WRITE, 3, 100));
    stage.arrives(&[1; 64]);
    stage.kick();
    assert_eq!(stage.sent(), [100]);
    assert_eq!(stage.completions(), [(2, OK, 64), (0, AGAIN, 0), (1, AGAIN, 0)]);
    assert_ne!(stage.host().needs_kick, 0);
    stage.kick();
    assert_eq!(stage.completions(), []);
    // Without a ring, there is nothing to kick.
    let mut bare = Stage { devices: stage.devices.with_ring(None), ..stage };
    let Outcome::End(Ending::Violation(text)) = kick(&mut bare.devices, &bare.memory) else {
        panic!("a ring that is not there was kicked");
    };
    assert!(text.contains("no ring"), "{text}");
    assert_eq!(bare.poll(0), 0);
}

#[test]
fn what_is_no_frame_is_neither_sent_nor_waited_for() {
    let mut stage = stage();
    for (id, length) in [(0, 0), (1, 13), (2, 1515), (3, 1 << 16)] {
        stage.submit(wish(OP_WRITE, id, length));
    }
    stage.submit(Submission { handle: 2, ..wish(OP_WRITE, 4, 100) });
    stage.submit(Submission { handle: 0, ..wish(OP_READ, 5, 1514) });
    stage.submit(wish(OP_READ, 6, 13));
    stage.submit(wish(OP_READ, 7, 32));
    stage.submit(wish(OP_WRITE, 8, 14));
    stage.arrives(&[1; 64]);
    assert_eq!(stage.poll(0), 1 << HANDLE);
    assert_eq!(stage.sent(), [14]);
    // A frame that is longer than its room is cut.
    assert_eq!(stage.completions(), [(5, INVALID, 0), (6, INVALID, 0), (7, OK, 32)]);
    assert_eq!(stage.data(7)[..34], [[1; 32].as_slice(), &[0; 2]].concat());
}

#[test]
fn indices_go_round() {
    let mut stage = stage();
    // As after four billion frames each way.
    let start = u32::MAX - 600;
    let ring = Ring { submission_head: start, completion_tail: start, ..Ring::new(RING) };
    (stage.tail, stage.head) = (start, start);
    stage.tell();
    stage.devices = stage.devices.with_ring(Some(ring));
    for round in 0..400 {
        for id in [0, 1, 2] {
            stage.submit(wish(OP_READ, id, 1514));
        }
        stage.submit(wish(OP_WRITE, 3, 60));
        stage.arrives(&[7; 64]);
        stage.arrives(&[8; 64]);
        stage.arrives(&[9; 64]);
        assert_eq!(stage.poll(u64::MAX), 1 << HANDLE, "{round}");
        assert_eq!(stage.completions(), [(2, OK, 64), (1, OK, 64), (0, OK, 64)], "{round}");
        assert_eq!(stage.sent(), [60], "{round}");
    }
    assert_eq!(stage.tail, start.wrapping_add(1600), "the index wrapped");
}

#[test]
fn a_full_ring_is_full_and_no_fuller() {
    let mut stage = stage();
    for _ in 0..ENTRIES {
        stage.submit(wish(OP_READ, 0, 1514));
    }
    assert_eq!(stage.poll(0), 0);
    stage.submit(wish(OP_READ, 0, 1514));
    let text = stage.violation();
    assert!(
        text.contains("ring") && text.contains("submission 1024") && text.contains("1024"),
        "{text}"
    );

    // The same with completions that are not taken.
    let mut stage = self::stage();
    for _ in 0..ENTRIES {
        stage.submit(wish(OP_READ, 0, 0));
    }
    assert_eq!(stage.poll(0), 0);
    assert_eq!(stage.host().completion_tail, ENTRIES);
    stage.submit(wish(OP_READ, 0, 0));
    assert!(stage.violation().contains("submission 1024"));
    // And with both: they are taken, and all is well again.
    let mut stage = self::stage();
    for length in [0, 1514] {
        for _ in 0..ENTRIES / 2 {
            stage.submit(wish(OP_READ, 0, length));
        }
    }
    assert_eq!(stage.poll(0), 0);
    assert_eq!(stage.completions().len(), ENTRIES as usize / 2);
    stage.submit(wish(OP_READ, 0, 1514));
    assert_eq!(stage.poll(0), 0);
}

#[test]
fn rules_that_are_broken_end_the_guest() {
    let broken = |submission: Submission| {
        let mut stage = stage();
        stage.arrives(&[0xee; 64]);
        stage.submit(submission);
        stage.violation()
    };
    let text = broken(wish(3, 0, 60));
    assert!(text.starts_with("poll: the ring: ") && text.contains("operation 3"), "{text}");
    let end = MEMORY + RESERVED;
    for (data, len) in
        [(0x1000, 60), (end - 59, 60), (u64::MAX - 10, 60), (end, 1514), (0x10_0000, u32::MAX)]
    {
        for op in [OP_READ, OP_WRITE] {
            let text = broken(Submission { data, len, ..wish(op, 0, 0) });
            assert!(text.contains("submission 0") && text.contains("not memory"), "{text}");
        }
    }
    // Indices that cannot be.
    for (tail, head) in [(ENTRIES + 1, 0), (u32::MAX, 0), (0, 1), (0, u32::MAX - ENTRIES - 1)] {
        let mut stage = stage();
        (stage.tail, stage.head) = (tail, head);
        stage.tell();
        let text = stage.violation();
        assert!(text.contains("is not within 1024"), "{text}");
    }
}

#[test]
fn a_ring_goes_into_a_snapshot_and_comes_back() {
    let mut stage = stage();
    for id in 0..4 {
        stage.submit(wish(OP_READ, id, 1514));
    }
    assert_eq!(stage.poll(0), 0);
    let octets = postcard::to_stdvec(stage.devices.ring().unwrap()).unwrap();
    let ring: Ring = postcard::from_bytes(&octets).unwrap();
    assert_eq!(Some(&ring), stage.devices.ring());
    stage.devices = stage.devices.with_ring(Some(ring));
    stage.arrives(&[5; 64]);
    assert_eq!(stage.poll(u64::MAX), 1 << HANDLE);
    assert_eq!(stage.completions(), [(3, OK, 64)]);
}

#[test]
fn only_images_that_take_it_are_given_a_ring() {
    let hello = images::plan(images::builtin::HELLO).unwrap();
    let plan = |takes: Features, devices: &[images::Device]| Plan {
        takes: takes.into(),
        manifest: images::Manifest { devices: devices.to_vec() },
        ..hello.clone()
    };
    let net = images::Device { name: "service".to_owned(), kind: DeviceKind::Net };
    assert_eq!(Ring::place(&plan(WANTED, std::slice::from_ref(&net)), 8 << 20), Some(8 << 20));
    assert_eq!(
        Ring::place(&plan(Features::SHARED_RING, std::slice::from_ref(&net)), 8 << 20),
        None
    );
    assert_eq!(Ring::place(&plan(WANTED, &[]), 8 << 20), None);
    let net = [net];
    assert_eq!(
        Ring::place(&plan(WANTED, &net), 4 << 30),
        None,
        "what has 32-bit addresses ends there"
    );
    assert_eq!(
        Ring::place(&plan(WANTED, &net), (4 << 30) - (2 << 20)),
        Some((4 << 30) - (2 << 20))
    );
    assert_eq!(Ring::place(&plan(WANTED, &net), u64::MAX), None);
}

fn index() -> impl Strategy<Value = u32> {
    prop_oneof![0..4_u32, Just(ENTRIES), Just(ENTRIES + 1), any::<u32>()]
}

fn entry() -> impl Strategy<Value = Submission> {
    let data = prop_oneof![
        4 => DATA..MEMORY,
        1 => RING..RING + SIZE,
        1 => MEMORY + RESERVED - 2000..MEMORY + RESERVED + 2000,
        1 => any::<u64>(),
    ];
    let len = prop_oneof![4 => 0..1600_u32, 1 => any::<u32>()];
    let op = prop_oneof![4 => OP_WRITE..=OP_READ, 1 => any::<u32>()];
    (op, 0..3_u32, data, len, 0..9_u32).prop_map(|(op, handle, data, len, id)| Submission {
        op,
        handle,
        data,
        len,
        id,
        reserved: 0,
    })
}

const SIZE: u64 = abi::SIZE;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever lies in the ring, frames and reads over the ring itself included: the monitor goes on or ends the guest,
    /// and its own area stays as it was.
    #[test]
    fn nothing_in_the_ring_harms_the_monitor(
        entries in proptest::collection::vec(entry(), 0..8),
        rounds in proptest::collection::vec((index(), index(), any::<bool>()), 1..6),
    ) {
        let mut stage = stage();
        stage.memory.copy_in(MEMORY + RESERVED, &[0xa5; 64]).unwrap();
        for entry in entries {
            stage.submit(entry);
        }
        for (tail, head, kicked) in rounds {
            // Mostly what an honest guest would say.
            if tail % 2 == 1 {
                (stage.tail, stage.head) = (tail, head);
                stage.tell();
            }
            let _ = send(&stage.port, &[0xff; 100], SendFlags::empty());
            let outcome = if kicked {
                kick(&mut stage.devices, &stage.memory)
            } else {
                stage.call_poll(0)
            };
            if let Outcome::End(Ending::Violation(text)) = &outcome {
                prop_assert!(text.contains("the ring: "), "{}", text);
                break;
            }
            prop_assert!(stage.devices.ring().unwrap().reads.len() <= ENTRIES as usize);
        }
        let mut area = [0; 64];
        stage.memory.copy_out(MEMORY + RESERVED, &mut area).unwrap();
        prop_assert_eq!(area, [0xa5; 64]);
    }
}
