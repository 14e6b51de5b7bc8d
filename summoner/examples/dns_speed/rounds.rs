//! The servers' processes, and rounds in which each of them is asked in turn.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Serialize;
use summoner::bench::throughput::on_processor;

use crate::zone_data;

/// In this order in every round.
const SERVERS: [&str; 4] = ["summoner", "nsd", "hickory", "echo"];

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Turns of each server.
    pub(crate) rounds: u32,
    /// Of a turn.
    pub(crate) length: Duration,
}

/// What was measured of a server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    pub(crate) server: &'static str,
    pub(crate) threads: u32,
    /// Processor time for a query: the median of the rounds, in microseconds.
    pub(crate) cpu_us: f64,
    /// Queries answered in a second: the median of the rounds.
    pub(crate) per_second: f64,
    /// The 99th percentile of the latency, in microseconds, at half the queries that it can answer.
    pub(crate) p99_us: f64,
    /// Each round: processor time for a query, queries in a second.
    pub(crate) rounds: Vec<(f64, f64)>,
}

/// A server's process, which ends with this.
struct Server {
    name: &'static str,
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // NSD's processes end with their parent when it is asked; whoever is gone needs no asking.
        let asked = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(asked, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Measures with one thread, then with two.
pub(crate) fn run(plan: &Plan) -> Result<Vec<Measured>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("bench.zone"), zone_data::text())?;
    fs::write(folder.path().join("questions"), zone_data::questions())?;
    let mut measured = Vec::new();
    for threads in [1, 2] {
        let servers = SERVERS.iter().zip(5300..);
        let servers = servers.map(|(name, port)| start(name, port, threads, folder.path()));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let mut rounds = vec![Vec::new(); servers.len()];
        // The first round is not counted: caches, and what is made at the first query.
        for round in 0..=plan.rounds {
            for (server, rounds) in servers.iter().zip(&mut rounds) {
                let turn = ask(server, threads, plan.length, folder.path(), &[])?;
                if round > 0 {
                    rounds.push(turn.figures);
                }
            }
            eprintln!("{threads} thread(s): round {round} of {}", plan.rounds);
        }
        for (server, rounds) in servers.iter().zip(rounds) {
            let per_second = median(rounds.iter().map(|(_, per_second)| *per_second));
            let half = format!("{:.0}", per_second / 2.0);
            let turn = ask(server, threads, plan.length, folder.path(), &["-v", "-Q", &half])?;
            let cpu_us = median(rounds.iter().map(|(cpu, _)| *cpu));
            let p99_us = turn.p99_us;
            let server = server.name;
            measured.push(Measured { server, threads, cpu_us, per_second, p99_us, rounds });
        }
    }
    Ok(measured)
}

fn start(
    name: &'static str,
    port: u16,
    threads: u32,
    folder: &Path,
) -> Result<Server, Box<dyn Error>> {
    // With one thread: on the first processor, and dnsperf on the others.
    let processors = if threads == 1 { "0" } else { "0-1" };
    let mut command = Command::new("nice");
    // Ours puts itself ten before others, if it may: here all are to be equal.
    let privileged = rustix::process::geteuid().is_root();
    command.args(["-n", if name == "summoner" && privileged { "10" } else { "0" }]);
    command.args(["taskset", "-c", processors]);
    if name == "nsd" {
        let (at, zone) = (folder.display(), folder.join("bench.zone"));
        let text = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n server-count: {threads}\n reuseport: yes\n username: \"\"\n \
             zonesdir: \"{at}\"\n database: \"\"\n zonelistfile: \"{at}/zones\"\n xfrdfile: \"{at}/xfrd\"\n xfrdir: \"{at}\"\n \
             pidfile: \"{at}/pid\"\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n\
             remote-control:\n control-enable: no\nzone:\n name: {}\n zonefile: {}\n",
            zone_data::APEX,
            zone.display()
        );
        let path = folder.join(format!("nsd{threads}.conf"));
        fs::write(&path, text)?;
        command.args(["nsd", "-d", "-c"]).arg(path).stderr(Stdio::null());
    } else {
        let address = format!("127.0.0.1:{port}");
        command.arg(std::env::current_exe()?);
        command.args(["serve", name, &address, &threads.to_string()]);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take();
    let server = Server { name, child, port };
    if name != "nsd" {
        let mut line = String::new();
        output.map(BufReader::new).ok_or("no output")?.read_line(&mut line)?;
        if line.trim() != "ready" {
            return Err(format!("{name} does not serve").into());
        }
    }
    // NSD does not say when it is ready: it is when it answers, which a turn that is not counted waits for.
    Ok(server)
}

/// What a turn shows.
struct Turn {
    /// Processor time for a query in microseconds, and queries in a second.
    figures: (f64, f64),
    p99_us: f64,
}

/// Asks a server for some time.
fn ask(
    server: &Server,
    threads: u32,
    length: Duration,
    folder: &Path,
    more: &[&str],
) -> Result<Turn, Box<dyn Error>> {
    let before = cpu_of(server.child.id());
    let processors = if threads == 1 { "1" } else { "0-1" };
    let output = Command::new("taskset")
        .args(["-c", processors, "dnsperf", "-s", "127.0.0.1", "-p"])
        .arg(server.port.to_string())
        .args(["-T", &threads.to_string(), "-c", "16", "-q", "200", "-t", "1", "-l"])
        .arg(length.as_secs().to_string())
        .arg("-d")
        .arg(folder.join("questions"))
        .args(more)
        .output()?;
    let cpu = cpu_of(server.child.id()).saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |label: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
    };
    let completed = figure("Queries completed:").ok_or_else(|| format!("dnsperf: {text}"))?;
    let per_second = figure("Queries per second:").ok_or("dnsperf gives no rate")?;
    let mut latencies: Vec<f64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("> ")?.split_whitespace().last()?.parse().ok())
        .collect();
    latencies.sort_by(f64::total_cmp);
    let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
    let figures = (cpu.as_secs_f64() * 1e6 / completed.max(1.0), per_second);
    Ok(Turn { figures, p99_us: p99 * 1e6 })
}

/// The processor time of a process and its descendants so far.
fn cpu_of(process: u32) -> Duration {
    let own = on_processor(process, |_| true).unwrap_or_default();
    let tasks = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(tasks).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|child| child.parse().ok()).map(cpu_of);
    own + below.sum::<Duration>()
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
