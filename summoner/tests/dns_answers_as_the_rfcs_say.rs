//! The DNS server over real sockets: flags, sections, EDNS, case, truncation, errors, and hostile bytes.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use support::dns::{ask, over_tcp, over_udp};
use support::{DNS, PATIENCE, World, hello};

fn message(name: &str, qtype: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    message
}

#[test]
fn to_every_kind_of_question() {
    let Some(world) =
        World::start(&hello("web", "names = [\"web\", \"deep.down\"]\nipv6 = \"none\""))
    else {
        return;
    };

    let mut query = message("WeB.jIt.TeSt.", RecordType::A);
    query.metadata.recursion_desired = true;
    let answer = ask(&query);
    assert_eq!(answer.metadata.id, query.metadata.id);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    let flags = answer.metadata;
    assert!(
        flags.authoritative
            && flags.recursion_desired
            && !flags.recursion_available
            && !flags.truncation
    );
    assert_eq!(
        answer.queries[0].name().to_ascii(),
        "WeB.jIt.TeSt.",
        "the question is echoed as asked"
    );
    assert_eq!(answer.answers[0].name.to_ascii(), "WeB.jIt.TeSt.", "and so is the owner name");
    assert!(matches!(answer.answers[0].data, RData::A(_)));
    assert!(answer.edns.is_none(), "no OPT was asked for");

    for (name, qtype, rcode, soa) in [
        ("web.jit.test.", RecordType::AAAA, ResponseCode::NoError, true),
        ("down.jit.test.", RecordType::A, ResponseCode::NoError, true),
        ("nobody.jit.test.", RecordType::A, ResponseCode::NXDomain, true),
        ("example.org.", RecordType::A, ResponseCode::Refused, false),
        ("web.jit.test.", RecordType::AXFR, ResponseCode::Refused, false),
    ] {
        let answer = ask(&message(name, qtype));
        assert_eq!(answer.metadata.response_code, rcode, "{name} {qtype}");
        assert_eq!(answer.metadata.authoritative, soa, "{name} {qtype}");
        assert_eq!(answer.authorities.len(), usize::from(soa), "{name} {qtype}");
        assert!(answer.answers.is_empty());
    }
    for qtype in [RecordType::SOA, RecordType::NS] {
        assert_eq!(ask(&message("jit.test.", qtype)).answers.len(), 1);
    }
    let mut chaos = message("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask(&chaos).metadata.response_code, ResponseCode::Refused);

    // Counted after the answer has left.
    let counted = || world.metric("summoner_dns_queries_total{qtype=\"A\",rcode=\"NXDOMAIN\"}");
    world.wait_until("the query is counted", || counted() == 1.0);
}

#[test]
fn to_questions_that_are_none() {
    let Some(_world) = World::start(&hello("web", "")) else { return };
    let mut two = message("web.jit.test.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("web.jit.test.").unwrap(), RecordType::AAAA));
    assert_eq!(ask(&two).metadata.response_code, ResponseCode::FormErr);
    assert_eq!(ask(&Message::query()).metadata.response_code, ResponseCode::FormErr);
    let mut notify = message("jit.test.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(ask(&notify).metadata.response_code, ResponseCode::NotImp);
    let mut status = message("jit.test.", RecordType::SOA);
    status.metadata.op_code = OpCode::Status;
    assert_eq!(ask(&status).metadata.response_code, ResponseCode::NotImp);
}

#[test]
fn with_edns() {
    let Some(_world) = World::start(&hello("web", "")) else { return };
    let mut query = message("web.jit.test.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    edns.set_dnssec_ok(true);
    query.set_edns(edns.clone());
    let answer = ask(&query);
    let opt = answer.edns.expect("an OPT is answered with an OPT");
    assert!(opt.max_payload() <= 1232, "{}", opt.max_payload());
    assert!(opt.flags().dnssec_ok, "DO is copied");
    assert_eq!(answer.answers.len(), 1);

    edns.set_version(1);
    query.set_edns(edns);
    let answer = ask(&query);
    let opt = answer.edns.expect("BADVERS needs an OPT");
    let low = u16::from(answer.metadata.response_code.low());
    let rcode = u16::from(opt.rcode_high()) << 4 | low & 0xf;
    assert_eq!(rcode, 16, "BADVERS");
    assert!(answer.answers.is_empty());
}

#[test]
fn over_tcp_one_after_the_other() {
    let Some(_world) = World::start(&hello("web", "")) else { return };
    let mut stream = TcpStream::connect(DNS).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for name in ["web.jit.test.", "nobody.jit.test.", "web.jit.test."] {
        let query = message(name, RecordType::A);
        let answer = over_tcp(&mut stream, &query);
        assert_eq!(answer.metadata.id, query.metadata.id);
        assert_eq!(answer.answers.is_empty(), name.starts_with("nobody"));
    }
}

#[test]
fn truncated_when_it_does_not_fit() {
    let servers: String = (0..40)
        .map(|n| format!("a-rather-long-name-server-name-{n} = [\"192.0.2.{n}\"]\n"))
        .collect();
    let Some(mut world) = World::without_daemon() else { return };
    world.configure(&format!("[zone.name_servers]\n{servers}"), &hello("web", ""));
    world.start_daemon();
    let answer = over_udp(&message("jit.test.", RecordType::NS).to_vec().unwrap());
    assert!(answer.len() <= 512, "{} octets without EDNS", answer.len());
    assert!(Message::from_vec(&answer).unwrap().metadata.truncation);
    let mut stream = TcpStream::connect(DNS).unwrap();
    let whole = over_tcp(&mut stream, &message("jit.test.", RecordType::NS));
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (40, false));
}

#[test]
fn when_the_guest_is_ready_if_so_configured() {
    let Some(world) = World::start(&hello("web", "answer = \"ready\"\nready_cap = \"60s\"")) else {
        return;
    };
    world.resolve("web");
    assert_eq!(world.service("web").state, "running", "the answer came before the guest was ready");
}

#[test]
fn in_time_also_when_the_guest_never_gets_ready() {
    let service = support::trial(
        "stuck",
        "spin",
        "answer = \"ready\"\nready_cap = \"50ms\"\nboot_timeout = \"30s\"",
    );
    let Some(world) = World::start(&service) else { return };
    world.resolve("stuck");
    assert_eq!(world.service("stuck").state, "summoning");
}

#[test]
fn and_names_that_nobody_has_boot_nothing() {
    let Some(world) = World::start(&hello("web", "")) else { return };
    for number in 0..200 {
        ask(&message(&format!("x{number}.jit.test."), RecordType::A));
    }
    for qtype in [RecordType::TXT, RecordType::MX, RecordType::ANY, RecordType::NS, RecordType::CAA]
    {
        ask(&message("web.jit.test.", qtype));
    }
    ask(&message("x.web.jit.test.", RecordType::A));
    assert_eq!(world.service("web").state, "cold");
    assert_eq!(
        world.metric("summoner_wakes_total{result=\"summon\",service=\"web\",trigger=\"query\"}"),
        0.0
    );
}

#[test]
fn and_hostile_bytes_harm_nobody() {
    let Some(world) = World::start(&hello("web", "")) else { return };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let valid = message("web.jit.test.", RecordType::TXT).to_vec().unwrap();
    let mut runner = TestRunner::deterministic();
    let strategy = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..600),
        (proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)).prop_map(
            move |changes| {
                let mut octets = valid.clone();
                for (index, octet) in changes {
                    let at = index.index(octets.len());
                    octets[at] = octet;
                }
                octets
            }
        ),
    ];
    for _ in 0..3000 {
        let octets = strategy.new_tree(&mut runner).unwrap().current();
        // An empty datagram, or a full queue, is as good as any.
        let _ = socket.send_to(&octets, DNS);
    }
    for octets in [&b""[..], b"\0", b"\0\xff", b"\xff\xff\0\0"] {
        let mut stream = TcpStream::connect(DNS).unwrap();
        stream.write_all(octets).unwrap();
    }
    let answer = ask(&message("web.jit.test.", RecordType::A));
    assert_eq!((answer.metadata.message_type, answer.answers.len()), (MessageType::Response, 1));
    assert!(!world.log().contains("panicked"), "{}", world.log());
}
