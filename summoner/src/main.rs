//! The one binary: the daemon, its commands, and, hidden, the monitor process of each guest.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // The monitor comes before anything else exists: no runtime, no thread, no logging.
    if std::env::args_os().nth(1).is_some_and(|command| command == "monitor") {
        return summoner::commands::monitor::run();
    }
    summoner::commands::run()
}
