//! GDT, TSS, IDT and the stubs that turn an exception into an exit with everything known about it.

use hvt_abi::hypercall::{PORT_BASE, PORT_END};
use hvt_abi::ring::KICK_PORT;

use super::{GDT, IDT, STACK_TOP, STUBS, TSS};
use crate::memory::{Forbidden, GuestMemory};

/// The port that the stubs write to. Not in the I/O bitmap, so ring 3 cannot reach it.
pub(crate) const CRASH_PORT: u16 = 0x7f;

/// Exceptions that the processor may raise.
const VECTORS: u8 = 32;
/// Octets of a stub.
const STUB: u64 = 16;

pub(super) const KERNEL_CODE: u16 = 0x10;
/// With requested privilege 3. The values are Linux's: some KVMs know no others.
pub(super) const USER_DATA: u16 = 0x2b;
pub(super) const USER_CODE: u16 = 0x33;
pub(super) const TASK: u16 = 0x40;

/// Ten entries: the last two are the TSS's.
pub(super) const GDT_LIMIT: u16 = 10 * 8 - 1;
pub(super) const IDT_LIMIT: u16 = VECTORS as u16 * 16 - 1;

/// Octets of the TSS proper; the I/O bitmap follows (SDM volume 3, figure 7-11).
const TSS_SIZE: u16 = 0x68;
/// The bitmap ends behind the last port that may be open; ports beyond it are closed.
const BITMAP: u16 = (KICK_PORT + 4) / 8 + 1;
/// With the octet of ones that must follow the bitmap.
pub(super) const TSS_LIMIT: u16 = TSS_SIZE + BITMAP;

/// Whether the processor pushes an error code for an exception (SDM volume 3, table 6-1).
const fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10 | 11 | 12 | 13 | 14 | 17 | 21 | 29 | 30)
}

/// Writes them all into the monitor's area.
pub(super) fn write(memory: &GuestMemory, area: u64) -> Result<(), Forbidden> {
    memory.copy_in(area + GDT, &gdt(area + TSS))?;
    memory.copy_in(area + TSS, &tss(area + STACK_TOP))?;
    memory.copy_in(area + IDT, &idt(area + STUBS))?;
    memory.copy_in(area + STUBS, &stubs())
}

fn gdt(tss: u64) -> Vec<u8> {
    let [low, high] = task_descriptor(tss);
    let entries: [u64; 10] = [
        0,
        0,
        0x00af_9b00_0000_ffff, // 0x10: code, ring 0, 64-bit
        0x00cf_9300_0000_ffff, // 0x18: data, ring 0
        0,
        0x00cf_f300_0000_ffff, // 0x28: data, ring 3
        0x00af_fb00_0000_ffff, // 0x30: code, ring 3, 64-bit
        0,
        low, // 0x40
        high,
    ];
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

/// A busy 64-bit TSS (SDM volume 3, figure 7-4).
const fn task_descriptor(base: u64) -> [u64; 2] {
    let low =
        TSS_LIMIT as u64 | (base & 0xff_ffff) << 16 | 0x8b << 40 | ((base >> 24) & 0xff) << 56;
    [low, base >> 32]
}

fn tss(stack_top: u64) -> Vec<u8> {
    let mut octets = vec![0; usize::from(TSS_LIMIT) + 1];
    octets[4..12].copy_from_slice(&stack_top.to_le_bytes());
    octets[102..104].copy_from_slice(&TSS_SIZE.to_le_bytes());
    let bitmap = &mut octets[usize::from(TSS_SIZE)..];
    bitmap.fill(0xff);
    // A hypercall and a kick write four octets: the three ports behind the last one are touched as well.
    let calls = usize::from(PORT_BASE) + 1..usize::from(PORT_END) + 3;
    let kick = usize::from(KICK_PORT)..usize::from(KICK_PORT) + 4;
    for port in calls.chain(kick) {
        bitmap[port / 8] &= !(1 << (port % 8));
    }
    octets
}

/// Interrupt gates into the stubs (SDM volume 3, figure 6-8). Only the breakpoint may be raised by an instruction of
/// ring 3.
fn idt(stubs: u64) -> Vec<u8> {
    (0..VECTORS)
        .flat_map(|vector| {
            let target = stubs + u64::from(vector) * STUB;
            let kind: u64 = if vector == 3 { 0xee } else { 0x8e };
            let low = (target & 0xffff)
                | u64::from(KERNEL_CODE) << 16
                | kind << 40
                | ((target >> 16) & 0xffff) << 48;
            [low, target >> 32]
        })
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// Each stub makes the stack alike (a zero where there is no error code, then the vector) and exits. Few instructions:
/// some KVMs interpret ring 0.
fn stubs() -> Vec<u8> {
    let crash_port = CRASH_PORT.to_le_bytes()[0];
    (0..VECTORS)
        .flat_map(|vector| {
            let mut stub = Vec::with_capacity(16);
            if !has_error_code(vector) {
                stub.extend([0x6a, 0x00]); // push 0
            }
            stub.extend([0x6a, vector]); // push vector
            stub.extend([0xe7, crash_port]); // out CRASH_PORT, eax
            stub.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp to the hlt
            stub.resize(16, 0xcc);
            stub
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hvt_abi::hypercall::Hypercall;

    use super::*;

    #[test]
    fn only_the_hypercalls_and_the_kicks_ports_are_open() {
        let tss = tss(0x1000);
        let bitmap = &tss[usize::from(TSS_SIZE)..];
        let open =
            |port: usize| bitmap.get(port / 8).is_some_and(|octet| octet & (1 << (port % 8)) == 0);
        // The processor allows an access if the bits of all its ports are clear.
        let writable = |port: usize| (port..port + 4).all(open);
        for call in Hypercall::ALL {
            assert!(writable(usize::from(call.port())), "{call}");
        }
        assert!(writable(usize::from(KICK_PORT)));
        for port in (0..0x501).chain(0x50c..0x600).chain(0x604..0x1_0000) {
            assert!(!open(port), "{port:#x}");
        }
        assert_eq!(*tss.last().unwrap(), 0xff, "the octet behind the bitmap");
        assert_eq!(tss.len(), usize::from(TSS_LIMIT) + 1);
    }

    #[test]
    fn stubs_fit_their_places() {
        assert_eq!(stubs().len(), usize::from(VECTORS) * 16);
        assert_eq!(idt(0).len(), usize::from(IDT_LIMIT) + 1);
        assert_eq!(gdt(0).len(), usize::from(GDT_LIMIT) + 1);
    }
}
