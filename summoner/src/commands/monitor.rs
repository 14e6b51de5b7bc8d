//! `summoner monitor`, hidden: the zygote of the processes that run guests. Its standard input is the control socket.

use std::os::fd::AsFd;
use std::process::ExitCode;

/// Becomes a zygote: forks a shell whenever the daemon asks for one.
#[must_use]
pub fn run() -> ExitCode {
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(control) => ::monitor::zygote::run(control),
        Err(error) => {
            eprintln!("summoner monitor: no control socket on standard input: {error}");
            ExitCode::FAILURE
        }
    }
}
