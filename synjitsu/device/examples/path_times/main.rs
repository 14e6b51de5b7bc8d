//! How long a packet takes through the switch, hop by hop, next to loopback in the same run.
//!
//! ```text
//!   client socket -> TUN -> switch -> guest's port -> guest -> guest's port -> switch -> TUN -> client socket
//! ```
//!
//! Run as root: `cargo run --release -p synjitsu-device --example path_times [-- GUESTS [ROUNDS]]`. It makes a network
//! namespace of its own and leaves nothing behind. Times on a shared machine drift, so everything is
//! interleaved with a round trip over loopback between two threads, and the ratios are what counts.
#![allow(clippy::unwrap_used, reason = "a measuring tool that fails shall say where")]

mod burst;
mod connect;
mod guest;
mod ping;
mod stamps;
mod table;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::world::World;

fn main() -> ExitCode {
    let numbers: Result<Vec<u16>, _> =
        std::env::args().skip(1).map(|argument| argument.parse()).collect();
    let (guests, rounds) = match numbers.as_deref() {
        Ok([]) => (1000, 20),
        Ok([guests @ 2..=2000]) => (*guests, 20),
        Ok([guests @ 2..=2000, rounds @ 1..=1000]) => (*guests, *rounds),
        Ok(_) | Err(_) => {
            eprintln!("usage: path_times [GUESTS (2 to 2000) [ROUNDS]]");
            return ExitCode::from(64);
        }
    };
    if !rustix::process::geteuid().is_root() {
        eprintln!("path_times makes a network namespace and a TUN device: run it as root");
        return ExitCode::from(77);
    }
    raise_descriptor_limit();
    synjitsu_device::namespace::enter_new().unwrap();
    println!("{} processors, {guests} guests, {rounds} rounds", processors());

    let mut world = World::new(guests);
    world.open(1);
    println!("\nan idle machine");
    ping::run(&world, rounds, "1 guest attached");
    connect::run(&mut world, rounds);
    burst::run(&mut world, rounds);
    world.open_all();
    ping::run(&world, rounds, &format!("{guests} guests attached"));

    println!("\na busy machine: a thread that never sleeps on each processor");
    let hogs = Hogs::start(processors());
    ping::run(&world, rounds, &format!("{guests} guests attached"));
    connect::run(&mut world, rounds.div_ceil(10));
    let u = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    println!("hogs {} cpu {u:?}", hogs.count());
    drop(hogs);
    world.end();
    ExitCode::SUCCESS
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Both ends of every port are in this process.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Threads that take all the time they get.
struct Hogs {
    end: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Hogs {
    fn start(count: usize) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let hog = |_| {
            let end = end.clone();
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    COUNT.fetch_add(1, Ordering::Relaxed);
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..count).map(hog).collect();
        Self { end, threads }
    }
}

static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
impl Hogs {
    fn count(&self) -> u64 {
        COUNT.load(Ordering::Relaxed)
    }
}
impl Drop for Hogs {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
