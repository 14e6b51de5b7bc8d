//! Measures the answering of queries by UDP: this server, NSD, plain hickory, and a server that only receives and sends,
//! the floor. All serve the same thousand names over loopback in a network namespace, in turns, asked by dnsperf.
//!
//! ```text
//! cargo run --release --example dns_speed [ROUNDS [SECONDS [FILE.json]]]
//! ```
//!
//! It needs `nsd` and `dnsperf` (Debian). The processor time that a server's process takes for a query, the kernel's part in it
//! included, is the steady figure; queries a second depend on what else the machine does. With one thread the server has a
//! processor of its own and dnsperf another; with two they share both.
#![allow(clippy::unwrap_used, reason = "an experiment: what fails ends it")]

mod peers;
mod rounds;
mod zone_data;

use std::error::Error;
use std::time::Duration;

use rounds::{Measured, Plan};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, kind, address, threads] = arguments.as_slice()
        && word == "serve"
    {
        return peers::serve(kind, address.parse()?, threads.parse()?);
    }
    let number = |place: usize, default| {
        arguments.get(place).map_or(Ok(default), |text| text.parse::<u32>())
    };
    let (rounds, seconds) = (number(0, 10)?, number(1, 2)?);
    summoner::harness::enter_network()?;
    let plan = Plan { rounds, length: Duration::from_secs(seconds.into()) };
    let measured = rounds::run(&plan)?;
    for threads in [1, 2] {
        table(threads, &measured);
    }
    if let Some(path) = arguments.get(2) {
        std::fs::write(path, serde_json::to_string_pretty(&measured)?)?;
    }
    Ok(())
}

fn table(threads: u32, measured: &[Measured]) {
    let of_threads = || measured.iter().filter(move |row| row.threads == threads);
    let Some(nsd) = of_threads().find(|row| row.server == "nsd") else { return };
    println!(
        "{threads} thread(s)        µs/query   of NSD's   queries/s   of NSD's   p99 at half load"
    );
    for row in of_threads() {
        println!(
            "  {:<16} {:>8.2} {:>10.2} {:>11.0} {:>10.2} {:>12.0} µs",
            row.server,
            row.cpu_us,
            row.cpu_us / nsd.cpu_us,
            row.per_second,
            row.per_second / nsd.per_second,
            row.p99_us,
        );
    }
}
