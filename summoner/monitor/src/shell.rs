//! From an empty VM to a running guest, each step once and in order: the types allow no other.
#![expect(unsafe_code, reason = "a memory slot is given to KVM as a raw address")]

use std::os::fd::OwnedFd;
use std::sync::Arc;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_userspace_memory_region};
use kvm_ioctls::{VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::arch::{self, Tables};
use crate::devices::{Devices, ShutdownRequest};
use crate::ending::Ending;
use crate::load::{self, LoadError};
use crate::memory::{Forbidden, GuestMemory};
use crate::probe::{self, ProbeError};
use crate::protocol::BootRequest;
use crate::vcpu;

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
    /// There is no descriptor left.
    #[error("cannot make a descriptor; is the limit on open files reached?")]
    Descriptor(#[from] std::io::Error),
}

fn kvm(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> ShellError {
    move |source| ShellError::Kvm { what, source }
}

/// An empty VM with its vCPU: everything that can be made before an image is known.
#[derive(Debug)]
pub struct Shell {
    vm: VmFd,
    vcpu: VcpuFd,
    cycles: u64,
}

/// A guest in memory, ready to be entered.
#[derive(Debug)]
pub struct LoadedShell {
    vm: VmFd,
    vcpu: VcpuFd,
    memory: GuestMemory,
    tables: Tables,
    devices: Devices,
}

/// A guest at its first instruction.
#[derive(Debug)]
pub struct RunningVm {
    // Dropped before the memory: the VM must not outlive what its slot points to.
    vcpu: VcpuFd,
    _vm: VmFd,
    tables: Tables,
    devices: Devices,
    memory: GuestMemory,
}

impl Shell {
    /// Makes a VM and its vCPU.
    ///
    /// # Errors
    /// When there is no KVM, or it refuses.
    pub fn new() -> Result<Self, ShellError> {
        let device = probe::open()?;
        let vm = device.create_vm().map_err(kvm("make a VM"))?;
        let vcpu = vm.create_vcpu(0).map_err(kvm("make a vCPU"))?;
        let cpuid: CpuId =
            device.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(kvm("tell its CPUID"))?;
        vcpu.set_cpuid2(&cpuid).map_err(kvm("set the CPUID"))?;
        let cycles = arch::cycle_frequency(&vcpu)
            .map_err(kvm("tell the frequency of the time-stamp counter"))?;
        Ok(Self { vm, vcpu, cycles })
    }

    /// Puts an image into it. `reports` is the socket to the daemon.
    ///
    /// # Errors
    /// When the image does not fit, needs what there is not, or cannot be read.
    pub fn load(
        self,
        request: &BootRequest,
        image: &OwnedFd,
        port: OwnedFd,
        reports: Arc<OwnedFd>,
        shutdown: Arc<ShutdownRequest>,
    ) -> Result<LoadedShell, ShellError> {
        if request.plan.machine != images::Machine::X86_64 {
            return Err(ShellError::Machine { found: request.plan.machine });
        }
        let handle = load::net_handle(&request.plan)?;
        let image = std::os::fd::AsFd::as_fd(image);
        let mut memory = load::load(request, image, self.cycles)?;
        let regions = load::regions(&request.plan, request.memory);
        memory.allow(&regions);
        let tables = Tables::write(&memory, regions)?;
        attach(&self.vm, &memory).map_err(kvm("take the guest's memory"))?;
        arch::enter(&self.vcpu, &tables, request.plan.entry, request.memory)
            .map_err(kvm("set the vCPU's registers"))?;
        let mut devices = Devices::new(reports, shutdown);
        if let Some(handle) = handle {
            devices = devices.with_net(handle, port, request.mtu);
        }
        Ok(LoadedShell { vm: self.vm, vcpu: self.vcpu, memory, tables, devices })
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

impl LoadedShell {
    /// The last step before the guest's first instruction.
    #[must_use]
    pub fn start(self) -> RunningVm {
        let Self { vm, vcpu, memory, tables, devices } = self;
        RunningVm { vcpu, _vm: vm, tables, devices, memory }
    }
}

impl RunningVm {
    /// Runs the guest to its end.
    pub fn run(&mut self) -> Ending {
        let ending = vcpu::run(&mut self.vcpu, &self.memory, &self.tables, &mut self.devices);
        self.devices.end();
        ending
    }

    /// The socket to the daemon.
    pub(crate) fn reports(&self) -> std::os::fd::BorrowedFd<'_> {
        self.devices.reports()
    }
}
