//! An instance: a guest that runs, rests in a poll, is captured, or is put back to where it came from.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hvt_abi::hypercall::{Hypercall, Poll};
use images::Plan;
use kvm_bindings::kvm_sregs;
use kvm_ioctls::{VcpuFd, VmFd};
use rustix::net::SendFlags;

use crate::arch::{self, Registers, Tables};
use crate::devices::{Devices, monotonic};
use crate::ending::Ending;
use crate::hypercall::{self, Outcome};
use crate::kick;
use crate::load;
use crate::memory::{GuestMemory, Need};
use crate::protocol::{BootRequest, Report, Start, send_report};
use crate::ring::Ring;
use crate::shell::{ShellError, kvm};
use crate::snapshot::{Snapshot, SnapshotError};
use crate::vcpu::{self, Turn};

/// Pages that stay in a parked guest beyond those of its snapshot: 1 MiB.
const PARKED_PAGES: usize = 256;

/// Where an instance came from, and can be put back to.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) snapshot: Snapshot,
    pub(crate) file: OwnedFd,
}

/// Whether the state at the first poll is wanted.
#[derive(Debug)]
pub(crate) enum Capture {
    None,
    AtFirstPoll(OwnedFd),
}

/// Where the guest stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Before its next instruction.
    Runs,
    /// In the poll whose argument is there.
    Rests(u64),
    /// In the poll of the snapshot, which ends with nothing as soon as it is entered.
    Restored(u64),
}

/// Why a guest does not run on.
#[derive(Debug)]
pub enum Pause {
    /// It is over.
    Ended(Ending),
    /// The daemon has something to say, or is gone; [`RunningVm::run`] goes on where the guest stopped.
    Told,
}

/// A guest with everything that is its own.
#[derive(Debug)]
pub struct RunningVm {
    // Dropped before the memory: the VM must not outlive what its slot points to.
    vcpu: VcpuFd,
    _vm: VmFd,
    plan: Plan,
    cycles: u64,
    tables: Tables,
    /// The system's registers at the start.
    started: kvm_sregs,
    devices: Devices,
    origin: Option<Origin>,
    capture: Capture,
    stand: Stand,
    /// Come back at the next poll.
    pause_at_poll: bool,
    /// When the instance's memory was complete; taken at its entry.
    loaded: Option<policies::Instant>,
    memory: GuestMemory,
}

impl RunningVm {
    #[expect(clippy::too_many_arguments, reason = "called in one place, which takes a shell apart")]
    pub(crate) fn new(
        vcpu: VcpuFd,
        vm: VmFd,
        plan: Plan,
        cycles: u64,
        tables: Tables,
        started: kvm_sregs,
        memory: GuestMemory,
        devices: Devices,
        origin: Option<Origin>,
        capture: Capture,
    ) -> Self {
        let stand = origin
            .as_ref()
            .map_or(Stand::Runs, |origin| Stand::Restored(origin.snapshot.head.poll));
        let loaded = Some(monotonic());
        Self {
            vcpu,
            _vm: vm,
            plan,
            cycles,
            tables,
            started,
            devices,
            origin,
            capture,
            stand,
            pause_at_poll: false,
            loaded,
            memory,
        }
    }

    /// Runs the guest until it ends or the daemon says something.
    pub fn run(&mut self) -> Pause {
        if let Some(loaded) = self.loaded.take() {
            self.devices.note_entry(loaded);
        }
        loop {
            let outcome = match std::mem::replace(&mut self.stand, Stand::Runs) {
                Stand::Runs => Outcome::Continue,
                Stand::Restored(poll) => hypercall::end_poll(&self.memory, poll),
                Stand::Rests(poll) => self.poll(poll),
            };
            match outcome {
                Outcome::Continue => {}
                Outcome::Rest => return Pause::Told,
                Outcome::End(ending) => return self.end(ending),
            }
            match vcpu::run(&mut self.vcpu, &self.memory, &self.tables, &mut self.devices) {
                Turn::Poll(argument) => {
                    self.stand = Stand::Rests(argument);
                    if self.pause_at_poll {
                        return Pause::Told;
                    }
                }
                Turn::Told => return Pause::Told,
                Turn::Ended(ending) => return self.end(ending),
            }
        }
    }

    /// Whether it rests in a poll: otherwise it comes back at its next one.
    pub(crate) fn rest(&mut self) -> bool {
        self.pause_at_poll = !matches!(self.stand, Stand::Rests(_));
        !self.pause_at_poll
    }

    fn end(&mut self, ending: Ending) -> Pause {
        self.devices.end();
        Pause::Ended(ending)
    }

    fn poll(&mut self, argument: u64) -> Outcome {
        self.stand = Stand::Rests(argument);
        let is_sound = self.memory.check(argument, Poll::SIZE as u64, Need::Write).is_ok();
        if is_sound && matches!(self.capture, Capture::AtFirstPoll(_)) {
            // The client's packet waits in the port meanwhile; the daemon must not.
            self.devices.note_wait();
            self.capture_now();
        }
        let outcome = hypercall::handle(&mut self.devices, &self.memory, Hypercall::Poll, argument);
        if !matches!(outcome, Outcome::Rest) {
            self.stand = Stand::Runs;
        }
        outcome
    }

    fn capture_now(&mut self) {
        let Capture::AtFirstPoll(file) = std::mem::replace(&mut self.capture, Capture::None) else {
            return;
        };
        // That there is none is no reason not to serve: the next boot tries again. An empty length says so.
        let length = match self.capture(file.as_fd()) {
            Ok((snapshot, length)) => {
                self.origin = Some(Origin { snapshot, file });
                length
            }
            Err(_) => 0,
        };
        // If the daemon is gone, its socket says so soon.
        let _ = send_report(self.reports(), &Report::Captured { length }, SendFlags::empty());
    }

    /// Writes the state of the guest, which rests in a poll, to a file; also how many octets that are.
    ///
    /// # Errors
    /// When the guest does not rest, has changed what a snapshot does not keep, or the file cannot be written.
    fn capture(&mut self, file: BorrowedFd<'_>) -> Result<(Snapshot, u64), SnapshotError> {
        let failed = |what| move |source| SnapshotError::Kvm { what, source };
        let Stand::Rests(poll) = self.stand else {
            return Err(SnapshotError::State("it does not rest in a poll"));
        };
        vcpu::complete(&mut self.vcpu).map_err(failed("complete the guest's last instruction"))?;
        let now = self.vcpu.get_sregs().map_err(failed("tell the vCPU's registers"))?;
        if !arch::is_as_started(&self.started, &now) {
            return Err(SnapshotError::State("it has changed its segment registers"));
        }
        let registers = Registers::of(&self.vcpu).map_err(failed("tell the vCPU's registers"))?;
        let ring = self.devices.ring().cloned();
        Snapshot::write(&self.memory, &self.plan, registers, poll, ring, file)
    }

    /// Writes the state of the guest, which rests, to a file, to be resumed from there; how many octets that are.
    ///
    /// # Errors
    /// As `capture`.
    pub(crate) fn suspend(&mut self, file: BorrowedFd<'_>) -> Result<u64, SnapshotError> {
        self.capture(file).map(|(_, length)| length)
    }

    /// Puts the guest back to the snapshot that it came from; whether it was at rest and could be.
    ///
    /// # Errors
    /// When memory or registers cannot be restored: the guest is of no use any more.
    pub(crate) fn recycle(&mut self) -> Result<bool, ShellError> {
        let (Stand::Rests(_), Some(origin)) = (self.stand, &self.origin) else { return Ok(false) };
        vcpu::complete(&mut self.vcpu).map_err(kvm("complete the guest's last instruction"))?;
        origin.snapshot.reset(&self.memory, origin.file.as_fd(), PARKED_PAGES)?;
        let registers = &origin.snapshot.head.registers;
        registers.set(&self.vcpu).map_err(kvm("set the vCPU's registers"))?;
        let poll = origin.snapshot.head.poll;
        self.stand = Stand::Restored(poll);
        self.devices.end();
        self.devices.park(origin.snapshot.head.ring.clone());
        Ok(true)
    }

    /// Lets the recycled guest be the next instance.
    ///
    /// # Errors
    /// When the request is about something else than a parked guest.
    pub(crate) fn boot_again(
        &mut self,
        request: &BootRequest,
        port: OwnedFd,
    ) -> Result<(), ShellError> {
        let is_parked = matches!(self.stand, Stand::Restored(_)) && self.loaded.is_none();
        if !is_parked || request.start != Start::Parked {
            return Err(ShellError::Request("the shell is parked, and can start nothing else"));
        }
        let ring = self.devices.ring().map(Ring::address);
        load::write_boot_info(&self.memory, &self.plan, request, self.cycles, ring)?;
        self.devices.unpark(port, request.mtu);
        self.loaded = Some(monotonic());
        Ok(())
    }

    /// Asks the guest to end, at its next poll.
    pub(crate) fn ask_to_shut_down(&self) {
        self.devices.ask_to_shut_down();
    }

    /// How often the guest has asked for something so far, as far as it had to leave for that.
    #[must_use]
    pub const fn exits(&self) -> u64 {
        self.devices.exits()
    }

    /// Turns the daemon's signal on or off.
    pub(crate) fn arm(&mut self, armed: bool) -> std::io::Result<()> {
        kick::arm(self.reports(), armed)
    }

    /// The socket to the daemon.
    pub(crate) fn reports(&self) -> BorrowedFd<'_> {
        self.devices.reports()
    }
}
