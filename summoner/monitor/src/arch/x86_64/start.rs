//! How a guest is entered: the state of the vCPU before its first instruction.

use hvt_abi::boot_info::BOOT_INFO_ADDRESS;
use hvt_abi::memory_map::initial_stack_pointer;
use kvm_bindings::{kvm_dtable, kvm_fpu, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;

use super::descriptors::{GDT_LIMIT, IDT_LIMIT, TASK, TSS_LIMIT, USER_CODE, USER_DATA};
use super::{GDT, IDT, TSS, Tables};

/// PG, AM, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8005_0033;
/// OSXMMEXCPT, OSFXSR, PAE.
const CR4: u64 = 0x620;
/// NXE, LMA, LME. Not SCE: a guest has no use for SYSCALL.
const EFER: u64 = 0xd00;
/// The bit that is always set, and I/O privilege 3: emulated AMD-V does not look at the I/O bitmap.
const RFLAGS: u64 = 0x3002;
/// The state of the x87 unit and of SSE that every ABI expects: all exceptions masked.
const FCW: u16 = 0x37f;
const MXCSR: u32 = 0x1f80;

const CODE: u8 = 11;
const DATA: u8 = 3;
const BUSY_TSS: u8 = 11;

/// Sets the vCPU to the guest's first instruction, in ring 3.
pub(crate) fn enter(
    vcpu: &VcpuFd,
    tables: &Tables,
    entry: u64,
    memory_size: u64,
) -> Result<(), kvm_ioctls::Error> {
    let mut sregs = vcpu.get_sregs()?;
    sregs.cr0 = CR0;
    sregs.cr3 = tables.root;
    sregs.cr4 = CR4;
    sregs.efer = EFER;
    sregs.cs = kvm_segment { l: 1, db: 0, ..segment(USER_CODE, CODE) };
    let data = segment(USER_DATA, DATA);
    (sregs.ss, sregs.ds, sregs.es, sregs.fs, sregs.gs) = (data, data, data, data, data);
    sregs.tr = kvm_segment {
        base: tables.area + TSS,
        limit: u32::from(TSS_LIMIT),
        selector: TASK,
        type_: BUSY_TSS,
        present: 1,
        ..kvm_segment::default()
    };
    sregs.ldt = kvm_segment { unusable: 1, ..kvm_segment::default() };
    sregs.gdt = kvm_dtable { base: tables.area + GDT, limit: GDT_LIMIT, ..kvm_dtable::default() };
    sregs.idt = kvm_dtable { base: tables.area + IDT, limit: IDT_LIMIT, ..kvm_dtable::default() };
    vcpu.set_sregs(&sregs)?;
    vcpu.set_fpu(&kvm_fpu { fcw: FCW, mxcsr: MXCSR, ..kvm_fpu::default() })?;
    vcpu.set_regs(&kvm_regs {
        rip: entry,
        rsp: initial_stack_pointer(memory_size),
        rdi: BOOT_INFO_ADDRESS,
        rflags: RFLAGS,
        ..kvm_regs::default()
    })
}

fn segment(selector: u16, type_: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: 3,
        db: 1,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    }
}

/// Ticks of the guest's time-stamp counter per second.
pub(crate) fn cycle_frequency(vcpu: &VcpuFd) -> Result<u64, kvm_ioctls::Error> {
    Ok(u64::from(vcpu.get_tsc_khz()?) * 1000)
}
