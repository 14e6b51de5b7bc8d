//! The benchmark loses nothing: every request that was planned is in its report, and phases make up the whole.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{DNS, World, hello};

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_summoner"));
    command.arg("bench").args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs the benchmark, which must succeed, and reads what it wrote.
fn report(folder: &Path, args: &[&str]) -> Value {
    let json = folder.join("report.json");
    let output = bench(&[args, &["--json", json.to_str().unwrap()]].concat());
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(report["failed"], 0, "{out}");
    assert_eq!(report["planned"], report["sent"], "{out}");
    assert!(report["syn_retransmissions"].is_u64(), "{out}");
    report
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A row has `count` values in order, and the means of its phases add up to its own.
fn assert_whole(report: &Value, name: &str, count: usize, phases: &[&str]) {
    let row = &report["rows"][name];
    assert_eq!(row["count"], count, "{name}: {row}");
    assert_eq!(report["samples"][name].as_array().unwrap().len(), count, "{name}");
    let quantiles = ["min", "p50", "p90", "p99", "p99.9", "max"].map(|key| number(&row[key]));
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{name}: {quantiles:?}");
    let sum: f64 = phases.iter().map(|phase| number(&row["phases"][phase]["mean"])).sum();
    let mean = number(&row["mean"]);
    // Sums of decimal fractions are rounded.
    assert!((sum / mean - 1.0).abs() < 1e-6, "{name}: {sum} {mean}");
}

#[test]
fn of_a_daemon_of_its_own() {
    let Some(world) = World::without_daemon() else { return };
    let plots = world.folder.path().join("plots");
    let report = report(
        world.folder.path(),
        &[
            "--self",
            "--quick",
            "--only=cold",
            "--iterations=4",
            "--seed=9",
            "--slo=failed==0,cold.count==4,cold.p50<=1h",
            "--plot",
            plots.to_str().unwrap(),
        ],
    );
    const REQUEST: [&str; 4] = ["late", "dns", "connect", "first_byte"];
    for row in ["cold", "cold_pooled", "cold_plain", "warm"] {
        assert_whole(&report, row, 4, &REQUEST);
    }
    for row in ["process", "activation"] {
        assert_whole(&report, row, 4, &["ready", "connect", "first_byte"]);
    }
    // The daemon's own record: of every summon whose client it saw.
    let seen = report["samples"]["summon"].as_array().unwrap().len();
    assert!((1..=4).contains(&seen));
    assert_whole(
        &report,
        "summon",
        seen,
        &["queue", "create", "load", "boot", "release", "respond"],
    );
    assert_eq!((&report["planned"], &report["seed"]), (&16.into(), &9.into()));
    // Three configurations: the turns that count, those before, and one boot to make what later ones need.
    assert!(number(&report["boots"]) >= 3.0 * 4.0, "{}", report["boots"]);
    assert!(number(&report["wakes"]) >= number(&report["boots"]));
    let ratios = &report["ratios"];
    let expected =
        number(&report["rows"]["cold"]["p50"]) / number(&report["rows"]["process"]["p50"]);
    assert!((number(&ratios["cold_vs_process"]["p50"]) / expected - 1.0).abs() < 1e-9);
    assert!(number(&ratios["cold_vs_process"]["p99"]) > 0.0);
    assert!(number(&ratios["plain_boot_vs_process"]["p50"]) > 0.0);
    for open in [&ratios["create_1000th_vs_first"], &report["idle_rss_bytes_per_instance"]] {
        assert!(open.is_null(), "it was not measured: {open}");
    }
    let picture = fs::read_to_string(plots.join("latency.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
}

#[test]
fn of_any_deployment() {
    let keys = ["a", "b", "c", "d", "e"];
    let services: String = keys.iter().map(|key| hello(key, "idle = \"60s\"")).collect();
    let Some(world) = World::start(&services) else { return };
    let names = keys.map(|key| format!("{key}.jit.test")).join(",");
    let (dns, socket) = (DNS.to_string(), world.socket());
    let target = ["--dns", &dns, "--name", &names, "--admin", socket.to_str().unwrap()];
    let schedule = ["--rate=8/s", "--duration=2s", "--mix=warm=2,cold=2,held=1", "--seed=3"];
    let more = ["--metrics=127.0.0.1:9177", "--expect=Hello from"];
    let report = report(world.folder.path(), &[&target[..], &schedule, &more].concat());

    assert_eq!(report["planned"], 16);
    let tallies = report["tallies"].as_object().unwrap();
    let planned =
        |kind: &str| tallies.get(kind).map_or(0, |tally| tally["planned"].as_u64().unwrap());
    assert_eq!(planned("warm") + planned("cold") + planned("held"), 16);
    for kind in ["warm", "cold", "held"] {
        assert!(planned(kind) > 0, "seed 3 gives some of each kind");
        let count = usize::try_from(planned(kind)).unwrap();
        assert_whole(&report, kind, count, &["late", "dns", "connect", "first_byte"]);
    }
    let mean = |kind: &str, phase: &str| number(&report["rows"][kind]["phases"][phase]["mean"]);
    assert!(mean("held", "dns") == 0.0 && mean("cold", "dns") > 0.0, "held ones ask no query");
    let boots = report["boots"].as_u64().unwrap();
    assert!((1..=planned("cold") + planned("held")).contains(&boots), "{boots} boots");
    assert!(report["wakes"].as_u64().unwrap() >= boots);

    let json = world.folder.path().join("report.json");
    let json = json.to_str().unwrap();
    let output = bench(&["--compare", json, json]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("verdict"), "{text}");
    assert!(!text.contains("faster\n") && !text.contains("SLOWER"), "{text}");
}

#[test]
fn a_missed_objective_has_a_status_of_its_own() {
    let Some(world) = World::start(&hello("web", "")) else { return };
    let dns = DNS.to_string();
    let run =
        ["--dns", &dns, "--name", "web.jit.test,nobody.jit.test", "--rate=4/s", "--duration=1s"];
    let output = bench(&[&run[..], &["--slo", "failed==0,any.p50<=1h"]].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}\n{}", world.log());
    assert!(text.contains("1 of 2 objectives are missed"), "{text}");
    assert!(text.contains("failed==0: missed, it is 2"), "{text}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("2 x dns_no_address"), "{text}");

    // Nobody knows how to make a service cold without its daemon's admin socket.
    let output = bench(&[&run[..], &["--mix", "cold"]].concat());
    assert_eq!(output.status.code(), Some(64));
    let output = bench(&["--self", "--slo", "cold.p50"]);
    assert_eq!(output.status.code(), Some(64), "an objective that is none is found before the run");
}

#[test]
fn of_what_holding_is_worth() {
    let Some(world) = World::without_daemon() else { return };
    let plots = world.folder.path().join("plots");
    let arguments = ["--holding", "--connections=3", "--plot", plots.to_str().unwrap()];
    let report = report(world.folder.path(), &arguments);
    // What no client can be quicker than: the link, there and back, once or twice; the guest's time; the second after
    // which a lost SYN is sent again.
    for (row, least) in [("held_handshake", 400e3), ("held_syn", 500e3), ("not_held", 1200e3)] {
        assert_whole(&report, row, 3, &["late", "dns", "connect", "first_byte"]);
        let quickest = number(&report["rows"][row]["min"]);
        assert!(quickest >= least, "{row}: {quickest}");
    }
    assert!(plots.join("holding.svg").exists());
}
