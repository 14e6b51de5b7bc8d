//! With `attach = "lan:..."` the services are neighbours of their clients, beside the host, which is not disturbed.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use support::{World, hello, http_get};
use synjitsu_device::{namespace, netlink};

const HOST4: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 2);
const HOST6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);
const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 100);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x100);
/// Behind a router, as seen from the segment.
const FAR4: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

const LAN: &str = "[network]\nattach = \"lan:lan0\"\nipv4 = \"192.168.9.0/24\"\nipv6 = \"fd09::/64\"\n\
                   pool = \"192.168.9.200-192.168.9.210\"\ngateways = [\"192.168.9.100\"]\n";

type Job = Box<dyn FnOnce() + Send>;

/// Another machine on the segment: a thread in a namespace of its own.
struct Neighbour {
    jobs: Sender<Job>,
}

impl Neighbour {
    /// Joined to this thread's namespace by a cable, which is lan0 here.
    fn with_cable() -> Self {
        let (tell, told) = channel();
        let (jobs, to_do) = channel::<Job>();
        thread::spawn(move || {
            namespace::enter_new().unwrap();
            tell.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
            to_do.into_iter().for_each(|job| job());
        });
        let place = told.recv().unwrap();
        netlink::make_cable("lan0", "eth0", place.as_fd()).unwrap();
        netlink::configure("lan0", &[(HOST4.into(), 24), (HOST6.into(), 64)], 1500).unwrap();
        let this = Self { jobs };
        this.run(|| {
            let addresses: [(IpAddr, u8); 3] =
                [(CLIENT4.into(), 24), (CLIENT6.into(), 64), (FAR4.into(), 32)];
            netlink::configure("eth0", &addresses, 1500).unwrap();
        });
        this
    }

    /// Does something there, and waits for it.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let job = move || {
            let _ = tell.send(work());
        };
        self.jobs.send(Box::new(job)).unwrap();
        told.recv().expect("it did not panic")
    }
}

/// Addresses and routes of this namespace, as the kernel tells them.
fn host_state() -> Vec<String> {
    ["route", "ipv6_route", "if_inet6", "fib_trie"]
        .map(|file| {
            let mut text = String::new();
            File::open(format!("/proc/thread-self/net/{file}"))
                .and_then(|mut file| file.read_to_string(&mut text))
                .unwrap();
            // Counts of use are none of the state.
            let line = |line: &str| {
                let words: Vec<_> = line.split_whitespace().collect();
                if file == "ipv6_route" { words[..6].join(" ") } else { words.join(" ") }
            };
            // The kernel's own link-local address comes when its probe is over, whoever else is there.
            let lines = text.lines().map(line).filter(|line| !line.contains("fe80"));
            lines.collect::<Vec<_>>().join("\n")
        })
        .to_vec()
}

#[test]
fn cold_services_answer_their_neighbours_and_the_host_stays_as_it_is() {
    let Some(mut world) = World::without_daemon() else { return };
    let neighbour = Neighbour::with_cable();
    let before = host_state();
    world.configure(LAN, &hello("web", "idle = \"1s\""));
    world.start_daemon();
    let (four, six) = (world.resolve("web"), world.resolve6("web"));
    assert!((200..=210).contains(&four.octets()[3]), "{four} is in the pool");
    assert_eq!(six.segments()[..4], [0xfd09, 0, 0, 0]);

    // The query has woken it; now a packet does, with no query before it.
    for address in [IpAddr::V4(four), IpAddr::V6(six)] {
        world.wait_for_state("web", "cold");
        let page = neighbour.run(move || http_get(SocketAddr::new(address, 80), "/")).unwrap();
        assert_eq!(page.status, 200);
        assert!(page.body.contains("web"), "{}", page.body);
        assert_eq!(page.retransmissions, 0, "the first SYN was held");
    }
    // The host's own stack is on the same interface, at the same time.
    for host in [IpAddr::V4(HOST4), IpAddr::V6(HOST6)] {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        neighbour.run(move || TcpStream::connect(to).map(drop)).unwrap();
    }
    assert_eq!(host_state(), before, "addresses and routes of the host");
    assert!(world.metric("summoner_switch_events_total{event=\"lan_answered\"}") >= 2.0);

    // Gone, it leaves nothing.
    world.end_daemon(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(host_state(), before);
}

/// A neighbour's kernel hands over segments of many times the MTU, and with half a checksum.
#[test]
fn bulk_gets_through_both_ways() {
    let Some(mut world) = World::without_daemon() else { return };
    let neighbour = Neighbour::with_cable();
    world.configure(LAN, &hello("web", ""));
    world.start_daemon();
    for address in [IpAddr::V4(world.resolve("web")), IpAddr::V6(world.resolve6("web"))] {
        let sent: Vec<u8> =
            (0..2_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()[0]).collect();
        let expected = sent.clone();
        // The guest's echo (RFC 862).
        let echoed = neighbour.run(move || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect((address, 7))?;
            stream.set_read_timeout(Some(support::PATIENCE))?;
            let mut writer = stream.try_clone()?;
            let writer = thread::spawn(move || {
                writer.write_all(&sent).and_then(|()| writer.shutdown(Shutdown::Write))
            });
            let mut echoed = Vec::new();
            stream.read_to_end(&mut echoed)?;
            writer.join().unwrap().map(|()| echoed)
        });
        assert!(echoed.unwrap() == expected, "what comes back to {address} is what was sent");
    }
    let counted =
        |event: &str| world.metric(&format!("summoner_switch_events_total{{event=\"{event}\"}}"));
    assert!(counted("lan_cut") > 0.0 && counted("lan_summed") > 0.0);
    assert!(counted("lan_lost_unreadable") == 0.0 && counted("dropped_oversized") == 0.0);
}

#[test]
fn a_client_behind_a_router_is_answered_by_it() {
    let Some(mut world) = World::without_daemon() else { return };
    let neighbour = Neighbour::with_cable();
    world.configure(LAN, &hello("web", ""));
    world.start_daemon();
    let service = world.resolve("web");
    // The neighbour is the router too: what comes from the address behind it is not on the segment.
    let answer = neighbour.run(move || -> std::io::Result<String> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::from((FAR4, 0)))?;
        connect(&socket, &SocketAddr::from((service, 80)))?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_missing_interface_is_said_before_anything_starts() {
    let Some(world) = World::without_daemon() else { return };
    world.configure(LAN, &hello("web", "ipv4 = \"192.168.9.7\""));
    let output = world.command(&["serve"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        told.contains("no network interface `lan0`") && told.contains("network.attach"),
        "{told}"
    );
}
