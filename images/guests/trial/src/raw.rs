//! Instructions without any of the library's care.
#![expect(unsafe_code, reason = "hostile on purpose")]

use core::arch::asm;

use hvt_abi::hypercall::Hypercall;

/// Writes 32 bits to a port.
pub(crate) fn out(port: u16, value: u32) {
    // SAFETY: what the host does in return is what is being tried; a host that keeps the ABI either refuses,
    // which ends the guest, or writes only where the caller's test expects it.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags))
    };
}

/// Writes 16 bits to a port.
pub(crate) fn out_word(port: u16, value: u16) {
    // SAFETY: as in `out`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags)) };
}

/// Writes 8 bits to a port.
pub(crate) fn out_byte(port: u16, value: u8) {
    // SAFETY: as in `out`.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

/// Reads 32 bits from a port.
pub(crate) fn input(port: u16) -> u32 {
    let value;
    // SAFETY: as in `out`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags))
    };
    value
}

/// Makes a hypercall with any address as its argument; what lies past 32 bits is cut off.
pub(crate) fn call(call: Hypercall, argument: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the interface passes 32 bits")]
    out(call.port(), argument as u32);
}

/// Makes a hypercall with an argument of its own structure, whatever that holds.
pub(crate) fn call_with<T>(which: Hypercall, argument: &mut T) {
    let address = (&raw mut *argument).expose_provenance();
    call(which, address as u64);
}

/// Writes to any address.
pub(crate) fn write<T>(address: u64, value: T) {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits in a guest")]
    let place = core::ptr::with_exposed_provenance_mut::<T>(address as usize);
    // SAFETY: the caller's test says what is there and that nobody else uses it; elsewhere it faults, which ends
    // the guest.
    unsafe { place.write_volatile(value) };
}
