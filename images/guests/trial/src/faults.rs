//! Exceptions: each act makes the processor raise one.
//!
//! What the language forbids is written in assembly, so that the compiler has no say in it.
#![expect(unsafe_code, reason = "hostile on purpose")]

use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::arch::asm;
use core::hint::black_box;

use hvt_abi::boot_info::BOOT_INFO_ADDRESS;
use hvt_abi::memory_map::x86_64::PML4;
use unikernel::Guest;

use crate::plain::memory_end;

type Outcome = Result<(), String>;

/// Runs instructions that must not come to their end.
macro_rules! crash {
    ($($text:literal),+) => {{
        // SAFETY: an exception ends the guest. Should a faulty host let it pass, the guest reports that and
        // ends too; every register that could be lost until then is declared lost.
        unsafe {
            asm!($($text),+, out("rax") _, out("rcx") _, out("rdx") _, out("r11") _);
        }
        Err("nothing happened".into())
    }};
}

pub(crate) fn divide(_: &'static Guest, _: &str) -> Outcome {
    crash!("xor ecx, ecx", "xor edx, edx", "mov eax, 1", "div ecx")
}

pub(crate) fn breakpoint(_: &'static Guest, _: &str) -> Outcome {
    crash!("int3")
}

pub(crate) fn undefined(_: &'static Guest, _: &str) -> Outcome {
    crash!("ud2")
}

pub(crate) fn interrupt(_: &'static Guest, _: &str) -> Outcome {
    crash!("int 0x80")
}

pub(crate) fn privileged(_: &'static Guest, value: &str) -> Outcome {
    match value {
        "hlt" => crash!("hlt"),
        "cli" => crash!("pushfq", "cli", "popfq"),
        "rdmsr" => crash!("mov ecx, 0xc0000080", "rdmsr"),
        "wrmsr" => crash!("xor eax, eax", "xor edx, edx", "mov ecx, 0xc0000080", "wrmsr"),
        "mov-cr3" => crash!("xor eax, eax", "mov cr3, rax"),
        "lidt" => crash!("lidt [rsp]"),
        "invd" => crash!("invd"),
        _ => Err(format!("`{value}` is none of the instructions")),
    }
}

pub(crate) fn system_call(_: &'static Guest, _: &str) -> Outcome {
    crash!("xor eax, eax", "syscall")
}

pub(crate) fn hypervisor_call(_: &'static Guest, _: &str) -> Outcome {
    crash!("xor eax, eax", "vmcall")
}

pub(crate) fn port_read(_: &'static Guest, _: &str) -> Outcome {
    crash!("in al, 0x60")
}

pub(crate) fn port_write(_: &'static Guest, _: &str) -> Outcome {
    crash!("mov edx, 0x3f8", "mov al, 0x21", "out dx, al")
}

pub(crate) fn misaligned_sse(_: &'static Guest, _: &str) -> Outcome {
    crash!("mov rax, rsp", "or rax, 1", "movaps xmm0, [rax]")
}

pub(crate) fn non_canonical(_: &'static Guest, _: &str) -> Outcome {
    crash!("mov rax, 0x8000000000000000", "mov al, [rax]")
}

pub(crate) fn read_null(_: &'static Guest, _: &str) -> Outcome {
    read(0)
}

pub(crate) fn write_null(_: &'static Guest, _: &str) -> Outcome {
    write(0)
}

pub(crate) fn jump_null(_: &'static Guest, _: &str) -> Outcome {
    jump(0)
}

pub(crate) fn read_tables(_: &'static Guest, _: &str) -> Outcome {
    read(PML4)
}

pub(crate) fn read_outside(guest: &'static Guest, _: &str) -> Outcome {
    read(memory_end(guest))
}

pub(crate) fn write_code(_: &'static Guest, _: &str) -> Outcome {
    write(code())
}

pub(crate) fn write_constant(_: &'static Guest, _: &str) -> Outcome {
    static CONSTANT: [u8; 64] = [1; 64];
    write(CONSTANT.as_ptr().expose_provenance() as u64)
}

pub(crate) fn write_boot_info(_: &'static Guest, _: &str) -> Outcome {
    write(BOOT_INFO_ADDRESS)
}

/// `ret`: whoever can jump to it comes back unharmed.
const RETURN: u8 = 0xc3;

pub(crate) fn execute_data(_: &'static Guest, _: &str) -> Outcome {
    static mut DATA: [u8; 16] = [RETURN; 16];
    jump((&raw const DATA).expose_provenance() as u64)
}

pub(crate) fn execute_heap(_: &'static Guest, _: &str) -> Outcome {
    // More than a page: the heap begins on the last page of the data.
    let octets = black_box(vec![RETURN; 2 * 4096]);
    jump(octets.as_ptr().expose_provenance() as u64 + 4096)
}

pub(crate) fn execute_stack(_: &'static Guest, _: &str) -> Outcome {
    let octets = black_box([RETURN; 16]);
    jump(octets.as_ptr().expose_provenance() as u64)
}

pub(crate) fn execute_boot_info(_: &'static Guest, _: &str) -> Outcome {
    jump(BOOT_INFO_ADDRESS)
}

pub(crate) fn stack_overflow(_: &'static Guest, _: &str) -> Outcome {
    #[expect(unconditional_recursion, reason = "that is the act")]
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 32]);
        // The addition keeps the call from becoming a loop.
        deeper(depth.wrapping_add(1)).wrapping_add(frame[7])
    }
    Err(format!("came back from {} calls", deeper(black_box(0))))
}

/// The address of some code.
pub(crate) fn code() -> u64 {
    let function: fn(&'static Guest, &str) -> Outcome = divide;
    function as usize as u64
}

fn read(address: u64) -> Outcome {
    let octet: u8;
    // SAFETY: the access faults, which ends the guest; if it does not, a register has an octet of something.
    unsafe { asm!("mov {}, [{}]", out(reg_byte) octet, in(reg) address, options(nostack)) };
    Err(format!("read {octet:#x}"))
}

fn write(address: u64) -> Outcome {
    // SAFETY: the access faults, which ends the guest; if it does not, the guest reports that and ends, and
    // what is overwritten (`code`, a constant, the host's tables) is not used on the way.
    unsafe { asm!("mov byte ptr [{}], 0xcc", in(reg) address, options(nostack)) };
    Err("wrote".into())
}

fn jump(address: u64) -> Outcome {
    // SAFETY: fetching the instruction faults, which ends the guest; if it does not, the callers have put a
    // `ret` there, or the guest crashes in another way.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("sysv64")) };
    Err("came back".into())
}
