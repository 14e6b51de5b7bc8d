//! A signed zone, judged by other people's validators: delv and unbound over the wire, ldns and BIND over its text.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use hickory_proto::dnssec::rdata::{DNSSECRData, DS};
use hickory_proto::dnssec::{Algorithm as Number, DigestType};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{CAA, CNAME, HTTPS, MX, NS, NULL, PTR, SRV, SVCB, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::sys::signal::Signal;
use summoner::dnssec::{Algorithm, KeyFolder};
use support::peers::{Peer, resolve};
use support::{DNS, PATIENCE, World, hello};
use zone::{NameServer, Signing, Soa, Validity, Zone, ZoneData, master};

const SIGNED: &str = "[dnssec]\nenabled = true\n";

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// What each name and type must be found to be: whether it exists with that type.
const QUESTIONS: [(&str, &str, bool); 19] = [
    ("web.jit.test", "A", true),
    ("web.jit.test", "AAAA", true),
    ("WEB.Jit.TEST", "A", true),
    ("four.jit.test", "AAAA", false),
    ("web.jit.test", "TXT", false),
    ("web.jit.test", "TYPE65280", false),
    ("deep.down.jit.test", "A", true),
    ("down.jit.test", "A", false),
    ("jit.test", "SOA", true),
    ("jit.test", "NS", true),
    ("jit.test", "DNSKEY", true),
    ("jit.test", "CDS", true),
    ("jit.test", "CDNSKEY", true),
    ("jit.test", "NSEC", true),
    ("jit.test", "MX", false),
    ("nobody.jit.test", "A", false),
    ("a.jit.test", "A", false),
    ("zzz.zzz.jit.test", "AAAA", false),
    ("x.web.jit.test", "A", false),
];

fn services() -> String {
    hello("web", "names = [\"web\", \"deep.down\"]") + &hello("four", "ipv6 = \"none\"")
}

/// The key with this name as a trust anchor of BIND's tools.
fn bind_anchors(world: &World, key: &str) -> std::path::PathBuf {
    let printed = world.command(&["dnssec", "keys"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let line = printed.lines().find(|line| line.contains(&format!("; {key}, tag"))).unwrap();
    let fields: Vec<_> = line.split(';').next().unwrap().split_whitespace().collect();
    let [apex, "IN", "DNSKEY", flags, protocol, algorithm, public] = fields.as_slice() else {
        panic!("{line}");
    };
    let file = world.folder.path().join(format!("{key}.anchors"));
    let text = format!(
        "trust-anchors {{ {apex} static-key {flags} {protocol} {algorithm} \"{public}\"; }};\n"
    );
    fs::write(&file, text).unwrap();
    file
}

fn delv(anchors: &Path, name: &str, qtype: &str, more: &[&str]) -> String {
    // Once in hundreds of times delv (of BIND 9.18) waits for ever, with no socket open: then it is asked again.
    for _ in 0..5 {
        let output = Command::new("timeout")
            .args(["30", "delv", "@127.0.0.1", "-p", "53", "+root=jit.test", "-a"])
            .arg(anchors)
            .args(more)
            .args([name, qtype])
            .output()
            .unwrap();
        if output.status.code() != Some(124) {
            return [output.stdout, output.stderr]
                .map(|said| String::from_utf8_lossy(&said).into_owned())
                .concat();
        }
    }
    panic!("delv never ends when asked for {name} {qtype} {more:?}");
}

fn all_validate_by_delv(anchors: &Path) {
    for (name, qtype, exists) in QUESTIONS {
        for more in [&[][..], &["+tcp"]] {
            let said = delv(anchors, name, qtype, more);
            let negative = said.contains("; negative response, fully validated");
            let positive = said.contains("; fully validated");
            assert_eq!((positive, negative), (exists, !exists), "{name} {qtype} {more:?}: {said}");
        }
    }
}

#[test]
fn by_delv_through_a_change_of_keys() {
    if support::lacks(&["delv", "timeout"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    world.configure(SIGNED, &services());
    let early = world.command(&["dnssec", "ds"]);
    assert!(!early.status.success());
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(said.contains("the daemon makes it when it starts"), "{said}");

    world.start_daemon();
    let ds = || String::from_utf8(world.command(&["dnssec", "ds"]).stdout).unwrap();
    let first = ds();
    assert_eq!(first.lines().count(), 1, "{first}");
    let old = bind_anchors(&world, "first");
    all_validate_by_delv(&old);
    assert!(!world.service("web").state.is_empty());

    // Another daemon with the same state has the same key.
    assert!(world.end_daemon(Signal::SIGTERM).success());
    world.start_daemon();
    assert_eq!(String::from_utf8(world.command(&["dnssec", "ds"]).stdout).unwrap(), first);

    // A second key beside the first: who knows either of them believes everything.
    world.configure(
        "[dnssec]\nenabled = true\nkeys = [\"first\", \"second\"]\nalgorithm = \"ed25519\"\n",
        &services(),
    );
    let reloads = |times: usize| {
        world.wait_until("the configuration is reloaded", || {
            world.log().matches("configuration reloaded").count() == times
        });
    };
    world.signal(Signal::SIGHUP);
    reloads(1);
    let new = bind_anchors(&world, "second");
    all_validate_by_delv(&old);
    all_validate_by_delv(&new);
    let both = String::from_utf8(world.command(&["dnssec", "ds"]).stdout).unwrap();
    assert!(both.starts_with(&first) && both.lines().count() == 2, "{both}");

    // The first one goes, and the new one does.
    world.configure("[dnssec]\nenabled = true\nkeys = [\"second\"]\n", &services());
    world.signal(Signal::SIGHUP);
    reloads(2);
    all_validate_by_delv(&new);
    let said = delv(&old, "web.jit.test", "A", &[]);
    assert!(!said.contains("fully validated"), "{said}");

    // A change to keys that nobody has seen is refused.
    world.configure("[dnssec]\nenabled = true\nkeys = [\"third\"]\n", &services());
    world.signal(Signal::SIGHUP);
    world.wait_until("the change is refused", || world.log().contains("none of the keys"));
    all_validate_by_delv(&new);
}

/// A resolver that asks us for our zone.
fn unbound(folder: &Path, port: u16, anchor: &str) -> Peer {
    let stub = "stub-zone:\n  name: \"jit.test\"\n  stub-addr: 127.0.0.1@53\n";
    Peer::unbound(folder, port, anchor, stub)
}

fn qtype(text: &str) -> RecordType {
    text.strip_prefix("TYPE").map_or_else(
        || text.parse().unwrap(),
        |number| RecordType::from(number.parse::<u16>().unwrap()),
    )
}

#[test]
fn by_a_resolver() {
    if support::lacks(&["unbound"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    world.configure(SIGNED, &services());
    world.start_daemon();
    let anchor = String::from_utf8(world.command(&["dnssec", "ds"]).stdout).unwrap();
    let anchor = anchor.trim().replace('\t', " ");
    let folder = world.folder.path().to_owned();
    let resolver = unbound(&folder, 5301, &anchor);
    let log = || resolver.log();
    for (name, asked, exists) in QUESTIONS {
        let answer = resolve(5301, name, qtype(asked));
        assert!(answer.metadata.authentic_data, "{name} {asked}: {answer:?}\n{}", log());
        assert_eq!(!answer.answers.is_empty(), exists, "{name} {asked}: {answer:?}");
    }
    // The zone's names may be walked; what a resolver knows of the chain lets it answer for others by itself.
    let nobody = resolve(5301, "nobody.jit.test", RecordType::A);
    assert_eq!(nobody.metadata.response_code, ResponseCode::NXDomain);

    // That this shows anything: with another anchor nothing is believed.
    let (digest, last) = anchor.split_at(anchor.len() - 1);
    let wrong = format!("{digest}{}", if last == "0" { "1" } else { "0" });
    let _other = unbound(&folder, 5302, &wrong);
    let answer = resolve(5302, "web.jit.test", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn as_a_secondary_gets_it() {
    if support::lacks(&["dig", "ldns-verify-zone", "dnssec-verify"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    let settings = format!("{SIGNED}[zone.transfer]\nto = [\"127.0.0.1/32\"]\n");
    world.configure(&settings, &services());
    world.start_daemon();
    let output = Command::new("dig")
        .args(["@127.0.0.1", "+nocmd", "+nostats", "+nocomments", "+onesoa", "jit.test", "AXFR"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("RRSIG"), "{text}");
    verify_text(&world.folder.path().join("axfr"), &text);
}

/// A resolver that draws conclusions from denials asks for such names all the same, by TCP because it is told to, and
/// believes what it gets.
#[test]
fn by_a_resolver_for_names_that_templates_make() {
    if support::lacks(&["unbound"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    let template = "[templates.pr]\npattern = \"*.pr\"\nimage = \"builtin:hello\"\nidle = \"1h\"\n";
    world.configure(SIGNED, &(services() + template));
    world.start_daemon();
    let anchor = String::from_utf8(world.command(&["dnssec", "ds"]).stdout).unwrap();
    let folder = world.folder.path().to_owned();
    let resolver = unbound(&folder, 5301, &anchor);
    let log = || resolver.log();
    for (name, qtype, count) in [
        ("unmade.pr.jit.test", RecordType::TXT, 0),
        ("feature-7.pr.jit.test", RecordType::A, 1),
        ("feature-7.pr.jit.test", RecordType::AAAA, 1),
        ("feature-7.pr.jit.test", RecordType::TXT, 0),
        ("feature-8.pr.jit.test", RecordType::A, 1),
        // Of the one that is not made nobody has concluded that it has no address.
        ("unmade.pr.jit.test", RecordType::A, 1),
    ] {
        let answer = resolve(5301, name, qtype);
        let addresses = answer.answers.iter().filter(|record| record.record_type() == qtype);
        assert_eq!(addresses.count(), count, "{name} {qtype}: {answer:?}\n{}", log());
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authentic_data, "{name} {qtype}: {answer:?}\n{}", log());
    }
}

fn over_udp_and_tcp(qname: &str, qtype: RecordType, dnssec_ok: bool) -> [Message; 2] {
    let mut query = Message::query();
    query.add_query(Query::query(name(qname), qtype));
    query.metadata.checking_disabled = true;
    query.metadata.authentic_data = true;
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    edns.set_dnssec_ok(dnssec_ok);
    query.set_edns(edns);
    let octets = query.to_vec().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&octets, DNS).unwrap();
    let mut udp = vec![0; 65_535];
    let length = socket.recv(&mut udp).unwrap();
    udp.truncate(length);
    let mut stream = TcpStream::connect(DNS).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&u16::try_from(octets.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&octets).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut tcp = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut tcp).unwrap();
    [udp, tcp].map(|octets| Message::from_vec(&octets).unwrap())
}

#[test]
fn with_the_bits_that_the_rfcs_want() {
    let Some(mut world) = World::without_daemon() else { return };
    world.configure(SIGNED, &services());
    world.start_daemon();
    let signatures = |message: &Message| {
        let all = message.all_sections();
        all.filter(|record| record.record_type() == RecordType::RRSIG).count()
    };
    for (qname, qtype, count) in [
        ("web.jit.test.", RecordType::A, 1),
        // SOA and two denials.
        ("nobody.jit.test.", RecordType::A, 3),
        ("four.jit.test.", RecordType::AAAA, 2),
    ] {
        for answer in over_udp_and_tcp(qname, qtype, true) {
            assert_eq!(signatures(&answer), count, "{answer:?}");
            let flags = answer.metadata;
            // RFC 4035, section 3.1.6: AD only if we had judged the data; CD is cleared.
            assert!(flags.authoritative && !flags.authentic_data && !flags.checking_disabled);
            assert!(!flags.truncation, "fits in 1232 octets");
        }
        for answer in over_udp_and_tcp(qname, qtype, false) {
            assert_eq!(signatures(&answer), 0, "{answer:?}");
            let proofs = answer.all_sections();
            let proofs = proofs.filter(|record| record.record_type() == RecordType::NSEC);
            assert_eq!(proofs.count(), 0, "nobody asked for them");
        }
    }
}

/// One of everything that a zone can have.
fn rich() -> Vec<Record> {
    let record = |owner: &str, data| Record::from_rdata(name(owner), 300, data);
    let address = |owner: &str| record(owner, RData::A("192.0.2.7".parse().unwrap()));
    let zero = Name::from_labels([&b"\0z"[..], b"jit", b"test"]).unwrap();
    let ds = DS::new(7, Number::ED25519, DigestType::SHA256, vec![7; 32]);
    vec![
        Record::from_rdata(zero, 300, RData::A("192.0.2.8".parse().unwrap())),
        address("www.jit.test."),
        address("deep.down.below.jit.test."),
        address("*.wild.jit.test."),
        address("a\\.b.jit.test."),
        address("UPPER.jit.test."),
        record("www.jit.test.", RData::TXT(TXT::new(vec!["one".to_owned(), "two".to_owned()]))),
        record("alias.jit.test.", RData::CNAME(CNAME(name("That.Wild.jit.test.")))),
        record("signed.jit.test.", RData::NS(NS(name("ns.signed.jit.test.")))),
        record("signed.jit.test.", RData::DNSSEC(DNSSECRData::DS(ds))),
        address("ns.signed.jit.test."),
        record("plain.jit.test.", RData::NS(NS(name("ns.plain.jit.test.")))),
        address("ns.plain.jit.test."),
        record("mail.jit.test.", RData::MX(MX::new(10, name("WWW.Jit.Test.")))),
        record("mail.jit.test.", RData::MX(MX::new(9, name("zzz.Example.")))),
        record("mail.jit.test.", RData::MX(MX::new(10, name("aaa.Example.")))),
        record("_http._tcp.jit.test.", RData::SRV(SRV::new(1, 2, 80, name("WWW.jit.test.")))),
        record("ptr.jit.test.", RData::PTR(PTR(name("WWW.jit.test.")))),
        record(
            "www.jit.test.",
            RData::HTTPS(HTTPS(SVCB::new(1, name("Www.jit.test."), Vec::new()))),
        ),
        record(
            "www.jit.test.",
            RData::CAA(CAA::new_issue(false, Some(name("ca.example.")), Vec::new())),
        ),
        record(
            "odd.jit.test.",
            RData::Unknown { code: RecordType::from(65_280), rdata: NULL::with(vec![1, 65]) },
        ),
        // RP, whose names are in lower case in what is signed.
        record(
            "odd.jit.test.",
            RData::Unknown {
                code: RecordType::from(17),
                rdata: NULL::with(b"\x01A\0\x01B\0".to_vec()),
            },
        ),
    ]
}

#[test]
fn by_its_text() {
    if support::lacks(&["ldns-verify-zone", "dnssec-verify"]) {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    for algorithm in [Algorithm::EcdsaP256Sha256, Algorithm::Ed25519] {
        let zone = Zone::build(ZoneData {
            apex: name("jit.test."),
            soa: Soa {
                mname: name("ns.jit.test."),
                rname: name("hostmaster.jit.test."),
                serial: 7,
                refresh: 3600,
                retry: 600,
                expire: 86_400,
                minimum: 30,
            },
            name_servers: vec![NameServer {
                name: name("ns.jit.test."),
                addresses: vec!["192.0.2.1".parse().unwrap()],
            }],
            ttl: 300,
            services: Vec::new(),
            records: rich(),
            wake_all: false,
            templates: Vec::new(),
        })
        .unwrap();
        let folder = KeyFolder::of(&state.path().join(algorithm.to_string()));
        let keys = folder.open(&name("jit.test."), &["a".to_owned(), "b".to_owned()], algorithm);
        let keys: Vec<_> = keys.unwrap().into_iter().map(|named| named.key).collect();
        let day = Duration::from_secs(86_400);
        let validity = Validity { backdate: day / 24, lifetime: 14 * day, refresh: 7 * day };
        let signing = Signing { keys: &keys, now: SystemTime::now(), validity };
        let zone = zone.sign(&signing, None).unwrap();
        let soa = zone.soa().clone();
        let others = zone.rrsets().flat_map(|rrset| rrset.records.iter().chain(&rrset.signatures));
        let text: String = std::iter::once(&soa)
            .chain(others.filter(|record| record.record_type() != RecordType::SOA))
            .map(|record| master::print(record) + "\n")
            .collect();
        verify_text(&state.path().join("zone"), &text);
    }
}

/// The text of a signed zone, judged.
fn verify_text(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    for (program, args) in [
        ("ldns-verify-zone", &["-V", "3"][..]),
        ("dnssec-verify", &["-q", "-x", "-o", "jit.test."]),
    ] {
        let output = Command::new(program).args(args).arg(file).output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert!(output.status.success(), "{program}: {said:?}\n{text}");
    }
}
