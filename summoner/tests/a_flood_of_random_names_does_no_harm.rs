//! Queries for names that nobody has, from addresses that are forged, as fast as they can be sent: nothing boots, nothing
//! grows, and who shows a cookie is answered.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};
use support::{DNS, PATIENCE, World, hello};

/// Queries of the flood that have been answered before the first and the second look.
const BEFORE: f64 = 20_000.0;
const AFTER: f64 = 120_000.0;
/// What the daemon may grow between the looks, in KiB: pages that were touched late, not one for each query.
const GROWTH: u64 = 4096;
/// How long the client waits for an answer until it asks again, as resolvers do.
const PATIENT: Duration = Duration::from_millis(200);

/// Numbers that look random (xorshift64*).
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// An IPv4 packet with a query for a name that nobody has, under an address that somebody else has.
fn forged(numbers: &mut Numbers) -> Vec<u8> {
    let [a, b, c, d, port @ .., qtype, zone] = numbers.next().to_be_bytes();
    // Every fourth one from the network of the client that is to be served.
    let source = if a % 4 == 0 { [127, 0, 0, d.max(2)] } else { [127, b, c, d.max(2)] };
    let label = format!("{:016x}", numbers.next());
    let zone: &[&str] =
        [&["jit", "test"], &["web", "jit", "test"][..], &["example", "org"]][usize::from(zone % 3)];
    let mut query = vec![port[0], 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [&[label.as_str()], zone].concat() {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, [1, 28, 16][usize::from(qtype % 3)], 0, 1]);
    let length = u16::try_from(query.len() + 8).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&(length + 20).to_be_bytes());
    // No fragment; the kernel fills in the checksum.
    packet.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&source);
    packet.extend_from_slice(&[127, 0, 0, 1]);
    packet.extend_from_slice(&[port[1] | 0x40, port[0]]);
    packet.extend_from_slice(&53_u16.to_be_bytes());
    packet.extend_from_slice(&length.to_be_bytes());
    // Without a checksum, which UDP over IPv4 need not have.
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&query);
    packet
}

/// Sends until it is told not to.
fn flood(seed: u64, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> JoinHandle<()> {
    // Made here: a socket belongs to the namespace of the thread that makes it.
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
    socket.set_header_included_v4(true).unwrap();
    std::thread::spawn(move || {
        let mut numbers = Numbers(seed);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
        while !stop.load(Ordering::Relaxed) {
            // A full queue is as good as a full line.
            if socket.send_to(&forged(&mut numbers), &to).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

/// Memory that is really there, in KiB, but for what files give back at any time.
fn resident(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A client that shows its cookie.
struct Client {
    socket: UdpSocket,
    cookie: Vec<u8>,
    id: u16,
}

impl Client {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(DNS).unwrap();
        socket.set_read_timeout(Some(PATIENT)).unwrap();
        let mut client = Self { socket, cookie: b"01234567".to_vec(), id: 0 };
        client.ask(RecordType::TXT);
        assert_eq!(client.cookie.len(), 24);
        client
    }

    /// Asks as often as it takes, and says how often that was.
    fn ask(&mut self, qtype: RecordType) -> (Message, u32) {
        self.id += 1;
        let mut query = Message::query();
        query.metadata.id = self.id;
        query.add_query(Query::query(Name::from_ascii("web.jit.test.").unwrap(), qtype));
        let mut edns = Edns::new();
        let cookie = EdnsOption::Unknown(EdnsCode::Cookie.into(), self.cookie.clone());
        edns.options_mut().insert(cookie);
        query.set_edns(edns);
        let octets = query.to_vec().unwrap();
        let start = std::time::Instant::now();
        let mut buffer = [0; 1500];
        for tries in 1.. {
            // An ICMP error of the flood's is not this one's.
            let _ = self.socket.send(&octets);
            while let Ok(length) = self.socket.recv(&mut buffer) {
                let answer = Message::from_vec(&buffer[..length]).unwrap();
                if answer.metadata.id == self.id {
                    let edns = answer.edns.as_ref().unwrap();
                    self.cookie = edns.option(EdnsCode::Cookie).unwrap().try_into().unwrap();
                    return (answer, tries);
                }
            }
            assert!(start.elapsed() < PATIENCE, "not answered in {tries} tries");
        }
        unreachable!("it tries until its patience ends")
    }
}

#[test]
fn and_who_shows_a_cookie_is_answered() {
    let Some(mut world) = World::without_daemon() else { return };
    world.configure("[dns.rate_limit]\nrate = \"50/s\"\nallow = []\n", &hello("web", ""));
    world.start_daemon();
    let mut client = Client::new();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let floods: Vec<_> =
        (1..=2).map(|seed| flood(seed * 0x9e37_79b9, stop.clone(), sent.clone())).collect();
    let answered = || world.metrics("summoner_dns_queries_total{");
    world.wait_until("the flood has begun", || answered() > BEFORE);
    let before = resident(world.daemon_pid());
    let (mut asked, mut tries) = (0, 0);
    while asked < 100 || answered() < AFTER {
        let (answer, tried) = client.ask(RecordType::TXT);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(!answer.metadata.truncation, "who has proven to be there is not limited");
        assert_eq!(answer.authorities.len(), 1);
        asked += 1;
        tries += tried;
    }
    let after = resident(world.daemon_pid());
    stop.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    println!(
        "{} sent, {} answered, {asked} of the client's in {tries} tries, {before} to {after} KiB",
        sent.load(Ordering::Relaxed),
        answered()
    );
    assert!(after < before + GROWTH, "it grew from {before} to {after} KiB");
    let limited = world.metrics("summoner_dns_rate_limited_total{");
    assert!(limited > 0.0, "the flooded network's other responses were limited");
    assert_eq!(world.service("web").state, "cold");
    assert_eq!(world.metrics("summoner_wakes_total{"), 0.0, "nothing was woken");
    // And all is as before.
    let (answer, _) = client.ask(RecordType::A);
    assert_eq!(answer.answers.len(), 1);
    world.wait_for_state("web", "running");
}
