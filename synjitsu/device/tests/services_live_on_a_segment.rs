//! Services beside the host on an Ethernet segment: found there, defended there, and nobody is disturbed.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod segment;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};

use policies::ServiceId;
use segment::{
    Beside, CLIENT4, Ear, HERE, HOST4, HOST6, PATIENCE, SERVICE4, SERVICE6, THERE, another_machine,
    arp, clock, read_arp, service, settings, two_machines,
};
use synjitsu::lan::{LanEvent, Mac, services_mac};
use synjitsu::{Command, Event, HoldLimits, Switch, SwitchConfig};
use synjitsu_device::lan::{LanError, LanHandle, LanPort, LanReport, LanSettings};
use synjitsu_device::{Driver, DriverCommand, netlink};

const BROADCAST: Mac = [0xff; 6];
const STRANGER: Mac = [2, 0, 0, 0, 0, 0x55];

struct Host {
    driver: Driver,
    lan: LanHandle,
    events: Receiver<Event>,
    reports: Receiver<LanReport>,
    mac: Mac,
}

impl Host {
    fn attach() -> Self {
        let hold = HoldLimits { flows: 100, bytes: 1 << 20 };
        let switch = Switch::new(SwitchConfig {
            gateway_mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            hold,
            prefix_hold: hold,
            secret: [0; 16],
        });
        let (report, reports) = mpsc::channel();
        let (tell, events) = mpsc::channel();
        let (port, lan) = LanPort::open(settings(), clock, move |what| {
            let _ = report.send(what);
        })
        .unwrap();
        let mac = port.mac();
        let driver = Driver::spawn(switch, port, clock, move |event| {
            let _ = tell.send(event);
        })
        .unwrap();
        let host = Self { driver, lan, events, reports, mac };
        host.command(Command::Attach(service()));
        host
    }

    fn command(&self, command: Command) {
        self.driver.handle().send(DriverCommand::Switch(command));
        self.lan.observe(&command);
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&LanReport) -> bool) {
        loop {
            let report = self.reports.recv_timeout(PATIENCE);
            let report = report.unwrap_or_else(|_| panic!("never told: {what}"));
            if wanted(&report) {
                return;
            }
        }
    }
}

fn ear(beside: &Beside) -> Ear {
    beside.run(|| Ear::on(THERE))
}

fn is_announcement(frame: &[u8]) -> bool {
    read_arp(frame).is_some_and(|(kind, _, sender, target)| {
        kind == 1 && sender == SERVICE4 && target == SERVICE4
    })
}

/// An advertisement to everybody that overwrites what is known of the service.
fn is_announcement6(frame: &[u8]) -> bool {
    frame.len() > 77
        && frame[..6] == [0x33, 0x33, 0, 0, 0, 1]
        && frame[12..14] == [0x86, 0xdd]
        && frame[54] == 136
        && frame[58] & 0x20 != 0
        && frame[62..78] == SERVICE6.octets()
}

fn mac_of(name: &str) -> Mac {
    let all = pnet_datalink::interfaces();
    all.iter().find(|interface| interface.name == name).unwrap().mac.unwrap().octets()
}

#[test]
fn they_are_announced_answered_for_and_defended() {
    let Some(beside) = two_machines() else { return };
    let mut ear = ear(&beside);
    let host = Host::attach();
    assert_eq!(host.mac, services_mac(mac_of(HERE)));
    let frame = ear.hear("a probe", |frame| {
        read_arp(frame).is_some_and(|(_, _, sender, to)| sender.is_unspecified() && to == SERVICE4)
    });
    assert_eq!((&frame[..6], &frame[6..12]), (&BROADCAST[..], &host.mac[..]));
    ear.hear("the announcement", is_announcement);
    ear.hear("the announcement of IPv6", is_announcement6);

    // A second host would like to have the address. Questions are answered in their order, so an answer to the
    // first one would have been heard before.
    let nobody = Ipv4Addr::new(192, 168, 9, 77);
    ear.send(&arp(BROADCAST, 1, STRANGER, CLIENT4, nobody));
    ear.send(&arp(BROADCAST, 1, STRANGER, Ipv4Addr::UNSPECIFIED, SERVICE4));
    ear.hear("that the address is taken", |frame| {
        let told = read_arp(frame);
        assert!(!told.is_some_and(|(kind, _, sender, _)| kind == 2 && sender == nobody));
        frame[..6] == STRANGER
            && told.is_some_and(|(kind, mac, sender, _)| {
                (kind, mac, sender) == (2, host.mac, SERVICE4)
            })
    });
    // The host answers for itself as before.
    ear.send(&arp(BROADCAST, 1, ear.mac, CLIENT4, HOST4));
    ear.hear("the host's own answer", |frame| {
        read_arp(frame)
            .is_some_and(|(kind, mac, sender, _)| (kind, mac, sender) == (2, mac_of(HERE), HOST4))
    });
    // It takes the address all the same: everybody is told, and so is the owner.
    ear.send(&arp(BROADCAST, 1, STRANGER, SERVICE4, SERVICE4));
    ear.hear("the defence", |frame| frame[6..12] == host.mac && is_announcement(frame));
    host.wait_for("a conflict", |report| {
        matches!(report, LanReport::Segment(LanEvent::Conflict { by: STRANGER, lost: false, .. }))
    });

    // The cable is out for a moment.
    beside.run(|| netlink::set_up(THERE, false).unwrap());
    host.wait_for("that the link is down", |report| matches!(report, LanReport::LinkDown));
    let mut ear = beside.run(|| {
        netlink::set_up(THERE, true).unwrap();
        Ear::on(THERE)
    });
    host.wait_for("that the link is up", |report| matches!(report, LanReport::LinkUp));
    ear.hear("another announcement", is_announcement);

    // A service that goes takes its address with it.
    host.command(Command::Detach(service().service));
    let other = Ipv4Addr::new(192, 168, 9, 201);
    host.command(Command::Attach(synjitsu::ServicePort { ipv4: Some(other), ..service() }));
    ear.hear("the new one's announcement", |frame| {
        read_arp(frame).is_some_and(|(_, _, sender, target)| sender == other && target == other)
    });
    ear.send(&arp(BROADCAST, 1, STRANGER, CLIENT4, SERVICE4));
    ear.send(&arp(BROADCAST, 1, STRANGER, CLIENT4, other));
    ear.hear("the answer for the new one", |frame| {
        let answer = read_arp(frame).filter(|(kind, ..)| *kind == 2 && frame[..6] == STRANGER);
        assert!(answer.is_none_or(|(_, _, sender, _)| sender == other), "the old one is nobody's");
        answer.is_some()
    });
    host.driver.shutdown().unwrap();
}

#[test]
fn clients_reach_them_and_the_host_at_the_same_time() {
    let Some(beside) = two_machines() else { return };
    // A host that forwards is the hard case: it must not touch the services' packets.
    for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{file}"), "1").unwrap();
    }
    let mut ear = ear(&beside);
    let host = Host::attach();
    let own = TcpListener::bind((HOST4, 0)).unwrap();
    let own6 = TcpListener::bind((HOST6, 0)).unwrap();
    let port = own.local_addr().unwrap();
    let port6 = own6.local_addr().unwrap();
    for (services, hosts) in
        [(SocketAddr::from((SERVICE4, 80)), port), (SocketAddr::from((SERVICE6, 80)), port6)]
    {
        // Nobody comes, so the switch refuses in the end; what counts is that it was asked.
        let refused = beside.run(move || TcpStream::connect_timeout(&services, PATIENCE));
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        beside.run(move || TcpStream::connect_timeout(&hosts, PATIENCE).map(drop)).unwrap();
    }
    let woken = host.events.try_iter().any(|event| matches!(event, Event::Wake { .. }));
    assert!(woken, "a packet wakes the service");
    // Something that comes after all of it.
    ear.send(&arp(BROADCAST, 1, STRANGER, CLIENT4, SERVICE4));
    ear.hear("the last answer", |frame| frame[..6] == STRANGER);
    let mut families = std::collections::BTreeSet::new();
    for frame in &ear.heard {
        let from_service = match frame[12..14] {
            [8, 0] => frame[26..30] == SERVICE4.octets(),
            [0x86, 0xdd] => frame[22..38] == SERVICE6.octets(),
            _ => false,
        };
        assert!(
            !from_service || frame[6..12] == host.mac,
            "the host spoke for a service: {frame:x?}"
        );
        families.extend(from_service.then_some(frame[12]));
        // Errors of the host's about the services' packets: unreachable, redirect.
        let error = frame[12..14] == [8, 0] && frame[23] == 1 && frame[26..30] == HOST4.octets();
        assert!(!error, "the host minds: {frame:x?}");
    }
    assert_eq!(families.len(), 2, "the services spoke in both families");
    host.driver.shutdown().unwrap();
}

#[test]
fn an_address_of_somebody_else_s_is_left_alone() {
    let Some(beside) = two_machines() else { return };
    beside.run(|| {
        // The neighbour has the service's address already.
        netlink::configure(THERE, &[(SERVICE4.into(), 24)], 1500).unwrap();
    });
    let host = Host::attach();
    host.wait_for("that it is taken", |report| {
        matches!(report, LanReport::Segment(LanEvent::Conflict { address, lost: true, .. }) if *address == SERVICE4)
    });
    host.wait_for("the other family", |report| {
        matches!(report, LanReport::Segment(LanEvent::Announced { address }) if *address == SERVICE6)
    });
    // So is one that the host has itself.
    host.command(Command::Attach(synjitsu::ServicePort { ipv4: Some(HOST4), ..service() }));
    host.wait_for(
        "that it is the host's",
        |report| matches!(report, LanReport::HostHasIt { address } if *address == HOST4),
    );
    host.driver.shutdown().unwrap();
}

#[test]
fn an_interface_that_comes_again_is_attached_to_again() {
    let Some(beside) = two_machines() else { return };
    let host = Host::attach();
    let announced =
        |report: &LanReport| matches!(report, LanReport::Segment(LanEvent::Announced { .. }));
    host.wait_for("the announcement", announced);
    // With its last thread the namespace is gone, and the cable with it: a card that is pulled out.
    drop(beside);
    host.wait_for("that it is gone", |report| matches!(report, LanReport::LinkDown));
    while pnet_datalink::interfaces().iter().any(|interface| interface.name == HERE) {
        std::thread::yield_now();
    }
    let beside = another_machine();
    host.wait_for("that it is back", |report| matches!(report, LanReport::LinkUp));
    host.wait_for("another announcement", announced);
    let to = SocketAddr::from((SERVICE4, 80));
    let refused = beside.run(move || TcpStream::connect_timeout(&to, PATIENCE));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    host.driver.shutdown().unwrap();
}

#[test]
fn hundreds_of_them_are_no_different() {
    let Some(beside) = two_machines() else { return };
    let host = Host::attach();
    let four = |number: u16| {
        Ipv4Addr::from_bits(Ipv4Addr::new(192, 168, 9, 3).to_bits() + u32::from(number))
    };
    let six = |number: u16| Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 1, number);
    for number in 0..190 {
        host.command(Command::Attach(synjitsu::ServicePort {
            service: ServiceId(u32::from(number) + 100),
            ipv4: Some(four(number)),
            ipv6: Some(six(number)),
            ..service()
        }));
    }
    // The last one is announced last.
    host.wait_for("the last announcement", |report| {
        matches!(report, LanReport::Segment(LanEvent::Announced { address }) if *address == six(189))
    });
    // Not before: its queue would be full of all the probes.
    let mut ear = ear(&beside);
    // Every one of them answers, by a filter that knows prefixes only, as the kernel runs it.
    for number in 0..190 {
        ear.send(&arp(BROADCAST, 1, STRANGER, CLIENT4, four(number)));
        ear.hear("an answer", |frame| {
            frame[..6] == STRANGER
                && read_arp(frame)
                    .is_some_and(|(kind, _, sender, _)| (kind, sender) == (2, four(number)))
        });
    }
    let to = SocketAddr::from((six(189), 80));
    let refused = beside.run(move || TcpStream::connect_timeout(&to, PATIENCE));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    host.driver.shutdown().unwrap();
}

#[test]
fn what_cannot_be_attached_to_is_said() {
    let Some(_beside) = two_machines() else { return };
    let open = |settings: LanSettings| LanPort::open(settings, clock, drop).map(drop).unwrap_err();
    let missing = open(LanSettings { interface: "eth7".to_owned(), ..settings() });
    let told = missing.to_string();
    assert!(matches!(missing, LanError::NoInterface { .. }) && told.contains(HERE), "{told}");
    let loopback = open(LanSettings { interface: "lo".to_owned(), ..settings() });
    assert!(matches!(loopback, LanError::NotEthernet { .. }), "{loopback}");
    let mtu = open(LanSettings { mtu: 9000, ..settings() });
    assert!(mtu.to_string().contains("set it to 1500"), "{mtu}");
}

#[test]
fn what_a_sender_leaves_to_its_card_is_done() {
    let Some(beside) = two_machines() else { return };
    let (port, lan) = LanPort::open(settings(), clock, drop).unwrap();
    lan.observe(&Command::Attach(service()));
    let mut server = segment::Server::new(port);
    for address in [SocketAddr::from((SERVICE4, 80)), SocketAddr::from((SERVICE6, 80))] {
        let data: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        let sent = data.clone();
        let (tell, told) = mpsc::channel();
        // In a thread that inherits the namespace, since this one is needed as the server.
        beside.run(move || {
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&sent).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                // Until the server has closed too.
                stream.read_to_end(&mut Vec::new()).unwrap();
                tell.send(()).unwrap();
            });
        });
        assert!(server.take_everything() == data, "what came is what was sent");
        told.recv_timeout(PATIENCE).unwrap();
    }
    // Counters are told when there is nothing else to do.
    server.rest();
    let counters = lan.counters();
    let count = |name| counters.iter().find(|(this, _)| *this == name).unwrap().1;
    assert!(count("lan_cut") > 0, "a cable of this kind hands over large segments: {counters:?}");
    assert!(count("lan_summed") > 0, "and half checksums: {counters:?}");
    assert_eq!(count("lan_lost_unreadable"), 0);
}
