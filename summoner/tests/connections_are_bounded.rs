//! DNS over TCP, TLS and HTTPS: many queries on a connection, and many connections, but not too many.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};
use socket2::{Domain, Socket, Type};
use support::{DNS, PATIENCE, World, hello, lacks, trial};

const KEEPALIVE: u16 = 11;

fn message(id: u16, name: &str, qtype: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = id;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    message
}

fn framed(message: &Message) -> Vec<u8> {
    let octets = message.to_vec().unwrap();
    [&u16::try_from(octets.len()).unwrap().to_be_bytes(), &octets[..]].concat()
}

fn read(stream: &mut TcpStream) -> std::io::Result<Message> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(Message::from_vec(&answer).unwrap())
}

/// A connection from an address of 127.0.0.0/8, all of which are this host's.
fn connect_from(source: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into()).unwrap();
    socket.connect(&DNS.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// Asks and reads the answer: the server has this connection in its table then.
fn used(mut stream: TcpStream) -> TcpStream {
    stream.write_all(&framed(&message(1, "web.jit.test.", RecordType::TXT))).unwrap();
    assert_eq!(read(&mut stream).unwrap().metadata.id, 1);
    stream
}

/// Waits for the server to close it.
fn is_closed(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Reset, if the server had not read everything.
    match stream.read(&mut [0]) {
        Ok(octets) => octets == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn world(dns: &str) -> Option<World> {
    let mut world = World::without_daemon()?;
    world.configure(dns, &hello("web", ""));
    world.start_daemon();
    Some(world)
}

#[test]
fn one_more_takes_the_place_of_the_silent_one() {
    let dns = "[dns.tcp]\nconnections = 4\nprefix_connections = 2\nidle = \"1h\"\n";
    let Some(world) = world(dns) else { return };
    let (one, other, third) =
        (Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 2, 1), Ipv4Addr::new(127, 0, 3, 1));
    let first = used(connect_from(one));
    let second = used(connect_from(one));
    let others = [used(connect_from(other)), used(connect_from(other))];
    let first = used(first);
    // The network 127.0.1.0/24 has its two, and all have their four: it loses the one that it used least recently.
    let fourth = used(connect_from(one));
    assert!(is_closed(second));
    // Another network: of all, the first of the others was silent longest.
    let last = used(connect_from(third));
    let [silent, kept] = others;
    assert!(is_closed(silent));
    for stream in [first, fourth, kept, last] {
        used(stream);
    }
    let displaced = "summoner_dns_connections_closed_total{reason=\"displaced\",transport=\"tcp\"}";
    world.wait_until("both are counted", || world.metric(displaced) == 2.0);
}

#[test]
fn and_whoever_is_silent_is_closed() {
    let Some(world) = world("[dns.tcp]\nidle = \"100ms\"\n") else { return };
    assert!(is_closed(TcpStream::connect(DNS).unwrap()));
    let mut slow = TcpStream::connect(DNS).unwrap();
    slow.write_all(&framed(&message(1, "web.jit.test.", RecordType::TXT))[..7]).unwrap();
    assert!(is_closed(slow));
    let idle = "summoner_dns_connections_closed_total{reason=\"idle\",transport=\"tcp\"}";
    world.wait_until("both are counted", || world.metric(idle) == 2.0);
    assert_eq!(world.metric("summoner_dns_connections{transport=\"tcp\"}"), 0.0);
}

#[test]
fn queries_may_follow_each_other_and_nobody_waits_for_a_guest_but_who_asked_for_it() {
    let stuck =
        trial("stuck", "spin", "answer = \"ready\"\nready_cap = \"2s\"\nboot_timeout = \"60s\"");
    let Some(_world) = World::start(&format!("{}{stuck}", hello("web", ""))) else { return };
    let mut stream = TcpStream::connect(DNS).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut queries = framed(&message(1, "stuck.jit.test.", RecordType::A));
    for id in 2..200 {
        queries.extend(framed(&message(id, "web.jit.test.", RecordType::TXT)));
    }
    stream.write_all(&queries).unwrap();
    // Nothing more will come: what was asked is still answered (RFC 7766, section 6.2.4).
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut ids: Vec<u16> = (1..200).map(|_| read(&mut stream).unwrap().metadata.id).collect();
    assert_eq!(ids[0], 2, "the first answer does not wait for the guest");
    ids.sort_unstable();
    assert_eq!(ids, (1..200).collect::<Vec<_>>());
    assert!(is_closed(stream));
}

#[test]
fn clients_that_ask_are_told_how_long_they_may_be_silent() {
    let Some(_world) = world("[dns.tcp]\nidle = \"3s\"\n") else { return };
    let mut stream = TcpStream::connect(DNS).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for asks in [true, false] {
        let mut query = message(1, "web.jit.test.", RecordType::TXT);
        let mut edns = Edns::new();
        if asks {
            edns.options_mut().insert(EdnsOption::Unknown(KEEPALIVE, Vec::new()));
        }
        query.set_edns(edns);
        stream.write_all(&framed(&query)).unwrap();
        let told = read(&mut stream).unwrap().edns.unwrap();
        let expected = EdnsOption::Unknown(KEEPALIVE, vec![0, 30]);
        assert_eq!(told.option(KEEPALIVE.into()), asks.then_some(&expected));
    }
}

#[test]
fn over_tls_and_https_as_kdig_and_curl_ask() {
    if lacks(&["kdig", "curl"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    let folder = world.folder.path().to_owned();
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(folder.join("dns.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("dns.key"), made.signing_key.serialize_pem()).unwrap();
    };
    certificate("ns.jit.test");
    let dns = "[dns.tls]\nlisten = [\"127.0.0.1:853\"]\ncertificate = \"dns.pem\"\nkey = \"dns.key\"\n\
        [dns.https]\nlisten = [\"127.0.0.1:443\"]\n";
    world.configure(dns, &hello("web", ""));
    world.start_daemon();
    let ca = folder.join("dns.pem");
    let ca = ca.to_str().unwrap();
    let kdig = |arguments: &[&str], host: &str| {
        let output = Command::new("kdig")
            .args(["@127.0.0.1", "+retry=0", "+timeout=60", &format!("+tls-ca={ca}")])
            .arg(format!("+tls-hostname={host}"))
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let address = world.resolve("web").to_string();
    for how in [&["+tls"][..], &["+https"], &["+https", "+https-get"]] {
        let answer = kdig(&[how, &["web.jit.test", "A"]].concat(), "ns.jit.test");
        assert!(answer.contains("NOERROR") && answer.contains(&address), "{how:?}: {answer}");
        // Padded to a multiple of 468 octets (RFC 8467).
        let padded = kdig(&[how, &["+padding", "web.jit.test", "A"]].concat(), "ns.jit.test");
        assert!(padded.contains("468 B"), "{how:?}: {padded}");
        let refused = kdig(&[how, &["web.jit.test", "A"]].concat(), "another.jit.test");
        assert!(!refused.contains(&address), "{how:?}: {refused}");
    }
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "--cacert", ca, "--resolve", "ns.jit.test:443:127.0.0.1", "-D", "-"])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // web.jit.test A, id 0.
    let query = "AAABAAABAAAAAAAAA3dlYgNqaXQEdGVzdAAAAQAB";
    for version in ["--http1.1", "--http2"] {
        let uri = format!("https://ns.jit.test/dns-query?dns={query}");
        let answer = curl(&[version, &uri]);
        assert!(answer.contains(" 200") && answer.contains("max-age=60"), "{version}: {answer}");
        let answer = curl(&[version, "https://ns.jit.test/other"]);
        assert!(answer.contains(" 404"), "{version}: {answer}");
    }
    // Another certificate, without a restart.
    certificate("another.jit.test");
    world.signal(nix::sys::signal::Signal::SIGHUP);
    world.wait_until("the new certificate is shown", || {
        kdig(&["+tls", "web.jit.test", "A"], "another.jit.test").contains(&address)
    });
}
