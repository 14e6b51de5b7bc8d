//! The part of the vCPU's state that is the guest's own: what a snapshot keeps.
#![expect(unsafe_code, reason = "KVM reads the extended state by a size that only it knows")]

use kvm_bindings::{kvm_regs, kvm_sregs, kvm_xsave};
use kvm_ioctls::VcpuFd;
use serde::{Deserialize, Serialize};

/// General and extended registers. Of the system's registers a guest in ring 3 can change none that matter: they are those
/// of every start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Registers {
    general: kvm_regs,
    extended: kvm_xsave,
}

impl Registers {
    /// Those of a vCPU that is not in the middle of an instruction.
    pub(crate) fn of(vcpu: &VcpuFd) -> Result<Self, kvm_ioctls::Error> {
        Ok(Self { general: vcpu.get_regs()?, extended: vcpu.get_xsave()? })
    }

    /// Gives them to a vCPU that was set up as for a start.
    pub(crate) fn set(&self, vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
        // SAFETY: KVM reads as many octets as the vCPU's extended state has, which is not more than `kvm_xsave` unless the
        // process has asked for larger features of the processor by arch_prctl(2), and no part of the monitor does.
        unsafe { vcpu.set_xsave(&self.extended) }?;
        vcpu.set_regs(&self.general)
    }
}

/// Whether nothing that a snapshot leaves out differs between the start and now.
pub(crate) fn is_as_started(started: &kvm_sregs, now: &kvm_sregs) -> bool {
    // Where the last page fault was is of no use to a guest, and the accessed bits of segments are not kept by every KVM.
    let relevant = |sregs: &kvm_sregs| {
        let segment =
            |segment: &kvm_bindings::kvm_segment| (segment.base, segment.selector, segment.dpl);
        (
            [sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer],
            [&sregs.cs, &sregs.ss, &sregs.ds, &sregs.es, &sregs.fs, &sregs.gs, &sregs.tr]
                .map(segment),
            [sregs.gdt.base, sregs.idt.base],
        )
    };
    relevant(started) == relevant(now)
}
