//! Fresh randomness from the kernel.

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `buffer` from the kernel's random number generator.
///
/// Waits, early in the machine's life, until the generator is seeded; cannot fail after that for
/// buffers of up to 256 octets (`getrandom(2)`).
pub fn fill(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        match getrandom(&mut buffer[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            // Interrupted by a signal before anything was read.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => unreachable!("getrandom(2) of a valid buffer failed: {error}"),
        }
    }
}
