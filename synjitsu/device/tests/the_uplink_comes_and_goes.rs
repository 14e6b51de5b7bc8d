//! The TUN device, its addresses and routes, and the driver's thread: made, used, and gone without a trace.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use policies::{Instant, ServiceId};
use synjitsu::{
    Command, Event, HoldLimits, HoldMode, HoldPolicy, Overflow, ServicePort, Switch, SwitchConfig,
};
use synjitsu_device::{DeviceError, Driver, DriverCommand, Tun, namespace, netlink};

const NAME: &str = "test0";
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
/// How long anything may take before a test gives up; no verdict on speed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A namespace for this thread; false, with the reason, where that cannot be.
fn alone() -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        Some("root")
    } else if !Path::new("/dev/net/tun").exists() {
        Some("/dev/net/tun")
    } else {
        None
    };
    if let Some(missing) = missing {
        let name = std::thread::current().name().unwrap_or("test").to_owned();
        // Not a print macro: those are captured by the test harness.
        let _ = writeln!(std::io::stderr(), "SKIPPED {name}: needs {missing}");
        return false;
    }
    namespace::enter_new().unwrap();
    true
}

fn devices() -> String {
    std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()
}

/// The source address that the kernel would use towards `to`: proof of a route.
fn source_towards(to: IpAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((to, 9))?;
    Ok(socket.local_addr()?.ip())
}

fn uplink() -> Tun {
    let tun = Tun::create(NAME).unwrap();
    netlink::configure(NAME, &[(GATEWAY, 16), (GATEWAY6, 64)], 1400).unwrap();
    tun
}

#[test]
fn with_addresses_and_routes() {
    if !alone() {
        return;
    }
    assert_eq!(
        source_towards(Ipv4Addr::LOCALHOST.into()).unwrap(),
        Ipv4Addr::LOCALHOST,
        "lo is up"
    );
    let tun = uplink();
    assert!(devices().contains(NAME));
    assert_eq!(source_towards(SERVICE.into()).unwrap(), GATEWAY);
    assert_eq!(source_towards("fd09::7".parse().unwrap()).unwrap(), GATEWAY6, "usable at once");
    drop(tun);
    assert!(!devices().contains(NAME));
    assert!(source_towards(SERVICE.into()).is_err(), "the route is gone with it");
}

#[test]
fn and_what_cannot_be_is_said() {
    if !alone() {
        return;
    }
    let _tun = uplink();
    let twice = Tun::create(NAME).unwrap_err();
    assert!(
        matches!(&twice, DeviceError::MakeTun { reason, .. } if reason.contains("another process")),
        "{twice}"
    );
    let unknown = netlink::configure("nothing0", &[], 1500).unwrap_err();
    assert!(matches!(unknown, DeviceError::NoDevice(_)), "{unknown}");
    let again = netlink::configure(NAME, &[(GATEWAY, 16)], 1400).unwrap_err();
    assert!(again.to_string().contains("10.9.0.1/16"), "{again}");
    let prefix = netlink::configure(NAME, &[(GATEWAY, 33)], 1400).unwrap_err();
    assert!(matches!(prefix, DeviceError::Prefix { .. }), "{prefix}");
}

fn clock() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(
        u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap(),
    )
}

/// A driver with one service whose port is closed.
fn driver(on_event: impl FnMut(Event) + Send + 'static) -> Driver {
    let hold = HoldLimits { flows: 100, bytes: 1 << 20 };
    let switch = Switch::new(SwitchConfig {
        gateway_mac: [2, 0, 0, 0, 0, 1],
        mtu: 1400,
        hold,
        prefix_hold: hold,
        secret: [0; 16],
    });
    let driver = Driver::spawn(switch, uplink(), clock, on_event).unwrap();
    let policy = HoldPolicy {
        mode: HoldMode::Syn,
        time: Duration::from_millis(50),
        flows: 10,
        bytes: 1 << 16,
        buffer: 1 << 14,
        overflow: Overflow::Drop,
    };
    driver.handle().send(DriverCommand::Switch(Command::Attach(ServicePort {
        service: ServiceId(7),
        ipv4: Some(SERVICE),
        ipv6: None,
        mac: [2, 0, 0, 0, 0, 7],
        wake_on_packet: true,
        wake_on_echo: true,
        image: 1,
        hold: policy,
    })));
    driver
}

#[test]
fn a_kernel_client_s_syn_wakes_and_is_refused_when_nobody_comes() {
    if !alone() {
        return;
    }
    let (events, told) = mpsc::channel();
    let driver = driver(move |event| {
        let _ = events.send(event);
    });
    let error = TcpStream::connect_timeout(&(SERVICE, 80).into(), PATIENCE).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    let first = told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(first, Event::Milestone { .. } | Event::Wake { .. }), "{first:?}");
    let counted = driver.handle().counters();
    assert!(counted.iter().any(|(name, value)| *name == "held_syns" && *value >= 1), "{counted:?}");
    driver.shutdown().unwrap();
    assert!(!devices().contains(NAME), "the uplink is closed with the thread");
    // The callback is dropped with the thread: its owner learns of the end.
    while told.recv_timeout(PATIENCE).is_ok() {}
    assert!(matches!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected)));
}

#[test]
fn a_panic_in_the_thread_is_told() {
    if !alone() {
        return;
    }
    let (events, told) = mpsc::channel::<()>();
    let driver = driver(move |event| {
        let _ = &events;
        panic!("on purpose, for {event:?}");
    });
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.send_to(b"wake up", (SERVICE, 9)).unwrap();
    assert!(matches!(told.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected)));
    assert!(driver.shutdown().unwrap_err().contains("on purpose"));
}
