//! One thread carries the frames of a thousand guests, and commands and frames keep their order.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use etherparse::{Ethernet2Slice, IpSlice, PacketBuilder};
use policies::{Generation, Instant, ServiceId};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use synjitsu::{
    Command, Event, HoldLimits, HoldMode, HoldPolicy, Overflow, ServicePort, Switch, SwitchConfig,
    Trigger,
};
use synjitsu_device::{
    Driver, DriverCommand, DriverConfig, DriverHandle, GuestPort, NetworkPort, Sent, guest_port,
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// How long anything may take before a test gives up; no verdict on speed.
const PATIENCE: Duration = Duration::from_secs(120);

fn clock() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(
        u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap(),
    )
}

/// A driver whose uplink is a pair of sockets: it keeps the bounds of packets as a TUN device does.
struct World {
    driver: Driver,
    uplink: OwnedFd,
    events: Receiver<Event>,
}

impl World {
    fn new() -> Self {
        Self::with(Duration::ZERO, |port| port)
    }

    fn with<U>(vigil: Duration, to_port: impl FnOnce(GuestPort) -> U) -> Self
    where
        U: NetworkPort + Send + 'static,
    {
        let hold = HoldLimits { flows: 10_000, bytes: 1 << 24 };
        let switch = Switch::new(SwitchConfig {
            gateway_mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            hold,
            prefix_hold: hold,
            secret: [0; 16],
        });
        let (port, uplink) = guest_port::pair().unwrap();
        let (sender, events) = channel();
        let on_event = move |event| {
            let _ = sender.send(event);
        };
        let config = DriverConfig { vigil };
        let driver = Driver::spawn_with(config, switch, to_port(port), clock, on_event).unwrap();
        Self { driver, uplink, events }
    }

    fn command(&self, command: DriverCommand) {
        self.driver.handle().send(command);
    }

    fn attach(&self, service: u16) {
        attach(&self.driver.handle(), service);
    }

    fn open(&self, service: u16, generation: u64) -> OwnedFd {
        let (port, end) = guest_port::pair().unwrap();
        let (service, generation) = (ServiceId(service.into()), Generation(generation));
        self.command(DriverCommand::Open { service, generation, port });
        end
    }

    /// Waits until everything before is done.
    fn settle(&self) {
        self.command(DriverCommand::Switch(Command::Report(ServiceId(0))));
        while !matches!(self.event(), Event::Activity { .. }) {}
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    fn client_sends(&self, packet: &[u8]) {
        send(&self.uplink, packet, SendFlags::empty()).unwrap();
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.driver.handle().counters();
        counters.iter().find(|(known, _)| *known == name).unwrap().1
    }
}

fn attach(driver: &DriverHandle, service: u16) {
    driver.send(DriverCommand::Switch(Command::Attach(ServicePort {
        service: ServiceId(service.into()),
        ipv4: Some(address(service)),
        ipv6: None,
        mac: MAC,
        wake_on_packet: true,
        wake_on_echo: true,
        image: 1,
        hold: HoldPolicy {
            mode: HoldMode::Syn,
            time: PATIENCE,
            flows: 10,
            bytes: 1 << 14,
            buffer: 1 << 14,
            overflow: Overflow::Drop,
        },
    })));
}

fn address(service: u16) -> Ipv4Addr {
    let [high, low] = service.to_be_bytes();
    Ipv4Addr::new(10, 9, high, low)
}

fn datagram(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(from.octets(), to.octets(), 64).udp(1, 2);
    builder.write(&mut packet, b"x").unwrap();
    packet
}

fn syn(to: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(CLIENT.octets(), to.octets(), 64).tcp(4000, 80, 1000, 9999);
    builder.syn().write(&mut packet, &[]).unwrap();
    packet
}

fn receive(from: &OwnedFd) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let (_, length) = recv(from, &mut buffer, RecvFlags::empty()).unwrap();
    buffer[..length].to_vec()
}

/// Source and destination of an IP packet.
fn addresses(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let IpSlice::Ipv4(ip) = IpSlice::from_slice(packet).unwrap() else { panic!("not IPv4") };
    (ip.header().source_addr(), ip.header().destination_addr())
}

/// So many ports as the limit on descriptors allows, at most a thousand.
fn many() -> u16 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u16::try_from(allowed.saturating_sub(200) / 4).unwrap_or(u16::MAX).min(1000)
}

#[test]
fn each_gets_its_own_frames_whoever_came_and_went_before() {
    let count = many();
    let world = World::new();
    (1..=count).for_each(|service| world.attach(service));
    let mut replaced: Vec<OwnedFd> = Vec::new();
    for generation in [1, 2, 3] {
        // In another order each time, so that no place is that of the time before.
        let services: Vec<u16> = match generation {
            2 => (1..=count).rev().collect(),
            _ => (1..=count).collect(),
        };
        let ends: Vec<(u16, OwnedFd)> =
            services.iter().map(|service| (*service, world.open(*service, generation))).collect();
        for end in replaced.drain(..) {
            assert_eq!(receive(&end), [], "closed by the next generation");
        }
        for (service, end) in &ends {
            world.client_sends(&datagram(CLIENT, address(*service)));
            let frame = receive(end);
            let ethernet = Ethernet2Slice::from_slice_without_fcs(&frame).unwrap();
            assert_eq!(ethernet.destination(), MAC);
            let answer = datagram(address(*service), CLIENT);
            assert_eq!(addresses(ethernet.payload().payload), (CLIENT, address(*service)));
            send(end, &[&frame[6..12], &MAC, &[8, 0], &answer].concat(), SendFlags::empty())
                .unwrap();
            assert_eq!(receive(&world.uplink), answer);
        }
        for (service, end) in ends {
            let (service, generation) = (ServiceId(service.into()), Generation(generation));
            match service.0 % 3 {
                // The monitor goes first.
                0 => drop(end),
                1 => {
                    let only_if_idle_since = None;
                    world.command(DriverCommand::Switch(Command::Close {
                        service,
                        generation,
                        only_if_idle_since,
                    }));
                    assert_eq!(receive(&end), [], "the switch has closed its end");
                }
                _ => replaced.push(end),
            }
        }
    }
    (1..=count).for_each(|service| {
        world.command(DriverCommand::Switch(Command::Detach(ServiceId(service.into()))));
    });
    world.settle();
    for lost in ["lost_to_full_guests", "lost_to_gone_guests", "lost_to_uplink"] {
        assert_eq!(world.counter(lost), 0, "{lost}");
    }
    world.driver.shutdown().unwrap();
}

/// An uplink on which each packet is preceded by the command that makes its service known.
struct Announced {
    port: GuestPort,
    driver: Arc<OnceLock<DriverHandle>>,
}

impl AsFd for Announced {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}

impl NetworkPort for Announced {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(length) = self.port.receive(buffer)? else { return Ok(None) };
        let (_, destination) = addresses(&buffer[..length]);
        let [_, _, high, low] = destination.octets();
        attach(self.driver.get().unwrap(), u16::from_be_bytes([high, low]));
        Ok(Some(length))
    }

    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent> {
        self.port.transmit(head, body)
    }
}

#[test]
fn a_frame_finds_every_command_carried_out_that_was_given_before_it() {
    const SERVICES: u16 = 300;
    for vigil in [Duration::ZERO, Duration::from_micros(50)] {
        let driver = Arc::new(OnceLock::new());
        let uplink = |port| Announced { port, driver: driver.clone() };
        let world = World::with(vigil, uplink);
        driver.set(world.driver.handle()).unwrap();
        (1..=SERVICES).for_each(|service| world.client_sends(&datagram(CLIENT, address(service))));
        for service in 1..=SERVICES {
            let Event::Wake { service: woken, trigger: Trigger::Udp, .. } = world.event() else {
                panic!("something else than a wake")
            };
            assert_eq!(woken, ServiceId(service.into()), "one was not there yet");
        }
        world.driver.shutdown().unwrap();
    }
}

#[test]
fn a_burst_of_first_packets_wakes_everybody_once_and_all_are_released() {
    const SERVICES: u16 = 100;
    let world = World::new();
    (1..=SERVICES).for_each(|service| world.attach(service));
    world.settle();
    for _ in 0..2 {
        (1..=SERVICES).for_each(|service| world.client_sends(&syn(address(service))));
    }
    let mut ends = Vec::new();
    while ends.len() < usize::from(SERVICES) {
        if let Event::Wake { service, .. } = world.event() {
            let service = u16::try_from(service.0).unwrap();
            ends.push((service, world.open(service, 1)));
        }
    }
    for (service, end) in &ends {
        let frame = receive(end);
        assert_eq!(addresses(&frame[14..]), (CLIENT, address(*service)));
    }
    world.settle();
    assert_eq!(world.counter("wakes"), u64::from(SERVICES));
    assert_eq!(world.counter("held_retransmissions"), u64::from(SERVICES));
    world.driver.shutdown().unwrap();
}
