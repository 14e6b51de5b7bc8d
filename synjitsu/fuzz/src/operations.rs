//! A few clients and two guests that mostly do what TCP says.
//!
//! The first octet chooses the bounds. Then each operation is an octet, and a few more where it needs them; see [`run`]. Guests
//! speak of connections only that they have, and forget those of which they are told a RST: so every number that a client is
//! shown can be judged.

mod model;

use std::net::IpAddr;
use std::time::Duration;

use synjitsu::{Command, HoldMode, Overflow};

use self::model::{Flow, Model, client_address, service_address};
use super::input::Input;
use super::packet::{self, ACK, FIN, ICMP, ICMPV6, PSH, RST, SYN, Segment, UDP};
use super::world::{Size, World, frame, guest_mac, service, settings};

const TIMES: [Duration; 12] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(40),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_millis(4999),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(61),
    Duration::from_secs(8000),
];
/// How far a number is from the right one.
const OFFSETS: [i32; 12] = [0, 0, 0, 0, 1, -1, 10, -10, 100, -100, 3000, 1_000_000];
const LENGTHS: [usize; 8] = [1, 10, 100, 200, 500, 1000, 1300, 0];
const WINDOWS: [u16; 6] = [64_000, 4000, 200, 0, 65_535, 1];

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let choices = input.octet();
    let chosen = |bit: u8| choices >> bit & 1 == 1;
    let size = Size {
        flows: if chosen(0) { 3 } else { 40 },
        bytes: if chosen(1) { 1500 } else { 50_000 },
        buffer: if chosen(2) { 300 } else { 4000 },
        mtu: if chosen(3) { 600 } else { 1500 },
        overflow: if chosen(4) { Overflow::Reset } else { Overflow::Drop },
    };
    let mut model = Model::new(World::new(size));
    while !input.is_over() {
        step(&mut model, &mut input, size);
    }
    model.end();
}

fn step(model: &mut Model, input: &mut Input<'_>, size: Size) {
    match input.octet() % 20 {
        0 | 1 => client_syn(model, input),
        2 => client_sends(model, input, ACK, false),
        3 | 4 => client_sends(model, input, ACK | PSH, true),
        5 => client_sends(model, input, ACK | FIN, true),
        6 => client_sends(model, input, RST, false),
        7 | 8 => guest_answers(model, input),
        9 | 10 => guest_sends(model, input, ACK, true),
        11 => guest_sends(model, input, ACK | FIN, true),
        12 => guest_sends(model, input, RST | ACK, false),
        13 => model.open(input.octet() & 1),
        14 => {
            let choice = input.octet();
            model.close(choice & 1, choice & 2 != 0);
        }
        15 => attach(model, input, size),
        16 => {
            let time = input.pick(&TIMES);
            model.pass(time);
        }
        17 => icmp_error(model, input),
        18 => other_packet(model, input),
        _ => oddity(model, input),
    }
}

fn flow(input: &mut Input<'_>) -> Flow {
    let choice = input.octet();
    let client = client_address(choice & 7);
    (client, service_address(choice >> 3 & 1, client.is_ipv6(), choice & 0x80 != 0))
}

/// Options of a SYN, in any combination.
fn options(choice: u8) -> Vec<u8> {
    let mut options = Vec::new();
    match choice & 3 {
        0 => options.extend([2, 4, 5, 0xb4]),
        1 => options.extend([2, 4, 0, 100]),
        2 => options.extend([2, 4, 0xff, 0xff]),
        _ => {}
    }
    match choice >> 2 & 3 {
        0 => options.extend([1, 3, 3, 7]),
        1 => options.extend([1, 3, 3, 0]),
        2 => options.extend([1, 3, 3, 14]),
        _ => {}
    }
    if choice >> 4 & 1 == 0 {
        options.extend([1, 1, 4, 2]);
    }
    if choice >> 5 & 7 == 7 {
        // A signature, whatever it says.
        options.extend([1, 1, 19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    options
}

fn client_syn(model: &mut Model, input: &mut Input<'_>) {
    let (flow, choice, window) = (flow(input), input.octet(), input.pick(&WINDOWS));
    let again = input.octet() & 1 == 0;
    let client = model.client(flow);
    if !again || client.isn == 0 {
        let isn = client.isn.wrapping_add(0x0200_0000).wrapping_sub(1000);
        *client = model::Client { isn, next: isn.wrapping_add(1), expected: 0 };
    }
    let (from, to) = flow;
    let seq = client.isn;
    let options = options(choice);
    model.client_sends(
        flow,
        Segment { from, to, seq, ack: 0, flags: SYN, window, options, payload: Vec::new() },
    );
}

fn client_sends(model: &mut Model, input: &mut Input<'_>, flags: u8, data: bool) {
    let flow = flow(input);
    let (seq_offset, ack_offset) = (input.pick(&OFFSETS), input.pick(&OFFSETS));
    let length = if data { input.pick(&LENGTHS) } else { 0 };
    let client = model.client(flow);
    let seq = client.next.wrapping_add_signed(seq_offset);
    let ack = client.expected.wrapping_add_signed(ack_offset);
    let mut options = Vec::new();
    if length == 0 && flags == ACK && seq_offset != 0 {
        let edges = [ack.wrapping_add(10), ack.wrapping_add(60)].map(u32::to_be_bytes).concat();
        options = [&[1, 1, 5, 10][..], &edges].concat();
    }
    let ack = if flags & ACK == 0 { 0 } else { ack };
    let (from, to) = flow;
    let payload = vec![b'c'; length];
    let window = input.pick(&WINDOWS);
    let segment = Segment { from, to, seq, ack, flags, window, options, payload };
    if seq_offset == 0 {
        client.next = segment.end();
    }
    model.client_sends(flow, segment);
}

fn guest_answers(model: &mut Model, input: &mut Input<'_>) {
    let (choice, which) = (input.octet(), input.octet());
    let (index, options) = (choice & 1, options(choice >> 1 & 0x1f));
    let window = input.pick(&WINDOWS);
    let Some((flow, guest)) = model.accept(index, which) else { return };
    let (from, to) = (flow.1, flow.0);
    let (seq, ack) = (guest.iss, guest.irs.wrapping_add(1));
    let payload = Vec::new();
    model.guest_sends(
        index,
        Segment { from, to, seq, ack, flags: SYN | ACK, window, options, payload },
    );
}

fn guest_sends(model: &mut Model, input: &mut Input<'_>, flags: u8, data: bool) {
    let (choice, which) = (input.octet(), input.octet());
    let index = choice & 1;
    // A guest sends again what it has sent, and acknowledges late, but never what it did not get.
    let (back, late) = ([0, 0, 10, 500][usize::from(choice >> 1 & 3)], choice >> 3 & 1);
    let length = if data { LENGTHS[usize::from(choice >> 4 & 7)] } else { 0 };
    let window = input.pick(&WINDOWS);
    let Some((flow, guest)) = model.connection(index, which) else { return };
    let sent = guest.next.wrapping_sub(guest.iss.wrapping_add(1));
    let seq = guest.next.wrapping_sub(sent.min(back));
    let payload = if choice >> 7 == 0 { vec![b'g'; length] } else { Vec::new() };
    let acknowledged = guest.expected.wrapping_sub(guest.irs.wrapping_add(1));
    let ack = guest.expected.wrapping_sub(acknowledged.min(10 * u32::from(late)));
    let (from, to) = (flow.1, flow.0);
    let mut options = Vec::new();
    if payload.is_empty() && late == 1 {
        let edges = [ack.wrapping_add(5), ack.wrapping_add(10)].map(u32::to_be_bytes).concat();
        options = [&[1, 1, 5, 10][..], &edges].concat();
    }
    model.guest_sends(index, Segment { from, to, seq, ack, flags, window, options, payload });
}

fn attach(model: &mut Model, input: &mut Input<'_>, size: Size) {
    let choice = input.octet();
    let index = choice & 1;
    if choice >> 1 & 3 == 0 {
        model.detach(index);
        return;
    }
    let mut settings = settings(index, size);
    settings.wake_on_packet = choice & 8 == 0;
    settings.wake_on_echo = choice & 16 == 0;
    if choice >> 5 == 7 {
        settings.ipv4 = None;
    }
    if choice >> 5 == 6 {
        settings.hold.mode = HoldMode::Syn;
    }
    model.attach(settings);
}

/// Somebody on the way, or one of both sides, cannot deliver a segment.
fn icmp_error(model: &mut Model, input: &mut Input<'_>) {
    let (flow, choice) = (flow(input), input.octet());
    let offset = input.pick(&OFFSETS);
    let (client, service) = flow;
    let known = *model.client(flow);
    let of_guest = choice & 1 == 0;
    let (from, to) = if of_guest { (service, client) } else { (client, service) };
    let (seq, ack) = if of_guest {
        (known.expected.wrapping_add_signed(offset), known.next)
    } else {
        (known.next.wrapping_add_signed(offset), known.expected)
    };
    let flags = ACK;
    let (options, payload) = (Vec::new(), vec![b'x'; 30]);
    let quoted = Segment { from, to, seq, ack, flags, window: 100, options, payload }.packet();
    let quoted =
        &quoted[..quoted.len().saturating_sub([0, 30, 42, 46][usize::from(choice >> 1 & 3)])];
    let kind = match (client.is_ipv4(), choice >> 3 & 3) {
        (true, 0) => [3, 1],
        (true, 1) => [3, 4],
        (true, 2) => [11, 0],
        (true, _) => [12, 0],
        (false, 0) => [1, 4],
        (false, 1) => [2, 0],
        (false, 2) => [3, 0],
        (false, _) => [4, 0],
    };
    let message = [&kind[..], &[0; 6], quoted].concat();
    let protocol = if client.is_ipv4() { ICMP } else { ICMPV6 };
    if of_guest {
        let router =
            if choice & 0x80 == 0 { client_address(6 + choice % 2).ip() } else { client.ip() };
        let router = if router.is_ipv4() == client.is_ipv4() { router } else { client.ip() };
        model.uplink(&packet::packet(router, service.ip(), protocol, &message));
    } else {
        let index = Model::index(service);
        model.guest_packet(index, &packet::packet(service.ip(), client.ip(), protocol, &message));
    }
}

/// Whatever is not TCP, and parts of what may be.
fn other_packet(model: &mut Model, input: &mut Input<'_>) {
    let (flow, choice) = (flow(input), input.octet());
    let (client, service) = (flow.0.ip(), flow.1.ip());
    let length = input.pick(&LENGTHS).max(8);
    let datagram = || [&[0x13, 0x88, 0, 53][..], &[0, 8, 0, 0], &vec![b'u'; length]].concat();
    let from_guest = choice & 1 == 1;
    let (from, to) = if from_guest { (service, client) } else { (client, service) };
    let bytes = match choice >> 1 & 3 {
        0 => packet::packet(from, to, UDP, &datagram()),
        1 => {
            let (protocol, kind) = if client.is_ipv4() { (ICMP, 8) } else { (ICMPV6, 128) };
            packet::packet(
                from,
                to,
                protocol,
                &[&[kind, 0, 0, 0, 0, 1, 0, 1][..], &datagram()].concat(),
            )
        }
        _ => {
            let protocol = if choice & 8 == 0 { UDP } else { 6 };
            fragment(from, to, protocol, choice >> 4, &datagram())
        }
    };
    if from_guest {
        model.guest_packet(Model::index(flow.1), &bytes);
    } else {
        model.uplink(&bytes);
    }
}

/// A part of a packet: the lowest bit of `choice` says whether the first one, the others number it.
fn fragment(from: IpAddr, to: IpAddr, protocol: u8, choice: u8, payload: &[u8]) -> Vec<u8> {
    let later = choice & 1;
    if from.is_ipv4() {
        let mut bytes = packet::packet(from, to, protocol, payload);
        bytes[5] = choice >> 1;
        // More fragments, or an offset.
        bytes[6..8].copy_from_slice(&if later == 0 { [0x20, 0] } else { [0, 2] });
        packet::repair(&mut bytes);
        return bytes;
    }
    let place = if later == 0 { 1 } else { 16 };
    let header = [protocol, 0, 0, place, 0, 0, 0, choice >> 1];
    packet::packet(from, to, 44, &[&header[..], payload].concat())
}

/// What no honest side does.
fn oddity(model: &mut Model, input: &mut Input<'_>) {
    let (flow, choice) = (flow(input), input.octet());
    let index = Model::index(flow.1);
    match choice % 6 {
        0 => model.oversleep(input.pick(&TIMES)),
        1 => model.refuse(flow),
        2 => {
            // Somebody else's address.
            let packet =
                packet::packet(client_address(0).ip(), client_address(2).ip(), UDP, &[0; 8]);
            model.guest_packet(index, &packet);
        }
        3 => {
            let mut question = vec![0, 1, 8, 0, 6, 4, 0, 1];
            question.extend(guest_mac(index));
            question.extend([10, 9, 0, 2 + index, 0, 0, 0, 0, 0, 0, 10, 9, 0, 1]);
            let mut frame = frame(index, &[]);
            frame[12..14].copy_from_slice(&[8, 6]);
            model.guest_frame(index, &[frame, question].concat());
        }
        4 => model.command(Command::Report(service(index))),
        _ => {
            // A segment of a guest to a client of which it knows nothing is no business of the model.
            let bytes = input.take(usize::from(choice));
            model.uplink(&packet::packet(flow.0.ip(), flow.1.ip(), choice, bytes));
        }
    }
}
