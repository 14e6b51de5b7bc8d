//! Measures what a summon is compared with, and prints medians and 99th percentiles in microseconds.
//!
//! ```text
//! cargo run --release --example baselines [ROUNDS]
//! ```

use std::error::Error;
use std::time::Duration;

use summoner::bench::baseline::{Baselines, Sample};

/// A phase's name, and when it was over.
type Phase = (&'static str, fn(&Sample) -> Duration);

const PHASES: [Phase; 4] = [
    ("ready", |sample| sample.ready),
    ("connected", |sample| sample.connected),
    ("first byte", |sample| sample.first_byte),
    ("last byte", |sample| sample.last_byte),
];

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: usize = match std::env::args().nth(1) {
        Some(number) => number.parse()?,
        None => 500,
    };
    let baselines = Baselines::new()?;
    let mut exec = Vec::new();
    let [mut process, mut activation, mut crun] = [const { Vec::new() }; 3];
    // In turns, so that whatever else happens on the machine happens to all of them.
    for _ in 0..rounds {
        exec.push(baselines.exec()?);
        process.push(baselines.process()?);
        activation.push(baselines.activation()?);
        crun.extend(baselines.crun().transpose()?);
    }
    println!("{:<28}{:>10}{:>10}   µs, {rounds} rounds", "", "median", "p99");
    row("exec, exit and wait", exec);
    for (name, samples) in [("process", process), ("activation", activation), ("crun", crun)] {
        for (phase, of) in PHASES {
            row(&format!("{name}: {phase}"), samples.iter().map(of).collect());
        }
    }
    Ok(())
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().max(1) - 1));
    match (at(50), at(99)) {
        (Some(median), Some(p99)) => {
            println!("{what:<28}{:>10}{:>10}", median.as_micros(), p99.as_micros());
        }
        _ => println!("{what:<28}{:>10}{:>10}", "-", "-"),
    }
}
