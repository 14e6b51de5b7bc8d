//! From an empty VM to a running guest, each step once and in order: the types allow no other.
#![expect(unsafe_code, reason = "a memory slot is given to KVM as a raw address")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use images::Plan;
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_sregs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::arch::{self, Tables};
use crate::devices::{Devices, ShutdownRequest};
use crate::kick;
use crate::load::{self, LoadError};
use crate::memory::{Forbidden, GuestMemory};
use crate::probe::{self, ProbeError};
use crate::protocol::{BootRequest, PrepareRequest, Start};
use crate::ring::Ring;
use crate::running::{Capture, Origin, RunningVm};
use crate::snapshot::{Snapshot, SnapshotError};

/// Why there is no shell, or no guest in it.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// There is no usable KVM.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// KVM refused something.
    #[error("KVM refused to {what}")]
    Kvm {
        /// What it was asked for.
        what: &'static str,
        /// What it said.
        source: kvm_ioctls::Error,
    },
    /// The image cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The image is for another processor.
    #[error("the image is for {found}, this machine is x86-64")]
    Machine {
        /// What it is for.
        found: images::Machine,
    },
    /// The monitor's own structures do not fit their place.
    #[error("the monitor's own memory is too small")]
    Tables(#[from] Forbidden),
    /// The snapshot cannot be started from.
    #[error("cannot start from the snapshot")]
    Snapshot(#[from] SnapshotError),
    /// The request names a start whose file is not beside it, or for which the shell is in the wrong state.
    #[error("a boot request that cannot be carried out: {0}")]
    Request(&'static str),
    /// There is no descriptor left.
    #[error("cannot make a descriptor; is the limit on open files reached?")]
    Descriptor(#[from] std::io::Error),
}

pub(crate) fn kvm(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> ShellError {
    move |source| ShellError::Kvm { what, source }
}

/// The hypervisor, and what guests may see of the processor: the same for every shell.
#[derive(Debug)]
pub struct Host {
    device: Kvm,
    cpuid: CpuId,
}

/// An empty VM with its vCPU: everything that can be made before an image is known.
#[derive(Debug)]
pub struct Shell {
    vm: VmFd,
    vcpu: VcpuFd,
    cycles: u64,
}

/// An image in memory, with its page tables, waiting for an instance.
#[derive(Debug)]
pub struct PreparedShell {
    // Dropped before the memory: the VM must not outlive what its slot points to.
    vcpu: VcpuFd,
    vm: VmFd,
    plan: Plan,
    net: Option<u64>,
    /// Where the guest's ring lies, if it has one.
    ring: Option<u64>,
    cycles: u64,
    tables: Tables,
    started: kvm_sregs,
    memory: GuestMemory,
}

impl Host {
    /// Opens KVM and asks what guests may see of the processor.
    ///
    /// # Errors
    /// When there is no KVM, or it refuses.
    pub fn open() -> Result<Self, ShellError> {
        let device = probe::open()?;
        let cpuid =
            device.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(kvm("tell its CPUID"))?;
        Ok(Self { device, cpuid })
    }
}

impl Shell {
    /// Makes a VM and its vCPU.
    ///
    /// # Errors
    /// When KVM refuses.
    pub fn new(host: &Host) -> Result<Self, ShellError> {
        let vm = host.device.create_vm().map_err(kvm("make a VM"))?;
        let vcpu = vm.create_vcpu(0).map_err(kvm("make a vCPU"))?;
        vcpu.set_cpuid2(&host.cpuid).map_err(kvm("set the CPUID"))?;
        let cycles = arch::cycle_frequency(&vcpu)
            .map_err(kvm("tell the frequency of the time-stamp counter"))?;
        Ok(Self { vm, vcpu, cycles })
    }

    /// Ticks per second of its guests' time-stamp counter.
    pub(crate) const fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Lets the control socket's signal end the vCPU's runs; the process must be the shell's alone.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub(crate) fn listen(&mut self, control: BorrowedFd<'_>) -> Result<(), ShellError> {
        kick::listen(&mut self.vcpu)?;
        Ok(kick::own(control)?)
    }

    /// Puts an image into it: everything that can be done before an instance is known.
    ///
    /// # Errors
    /// When the image does not fit, needs what there is not, or cannot be read.
    pub fn prepare(
        self,
        request: PrepareRequest,
        image: &OwnedFd,
    ) -> Result<PreparedShell, ShellError> {
        let Self { vm, vcpu, cycles } = self;
        let PrepareRequest { plan, memory: memory_size } = request;
        if plan.machine != images::Machine::X86_64 {
            return Err(ShellError::Machine { found: plan.machine });
        }
        let net = load::net_handle(&plan)?;
        let ring = Ring::place(&plan, memory_size);
        let mut memory = load::load(&plan, memory_size, image.as_fd())?;
        let regions = load::regions(&plan, memory_size);
        memory.allow(&regions);
        let tables = Tables::write(&memory, regions)?;
        attach(&vm, &memory).map_err(kvm("take the guest's memory"))?;
        arch::enter(&vcpu, &tables, plan.entry, memory_size)
            .map_err(kvm("set the vCPU's registers"))?;
        let started = vcpu.get_sregs().map_err(kvm("tell the vCPU's registers"))?;
        Ok(PreparedShell { vcpu, vm, plan, net, ring, cycles, tables, started, memory })
    }
}

/// Makes all of the memory the VM's only slot, at GPA 0.
fn attach(vm: &VmFd, memory: &GuestMemory) -> Result<(), kvm_ioctls::Error> {
    let map = memory.map();
    let host =
        map.get_host_address(GuestAddress(0)).map_err(|_| kvm_ioctls::Error::new(libc::EFAULT))?;
    let size = map.iter().map(GuestMemoryRegion::len).sum();
    let slot = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: size,
        userspace_addr: host as u64,
    };
    // SAFETY: `host` is the start of a mapping of `size` octets (one region, made whole by `GuestMemory::new`) that is
    // readable and writable; it stays mapped until `GuestMemory` is dropped, which `LoadedShell` and `RunningVm` own
    // beside the VM; no Rust reference into it is ever made, so the guest may change it at any time.
    unsafe { vm.set_user_memory_region(slot) }
}

impl PreparedShell {
    /// Makes an instance of the image: `reports` is the socket to the daemon, `file` what the request's start names.
    ///
    /// # Errors
    /// When the request does not fit the image, or its snapshot cannot be used.
    pub fn boot(
        self,
        request: &BootRequest,
        port: OwnedFd,
        file: Option<OwnedFd>,
        reports: Arc<OwnedFd>,
        shutdown: Arc<ShutdownRequest>,
    ) -> Result<RunningVm, ShellError> {
        let Self { vcpu, vm, plan, net, ring, cycles, tables, started, memory } = self;
        load::write_boot_info(&memory, &plan, request, cycles, ring)?;
        let (mut origin, mut capture) = (None, Capture::None);
        let mut ring = ring.map(Ring::new);
        match (request.start, file) {
            (Start::Image, None) => {}
            (Start::ImageAndCapture, Some(file)) => capture = Capture::AtFirstPoll(file),
            (Start::Snapshot { offset }, Some(file)) => {
                let snapshot = Snapshot::read(&memory, file.as_fd(), offset)?;
                snapshot.restore(&memory, file.as_fd())?;
                snapshot.head.registers.set(&vcpu).map_err(kvm("set the vCPU's registers"))?;
                ring = snapshot.ring(ring)?;
                origin = Some(Origin { snapshot, file });
            }
            (Start::Parked, _) => return Err(ShellError::Request("the shell is not parked")),
            (_, Some(_)) => return Err(ShellError::Request("a file too many")),
            (_, None) => return Err(ShellError::Request("the file is missing")),
        }
        let mut devices = Devices::new(reports, shutdown);
        if let Some(handle) = net {
            devices = devices.with_net(handle, port, request.mtu).with_ring(ring);
        }
        Ok(RunningVm::new(
            vcpu, vm, plan, cycles, tables, started, memory, devices, origin, capture,
        ))
    }
}
