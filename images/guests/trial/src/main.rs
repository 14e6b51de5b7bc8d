//! `trial`: a guest for tests, which does what its command line says, good or bad.
//!
//! `--act=NAME` or `--act=NAME=VALUE`, any number of times: the acts are done in order, and the guest halts
//! with status 0 when all went as their table says, 1 when one did not, 64 when one does not exist. The
//! table in [`acts`] has them all.
#![no_std]
#![no_main]

extern crate alloc;

mod acts;
mod faults;
mod floods;
mod hostile;
mod network;
mod plain;
mod raw;

use unikernel::{Guest, println};

unikernel::main!(main, net = "service");

/// Exit status: an act went wrong.
const FAILED: i32 = 1;

/// Exit status: there is no such act (`EX_USAGE`).
const USAGE: i32 = 64;

fn main(guest: &'static Guest) -> i32 {
    for (_, act) in guest.command_line().flags().filter(|(flag, _)| *flag == "act") {
        let (name, value) = act.split_once('=').unwrap_or((act, ""));
        let Some(found) = acts::find(name) else {
            println!("there is no act `{name}`; the acts are:");
            for act in acts::ALL {
                println!("  {:<24} {}; {}", act.name, act.does, act.comes);
            }
            return USAGE;
        };
        if let Err(problem) = (found.run)(guest, value) {
            println!("{name}: {problem}");
            return FAILED;
        }
    }
    0
}
