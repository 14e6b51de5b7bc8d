//! `baseline-http`: the default service as an ordinary process.
//!
//! ```text
//! baseline-http listen     listens on a port of its own of 127.0.0.1, and says which on its standard output
//! baseline-http inherit    listens on its standard input, a listening socket, as inetd's `wait` services do
//! ```
//!
//! It never ends by itself. Exit status: 64 when it is called in another way, 71 when a system call fails.
//!
//! Its main function is C's: Rust's own would be preceded by the set-up of the standard library's runtime (guard
//! pages, signal handlers), and the baseline shall start as fast as a static program does.
#![no_main]
#![expect(unsafe_code, reason = "the C library calls a symbol of this name")]

use std::ffi::{c_char, c_int};
use std::time::{Duration, Instant};

use baseline::{Failure, Host, Service};

/// Exit status: called in a way it does not know (`EX_USAGE`).
const USAGE: c_int = 64;

/// Exit status: a system call failed (`EX_OSERR`).
const SYSTEM: c_int = 71;

/// Called by the C library's start code.
// SAFETY: no other symbol of that name is linked, and this is the signature that the C library expects.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let process = Process { started: Instant::now() };
    let served = match std::env::args().nth(1).as_deref() {
        Some("listen") => Service::listen(process),
        Some("inherit") => Service::inherit(process),
        _ => {
            eprintln!("usage: baseline-http listen | inherit");
            return USAGE;
        }
    };
    let Err(Failure { what, error }) = served.and_then(|service| service.run());
    eprintln!("baseline-http: cannot {what}: {error}");
    SYSTEM
}

/// This process, as the page tells about it.
#[derive(Debug)]
struct Process {
    started: Instant,
}

impl Host for Process {
    const KIND: &'static str = "process that was started";

    fn up(&self) -> Duration {
        self.started.elapsed()
    }

    fn generation(&self) -> Option<u64> {
        None
    }

    fn memory(&self) -> Option<u64> {
        None
    }
}
