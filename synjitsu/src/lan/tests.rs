//! A segment with others on it, frame by frame.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use etherparse::{EtherType, PacketBuilder};
use policies::{Instant, ServiceId};
use proptest::prelude::*;

use super::arp::{Arp, Kind};
use super::discovery::{self, Message};
use super::*;

const OURS: Mac = [2, 0x47, 0, 0, 0, 1];
const ANN: Mac = [2, 0, 0, 0, 0, 0xa];
const BOB: Mac = [2, 0, 0, 0, 0, 0xb];
const ROUTER: Mac = [2, 0, 0, 0, 0, 0xc];
const WEB: ServiceId = ServiceId(1);
const WEB4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 200);
const WEB6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x200);
const ANN4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const ANN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const FAR4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// What was sent, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Arp(Mac, Arp),
    Discovery(Mac, Message),
    /// A packet, by its last octet.
    Packet(Mac, u8),
}

#[derive(Debug, Default)]
struct Wire(VecDeque<Vec<u8>>);

impl SegmentSink for Wire {
    fn transmit(&mut self, parts: [&[u8]; 3]) {
        self.0.push_back(parts.concat());
    }
}

struct World {
    lan: Lan,
    now: Instant,
    wire: Wire,
}

impl World {
    fn new() -> Self {
        let prefix = |text: &str, length| Prefix::new(text.parse().unwrap(), length).unwrap();
        let lan = Lan::new(LanConfig {
            mac: OURS,
            on_link: vec![prefix("192.168.1.0", 24), prefix("fd00::", 64)],
            gateways: vec![ROUTER4.into(), "fe80::1".parse().unwrap()],
        });
        Self { lan, now: Instant::from_nanos(1_000_000_000_000), wire: Wire::default() }
    }

    /// With a service whose addresses are held.
    fn settled() -> Self {
        let mut world = Self::new();
        world.set(&[WEB4.into(), WEB6.into()]);
        world.pass(Duration::from_secs(10));
        world.heard();
        while world.lan.poll_event().is_some() {}
        world
    }

    fn set(&mut self, addresses: &[IpAddr]) {
        self.lan.set_addresses(self.now, WEB, addresses, &mut self.wire);
    }

    fn hear(&mut self, to: Mac, from: Mac, kind: EtherType, payload: &[u8]) -> Option<Vec<u8>> {
        let mut frame = crate::neighbour::ethernet_header(to, from, kind).to_vec();
        frame.extend(payload);
        let packet = self.lan.handle_frame(self.now, &frame, &mut self.wire).map(<[u8]>::to_vec);
        self.lan.check();
        packet
    }

    fn hear_arp(&mut self, arp: Arp) {
        let to = if arp.kind == Kind::Request { BROADCAST } else { OURS };
        assert_eq!(self.hear(to, arp.sender_mac, EtherType::ARP, &arp.to_bytes()), None);
    }

    fn hear6(&mut self, to: Mac, from: Mac, packet: &[u8]) {
        assert_eq!(self.hear(to, from, EtherType::IPV6, packet), None);
    }

    /// Lets time pass, and everything happen when it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.lan.poll_timeout().filter(|due| *due <= end) {
            assert!(due >= self.now, "nothing is due in the past");
            self.now = due;
            self.lan.handle_timeout(due, &mut self.wire);
            self.lan.check();
            assert!(self.lan.poll_timeout().is_none_or(|next| next > due), "it was done");
        }
        self.now = end;
    }

    fn send(&mut self, source: IpAddr, to: IpAddr, mark: u8) {
        let packet = packet(source, to, mark);
        let (head, body) = packet.split_at(7);
        self.lan.send(self.now, head, body, &mut self.wire);
        self.lan.check();
    }

    /// Everything that was sent since.
    fn heard(&mut self) -> Vec<Heard> {
        self.wire.0.drain(..).filter_map(|frame| understand(&frame)).collect()
    }
}

/// Reports of groups are left out.
fn understand(frame: &[u8]) -> Option<Heard> {
    let to: Mac = frame[..6].try_into().unwrap();
    assert_eq!(&frame[6..12], OURS);
    Some(match EtherType(u16::from_be_bytes([frame[12], frame[13]])) {
        EtherType::ARP => Heard::Arp(to, Arp::parse(&frame[14..]).unwrap()),
        EtherType::IPV6 => match discovery::parse(&frame[14..]).expect("what is sent is valid") {
            Message::NotOurs => Heard::Packet(to, *frame.last().unwrap()),
            Message::OtherLinkBusiness => return None,
            message => Heard::Discovery(to, message),
        },
        _ => Heard::Packet(to, *frame.last().unwrap()),
    })
}

fn packet(source: IpAddr, to: IpAddr, mark: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = match (source, to) {
        (IpAddr::V4(source), IpAddr::V4(to)) => {
            PacketBuilder::ipv4(source.octets(), to.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(to)) => {
            PacketBuilder::ipv6(source.octets(), to.octets(), 64)
        }
        _ => panic!("two families"),
    };
    builder.udp(1, 2).write(&mut packet, &[mark]).unwrap();
    packet
}

const fn answer_of(mac: Mac, address: Ipv4Addr) -> Arp {
    Arp { kind: Kind::Reply, sender_mac: mac, sender: address, target_mac: OURS, target: WEB4 }
}

#[test]
fn an_address_is_probed_then_announced_twice() {
    let mut world = World::new();
    world.set(&[WEB4.into()]);
    let probe = Heard::Arp(BROADCAST, Arp::question(OURS, Ipv4Addr::UNSPECIFIED, WEB4));
    let announcement = Heard::Arp(BROADCAST, Arp::announcement(OURS, WEB4));
    world.pass(Duration::from_millis(1400));
    assert_eq!(world.heard(), [probe.clone(), probe.clone(), probe.clone()]);
    assert_eq!(world.lan.poll_event(), None);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.heard(), [announcement.clone(), announcement.clone()]);
    assert_eq!(world.lan.poll_event(), Some(LanEvent::Announced { address: WEB4.into() }));
    assert_eq!(world.lan.poll_timeout(), None);
    world.set(&[WEB4.into()]);
    assert_eq!(world.heard(), [], "nothing is new");
    world.lan.handle_link_up(world.now, &mut world.wire);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.heard().len(), 5, "all over again");
    world.set(&[]);
    world.hear_arp(Arp::question(ANN, ANN4, WEB4));
    assert_eq!(world.heard(), [], "it is nobody's");
}

#[test]
fn the_same_for_ipv6_and_switches_are_told_of_the_group() {
    let mut world = World::new();
    world.set(&[WEB6.into()]);
    world.pass(Duration::from_millis(400));
    let is_report = |frame: &Vec<u8>| frame[..6] == discovery::group_mac(groups::REPORTS);
    assert_eq!(world.wire.0.iter().filter(|frame| is_report(frame)).count(), 1);
    world.pass(Duration::from_secs(60));
    let group = discovery::group_mac(discovery::solicited_node(WEB6));
    let unspecified = Ipv6Addr::UNSPECIFIED;
    let probe = Heard::Discovery(
        group,
        Message::Solicitation { source: unspecified, target: WEB6, mac: None },
    );
    let announcement = Heard::Discovery(
        discovery::group_mac(discovery::ALL_NODES),
        Message::Advertisement { target: WEB6, mac: Some(OURS), solicited: false },
    );
    assert_eq!(
        world.heard(),
        [probe.clone(), probe.clone(), probe, announcement.clone(), announcement]
    );
}

#[test]
fn who_asks_is_answered_even_while_probes_are_out() {
    let mut world = World::new();
    world.set(&[WEB4.into(), WEB6.into()]);
    world.heard();
    let question = Arp::question(ANN, ANN4, WEB4);
    world.hear_arp(question);
    assert_eq!(world.heard(), [Heard::Arp(ANN, question.answer(OURS))]);
    let group = discovery::group_mac(discovery::solicited_node(WEB6));
    let asked = discovery::solicitation(ANN, ANN6, WEB6, None);
    world.hear6(group, ANN, &asked);
    let frame = world.wire.0.pop_front().unwrap();
    assert_eq!(frame[14 + 44] & 0x20, 0, "unsure: nothing is to be overwritten");
    world.pass(Duration::from_secs(10));
    world.heard();
    world.hear6(group, ANN, &asked);
    let frame = world.wire.0.pop_front().unwrap();
    assert_eq!(frame[14 + 44] & 0x20, 0x20, "sure");
    assert_eq!(frame[..6], ANN);
    // Both were learnt by the way.
    assert_eq!(
        (world.lan.mac_of(ANN4.into()), world.lan.mac_of(ANN6.into())),
        (Some(ANN), Some(ANN))
    );
    world.hear_arp(Arp::question(ANN, ANN4, ANN4));
    world.hear_arp(Arp::question(ANN, ANN4, ROUTER4));
    let other = discovery::solicitation(ANN, ANN6, "fd00::33".parse().unwrap(), None);
    world.hear6(group, ANN, &other);
    assert_eq!(world.heard(), [], "others' business");
}

#[test]
fn who_wants_our_address_is_told_that_it_is_taken() {
    let mut world = World::settled();
    let probe = Arp::question(BOB, Ipv4Addr::UNSPECIFIED, WEB4);
    world.hear_arp(probe);
    assert_eq!(world.heard(), [Heard::Arp(BOB, probe.answer(OURS))]);
    let group = discovery::group_mac(discovery::solicited_node(WEB6));
    world.hear6(group, BOB, &discovery::solicitation(BOB, Ipv6Addr::UNSPECIFIED, WEB6, None));
    let all = discovery::group_mac(discovery::ALL_NODES);
    let told = Message::Advertisement { target: WEB6, mac: Some(OURS), solicited: false };
    assert_eq!(world.heard(), [Heard::Discovery(all, told)]);
    assert_eq!(world.lan.poll_event(), None, "it will go away");
}

#[test]
fn who_takes_our_address_is_contradicted_now_and_then_and_told_of() {
    let mut world = World::settled();
    let conflict = |address: IpAddr| LanEvent::Conflict { address, by: BOB, lost: false };
    for _ in 0..5 {
        world.hear_arp(Arp::announcement(BOB, WEB4));
        world.hear6(
            discovery::group_mac(discovery::ALL_NODES),
            BOB,
            &discovery::advertisement(BOB, WEB6, None, true),
        );
    }
    assert_eq!(world.heard().len(), 2, "once each, not in a duel");
    assert_eq!(world.lan.poll_event(), Some(conflict(WEB4.into())));
    assert_eq!(world.lan.poll_event(), Some(conflict(WEB6.into())));
    assert_eq!((world.lan.poll_event(), world.lan.counters().conflicts), (None, 10));
    world.pass(Duration::from_secs(10));
    world.hear_arp(Arp::announcement(BOB, WEB4));
    assert_eq!(world.heard(), [Heard::Arp(BROADCAST, Arp::announcement(OURS, WEB4))]);
}

#[test]
fn who_was_there_first_keeps_the_address() {
    let mut world = World::new();
    world.set(&[WEB4.into()]);
    world.hear_arp(answer_of(BOB, WEB4));
    let lost = LanEvent::Conflict { address: WEB4.into(), by: BOB, lost: true };
    assert_eq!(world.lan.poll_event(), Some(lost));
    world.heard();
    world.hear_arp(Arp::question(ANN, ANN4, WEB4));
    world.send(WEB4.into(), ANN4.into(), 1);
    assert_eq!(world.heard(), [], "nothing is said in its name");
    let packet = packet(ANN4.into(), WEB4.into(), 1);
    assert_eq!(world.hear(OURS, ANN, EtherType::IPV4, &packet), None);
    world.pass(Duration::from_secs(29));
    assert_eq!(world.heard(), []);
    // Tried again, and Bob is gone.
    world.pass(Duration::from_secs(60));
    assert_eq!(world.heard().len(), 5);
    assert_eq!(world.lan.poll_event(), Some(LanEvent::Announced { address: WEB4.into() }));
}

#[test]
fn only_what_is_for_a_service_is_given_on() {
    let mut world = World::settled();
    let good = packet(ANN4.into(), WEB4.into(), 1);
    assert_eq!(world.hear(OURS, ANN, EtherType::IPV4, &good), Some(good.clone()));
    assert_eq!(world.hear(BOB, ANN, EtherType::IPV4, &good), None, "another station's frame");
    assert_eq!(world.hear(BROADCAST, ANN, EtherType::IPV4, &good), None, "everybody's");
    assert_eq!(world.hear(OURS, OURS, EtherType::IPV4, &good), None, "a loop");
    assert_eq!(world.hear(OURS, ANN, EtherType::IPV6, &good), None, "the wrong kind");
    let other = packet(ANN4.into(), ROUTER4.into(), 1);
    assert_eq!(world.hear(OURS, ANN, EtherType::IPV4, &other), None);
    let good = packet(ANN6.into(), WEB6.into(), 1);
    assert_eq!(world.hear(OURS, ANN, EtherType::IPV6, &good), Some(good.clone()));
    assert_eq!(world.hear(OURS, ANN, EtherType::IPV4, &good), None);
    // The guest has nothing to do with the segment's own business.
    let advertisement = discovery::advertisement(ANN, ANN6, Some(WEB6), true);
    assert_eq!(world.hear(OURS, ANN, EtherType::IPV6, &advertisement), None);
    assert_eq!(world.heard(), []);
    assert_eq!(world.lan.counters().delivered, 2);
}

#[test]
fn packets_wait_for_a_neighbour_that_is_not_known() {
    let mut world = World::settled();
    for mark in 1..=10 {
        world.send(WEB4.into(), ANN4.into(), mark);
    }
    let question = Heard::Arp(BROADCAST, Arp::question(OURS, WEB4, ANN4));
    assert_eq!(world.heard(), [question]);
    world.hear_arp(answer_of(ANN, ANN4));
    let packets: Vec<_> = (3..=10).map(|mark| Heard::Packet(ANN, mark)).collect();
    assert_eq!(world.heard(), packets, "the oldest gave way");
    world.send(WEB4.into(), ANN4.into(), 11);
    assert_eq!(world.heard(), [Heard::Packet(ANN, 11)]);
    assert_eq!(world.lan.counters().dropped_overflow, 2);
}

#[test]
fn a_silent_neighbour_is_asked_three_times() {
    let mut world = World::settled();
    world.send(WEB6.into(), ANN6.into(), 1);
    world.pass(Duration::from_millis(2500));
    let group = discovery::group_mac(discovery::solicited_node(ANN6));
    let question = Message::Solicitation { source: WEB6, target: ANN6, mac: Some(OURS) };
    let question = Heard::Discovery(group, question);
    assert_eq!(world.heard(), [question.clone(), question.clone(), question]);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.heard(), []);
    assert_eq!(world.lan.counters().dropped_silent, 1);
    assert_eq!(world.lan.poll_timeout(), None, "nothing is left of it");
}

#[test]
fn what_is_far_goes_to_the_router() {
    let mut world = World::settled();
    world.send(WEB4.into(), FAR4.into(), 1);
    assert_eq!(world.heard(), [Heard::Arp(BROADCAST, Arp::question(OURS, WEB4, ROUTER4))]);
    world.hear_arp(answer_of(ROUTER, ROUTER4));
    world.send(WEB4.into(), FAR4.into(), 2);
    assert_eq!(world.heard(), [Heard::Packet(ROUTER, 1), Heard::Packet(ROUTER, 2)]);
    world.lan.set_gateways(Vec::new());
    world.send(WEB4.into(), FAR4.into(), 3);
    assert_eq!((world.heard(), world.lan.counters().dropped_no_router), (vec![], 1));
    // Nobody far away is a neighbour, whatever he says.
    world.hear_arp(Arp::question(BOB, FAR4, WEB4));
    assert_eq!(world.lan.mac_of(FAR4.into()), None);
}

#[test]
fn what_one_station_cannot_get_is_not_sent() {
    let mut world = World::settled();
    for to in ["255.255.255.255", "192.168.1.255", "224.0.0.1", "127.0.0.1", "192.168.1.200"] {
        world.send(WEB4.into(), to.parse().unwrap(), 1);
    }
    world.send(ANN4.into(), ROUTER4.into(), 1);
    world.lan.send(world.now, &[0x45], &[0; 10], &mut world.wire);
    assert_eq!((world.heard(), world.lan.counters().dropped_unsendable), (vec![], 7));
}

#[test]
fn a_confirmed_neighbour_is_not_taken_over_by_a_question() {
    let mut world = World::settled();
    world.send(WEB4.into(), ANN4.into(), 1);
    world.hear_arp(answer_of(ANN, ANN4));
    world.heard();
    // Bob pretends to be Ann, in every way that there is.
    let question = Arp::question(BOB, ANN4, WEB4);
    world.hear_arp(question);
    world.hear_arp(answer_of(BOB, ANN4));
    let ask_ann = Heard::Arp(ANN, Arp::question(OURS, WEB4, ANN4));
    assert_eq!(world.heard(), [Heard::Arp(BOB, question.answer(OURS)), ask_ann.clone()]);
    assert_eq!(world.lan.counters().doubted, 2);
    world.hear_arp(answer_of(ANN, ANN4));
    world.send(WEB4.into(), ANN4.into(), 2);
    assert_eq!(world.heard(), [Heard::Packet(ANN, 2)]);
    // Ann has moved: she does not answer where she was, and is looked for.
    world.hear_arp(question);
    world.pass(Duration::from_secs(3));
    world.heard();
    world.send(WEB4.into(), ANN4.into(), 3);
    world.hear_arp(answer_of(BOB, ANN4));
    let question = Heard::Arp(BROADCAST, Arp::question(OURS, WEB4, ANN4));
    assert_eq!(world.heard(), [question, Heard::Packet(BOB, 3)]);
}

#[test]
fn a_neighbour_in_use_is_confirmed_now_and_then() {
    let mut world = World::settled();
    world.hear_arp(Arp::question(ANN, ANN4, WEB4));
    world.heard();
    // Known, but only by the way: used at once, and asked.
    world.send(WEB4.into(), ANN4.into(), 1);
    let ask_ann = Heard::Arp(ANN, Arp::question(OURS, WEB4, ANN4));
    assert_eq!(world.heard(), [Heard::Packet(ANN, 1), ask_ann.clone()]);
    world.hear_arp(answer_of(ANN, ANN4));
    for _ in 0..29 {
        world.pass(Duration::from_secs(1));
        world.send(WEB4.into(), ANN4.into(), 2);
    }
    assert_eq!(world.heard().len(), 29, "no question among them");
    world.pass(Duration::from_secs(2));
    world.send(WEB4.into(), ANN4.into(), 3);
    assert_eq!(world.heard(), [Heard::Packet(ANN, 3), ask_ann]);
    world.hear_arp(answer_of(ANN, ANN4));
    world.pass(Duration::from_secs(301));
    assert_eq!(world.lan.mac_of(ANN4.into()), None, "forgotten when it is not used");
}

#[test]
fn strangers_do_not_displace_neighbours() {
    let mut world = World::settled();
    world.lan = Lan::new(LanConfig {
        on_link: vec![Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0).unwrap()],
        mac: OURS,
        gateways: Vec::new(),
    });
    world.set(&[WEB4.into()]);
    world.send(WEB4.into(), ANN4.into(), 1);
    world.hear_arp(answer_of(ANN, ANN4));
    for number in 0..1100_u32 {
        world.hear_arp(Arp::question(BOB, Ipv4Addr::from_bits(0x0b00_0000 + number), WEB4));
    }
    assert_eq!(world.lan.mac_of(ANN4.into()), Some(ANN));
    // A scan: too many are asked for at once.
    for number in 0..1100_u32 {
        world.send(WEB4.into(), Ipv4Addr::from_bits(0x0c00_0000 + number).into(), 1);
    }
    assert_eq!(world.lan.counters().dropped_overflow, 1100 - 256);
    world.send(WEB4.into(), ANN4.into(), 2);
    assert_eq!(world.heard().last(), Some(&Heard::Packet(ANN, 2)));
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Octets(Vec<u8>),
    Arp(bool, u8, u8, u8),
    Solicitation(u8, u8, u8),
    Advertisement(u8, u8, bool),
    Send(u8, u8),
    Addresses(Vec<u8>),
    Pass(u64),
    LinkUp,
}

fn step() -> impl Strategy<Value = Step> {
    let small = 0..8_u8;
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Step::Octets),
        4 => (any::<bool>(), small.clone(), small.clone(), small.clone())
            .prop_map(|(question, mac, from, to)| Step::Arp(question, mac, from, to)),
        2 => (small.clone(), small.clone(), small.clone())
            .prop_map(|(mac, from, to)| Step::Solicitation(mac, from, to)),
        2 => (small.clone(), small.clone(), any::<bool>())
            .prop_map(|(mac, from, told)| Step::Advertisement(mac, from, told)),
        6 => (small.clone(), small.clone()).prop_map(|(from, to)| Step::Send(from, to)),
        1 => proptest::collection::vec(small, 0..4).prop_map(Step::Addresses),
        3 => (0..40_000_u64).prop_map(Step::Pass),
        1 => Just(Step::LinkUp),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_happens_the_bounds_hold(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        let mac = |number: u8| if number == 7 { OURS } else { [2, 0, 0, 0, 0, number] };
        let four = |number: u8| Ipv4Addr::new(192, 168, 1, 198 + number);
        let six = |number: u8| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x1fe + u16::from(number));
        for step in steps {
            match step {
                Step::Octets(octets) => {
                    let mut frame = [&OURS[..], &ANN].concat();
                    frame.extend(&octets);
                    let _ = world.lan.handle_frame(world.now, &frame, &mut world.wire);
                    let _ = world.lan.handle_frame(world.now, &octets, &mut world.wire);
                    world.lan.send(world.now, &octets, &[], &mut world.wire);
                    for kind in [EtherType::ARP, EtherType::IPV4, EtherType::IPV6] {
                        world.hear(OURS, ANN, kind, &octets);
                    }
                }
                Step::Arp(question, from, sender, target) => world.hear_arp(Arp {
                    kind: if question { Kind::Request } else { Kind::Reply },
                    sender_mac: mac(from),
                    sender: if sender == 0 { Ipv4Addr::UNSPECIFIED } else { four(sender) },
                    target_mac: [0; 6],
                    target: four(target),
                }),
                Step::Solicitation(from, source, target) => {
                    let source = if source == 0 { Ipv6Addr::UNSPECIFIED } else { six(source) };
                    let packet = discovery::solicitation(mac(from), source, six(target), None);
                    let group = discovery::group_mac(discovery::solicited_node(six(target)));
                    world.hear6(group, mac(from), &packet);
                }
                Step::Advertisement(from, target, told) => {
                    let to = told.then_some(WEB6);
                    let packet = discovery::advertisement(mac(from), six(target), to, true);
                    world.hear6(OURS, mac(from), &packet);
                }
                Step::Send(from, to) => {
                    world.send(four(from).into(), four(to).into(), 1);
                    world.send(six(from).into(), six(to).into(), 1);
                }
                Step::Addresses(numbers) => {
                    let all: Vec<IpAddr> = numbers
                        .iter()
                        .flat_map(|number| [four(*number).into(), six(*number).into()])
                        .collect();
                    world.set(&all);
                }
                Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
                Step::LinkUp => world.lan.handle_link_up(world.now, &mut world.wire),
            }
            world.lan.check();
            for frame in std::mem::take(&mut world.wire.0) {
                // Whoever hears it can read it, and nothing is said in a name that is not ours.
                prop_assert_eq!(&frame[6..12], OURS);
                if let Some(Heard::Arp(_, arp)) = understand(&frame) {
                    prop_assert_eq!(arp.sender_mac, OURS);
                    prop_assert!(
                        arp.sender.is_unspecified()
                            || world.lan.addresses().any(|address| address == arp.sender)
                    );
                }
            }
        }
        // Left alone, everything comes to rest.
        world.set(&[]);
        world.pass(Duration::from_secs(1000));
        prop_assert_eq!(world.lan.poll_timeout(), None);
    }
}
