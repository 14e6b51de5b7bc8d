//! What depends on the processor: the first instruction, the hypercall instruction, the cycle counter, the
//! random number instruction and the memory functions.
//!
//! An architecture is one module with the same items, and a linker script in `link/`.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(all(target_arch = "x86_64", unikernel))]
pub(crate) use x86_64::hypercall;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{cycles, random_word};

#[cfg(not(unikernel))]
pub(crate) use crate::pretence::hypercall;

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "the guest library knows x86-64 only so far; another architecture needs a module in \
     images/unikernel/src/arch and a linker script in images/unikernel/link"
);
