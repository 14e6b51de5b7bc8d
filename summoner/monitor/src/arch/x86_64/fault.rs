//! The report of a fault: which exception, where, what was touched, and the registers.

use std::fmt::Write as _;

use kvm_bindings::kvm_regs;
use kvm_ioctls::VcpuFd;

use super::{STACK_TOP, STUBS, STUBS_SIZE, Tables};
use crate::arch::Region;
use crate::memory::GuestMemory;

/// What a stub leaves on the stack, from its top down: ss, rsp, rflags, cs, rip, error code, vector.
const FRAME_WORDS: usize = 7;
const PAGE_FAULT: u64 = 14;

const ERROR_PRESENT: u64 = 1 << 0;
const ERROR_WRITE: u64 = 1 << 1;
const ERROR_FETCH: u64 = 1 << 4;

/// Describes the exception whose stub has just written to the crash port; `None` when it was no stub that wrote there.
///
/// Where the I/O privilege level opens all ports, the guest itself can write to this one.
pub(crate) fn crash_report(vcpu: &VcpuFd, memory: &GuestMemory, tables: &Tables) -> Option<String> {
    let registers = vcpu.get_regs().ok();
    let stubs = tables.area + STUBS..tables.area + STUBS + STUBS_SIZE;
    if registers.is_some_and(|registers| !stubs.contains(&registers.rip)) {
        return None;
    }
    let frame = match Frame::read(memory, tables) {
        Ok(frame) => frame,
        Err(error) => return Some(format!("an exception whose frame cannot be read: {error}")),
    };
    // Where the page fault was is in CR2 (SDM volume 3, section 4.7).
    let cr2 = vcpu.get_sregs().map(|sregs| sregs.cr2).ok();
    Some(report(&frame, cr2, registers.as_ref(), &tables.regions))
}

/// Where the guest is, for a report of something that is no exception.
pub(crate) fn position(vcpu: &VcpuFd, tables: &Tables) -> String {
    match vcpu.get_regs() {
        Ok(registers) => {
            format!("at rip {:#x} ({})", registers.rip, kind(registers.rip, &tables.regions))
        }
        Err(error) => format!("at an unknown place ({error})"),
    }
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    rflags: u64,
    rsp: u64,
}

impl Frame {
    fn read(memory: &GuestMemory, tables: &Tables) -> Result<Self, crate::memory::Forbidden> {
        let mut octets = [0; 8 * FRAME_WORDS];
        memory.copy_out(tables.area + STACK_TOP - octets.len() as u64, &mut octets)?;
        let mut words = [0; FRAME_WORDS];
        for (word, octets) in words.iter_mut().zip(octets.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*octets);
        }
        let [vector, error, rip, _cs, rflags, rsp, _ss] = words;
        Ok(Self { vector, error, rip, rflags, rsp })
    }
}

fn report(
    frame: &Frame,
    cr2: Option<u64>,
    registers: Option<&kvm_regs>,
    regions: &[Region],
) -> String {
    let Frame { vector, error, rip, rflags, rsp } = *frame;
    let mut text = name(vector).to_owned();
    // Writing to a String cannot fail, here and below.
    if vector == PAGE_FAULT {
        let address = cr2.unwrap_or(0);
        let _ = write!(text, ": {} {}", page_fault(error), place(address, regions));
    } else if error != 0 {
        let _ = write!(text, ", error code {error:#x}");
    }
    let _ = write!(text, "\n  at rip {rip:#x} ({})", kind(rip, regions));
    let _ = write!(text, "\n  rsp {rsp:#x} ({}), rflags {rflags:#x}", kind(rsp, regions));
    if let Some(r) = registers {
        let rows: [[(&str, u64); 5]; 3] = [
            [("rax", r.rax), ("rbx", r.rbx), ("rcx", r.rcx), ("rdx", r.rdx), ("rsi", r.rsi)],
            [("rdi", r.rdi), ("rbp", r.rbp), ("r8 ", r.r8), ("r9 ", r.r9), ("r10", r.r10)],
            [("r11", r.r11), ("r12", r.r12), ("r13", r.r13), ("r14", r.r14), ("r15", r.r15)],
        ];
        for row in rows {
            text.push_str("\n ");
            for (name, value) in row {
                let _ = write!(text, " {name} {value:#018x}");
            }
        }
    }
    text
}

fn page_fault(error: u64) -> &'static str {
    match (error & ERROR_FETCH != 0, error & ERROR_WRITE != 0, error & ERROR_PRESENT != 0) {
        (true, _, true) => "execution is not allowed of",
        (true, _, false) => "execution of nothing, there is no page,",
        (false, true, true) => "writing is not allowed",
        (false, true, false) => "writing, but there is no page,",
        (false, false, true) => "reading is not allowed",
        (false, false, false) => "reading, but there is no page,",
    }
}

fn place(address: u64, regions: &[Region]) -> String {
    format!("at {address:#x} ({})", kind(address, regions))
}

fn kind(address: u64, regions: &[Region]) -> &'static str {
    match regions.iter().find(|region| (region.start..region.end).contains(&address)) {
        Some(region) => region.kind.name(),
        None if address < 0x1000 => "the null page: nothing is mapped there",
        None => "nothing is mapped there",
    }
}

/// The exceptions of SDM volume 3, table 6-1.
const fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error (#DE)",
        1 => "debug exception (#DB)",
        2 => "non-maskable interrupt",
        3 => "breakpoint (#BP)",
        4 => "overflow (#OF)",
        5 => "bound range exceeded (#BR)",
        6 => "undefined instruction (#UD)",
        7 => "device not available (#NM)",
        8 => "double fault (#DF)",
        10 => "invalid TSS (#TS)",
        11 => "segment not present (#NP)",
        12 => "stack-segment fault (#SS)",
        13 => "general protection fault (#GP)",
        14 => "page fault (#PF)",
        16 => "x87 floating-point error (#MF)",
        17 => "alignment check (#AC)",
        18 => "machine check (#MC)",
        19 => "SIMD floating-point exception (#XM)",
        20 => "virtualisation exception (#VE)",
        21 => "control protection exception (#CP)",
        _ => "unknown exception",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::RegionKind;

    #[test]
    fn a_page_fault_says_what_where_and_by_whom() {
        let regions = [
            Region { start: 0x20_0000, end: 0x40_0000, kind: RegionKind::Code },
            Region { start: 0x7b_f000, end: 0x7c_0000, kind: RegionKind::Guard },
        ];
        let frame = Frame { vector: 14, error: 6, rip: 0x20_1234, rflags: 0x3202, rsp: 0x7b_fff8 };
        let registers = kvm_regs { rax: 0x1234, ..kvm_regs::default() };
        let text = report(&frame, Some(0x7b_fff0), Some(&registers), &regions);
        assert!(
            text.starts_with(
                "page fault (#PF): writing, but there is no page, at 0x7bfff0 (the guard page"
            ),
            "{text}"
        );
        assert!(
            text.contains("rip 0x201234 (code)") && text.contains("rax 0x0000000000001234"),
            "{text}"
        );
        let null = Frame { error: 4, ..frame };
        assert!(report(&null, Some(8), None, &regions).contains("null page"));
        let jump = Frame { error: 0x15, ..frame };
        assert!(
            report(&jump, Some(0x40_0000), None, &regions).contains("execution is not allowed")
        );
    }
}
