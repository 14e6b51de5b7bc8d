//! A unikernel that is booted by a connection's first packet carries every octet of it both ways, over links that delay,
//! lose, double, reorder and damage packets, from a kernel's TCP on another machine, as it were.
//!
//! ```text
//!   client's namespace             a bad link       the daemon's namespace
//!   kernel's TCP -- TUN link0 ---- (Faulty) Relay ---- TUN far0 -- forwarding -- the daemon's TUN -- switch -- unikernel
//! ```
//!
//! `LINKS_SOAK=1` carries 64 MiB in each case, `LINKS_SEED=N` changes all that is random. With faults that takes some ten
//! minutes in either mode: an echo's acknowledgments carry data, by which no sender without SACK notices a loss, and what
//! is left is its timer.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use summoner::harness::lab::exchange;
use summoner::harness::lab::stack;
use support::{World, hello};
use synjitsu_device::faulty::{Faults, Faulty, Link, LinkWatch, Share};
use synjitsu_device::namespace::Namespace;
use synjitsu_device::{Relay, Tun, netlink};

const MIB: u64 = 1 << 20;
/// The two ends of the link.
const NEAR: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 2), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
const FAR: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// RFC 862.
const ECHO: u16 = 7;

/// Where the clients are, and the link from there to the daemon's namespace.
struct Away {
    namespace: Namespace,
    watch: LinkWatch,
    _relay: Relay,
}

impl Away {
    /// The calling thread is in the daemon's namespace.
    fn new(link: Link, services: &[IpAddr]) -> Self {
        let far = Tun::create("far0").unwrap();
        netlink::configure("far0", &[(FAR.0.into(), 24), (FAR.1.into(), 64)], 1500).unwrap();
        stack::forward().unwrap();
        let namespace = Namespace::new().unwrap();
        let near = namespace.within(|| {
            let near = Tun::create("link0").unwrap();
            netlink::configure("link0", &[(NEAR.0.into(), 24), (NEAR.1.into(), 64)], 1500).unwrap();
            for service in services {
                let host = if service.is_ipv4() { 32 } else { 128 };
                netlink::add_route("link0", *service, host).unwrap();
            }
            near
        });
        let near = Faulty::new(near.unwrap(), link).unwrap();
        let watch = near.watch();
        Self { namespace, watch, _relay: Relay::spawn(near, far).unwrap() }
    }
}

fn carry(faults: Faults, settings: &str, octets: u64) {
    let Some(world) = World::start(&hello("web", settings)) else { return };
    let seed = std::env::var("LINKS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let octets = if std::env::var_os("LINKS_SOAK").is_some() { 64 * MIB } else { octets };
    let link = Link::symmetric(seed, faults);
    println!("{link}; {octets} octets");
    let service = world.service("web");
    let addresses = [IpAddr::V4(service.ipv4.unwrap()), IpAddr::V6(service.ipv6.unwrap())];
    let away = Away::new(link, &addresses);
    assert_eq!(service.state, "cold");
    // Both at once: one of them wakes the service, and the other one finds it as it may be.
    let results = away.namespace.within(|| {
        thread::scope(|scope| {
            let clients = addresses.map(|address| {
                let to = SocketAddr::new(address, ECHO);
                scope.spawn(move || exchange::echo(to, octets, seed))
            });
            clients.map(|client| client.join().unwrap())
        })
    });
    for (result, address) in results.unwrap().iter().zip(addresses) {
        if let Err(error) = result {
            let tallies = away.watch.tallies();
            panic!("{address}: {error:?}; {link}\n  {tallies:?}\n{}", world.log());
        }
    }
    assert_eq!(world.service("web").timeline.unwrap().cause.unwrap().label(), "tcp_syn");
}

const DELAY: Faults = Faults::delay(Duration::from_millis(1));
const BAD: Faults = Faults {
    late: Share::percent(5),
    lateness: Duration::from_millis(2),
    loss: Share::percent(2),
    duplication: Share::percent(2),
    corruption: Share::of_thousand(2),
    ..DELAY
};

#[test]
fn with_delay_in_mode_handshake() {
    carry(DELAY, "", 4 * MIB);
}

#[test]
fn with_delay_in_mode_syn() {
    carry(DELAY, "hold.mode = \"syn\"", 4 * MIB);
}

#[test]
fn with_faults_in_mode_handshake() {
    carry(BAD, "", MIB / 2);
}

#[test]
fn with_faults_in_mode_syn() {
    carry(BAD, "hold.mode = \"syn\"", MIB / 2);
}
