//! A host that is a test, and a client on its wire.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unsafe_code, reason = "stands in for the host, which is given addresses")]

pub(crate) mod client;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::slice;

use hvt_abi::boot_info::{BootInfo, Features, SHUTDOWN_REQUEST_BIT};
use hvt_abi::hypercall::{CallResult, Hypercall, NetRead, NetWrite, Poll, Walltime};
use hvt_abi::manifest::{Entry, EntryKind, Name};
use hvt_abi::ring::{
    self, Completion, GuestIndices, HOST_INDICES, HostIndices, OP_READ, OP_WRITE, Submission,
};
use unikernel::{Guest, pretence};

pub(crate) const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The ring's memory, aligned as it is for a guest.
#[repr(C, align(4096))]
struct RingMemory([u8; RING_SIZE]);

#[expect(clippy::cast_possible_truncation, reason = "some fifty thousand")]
const RING_SIZE: usize = ring::SIZE as usize;

/// What a host does.
pub(crate) struct Host {
    boot_info: *mut BootInfo,
    ring: Option<HostRing>,
    /// Frames on their way to the guest.
    pub(crate) to_guest: VecDeque<Vec<u8>>,
    /// Frames that the guest has sent.
    pub(crate) from_guest: VecDeque<Vec<u8>>,
    /// Every hypercall so far.
    pub(crate) exits: Vec<Hypercall>,
    /// What the wall clock says, in nanoseconds.
    pub(crate) walltime: u64,
    pub(crate) console: String,
    /// The guest is asked to end at its next poll.
    pub(crate) shutdown: bool,
}

struct HostRing {
    base: *mut u8,
    head: u32,
    tail: u32,
    reads: Vec<Submission>,
}

pub(crate) type Shared = Rc<RefCell<Host>>;

/// Which way frames are exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Ring,
    Calls,
}

/// A guest with a network device, and its host. `idle` is called in a poll for which there is no frame, and may put some
/// on the wire or ask the guest to end; a poll with nothing returns at once.
pub(crate) fn guest(
    way: Way,
    command_line: &'static str,
    frequency: u64,
    idle: impl FnMut(&mut Host) + 'static,
) -> (&'static Guest, Shared) {
    let mut features =
        Features::FRESHNESS.union(Features::SHUTDOWN_REQUEST).union(Features::RENEWAL);
    let ring = (way == Way::Ring).then(|| {
        features = features.union(Features::SHARED_RING).union(Features::POLL_SERVES_RING);
        let memory = Box::leak(Box::new(RingMemory([0; RING_SIZE])));
        HostRing { base: memory.0.as_mut_ptr(), head: 0, tail: 0, reads: Vec::new() }
    });
    let net_ring = ring.as_ref().map_or(0, |ring| ring.base.expose_provenance() as u64);
    let info = BootInfo {
        mem_size: 64 << 20,
        cpu_cycle_freq: frequency,
        host_features: features.0,
        net_ring,
        generation: 1,
        ..BootInfo::default()
    }
    .with_entropy(&[7; 32]);
    let boot_info = Box::into_raw(Box::new(info));
    let host = Rc::new(RefCell::new(Host {
        boot_info,
        ring,
        to_guest: VecDeque::new(),
        from_guest: VecDeque::new(),
        exits: Vec::new(),
        walltime: 1 << 60,
        console: String::new(),
        shutdown: false,
    }));
    let (shared, mut idle) = (Rc::clone(&host), idle);
    pretence::install(Box::new(move |call, argument| {
        // SAFETY: the guest passes the structure of that call.
        unsafe { shared.borrow_mut().call(call, argument, &mut idle) };
    }));
    let net = Entry {
        kind: EntryKind::Net { mac: GUEST_MAC, mtu: 1500 },
        attached: true,
        ..Entry::net(Name::new("service").unwrap())
    };
    // SAFETY: both are leaked, and the ring is this guest's alone.
    let guest = unsafe { pretence::guest(boot_info, command_line, &[Entry::RESERVED, net]) };
    (guest, host)
}

impl Host {
    /// Makes the guest another instance.
    pub(crate) fn renew(&mut self, generation: u64, entropy: &[u8; 32]) {
        // SAFETY: leaked; the guest looks at it only while it runs.
        let info = unsafe { self.boot_info.read() };
        // SAFETY: as above.
        unsafe { self.boot_info.write(BootInfo { generation, ..info }.with_entropy(entropy)) };
    }

    /// How many polls there were; fails if anything else was asked for.
    pub(crate) fn polls(&self) -> usize {
        assert!(self.exits.iter().all(|call| *call == Hypercall::Poll), "{:?}", self.exits);
        self.exits.len()
    }

    unsafe fn call(&mut self, call: Hypercall, argument: *mut u8, idle: &mut dyn FnMut(&mut Self)) {
        self.exits.push(call);
        match call {
            Hypercall::Walltime => {
                let argument = argument.cast::<Walltime>();
                // SAFETY: the caller's promise.
                unsafe { (*argument).nsecs = self.walltime };
            }
            Hypercall::Puts => {}
            Hypercall::Poll => {
                // SAFETY: the caller's promise.
                unsafe { (*argument.cast::<Poll>()).ready_set = self.poll(idle) };
            }
            Hypercall::NetWrite => {
                // SAFETY: the caller's promise.
                let call = unsafe { &mut *argument.cast::<NetWrite>() };
                assert_eq!(call.handle, 1);
                // SAFETY: the guest says that there is a frame.
                self.from_guest.push_back(unsafe { octets(call.data, call.len) }.to_vec());
                call.ret = CallResult::Ok.code();
            }
            Hypercall::NetRead => {
                // SAFETY: the caller's promise.
                let call = unsafe { &mut *argument.cast::<NetRead>() };
                assert_eq!(call.handle, 1);
                call.ret = CallResult::Again.code();
                if let Some(frame) = self.to_guest.pop_front() {
                    // SAFETY: the guest says that there is room.
                    let room = unsafe { octets(call.data, call.len) };
                    room[..frame.len()].copy_from_slice(&frame);
                    (call.len, call.ret) = (frame.len() as u64, CallResult::Ok.code());
                }
            }
            Hypercall::BlockWrite | Hypercall::BlockRead | Hypercall::Halt => panic!("{call}"),
        }
    }

    fn poll(&mut self, idle: &mut dyn FnMut(&mut Self)) -> u64 {
        self.take_submissions();
        if self.to_guest.is_empty() {
            idle(self);
        }
        let frames = if self.ring.is_some() { self.complete_reads() } else { self.to_guest.len() };
        let shutdown = std::mem::take(&mut self.shutdown);
        u64::from(frames > 0) << 1 | if shutdown { SHUTDOWN_REQUEST_BIT } else { 0 }
    }

    fn take_submissions(&mut self) {
        let Some(host_ring) = &mut self.ring else { return };
        let indices: GuestIndices = host_ring.get(ring::GUEST_INDICES);
        assert!(indices.submission_tail.wrapping_sub(host_ring.head) <= ring::ENTRIES);
        while host_ring.head != indices.submission_tail {
            let submission: Submission = host_ring.get(ring::submission(host_ring.head));
            assert_eq!((submission.handle, submission.reserved), (1, 0));
            match submission.op {
                // SAFETY: the guest says that there is a frame.
                OP_WRITE => self
                    .from_guest
                    .push_back(unsafe { octets(submission.data, submission.len.into()) }.to_vec()),
                OP_READ => host_ring.reads.push(submission),
                op => panic!("operation {op}"),
            }
            host_ring.head = host_ring.head.wrapping_add(1);
        }
        host_ring.publish();
    }

    fn complete_reads(&mut self) -> usize {
        let Some(host_ring) = &mut self.ring else { return 0 };
        let mut frames = 0;
        while !self.to_guest.is_empty()
            && let Some(read) = host_ring.reads.pop()
        {
            let Some(frame) = self.to_guest.pop_front() else { break };
            // SAFETY: the guest says that there is room.
            let room = unsafe { octets(read.data, read.len.into()) };
            room[..frame.len()].copy_from_slice(&frame);
            let len = u32::try_from(frame.len()).unwrap();
            let completion = Completion { id: read.id, ret: 0, len, reserved: 0 };
            host_ring.put(ring::completion(host_ring.tail), completion);
            host_ring.tail = host_ring.tail.wrapping_add(1);
            frames += 1;
        }
        host_ring.publish();
        frames
    }

    /// Reads that the guest has submitted and that wait.
    pub(crate) fn outstanding(&self) -> usize {
        self.ring.as_ref().map_or(0, |ring| ring.reads.len())
    }
}

impl HostRing {
    fn get<T>(&self, offset: u64) -> T {
        let place = self.base.wrapping_add(usize::try_from(offset).unwrap()).cast::<T>();
        // SAFETY: a place in the ring by its layout.
        unsafe { place.read_volatile() }
    }

    fn put<T>(&self, offset: u64, value: T) {
        let place = self.base.wrapping_add(usize::try_from(offset).unwrap()).cast::<T>();
        // SAFETY: a place in the ring by its layout.
        unsafe { place.write_volatile(value) };
    }

    fn publish(&self) {
        let (submission_head, completion_tail) = (self.head, self.tail);
        self.put(HOST_INDICES, HostIndices { submission_head, completion_tail, needs_kick: 1 });
    }
}

/// # Safety
/// They must be there, and the guest's.
unsafe fn octets<'a>(address: u64, len: u64) -> &'a mut [u8] {
    let pointer = std::ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap());
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts_mut(pointer, usize::try_from(len).unwrap()) }
}
