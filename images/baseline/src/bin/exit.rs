//! `baseline-exit`: a static program that only exits, to measure what starting any program costs.
//!
//! Its main function is C's: Rust's own would be preceded by the set-up of the standard library's runtime, which
//! is more than a tenth of the program's life.
#![no_main]
#![expect(unsafe_code, reason = "the C library calls a symbol of this name")]

use std::ffi::{c_char, c_int};

/// Does nothing, successfully.
// SAFETY: no other symbol of that name is linked, and this is the signature that the C library expects.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    0
}
