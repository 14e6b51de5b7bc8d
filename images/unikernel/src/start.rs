//! From the first instruction to the guest's main function, and what happens when it panics.
#![expect(
    unsafe_code,
    reason = "the notes, the entry from assembly, and the symbols that link guest and library"
)]

use core::panic::PanicInfo;

use hvt_abi::note::{Abi1Note, INTERPRETER, TakesNote};

use crate::boot::{Guest, TAKES};
use crate::{heap, hypercall, println};

/// The exit status of a guest that panicked; the one that Rust programs have on every system.
const PANIC_STATUS: i32 = 101;

#[used]
#[unsafe(link_section = ".note.solo5.abi")]
static ABI: Abi1Note = Abi1Note::HVT;

#[used]
#[unsafe(link_section = ".note.summoner.takes")]
static TAKES_NOTE: TakesNote = TakesNote::new(TAKES);

#[used]
#[unsafe(link_section = ".interp")]
static INTERP: [u8; INTERPRETER.len() + 1] = {
    let mut text = [0; INTERPRETER.len() + 1];
    let (path, _) = text.split_at_mut(INTERPRETER.len());
    path.copy_from_slice(INTERPRETER.as_bytes());
    text
};

unsafe extern "Rust" {
    /// What [`main!`](crate::main) declares.
    safe fn __unikernel_main(guest: &'static Guest) -> i32;
}

/// Called by the first instructions with the address of the boot information and the cycle counter's value.
pub(crate) extern "C" fn start(boot_info: u64, entered: u64) -> ! {
    // SAFETY: this is the guest's only call of the function, and the address is the one that the host passed
    // to the first instruction.
    let guest = unsafe { Guest::read(boot_info, entered) };
    heap::claim(guest);
    hypercall::halt(__unikernel_main(guest))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    hypercall::halt(PANIC_STATUS)
}

/// Named by the precompiled core library's unwind tables, which are thrown away.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Called by the precompiled library's landing pads, which a program that aborts on a panic never enters.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    hypercall::halt(PANIC_STATUS)
}
