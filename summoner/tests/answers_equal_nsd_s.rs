//! NSD and the daemon serve one zone file; a few thousand questions get the same answers, section by section, but for the
//! differences that `docs/DNS.md` explains, each of which is a rule here.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use support::peers::Peer;
use support::{DNS, PATIENCE, World};
use zone::master::{self, Source, print};

const ZONE: &str = include_str!("zones/static.zone");
const NSD: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2)), 53);
const QUESTIONS: usize = 4000;

/// NSD with the same zone.
fn nsd(world: &World) -> Peer {
    fs::write(world.folder.path().join("static.zone"), ZONE).unwrap();
    let zone = "zone:\n  name: jit.test\n  zonefile: static.zone\n";
    let nsd = Peer::nsd(world.folder.path(), NSD, zone);
    let probe = question("jit.test.", RecordType::SOA);
    world.wait_until("NSD answers", || over_udp(NSD, &probe, Duration::from_millis(200)).is_some());
    nsd
}

fn question(name: &str, qtype: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    message
}

fn over_udp(server: SocketAddr, query: &Message, patience: Duration) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.connect(server).unwrap();
    socket.send(&query.to_vec().unwrap()).unwrap();
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer).ok()?;
    Some(Message::from_vec(&buffer[..length]).unwrap())
}

fn over_tcp(server: SocketAddr, query: &Message) -> Option<Message> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let octets = query.to_vec().unwrap();
    let length = u16::try_from(octets.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes(), octets.as_slice()].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(Message::from_vec(&answer).unwrap())
}

/// SplitMix64 (Steele and others, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }
}

/// Every name of the zone, and those around: below, beside, above, outside.
fn names() -> Vec<Name> {
    let apex = Name::from_ascii("jit.test.").unwrap();
    let source = Source { name: "static.zone", text: ZONE, origin: &apex, ttl: None };
    let written = master::parse(source, &mut |_, _| Err(String::new())).unwrap();
    let mut names: BTreeSet<Name> = BTreeSet::new();
    for Record { name, .. } in written.into_iter().map(|written| written.record) {
        let mut ancestor = name.clone();
        while apex.zone_of(&ancestor) {
            names.insert(ancestor.clone());
            ancestor = ancestor.base_name();
        }
        for label in ["www", "*", "anything", "a"] {
            names.extend(name.prepend_label(label));
        }
        names.extend(name.prepend_label("x").and_then(|name| name.prepend_label("y")));
        names.insert(name.base_name().prepend_label("nobody").unwrap());
    }
    let long = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";
    for label in ["here", "gone", "moved", "wild"] {
        names.insert(
            Name::from_ascii(format!(
                "{long}.{long}.{long}.abcdefghijklmnopqrstuvwxyz0.{label}.jit.test."
            ))
            .unwrap(),
        );
    }
    for outside in [".", "test.", "example.", "jit.test.example.", "www.elsewhere.example."] {
        names.insert(Name::from_ascii(outside).unwrap());
    }
    names.into_iter().collect()
}

/// A question, ordinary or odd, and whether it goes by TCP.
fn generate(random: &mut Random, names: &[Name]) -> (Message, bool) {
    use RecordType as T;
    const TYPES: &[T] = &[
        T::A,
        T::A,
        T::AAAA,
        T::NS,
        T::SOA,
        T::MX,
        T::TXT,
        T::CNAME,
        T::DNAME,
        T::SRV,
        T::HTTPS,
        T::SVCB,
        T::DS,
        T::CAA,
        T::NAPTR,
        T::TLSA,
        T::HINFO,
        T::SSHFP,
        T::PTR,
        T::DNSKEY,
        T::NSEC,
        T::RRSIG,
        T::Unknown(29),
        T::Unknown(256),
        T::Unknown(731),
        T::Unknown(65_280),
        T::Unknown(65_281),
        T::Unknown(12_345),
    ];
    let name = random.of(names).clone();
    let cased: Vec<Vec<u8>> = name
        .iter()
        .map(|label| {
            let flip = |octet: &u8| {
                if random.one_in(2) {
                    octet.to_ascii_uppercase()
                } else {
                    octet.to_ascii_lowercase()
                }
            };
            label.iter().map(flip).collect()
        })
        .collect();
    let mut name = Name::from_labels(cased).unwrap();
    name.set_fqdn(true);
    let mut query = Query::query(name, *random.of(TYPES));
    if random.one_in(40) {
        query.set_query_class(*random.of(&[DNSClass::CH, DNSClass::HS, DNSClass::Unknown(77)]));
    }
    let mut message = Message::query();
    message.metadata.recursion_desired = random.one_in(2);
    message.metadata.checking_disabled = random.one_in(8);
    message.metadata.authentic_data = random.one_in(8);
    message.add_query(query);
    if random.one_in(60) {
        message.metadata.op_code = *random.of(&[OpCode::Status, OpCode::Update]);
    }
    if !random.one_in(4) {
        let mut edns = Edns::new();
        edns.set_max_payload(*random.of(&[512, 600, 1232, 1400, 4096, 0]));
        edns.set_dnssec_ok(random.one_in(3));
        if random.one_in(60) {
            edns.set_version(1);
        }
        message.set_edns(edns);
    }
    let by_tcp = random.one_in(5);
    (message, by_tcp)
}

/// What two answers are compared by: a line for each thing that they say.
fn said(answer: &Message) -> Vec<String> {
    let flags = &answer.metadata;
    let mut lines = vec![format!(
        "{:?} aa={} tc={} rd={} ra={} ad={} cd={} {:?} {:?}",
        flags.op_code,
        flags.authoritative,
        flags.truncation,
        flags.recursion_desired,
        flags.recursion_available,
        flags.authentic_data,
        flags.checking_disabled,
        flags.response_code,
        answer.edns.as_ref().map(|edns| (edns.version(), edns.flags().dnssec_ok)),
    )];
    for (section, records) in [
        ("answer", &answer.answers),
        ("authority", &answer.authorities),
        ("additional", &answer.additionals),
    ] {
        // Within a section the order means nothing (RFC 1035, section 3.2; RFC 2181, section 5).
        let mut records: Vec<_> = records
            .iter()
            .map(|record| format!("{section} {}", print(record).to_ascii_lowercase()))
            .collect();
        records.sort();
        lines.extend(records);
    }
    lines
}

/// Whether two answers are one, but for what is explained in `docs/DNS.md`.
fn agree(query: &Message, ours: &[String], theirs: &[String]) -> bool {
    let outright = query.metadata.op_code != OpCode::Query
        || query.edns.as_ref().is_some_and(|edns| edns.version() > 0);
    if outright {
        // Both say so with one code, and differ in what they repeat of the question's OPT record and flags.
        return rcode(ours) == rcode(theirs);
    }
    if ours[0].contains(" tc=true ") {
        // Nothing in a truncated answer is used (RFC 2181, section 9): we leave out everything, NSD what does not fit.
        return ours[0] == theirs[0];
    }
    let is_additional = |line: &&String| line.starts_with("additional ");
    let without = |lines: &[String]| {
        lines.iter().filter(|line| !is_additional(line)).cloned().collect::<Vec<_>>()
    };
    let is_answer = ours.iter().any(|line| line.starts_with("answer "));
    // With an answer, NSD leaves out addresses that a client could use at once, those of bindings above all.
    let mut more = ours.iter().filter(is_additional).filter(|line| !theirs.contains(line));
    let only_addresses =
        more.all(|line| is_answer && (line.contains(" in a ") || line.contains(" in aaaa ")));
    without(ours) == without(theirs)
        && only_addresses
        && theirs.iter().filter(is_additional).all(|line| ours.contains(line))
}

/// The result code in a first line.
fn rcode(lines: &[String]) -> String {
    lines[0].split(' ').nth(7).unwrap_or_default().to_owned()
}

#[test]
fn to_a_few_thousand_questions() {
    if support::lacks(&["nsd"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    fs::write(world.folder.path().join("static.zone"), ZONE).unwrap();
    let text = "state_dir = \"state\"\n[dns]\nlisten = [\"127.0.0.1:53\"]\nrate_limit.rate = \"1000000/s\"\n[zone]\napex = \"jit.test\"\n\
                file = \"static.zone\"\nserial = 7\n[admin]\nsocket = \"admin.sock\"\n";
    fs::write(world.configuration(), text).unwrap();
    world.start_daemon();
    let _nsd = nsd(&world);
    let names = names();
    let mut random = Random(20_261_121);
    let mut differences = Vec::new();
    for _ in 0..QUESTIONS {
        let (query, by_tcp) = generate(&mut random, &names);
        let ask = |server| {
            if by_tcp { over_tcp(server, &query) } else { over_udp(server, &query, PATIENCE) }
        };
        let (ours, theirs) =
            (ask(DNS).map(|answer| said(&answer)), ask(NSD).map(|answer| said(&answer)));
        let (Some(ours), Some(theirs)) = (ours, theirs) else { panic!("no answer to {query}") };
        if !agree(&query, &ours, &theirs) {
            differences.push(format!("{query}\n  ours {ours:#?}\n  NSD {theirs:#?}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(60)].join("\n")
    );
}

/// Every record of a master file, a line each.
fn lines(text: &str) -> BTreeSet<String> {
    let apex = Name::from_ascii("jit.test.").unwrap();
    let source = Source { name: "zone", text, origin: &apex, ttl: None };
    let written = master::parse(source, &mut |_, _| Err(String::new())).unwrap();
    written.iter().map(|written| print(&written.record).to_ascii_lowercase()).collect()
}

#[test]
fn what_the_zone_command_prints_nsd_takes() {
    if support::lacks(&["nsd-checkzone"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (configuration, printed) =
        (folder.path().join("summoner.toml"), folder.path().join("printed"));
    fs::write(folder.path().join("static.zone"), ZONE).unwrap();
    let text =
        "state_dir = \"state\"\n[zone]\napex = \"jit.test\"\nfile = \"static.zone\"\nserial = 7\n";
    fs::write(&configuration, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_summoner"));
    let output =
        command.args(["zone", "--config"]).arg(&configuration).arg("JIT.test").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines(&text), lines(ZONE));
    fs::write(&printed, text).unwrap();
    let check =
        Command::new("/usr/sbin/nsd-checkzone").arg("jit.test").arg(&printed).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}
