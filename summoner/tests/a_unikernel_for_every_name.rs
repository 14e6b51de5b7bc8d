//! A template makes a service for a name when somebody real asks for it, within its bounds, and forgets it.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use nix::sys::signal::Signal;
use support::{DNS, PATIENCE, World, hello, http_get};

/// Never forgotten while a test runs.
const KEPT: &str = "idle = \"1h\"\nttl = 3600";
/// Forgotten as soon as may be.
const BRIEF: &str = "idle = \"100ms\"\nttl = 1";
const MADE: &str = "summoner_template_services{template=\"pr\"}";

fn template(settings: &str) -> String {
    format!("[templates.pr]\npattern = \"*.pr\"\nimage = \"builtin:hello\"\n{settings}\n")
}

fn world(limits: &str, services: &str) -> Option<World> {
    let mut world = World::without_daemon()?;
    world.configure(limits, services);
    world.start_daemon();
    Some(world)
}

/// Asks as a resolver does that has been answered there before.
fn by_tcp(name: &str, qtype: RecordType) -> Message {
    let name = Name::from_ascii(format!("{name}.jit.test.")).unwrap();
    let query = summoner::resolve::encode(&name, qtype).unwrap();
    let mut stream = TcpStream::connect(DNS).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = u16::try_from(query.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, query.as_slice()].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Message::from_vec(&answer).unwrap()
}

fn rcode(message: &Message) -> (ResponseCode, bool, usize) {
    let metadata = &message.metadata;
    (metadata.response_code, metadata.truncation, message.answers.len())
}

fn address(message: &Message) -> Ipv4Addr {
    let [record] = message.answers.as_slice() else { panic!("one record: {message:?}") };
    let RData::A(address) = &record.data else { panic!("an address: {message:?}") };
    address.0
}

fn keys(world: &World) -> Vec<String> {
    world.services().into_iter().map(|service| service.service).collect()
}

const OK: ResponseCode = ResponseCode::NoError;

#[test]
fn that_somebody_real_asks_for() {
    let services = [template(KEPT), hello("web", "names = [\"web\", \"fixed.pr\"]")].concat();
    let Some(world) = world("", &services) else { return };
    // A datagram may come from anybody: ask again by TCP, and nothing is made.
    assert_eq!(rcode(&world.query("feature-7.pr", RecordType::A)), (OK, true, 0));
    assert_eq!(keys(&world), ["web"]);

    let made = address(&by_tcp("Feature-7.pr", RecordType::A));
    world.wait_for_state("feature-7.pr", "running");
    let page = http_get(SocketAddr::new(made.into(), 80), "/healthz").unwrap();
    assert_eq!(page.status, 200);
    // From then on it is a name like any other.
    assert_eq!(address(&world.query("feature-7.pr", RecordType::A)), made);
    assert_eq!(rcode(&world.query("feature-7.pr", RecordType::AAAA)), (OK, false, 1));
    assert_eq!(rcode(&world.query("below.feature-7.pr", RecordType::A)).0, ResponseCode::NXDomain);

    // Another name is another guest.
    let other = address(&by_tcp("feature-8.pr", RecordType::A));
    assert_ne!(other, made);
    let processes = ["feature-7.pr", "feature-8.pr"]
        .map(|key| world.wait_for_state(key, "running").process.unwrap());
    assert_ne!(processes[0], processes[1]);
    assert_eq!(world.metric(MADE), 2.0);

    // What is configured comes first; what nobody can be called is not made; the rest is not denied.
    assert_eq!(address(&by_tcp("fixed.pr", RecordType::A)), world.resolve("web"));
    for name in ["*.pr", "a.b.pr", "_a.pr"] {
        assert_eq!(rcode(&by_tcp(name, RecordType::A)).0, ResponseCode::Refused, "{name}");
    }
    assert_eq!(rcode(&by_tcp("nobody.pr", RecordType::TXT)), (OK, false, 0));
    assert_eq!(rcode(&by_tcp("pr", RecordType::A)), (OK, false, 0));
    assert_eq!(keys(&world), ["feature-7.pr", "feature-8.pr", "web"]);
    let labels = "summoner_wakes_total{result=\"summon\",service=\"pr\",trigger=\"query\"}";
    assert_eq!(world.metric(labels), 2.0, "a name of a client's choice is no label");
}

#[test]
fn and_that_is_forgotten_when_nobody_does_any_more() {
    let Some(mut world) = world("", &template(&format!("{BRIEF}\nmax = 2"))) else { return };
    let first = address(&by_tcp("a.pr", RecordType::A));
    let second = address(&by_tcp("b.pr", RecordType::A));
    assert_ne!(first, second);
    for key in ["a.pr", "b.pr"] {
        world.wait_until("it is forgotten", || !keys(&world).iter().any(|known| known == key));
    }
    let forgotten = "summoner_template_services_total{result=\"forgotten\",template=\"pr\"}";
    world.wait_until("both are counted", || world.metric(forgotten) >= 2.0);
    assert_eq!(world.metric(MADE), 0.0);
    assert_eq!(rcode(&world.query("a.pr", RecordType::A)), (OK, true, 0), "not made any more");
    // The same name has the same address, as long as nobody else has it.
    assert_eq!(address(&by_tcp("b.pr", RecordType::A)), second);
    assert_eq!(address(&by_tcp("a.pr", RecordType::A)), first);

    // Nothing of it outlives the daemon, but the address that follows from the name.
    world.configure("", &template(KEPT));
    world.end_daemon(Signal::SIGKILL);
    world.start_daemon();
    assert_eq!(keys(&world), [""; 0]);
    assert_eq!(address(&by_tcp("b.pr", RecordType::A)), second);
}

#[test]
fn no_more_of_them_than_may_be() {
    let Some(world) = world("", &template(&format!("{KEPT}\nmax = 2"))) else { return };
    for name in ["a.pr", "b.pr"] {
        assert_eq!(rcode(&by_tcp(name, RecordType::A)), (OK, false, 1));
    }
    // Not an answer that anybody remembers for long, and never that it does not exist.
    assert_eq!(rcode(&by_tcp("c.pr", RecordType::A)), (ResponseCode::ServFail, false, 0));
    assert_eq!(keys(&world), ["a.pr", "b.pr"]);
    // A reload leaves them alone, and makes room.
    let before = world.wait_for_state("a.pr", "running").process;
    world.configure("", &template(&format!("{KEPT}\nmax = 3")));
    world.signal(Signal::SIGHUP);
    world.wait_until("the configuration is in force", || world.log().contains("reloaded"));
    assert_eq!(world.service("a.pr").process, before);
    assert_eq!(rcode(&by_tcp("c.pr", RecordType::A)), (OK, false, 1));
    // A template that is gone takes its services with it.
    world.configure("", &hello("web", ""));
    world.signal(Signal::SIGHUP);
    world.wait_until("its services are gone", || keys(&world) == ["web"]);
    assert_eq!(rcode(&by_tcp("a.pr", RecordType::A)).0, ResponseCode::NXDomain);
}

#[test]
fn nor_more_often_than_wakes_may_cost_boots() {
    let limits = "[limits.wakes]\nproven_rate = \"1/d\"\nproven_burst = 3\n";
    let Some(world) = world(limits, &template(KEPT)) else { return };
    // One token to make it, one to boot it, one to make the next; nothing is left for a third.
    assert_eq!(rcode(&by_tcp("a.pr", RecordType::A)), (OK, false, 1));
    world.wait_for_state("a.pr", "running");
    assert_eq!(rcode(&by_tcp("b.pr", RecordType::A)), (OK, false, 1));
    assert_eq!(rcode(&by_tcp("c.pr", RecordType::A)), (ResponseCode::ServFail, false, 0));
    assert_eq!(keys(&world), ["a.pr", "b.pr"]);
    let refused = "summoner_wakes_over_budget_total{budget=\"total\",credibility=\"proven\",result=\"refused\",trigger=\"make\"}";
    assert_eq!(world.metric(refused), 1.0);
}

#[test]
fn and_none_for_a_flood_of_random_names() {
    const NAMES: usize = 20_000;
    let Some(world) = world("", &template(KEPT)) else { return };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(DNS).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 512];
    for number in 0..NAMES {
        let name = Name::from_ascii(format!("n{number:x}.pr.jit.test.")).unwrap();
        socket.send(&summoner::resolve::encode(&name, RecordType::A).unwrap()).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(rcode(&answer), (OK, true, 0));
    }
    assert_eq!(keys(&world), [""; 0]);
    assert_eq!(world.metric(MADE), 0.0);
    assert!(world.metric("summoner_template_queries_total{result=\"unproven\"}") >= 20_000.0);
    // Who is real is served all the same.
    assert_eq!(rcode(&by_tcp("real.pr", RecordType::A)), (OK, false, 1));
}
