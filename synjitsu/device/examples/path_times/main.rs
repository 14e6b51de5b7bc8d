//! How long a packet takes through the switch, hop by hop, next to loopback in the same run.
//!
//! ```text
//!   client socket -> TUN -> switch -> guest's port -> guest -> guest's port -> switch -> TUN -> client socket
//! ```
//!
//! Run as root: `cargo run --release -p synjitsu-device --example path_times [-- KEY=VALUE...]`; `settings` lists the
//! keys. It makes a network namespace of its own and leaves nothing behind. Times on a shared machine drift, so
//! everything is interleaved with a round trip over loopback between two threads, and the ratios are what counts.
//! Most of a time is waking threads up, which depends on where the kernel puts them: compare several runs, or say
//! where they are to be.
#![allow(clippy::unwrap_used, reason = "a measuring tool that fails shall say where")]

mod burst;
mod connect;
mod core;
mod guest;
mod load;
mod ping;
mod settings;
mod stamps;
mod table;
mod world;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::load::Hogs;
use crate::settings::Settings;
use crate::world::World;

fn main() -> ExitCode {
    let settings = match Settings::parse(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(64);
        }
    };
    if !rustix::process::geteuid().is_root() {
        eprintln!("path_times makes a network namespace and a TUN device: run it as root");
        return ExitCode::from(77);
    }
    raise_descriptor_limit();
    synjitsu_device::namespace::enter_new().unwrap();
    println!("{} processors; {settings:?}", load::processors());
    let Settings { guests, rounds, .. } = settings;

    core::run();
    let mut world = World::new(settings);
    world.open(1);
    if settings.idle {
        println!("\n  an idle machine");
        ping::run(&world, "1 guest attached");
        connect::run(&mut world, rounds);
        burst::run(&mut world, rounds);
    }
    world.open_all();
    if settings.idle {
        ping::run(&world, &format!("{guests} guests attached"));
    }
    if settings.busy {
        println!("\n  a busy machine: a thread that never sleeps on each processor");
        let hogs = Hogs::start(load::processors());
        ping::run(&world, &format!("{guests} guests attached"));
        connect::run(&mut world, rounds.div_ceil(10));
        println!("\n  work done by the others: {} a second", hogs.work_per_second());
    }
    world.end();
    ExitCode::SUCCESS
}

/// Both ends of every port are in this process.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
