//! A segment with two machines on it: this thread's namespace, and one beside it.
#![allow(clippy::unwrap_used, reason = "a helper of tests: a failure is the test's")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use policies::{Instant, ServiceId};
use rustix::event::{PollFd, PollFlags, poll};
use synjitsu::lan::{Mac, Prefix};
use synjitsu::{HoldMode, HoldPolicy, Overflow, ServicePort};
use synjitsu_device::lan::{LanPort, LanSettings, ServicesMac};
use synjitsu_device::{NetworkPort, namespace, netlink};

/// How long anything may take before a test gives up; no verdict on speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const HERE: &str = "lan0";
pub(crate) const THERE: &str = "eth0";
pub(crate) const HOST4: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 1);
pub(crate) const HOST6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 2);
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const SERVICE4: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 200);
pub(crate) const SERVICE6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x200);

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a namespace of its own.
pub(crate) struct Beside {
    jobs: Sender<Job>,
}

impl Beside {
    fn new() -> (Self, File) {
        let (tell, told) = channel();
        let (jobs, to_do) = channel::<Job>();
        thread::spawn(move || {
            namespace::enter_new().unwrap();
            tell.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
            to_do.into_iter().for_each(|job| job());
        });
        (Self { jobs }, told.recv().unwrap())
    }

    /// Does something there, and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        self.jobs
            .send(Box::new(move || {
                let _ = tell.send(work());
            }))
            .unwrap();
        told.recv().expect("it did not panic")
    }
}

/// The two machines, joined by a cable, with addresses; none, with the reason, where that cannot be.
pub(crate) fn two_machines() -> Option<Beside> {
    if !rustix::process::geteuid().is_root() {
        let name = thread::current().name().unwrap_or("test").to_owned();
        // Not a print macro: those are captured by the test harness.
        let _ = writeln!(io::stderr(), "SKIPPED {name}: needs root");
        return None;
    }
    namespace::enter_new().unwrap();
    Some(another_machine())
}

/// A machine beside this one, joined to it by a cable that is there as long as it is.
pub(crate) fn another_machine() -> Beside {
    let (beside, place) = Beside::new();
    netlink::make_cable(HERE, THERE, place.as_fd()).unwrap();
    netlink::configure(HERE, &[(HOST4.into(), 24), (HOST6.into(), 64)], 1500).unwrap();
    beside.run(|| {
        netlink::configure(THERE, &[(CLIENT4.into(), 24), (CLIENT6.into(), 64)], 1500).unwrap();
    });
    beside
}

pub(crate) fn settings() -> LanSettings {
    let prefix = |address: IpAddr, length| Prefix::new(address, length).unwrap();
    LanSettings {
        interface: HERE.to_owned(),
        mac: ServicesMac::Own,
        on_link: vec![prefix(HOST4.into(), 24), prefix(HOST6.into(), 64)],
        gateways: None,
        mtu: 1500,
    }
}

pub(crate) fn service() -> ServicePort {
    ServicePort {
        service: ServiceId(7),
        ipv4: Some(SERVICE4),
        ipv6: Some(SERVICE6),
        mac: [2, 0, 0, 0, 0, 7],
        wake_on_packet: true,
        wake_on_echo: true,
        image: 1,
        hold: HoldPolicy {
            mode: HoldMode::Syn,
            time: Duration::from_millis(50),
            flows: 10,
            bytes: 1 << 16,
            buffer: 1 << 14,
            overflow: Overflow::Drop,
        },
    }
}

pub(crate) fn clock() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(
        u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap(),
    )
}

/// Everything on an interface, in the namespace of the thread that made it.
pub(crate) struct Ear {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    pub(crate) mac: Mac,
    /// What was heard so far.
    pub(crate) heard: Vec<Vec<u8>>,
}

impl Ear {
    pub(crate) fn on(name: &str) -> Self {
        let all = pnet_datalink::interfaces();
        let interface = all.iter().find(|interface| interface.name == name).unwrap();
        let config = Config { read_timeout: Some(PATIENCE), ..Config::default() };
        let Ok(Channel::Ethernet(sender, receiver)) = pnet_datalink::channel(interface, config)
        else {
            panic!("no packet socket")
        };
        Self { sender, receiver, mac: interface.mac.unwrap().octets(), heard: Vec::new() }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.sender.send_to(frame, None).unwrap().unwrap();
    }

    /// Listens until a frame is as wanted, and returns it.
    pub(crate) fn hear(&mut self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        loop {
            let frame = match self.receiver.next() {
                Ok(frame) => frame.to_vec(),
                Err(error) => panic!("never heard: {what}: {error}"),
            };
            self.heard.push(frame.clone());
            if wanted(&frame) {
                return frame;
            }
        }
    }
}

/// An ARP message as a frame: 1 asks, 2 answers.
pub(crate) fn arp(to: Mac, kind: u8, from: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&to[..], &from, &[8, 6, 0, 1, 8, 0, 6, 4, 0, kind], &from].concat();
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// Kind, sender's link-layer address, sender and target of an ARP message.
pub(crate) fn read_arp(frame: &[u8]) -> Option<(u8, Mac, Ipv4Addr, Ipv4Addr)> {
    if frame.get(12..14)? != [8, 6] {
        return None;
    }
    let four = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    let mac = frame.get(22..28)?.try_into().ok()?;
    Some((frame[21], mac, four(28)?, four(38)?))
}

/// The other end of a TCP connection, by hand: as strict about what it gets as a guest's stack, and no more able than needed.
pub(crate) struct Server {
    port: LanPort,
    buffer: Vec<u8>,
}

impl Server {
    pub(crate) fn new(port: LanPort) -> Self {
        Self { port, buffer: vec![0; 65536] }
    }

    /// Reads until there is nothing more.
    pub(crate) fn rest(&mut self) {
        while self.port.receive(&mut self.buffer).unwrap().is_some() {}
    }

    /// Serves one connection: everything that the client sends until it closes.
    pub(crate) fn take_everything(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut expected = None;
        loop {
            let Some(length) = self.port.receive(&mut self.buffer).unwrap() else {
                let patience = rustix::event::Timespec::try_from(PATIENCE).unwrap();
                let mut ready = [PollFd::new(&self.port, PollFlags::IN)];
                assert_eq!(poll(&mut ready, Some(&patience)).unwrap(), 1, "never heard the end");
                continue;
            };
            let packet = &self.buffer[..length];
            assert!(length <= 1500, "a packet of {length} octets");
            let sliced = SlicedPacket::from_ip(packet).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { continue };
            let (from, to) = match sliced.net.unwrap() {
                NetSlice::Ipv4(ip) => {
                    let header = ip.header();
                    assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
                    (IpAddr::from(header.source()), IpAddr::from(header.destination()))
                }
                NetSlice::Ipv6(ip) => {
                    let header = ip.header();
                    (IpAddr::from(header.source()), IpAddr::from(header.destination()))
                }
                NetSlice::Arp(_) => continue,
            };
            let sum = match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    tcp.calc_checksum_ipv4(from.octets(), to.octets())
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    tcp.calc_checksum_ipv6(from.octets(), to.octets())
                }
                _ => panic!("two families"),
            };
            assert_eq!(
                sum.unwrap(),
                tcp.checksum(),
                "the checksum of {} octets",
                tcp.payload().len()
            );
            let seq = tcp.sequence_number();
            let first = tcp.syn();
            if first {
                expected = Some(seq.wrapping_add(1));
            } else if expected == Some(seq) && !tcp.payload().is_empty() {
                data.extend_from_slice(tcp.payload());
                expected = Some(seq.wrapping_add(u32::try_from(tcp.payload().len()).unwrap()));
            } else if !tcp.fin() {
                continue;
            }
            let next = seq.wrapping_add(u32::try_from(tcp.payload().len()).unwrap());
            let end = tcp.fin() && expected == Some(next);
            let ack = expected.unwrap().wrapping_add(u32::from(end));
            let builder = match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    PacketBuilder::ipv4(to.octets(), from.octets(), 64)
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    PacketBuilder::ipv6(to.octets(), from.octets(), 64)
                }
                _ => panic!("two families"),
            };
            let (ports, own) =
                ((tcp.destination_port(), tcp.source_port()), if first { 999 } else { 1000 });
            let mut answer = builder.tcp(ports.0, ports.1, own, 65535).ack(ack);
            if first {
                use etherparse::TcpOptionElement::{MaximumSegmentSize, WindowScale};
                answer = answer.syn().options(&[MaximumSegmentSize(1440), WindowScale(4)]).unwrap();
            }
            if end {
                answer = answer.fin();
            }
            let mut octets = Vec::new();
            answer.write(&mut octets, &[]).unwrap();
            self.port.transmit(&[], &octets).unwrap();
            if end {
                return data;
            }
        }
    }
}
