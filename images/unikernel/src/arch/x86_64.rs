//! x86-64: ring 3, flat memory, hypercalls by port output.
#![expect(unsafe_code, reason = "instructions that the language has no words for")]

use core::arch::x86_64::{__cpuid, _rdrand64_step, _rdtsc};

#[cfg(unikernel)]
use hvt_abi::hypercall::Hypercall;

// The first instruction. `rdi` holds the address of the boot information, `rsp` is as after a call. The
// cycle counter is read before anything else, because the guest reports how long its start took.
#[cfg(unikernel)]
core::arch::global_asm!(
    ".section .text._start, \"ax\", @progbits",
    ".globl _start",
    ".type _start, @function",
    "_start:",
    "    rdtsc",
    "    shl rdx, 32",
    "    lea rsi, [rdx + rax]",
    "    xor ebp, ebp",
    "    and rsp, -16",
    "    call {start}",
    "    ud2",
    ".size _start, . - _start",
    start = sym crate::start::start,
);

// The memory functions that compiled code calls; the core library does not bring them for this target. They
// are assembly because a loop written in Rust would be recognised and turned into a call of itself. The
// string instructions move whole cache lines on every processor of the last ten years.
#[cfg(unikernel)]
core::arch::global_asm!(
    ".section .text.memory, \"ax\", @progbits",
    ".globl memcpy",
    ".type memcpy, @function",
    "memcpy:",
    "    mov rax, rdi",
    "    mov rcx, rdx",
    "    rep movsb",
    "    ret",
    ".size memcpy, . - memcpy",
    // Forwards unless the destination begins inside the source; then backwards, eight octets at a time
    // while there are eight, because `std; rep movsb` is an order of magnitude slower.
    ".globl memmove",
    ".type memmove, @function",
    "memmove:",
    "    mov rax, rdi",
    "    mov rcx, rdi",
    "    sub rcx, rsi",
    "    cmp rcx, rdx",
    "    jae memcpy",
    "2:",
    "    cmp rdx, 8",
    "    jb 3f",
    "    mov rcx, [rsi + rdx - 8]",
    "    mov [rdi + rdx - 8], rcx",
    "    sub rdx, 8",
    "    jmp 2b",
    "3:",
    "    test rdx, rdx",
    "    jz 4f",
    "    mov cl, [rsi + rdx - 1]",
    "    mov [rdi + rdx - 1], cl",
    "    dec rdx",
    "    jmp 3b",
    "4:",
    "    ret",
    ".size memmove, . - memmove",
    ".globl memset",
    ".type memset, @function",
    "memset:",
    "    mov r8, rdi",
    "    mov eax, esi",
    "    mov rcx, rdx",
    "    rep stosb",
    "    mov rax, r8",
    "    ret",
    ".size memset, . - memset",
    ".globl memcmp",
    ".type memcmp, @function",
    ".globl bcmp",
    ".type bcmp, @function",
    "memcmp:",
    "bcmp:",
    "    xor ecx, ecx",
    "5:",
    "    cmp rcx, rdx",
    "    jae 6f",
    "    movzx eax, byte ptr [rdi + rcx]",
    "    movzx r8d, byte ptr [rsi + rcx]",
    "    inc rcx",
    "    sub eax, r8d",
    "    jz 5b",
    "    ret",
    "6:",
    "    xor eax, eax",
    "    ret",
    ".size memcmp, . - memcmp",
    ".size bcmp, . - bcmp",
);

/// Makes a hypercall with the argument structure at `argument`.
///
/// # Safety
/// `argument` must point to the structure of that call, valid for reads and writes, and every address in it
/// must be valid for what the call does with it.
#[cfg(unikernel)]
pub(crate) unsafe fn hypercall(call: Hypercall, argument: *mut u8) {
    // The interface passes the low 32 bits; guest memory ends at 4 GiB at the latest.
    #[expect(clippy::cast_possible_truncation, reason = "guest addresses have 32 bits")]
    let address = argument.expose_provenance() as u32;
    // SAFETY: the host reads and writes the argument and what it points to, as the caller vouches for, and
    // nothing else; the instruction itself changes no register and no flag, and uses no stack. The block is
    // not marked `nomem`, so the compiler takes it to touch all memory whose address is known outside.
    unsafe {
        core::arch::asm!("out dx, eax", in("dx") call.port(), in("eax") address, options(nostack, preserves_flags));
    }
}

/// The processor's cycle counter.
pub(crate) fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; the host does not forbid it to ring 3.
    unsafe { _rdtsc() }
}

/// A random word from the processor, if it has the instruction and that gives one.
///
/// Asking for the instruction's existence leaves the guest, so this is for hosts that give no entropy.
pub(crate) fn random_word() -> Option<u64> {
    const RDRAND: u32 = 1 << 30;
    if __cpuid(1).ecx & RDRAND == 0 {
        return None;
    }
    // The generator may be exhausted for a moment; ten tries are what its documentation recommends.
    (0..10).find_map(|_| random_word_once())
}

fn random_word_once() -> Option<u64> {
    #[target_feature(enable = "rdrand")]
    fn step() -> Option<u64> {
        let mut word = 0;
        (_rdrand64_step(&mut word) == 1).then_some(word)
    }
    // SAFETY: the only caller has found the instruction to exist.
    unsafe { step() }
}
