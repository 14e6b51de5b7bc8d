//! What the protocol leaves open, or clients get wrong: each case has an answer that was decided on. Cookies, identity,
//! rates of responses.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::{TcpStream, UdpSocket};
use std::time::Instant;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use support::{DNS, PATIENCE, World, dns, hello};

const QUERY: u16 = 0;
const FORMERR: u8 = 1;
const NOTIMP: u8 = 4;
/// `web.jit.test.`, A, IN.
const WEB: &[u8] = b"\x03web\x03jit\x04test\0\0\x01\0\x01";
/// An OPT record without options.
const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
/// An address record of the root.
const RECORD: &[u8] = b"\0\0\x01\0\x01\0\0\0\0\0\x04\xc0\0\x02\x01";

/// A message: its flags, the numbers of its records, what follows the header.
fn raw(flags: u16, counts: [u16; 4], parts: &[&[u8]]) -> Vec<u8> {
    let numbers = [&[0x4a4a, flags][..], &counts].concat();
    let header: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    [header, parts.concat()].concat()
}

/// The octets of the answer; its id is checked.
fn answered(query: &[u8]) -> Vec<u8> {
    let answer = dns::over_udp(query);
    assert_eq!(answer[..2], query[..2], "the id");
    assert_eq!(answer[2] & 0x80, 0x80, "QR");
    answer
}

fn rcode(query: &[u8]) -> u8 {
    answered(query)[3] & 0xf
}

/// An OPT record with these octets as its data.
fn opt_with(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&OPT[..OPT.len() - 2], &length, data].concat()
}

fn a_query(name: &str, qtype: RecordType, options: &[EdnsOption]) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    options.iter().for_each(|option| edns.options_mut().insert(option.clone()));
    message.set_edns(edns);
    message
}

fn cookie(data: &[u8]) -> EdnsOption {
    EdnsOption::Unknown(EdnsCode::Cookie.into(), data.to_vec())
}

fn option(answer: &Message, code: EdnsCode) -> Option<Vec<u8>> {
    let option = answer.edns.as_ref()?.option(code)?;
    Some(Vec::try_from(option).unwrap())
}

#[test]
fn if_the_outline_is_not_a_query_s() {
    let Some(world) = World::start(&hello("web", "")) else { return };
    let long_name = [&[63; 64][..]; 4].concat();
    let broken_options = opt_with(b"\0\x0a\0\x09only8oct");
    let named_opt = [b"\x01x", OPT].concat();
    for (what, counts, parts) in [
        ("no question", [0, 0, 0, 0], vec![]),
        ("no question but an OPT record", [0, 0, 0, 1], vec![OPT]),
        ("two questions", [2, 0, 0, 0], vec![WEB, WEB]),
        ("65535 questions", [u16::MAX, 0, 0, 0], vec![]),
        ("no question where one is promised", [1, 0, 0, 0], vec![]),
        ("half a question", [1, 0, 0, 0], vec![&WEB[..10]]),
        ("no class", [1, 0, 0, 0], vec![&WEB[..WEB.len() - 2]]),
        ("a compressed name", [1, 0, 0, 0], vec![b"\x03web\xc0\x0c\0\x01\0\x01"]),
        ("a name that points at itself", [1, 0, 0, 0], vec![b"\xc0\x0c\0\x01\0\x01"]),
        ("a label of an unknown kind", [1, 0, 0, 0], vec![b"\x41web\0\0\x01\0\x01"]),
        ("a name of 257 octets", [1, 0, 0, 0], vec![&long_name, b"\0\0\x01\0\x01"]),
        ("octets behind the question", [1, 0, 0, 0], vec![WEB, b"\0"]),
        ("octets behind the OPT record", [1, 0, 0, 1], vec![WEB, OPT, b"\0"]),
        ("an answer", [1, 1, 0, 0], vec![WEB, RECORD]),
        ("an authority", [1, 0, 1, 0], vec![WEB, RECORD]),
        ("an additional record", [1, 0, 0, 1], vec![WEB, RECORD]),
        ("a missing OPT record", [1, 0, 0, 1], vec![WEB]),
        ("two OPT records", [1, 0, 0, 2], vec![WEB, OPT, OPT]),
        ("an OPT record of a name", [1, 0, 0, 1], vec![WEB, &named_opt]),
        ("half an option", [1, 0, 0, 1], vec![WEB, &broken_options]),
        ("a question for OPT", [1, 0, 0, 0], vec![b"\0\0\x29\0\x01"]),
    ] {
        assert_eq!(rcode(&raw(QUERY, counts, &parts)), FORMERR, "{what}");
    }
    // Responses, and what has no id, are not answered at all: the next answer is the one to the next query.
    let socket = dns::socket();
    for octets in [&raw(0x8000, [1, 0, 0, 0], &[WEB])[..], b"\x4a\x4a\0\0\0\x01\0\0\0\0\0", b""] {
        socket.send_to(octets, DNS).unwrap();
    }
    let mut last = raw(QUERY, [1, 0, 0, 0], &[WEB]);
    last[0] = 7;
    socket.send_to(&last, DNS).unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(length > 12 && buffer[0] == 7);
    assert!(!world.log().contains("hickory"), "hostile octets fill the log: {}", world.log());
}

#[test]
fn if_it_asks_for_what_there_is_not() {
    let Some(_world) = World::start(&hello("web", "")) else { return };
    for opcode in (0..16).filter(|opcode| *opcode != 0) {
        let flags = opcode << 11;
        assert_eq!(rcode(&raw(flags, [1, 0, 0, 0], &[WEB])), NOTIMP, "opcode {opcode}");
        let with_opt = answered(&raw(flags, [1, 0, 0, 1], &[WEB, OPT]));
        let message = Message::from_vec(&with_opt).unwrap();
        assert!(message.edns.is_some(), "an OPT record is answered with one, opcode {opcode}");
        // An update has other sections, which nobody needs to read.
        assert_eq!(rcode(&raw(flags, [1, 1, 1, 0], &[WEB, RECORD, RECORD])), NOTIMP);
    }
    let flags_back = |flags: u16| {
        let answer = answered(&raw(flags, [1, 0, 0, 0], &[WEB]));
        u16::from_be_bytes([answer[2], answer[3]])
    };
    // AA, TC, RA, Z, AD and a result code are the server's to say: AA is true here. RD is copied (RFC 1035, section 4.1.1), CD is
    // cleared (RFC 4035, section 3.1.6).
    assert_eq!(flags_back(0x06ef), 0x8400);
    assert_eq!(flags_back(0x0110), 0x8500);

    let ask = |name: &str, qtype: u16, class: u16| {
        let mut message = Message::query();
        let mut query = Query::query(Name::from_ascii(name).unwrap(), RecordType::from(qtype));
        query.set_query_class(DNSClass::from(class));
        message.add_query(query);
        dns::ask(&message)
    };
    // RFC 3597: unknown types are types.
    for qtype in [0, 65_280, 65_535, 999, 128] {
        let answer = ask("web.jit.test.", qtype, 1);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "TYPE{qtype}");
        assert_eq!((answer.answers.len(), answer.authorities.len()), (0, 1), "TYPE{qtype}");
        assert_eq!(u16::from(answer.queries[0].query_type()), qtype);
        let answer = ask("nobody.jit.test.", qtype, 1);
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "TYPE{qtype}");
    }
    for class in [2, 3, 4, 254, 255, 999] {
        let answer = ask("web.jit.test.", 1, class);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "CLASS{class}");
        assert_eq!(u16::from(answer.queries[0].query_class()), class);
    }
    for (name, qtype, code) in [("example.org.", 1, 20), ("jit.test.", 252, 18)] {
        let answer = dns::ask(&a_query(name, RecordType::from(qtype), &[]));
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
        let explained = option(&answer, EdnsCode::Unknown(15));
        assert_eq!(explained, Some(vec![0, code]), "{name}: an extended error says why");
    }
}

#[test]
fn if_its_opt_record_is_unusual() {
    let Some(_world) = World::start(&hello("web", "")) else { return };
    let answer = |opt: &[u8]| {
        let answer = answered(&raw(QUERY, [1, 0, 0, 1], &[WEB, opt]));
        Message::from_vec(&answer).unwrap()
    };
    // All flags but DO, and options that nobody knows: ignored (RFC 6891, sections 6.1.2 and 6.1.4).
    let mut unknown = opt_with(b"\xff\xfe\0\x03abc\0\0\0\0");
    unknown[7..9].copy_from_slice(&[0x7f, 0xff]);
    let told = answer(&unknown);
    assert_eq!((told.metadata.response_code, told.answers.len()), (ResponseCode::NoError, 1));
    let edns = told.edns.unwrap();
    assert_eq!((edns.version(), edns.flags().z, edns.flags().dnssec_ok), (0, 0, false));
    assert_eq!(edns.options().options.len(), 0);
    // Any size: 512 at the least, ours at the most.
    for size in [0_u16, 511, 512, 65_535] {
        let mut opt = OPT.to_vec();
        opt[3..5].copy_from_slice(&size.to_be_bytes());
        assert_eq!(answer(&opt).answers.len(), 1, "{size}");
    }
    for version in [1, 255] {
        let mut opt = OPT.to_vec();
        opt[6] = version;
        let told = answer(&opt);
        let edns = told.edns.unwrap();
        let low = u16::from(told.metadata.response_code.low() & 0xf);
        assert_eq!((u16::from(edns.rcode_high()) << 4 | low, edns.version()), (16, 0), "BADVERS");
        assert_eq!(told.answers.len(), 0);
    }
}

#[test]
fn if_it_has_a_cookie() {
    let Some(_world) = World::start(&hello("web", "")) else { return };
    let ask = |data: &[u8]| dns::ask(&a_query("web.jit.test.", RecordType::A, &[cookie(data)]));
    let own = |answer: &Message| option(answer, EdnsCode::Cookie).unwrap();
    let first = ask(b"01234567");
    assert_eq!((first.metadata.response_code, first.answers.len()), (ResponseCode::NoError, 1));
    let given = own(&first);
    assert_eq!((given.len(), &given[..8], given[8]), (24, &b"01234567"[..], 1));
    assert_eq!(own(&ask(&given)), given, "a good one is kept for a while");
    let mut wrong = given.clone();
    wrong[23] ^= 1;
    let answer = ask(&wrong);
    assert_eq!(answer.answers.len(), 1, "nobody is made to have a good one");
    assert_eq!(own(&answer)[..8], given[..8]);
    for length in [0, 1, 7, 9, 15, 41, 100] {
        let answer = ask(&vec![7; length]);
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{length} octets");
        assert!(answer.edns.is_some());
    }
    // RFC 7873, section 5.4: without a question, for the cookie only.
    let mut ping = a_query("web.jit.test.", RecordType::A, &[cookie(b"01234567")]);
    ping.queries.clear();
    let answer = dns::ask(&ping);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert_eq!((own(&answer).len(), answer.queries.len()), (24, 0));

    if support::lacks(&["dig", "kdig"]) {
        return;
    }
    for program in ["dig", "kdig"] {
        let told = dns::run(program, &["+cookie=3031323334353637", "web.jit.test", "A"]);
        assert!(told.to_uppercase().contains("COOKIE: 3031323334353637"), "{told}");
    }
}

#[test]
fn if_it_asks_who_answers() {
    let Some(mut world) = World::without_daemon() else { return };
    world.configure("", &hello("web", ""));
    world.start_daemon();
    let chaos = |name: &str, qtype| {
        let mut query = a_query(name, qtype, &[]);
        query.queries[0].set_query_class(DNSClass::CH);
        dns::ask(&query)
    };
    for name in ["version.bind.", "version.server.", "id.server.", "hostname.bind."] {
        let answer = chaos(name, RecordType::TXT);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name} says nothing");
    }
    world.end_daemon(nix::sys::signal::Signal::SIGTERM);
    let file = std::fs::read_to_string(world.configuration()).unwrap();
    let named = file.replace("[dns]\n", "[dns]\nnsid = \"ams-1\"\nversion = \"a server\"\n");
    std::fs::write(world.configuration(), named).unwrap();
    world.start_daemon();
    for (name, text) in [
        ("version.bind.", "a server"),
        ("VERSION.server.", "a server"),
        ("id.server.", "ams-1"),
        ("hostname.bind.", "ams-1"),
    ] {
        for qtype in [RecordType::TXT, RecordType::ANY] {
            let answer = chaos(name, qtype);
            assert!(answer.metadata.authoritative);
            let [record] = answer.answers.as_slice() else { panic!("{answer:?}") };
            assert_eq!((record.dns_class, record.ttl), (DNSClass::CH, 0));
            assert_eq!(record.data.to_string(), text);
        }
    }
    for (name, qtype) in [("version.bind.", RecordType::A), ("authors.bind.", RecordType::TXT)] {
        assert_eq!(chaos(name, qtype).metadata.response_code, ResponseCode::Refused);
    }
    let nsid = |options: &[EdnsOption]| {
        option(&dns::ask(&a_query("web.jit.test.", RecordType::A, options)), EdnsCode::NSID)
    };
    let asked = EdnsOption::Unknown(EdnsCode::NSID.into(), Vec::new());
    assert_eq!(nsid(&[asked]), Some(b"ams-1".to_vec()));
    assert_eq!(nsid(&[]), None, "only who asks is told");
    if support::lacks(&["dig"]) {
        return;
    }
    assert!(dns::run("dig", &["+nsid", "web.jit.test"]).contains("ams-1"));
    assert!(dns::run("dig", &["+short", "CH", "TXT", "id.server"]).contains("\"ams-1\""));
}

#[test]
fn if_one_network_asks_too_often() {
    let Some(mut world) = World::without_daemon() else { return };
    let limit = "[dns.rate_limit]\nrate = \"5/s\"\nnxdomain = \"none\"\nslip = 2\nallow = [\"127.9.0.0/16\"]\n";
    world.configure(limit, &hello("web", ""));
    world.start_daemon();
    // What comes back of so many queries: whole and truncated answers.
    let ask_often = |address: &str, query: &Message| {
        let start = Instant::now();
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let octets = query.to_vec().unwrap();
        let (mut whole, mut truncated) = (0_u32, 0_u32);
        let mut buffer = [0; 1500];
        let mut take = |socket: &UdpSocket| {
            while let Ok(length) = socket.recv(&mut buffer) {
                let answer = Message::from_vec(&buffer[..length]).unwrap();
                if answer.metadata.truncation {
                    assert_eq!(answer.all_sections().count(), 0);
                    assert_eq!(answer.queries, query.queries);
                    truncated += 1;
                } else {
                    whole += 1;
                }
            }
        };
        for _ in 0..100 {
            socket.send_to(&octets, DNS).unwrap();
            std::thread::yield_now();
            take(&socket);
        }
        // This answer comes after all others: queries of one socket are answered in turn.
        let last = a_query("nobody.jit.test.", RecordType::A, &[]);
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(&last.to_vec().unwrap(), DNS).unwrap();
        let mut length = socket.recv(&mut buffer).unwrap();
        loop {
            let answer = Message::from_vec(&buffer[..length]).unwrap();
            if answer.metadata.response_code == ResponseCode::NXDomain {
                break;
            }
            if answer.metadata.truncation {
                truncated += 1
            } else {
                whole += 1
            }
            length = socket.recv(&mut buffer).unwrap();
        }
        (whole, truncated, start.elapsed())
    };
    let web = a_query("web.jit.test.", RecordType::A, &[]);
    let (whole, truncated, elapsed) = ask_often("127.0.0.1", &web);
    let most = 5 + 1 + u32::try_from(elapsed.as_millis() / 200).unwrap();
    assert!(whole >= 5 && whole <= most, "{whole} in {elapsed:?}");
    // Every second one of the others, the first included.
    let others = 100 - whole;
    assert_eq!(truncated, others.div_ceil(2));
    let (dropped, slipped) = ("dropped", "slipped");
    let counted = |result: &str| {
        let name = "summoner_dns_rate_limited_total";
        world.metric(&format!("{name}{{class=\"answer\",result=\"{result}\"}}"))
    };
    world.wait_until("the limited ones are counted", || {
        counted(dropped) + counted(slipped) == f64::from(others)
    });
    // The same network is not limited by TCP, with a cookie, or for names that do not exist here; allowed ones never are.
    let mut stream = TcpStream::connect(DNS).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..20 {
        let answer = dns::over_tcp(&mut stream, &web);
        assert_eq!((answer.answers.len(), answer.metadata.truncation), (1, false));
    }
    let with_cookie = a_query("web.jit.test.", RecordType::A, &[cookie(b"01234567")]);
    let given = option(&dns::over_tcp(&mut stream, &with_cookie), EdnsCode::Cookie).unwrap();
    let proven = a_query("web.jit.test.", RecordType::A, &[cookie(&given)]);
    assert_eq!(ask_often("127.0.0.1", &proven).0, 100);
    assert_eq!(ask_often("127.9.0.1", &web).0, 100);
}
