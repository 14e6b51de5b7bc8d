//! `summoner monitor`, hidden: the process of one guest. Its standard input is the control socket.

use std::os::fd::AsFd;
use std::process::ExitCode;

/// Becomes a shell: makes a VM, waits for an image, runs it, ends.
#[must_use]
pub fn run() -> ExitCode {
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(control) => ::monitor::run(control),
        Err(error) => {
            eprintln!("summoner monitor: no control socket on standard input: {error}");
            ExitCode::FAILURE
        }
    }
}
