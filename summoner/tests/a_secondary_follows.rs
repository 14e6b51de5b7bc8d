//! Secondaries: who may have the zone, signed with what; and NSD as one that follows every change.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use hickory_proto::rr::{Name, RData, RecordType};
use nix::sys::signal::Signal;
use support::peers::Peer;
use support::{DNS, World, hello, lacks};

const SECONDARY: &str = "127.0.0.2:53";
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// NSD as a secondary of ours.
fn nsd(world: &World) -> Peer {
    let more = format!(
        "key:\n  name: transfer.jit.test\n  algorithm: hmac-sha256\n  secret: \"{SECRET}\"\n\
         zone:\n  name: jit.test\n  zonefile: jit.test\n  request-xfr: 127.0.0.1@53 transfer.jit.test\n  \
         allow-notify: 127.0.0.1 transfer.jit.test\n  provide-xfr: 127.0.0.1 NOKEY\n"
    );
    Peer::nsd(&world.folder.path().join("nsd"), SECONDARY.parse().unwrap(), &more)
}

/// Whether it could not make the new zone out of the old one and what had changed.
fn has_failed_to_apply(nsd: &Peer) -> bool {
    nsd.log().contains("Failed to apply")
}

fn serial(server: SocketAddr) -> Option<u32> {
    let apex = Name::from_ascii("jit.test.").unwrap();
    let answer =
        summoner::resolve::ask(server, &apex, RecordType::SOA, Duration::from_secs(2)).ok()?;
    answer.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

fn settings(transfer: &str) -> String {
    format!(
        "[zone.transfer]\n{transfer}\n\
         [tsig.secondary]\nname = \"transfer.jit.test.\"\nsecret = \"{SECRET}\"\n\
         [tsig.other]\nname = \"other.jit.test.\"\nsecret = \"{SECRET}\"\n"
    )
}

fn kdig(arguments: &[&str]) -> String {
    let output =
        Command::new("kdig").args(["+timeout=60", "+retry=0"]).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The records of a zone transfer that kdig shows, in one form.
fn records(shown: &str) -> BTreeSet<String> {
    let lines = shown.lines().filter(|line| !line.starts_with(';') && line.contains("\tIN\t"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()).collect()
}

#[test]
fn only_who_may_gets_the_zone_and_gets_all_of_it() {
    if lacks(&["kdig"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    let servers: String = (0..1500)
        .map(|n| format!("a-name-server-{n} = [\"192.0.2.1\", \"2001:db8::{n:x}\"]\n"))
        .collect();
    let settings = settings("to = [\"127.0.0.1\"]\nkey = \"secondary\"");
    world.configure(&format!("{settings}[zone.name_servers]\n{servers}"), &hello("web", ""));
    world.start_daemon();
    let good = format!("hmac-sha256:transfer.jit.test:{SECRET}");
    let shown = kdig(&["@127.0.0.1", "-y", &good, "jit.test", "AXFR"]);
    let records = records(&shown);
    // Three for each name server, the SOA, and the service's two addresses.
    assert_eq!(records.len(), 1500 * 3 + 1 + 2, "{shown}");
    assert!(shown.contains("messages"), "it takes more than one message: {shown}");
    assert!(!shown.contains("WARNING"), "{shown}");
    let over_datagram = kdig(&["@127.0.0.1", "-y", &good, "+notcp", "jit.test", "IXFR=1"]);
    assert!(over_datagram.contains("SOA"), "{over_datagram}");

    for (how, arguments, expected) in [
        ("without a key", &["jit.test", "AXFR"][..], "REFUSED"),
        ("from elsewhere", &["-b", "127.0.0.3", "-y", &good, "jit.test", "AXFR"], "REFUSED"),
        (
            "with another key",
            &["-y", &format!("hmac-sha256:other.jit.test:{SECRET}"), "jit.test", "AXFR"],
            "REFUSED",
        ),
        (
            "with an unknown key",
            &["-y", &format!("hmac-sha256:nobody:{SECRET}"), "jit.test", "AXFR"],
            "BADKEY",
        ),
        (
            "with another secret",
            &["-y", "hmac-sha256:transfer.jit.test:MDEyMzQ1Njc4OWFiY2RlZg==", "jit.test", "AXFR"],
            "BADSIG",
        ),
        ("of another zone", &["-y", &good, "web.jit.test", "AXFR"], "NOTAUTH"),
    ] {
        let shown = kdig(&[&["@127.0.0.1"], arguments].concat());
        assert!(shown.contains(expected), "{how}: {shown}");
        assert!(!shown.contains("192.0.2.1"), "{how}: {shown}");
    }
    // An ordinary question that is signed has a signed answer.
    let shown = kdig(&["@127.0.0.1", "-y", &good, "web.jit.test", "A"]);
    assert!(shown.contains("TSIG") && shown.contains("NOERROR"), "{shown}");
    assert!(!shown.contains("WARNING"), "{shown}");
    let refused = "summoner_dns_transfers_total{qtype=\"AXFR\",result=\"refused\"}";
    assert_eq!(world.metric(refused), 4.0);
}

#[test]
fn and_nsd_has_every_change_as_soon_as_it_is_told() {
    if lacks(&["nsd", "kdig"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    let settings = settings("key = \"secondary\"\nnotify = [\"127.0.0.2\"]");
    // Long enough that only word of a change brings it.
    let settings = format!("{settings}[zone.name_servers]\nns = [\"127.0.0.1\"]\n");
    let services =
        |count: usize| -> String { (0..count).map(|n| hello(&format!("web-{n}"), "")).collect() };
    world.configure(&settings, &services(40));
    world.start_daemon();
    let secondary: SocketAddr = SECONDARY.parse().unwrap();
    let running = nsd(&world);
    let is_equal = || serial(DNS).is_some() && serial(DNS) == serial(secondary);
    world.wait_until("NSD has the zone", is_equal);
    let first = serial(DNS).unwrap();
    world.wait_until("NSD was told", || {
        world.metric("summoner_dns_notifies_total{result=\"heard\"}") >= 1.0
    });
    for count in [41, 43, 39] {
        let before = serial(DNS).unwrap();
        world.configure(&settings, &services(count));
        world.signal(Signal::SIGHUP);
        world.wait_until("the zone is another", || serial(DNS) != Some(before));
        world.wait_until("NSD has it", is_equal);
    }
    assert_ne!(serial(secondary), Some(first));
    let zone = |server: &str, key: &[&str]| {
        records(&kdig(&[&[server][..], key, &["jit.test", "AXFR"]].concat()))
    };
    let key = format!("hmac-sha256:transfer.jit.test:{SECRET}");
    let (ours, theirs) = (zone("@127.0.0.1", &["-y", &key]), zone("@127.0.0.2", &[]));
    assert_eq!(ours, theirs);
    assert_eq!(ours.iter().filter(|line| line.starts_with("web-")).count(), 2 * 39);
    // After the first time, only what had changed was sent.
    let changes = world.metric("summoner_dns_transfers_total{qtype=\"IXFR\",result=\"changes\"}");
    assert!(changes >= 1.0, "{changes}\n{}", world.log());
    assert!(!has_failed_to_apply(&running));
}

#[test]
fn and_signatures_arrive_whole_and_after_a_change() {
    if lacks(&["nsd", "kdig", "ldns-verify-zone"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    let settings = settings("key = \"secondary\"\nnotify = [\"127.0.0.2\"]");
    let settings = format!("[dnssec]\nenabled = true\n{settings}");
    world.configure(&settings, &hello("web", ""));
    world.start_daemon();
    let secondary: SocketAddr = SECONDARY.parse().unwrap();
    let running = nsd(&world);
    let is_equal = || serial(DNS).is_some() && serial(DNS) == serial(secondary);
    world.wait_until("NSD has the zone", is_equal);
    let before = serial(DNS).unwrap();
    world.configure(&settings, &(hello("web", "") + &hello("more", "")));
    world.signal(Signal::SIGHUP);
    world.wait_until("the zone is another", || serial(DNS) != Some(before));
    world.wait_until("NSD has it", is_equal);
    let key = format!("hmac-sha256:transfer.jit.test:{SECRET}");
    for (server, key) in [("@127.0.0.1", &["-y", &key][..]), ("@127.0.0.2", &[])] {
        let shown =
            kdig(&[&[server][..], key, &["+noall", "+answer", "jit.test", "AXFR"]].concat());
        let mut lines: Vec<_> = shown.lines().filter(|line| line.contains("\tIN\t")).collect();
        // The SOA is at both ends of a transfer.
        lines.pop();
        let zone = lines.join("\n") + "\n";
        assert!(zone.contains("RRSIG") && zone.contains("more.jit.test"), "{server}: {zone}");
        let file = world.folder.path().join("transferred");
        fs::write(&file, &zone).unwrap();
        let verified = Command::new("ldns-verify-zone").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success(), "{server}: {said}\n{zone}");
    }
    assert!(!has_failed_to_apply(&running));
}
