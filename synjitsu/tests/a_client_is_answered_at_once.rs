//! Hold mode `handshake`, step by step.

mod support;

use synjitsu::MilestoneKind::{FirstByte, HandedOver, Held, Replayed};
use synjitsu::{Command, Event, HoldMode, HoldOutcome, ServicePort, Trigger};

use support::segment::{ack, fin, rst, rst_ack, syn, syn_ack};
use support::{HOLD_TIME, SERVICE, Segment, World, ms, port};

fn answering() -> ServicePort {
    let mut settings = port();
    settings.hold.mode = HoldMode::Handshake;
    settings
}

/// A client that has sent its SYN, and the number of our answer.
fn answered(world: &mut World) -> u32 {
    world.client(syn(1000));
    let [answer] = world.client_got()[..] else { panic!("one answer") };
    assert_eq!(answer, syn_ack(answer.seq, 1001));
    answer.seq
}

/// The same, and its handshake is finished.
fn established(world: &mut World) -> u32 {
    let iss = answered(world);
    world.client(ack(1001, iss.wrapping_add(1)));
    assert_eq!(world.client_got(), []);
    iss
}

#[test]
fn early_data_are_taken_and_given_to_the_guest_in_its_own_numbers() {
    for v6 in [false, true] {
        let over = |segment| Segment { v6, ..segment };
        let mut world = World::with(answering());
        world.client(over(syn(1000)));
        let [answer] = world.client_got()[..] else { panic!("one answer") };
        let iss = answer.seq;
        let ours = |octets| iss.wrapping_add(octets);
        assert_eq!(answer, over(syn_ack(iss, 1001)));
        assert_eq!(world.wakes(), 1);
        world.client(over(ack(1001, ours(1))));
        world.client(over(ack(1001, ours(1)).with(10)));
        assert_eq!(world.client_got(), [over(ack(ours(1), 1011))]);
        assert_eq!((world.activity().2, world.guest_got(1)), (1, vec![]));

        world.open(1);
        assert_eq!(world.guest_got(1), [over(syn(1000))]);
        world.client(over(ack(1011, ours(1)).with(5)));
        assert_eq!(world.client_got(), [over(ack(ours(1), 1016))]);
        world.guest(1, over(syn_ack(9000, 1001)));
        assert_eq!(world.guest_got(1), [over(ack(1001, 9001).with(15))]);
        assert_eq!(world.client_got(), []);
        assert_eq!(world.outcomes(), [HoldOutcome::HandedOver]);
        assert_eq!(world.activity().1, 1);

        // The guest acknowledges and answers; from here on only numbers differ.
        world.guest(1, over(ack(9001, 1016)));
        assert_eq!(world.client_got(), [], "the client knows already");
        world.guest(1, over(ack(9001, 1016).with(7)));
        assert_eq!(world.client_got(), [over(ack(ours(1), 1016).with(7))]);
        assert_eq!(world.milestones(), [Held, Replayed, HandedOver, FirstByte]);
        world.client(over(ack(1016, ours(8)).with(3)));
        assert_eq!(world.guest_got(1), [over(ack(1016, 9008).with(3))]);
        world.guest(1, over(fin(9008, 1019)));
        assert_eq!(world.client_got(), [over(fin(ours(8), 1019))]);
        world.client(over(fin(1019, ours(9))));
        world.guest(1, over(ack(9009, 1020)));
        assert_eq!(world.client_got(), [over(ack(ours(9), 1020))]);
        assert_eq!(world.activity().1, 0);
        // What comes late is translated still, and forgotten in the end.
        world.guest(1, over(ack(9009, 1020)));
        assert_eq!(world.client_got(), [over(ack(ours(9), 1020))]);
        world.pass(ms(61_000));
        assert_eq!(world.switch.poll_timeout(), None);
    }
}

#[test]
fn what_is_not_kept_is_not_acknowledged() {
    let mut settings = answering();
    settings.hold.buffer = 2000;
    let mut world = World::with(settings);
    let iss = established(&mut world);
    let expects = |number| ack(iss.wrapping_add(1), number);
    world.client(ack(1101, iss.wrapping_add(1)).with(100));
    assert_eq!(world.client_got(), [expects(1001)], "out of order");
    world.client(ack(1001, iss.wrapping_add(1)).with(1400));
    world.client(ack(2401, iss.wrapping_add(1)).with(1400));
    assert_eq!(world.client_got(), [expects(2401), expects(3001)], "as much as there is room for");
    world.client(ack(3001, iss.wrapping_add(1)).with(1));
    assert_eq!(world.client_got(), [expects(3001)], "a probe of the closed window");
    world.client(ack(3000, iss.wrapping_add(1)));
    assert_eq!(world.client_got(), [expects(3001)], "a keep-alive");
}

#[test]
fn a_client_that_is_gone_costs_the_guest_nothing() {
    let mut world = World::with(answering());
    let iss = established(&mut world);
    world.client(ack(1001, iss.wrapping_add(1)).with(10));
    world.client_got();
    world.client(rst(1012));
    assert_eq!(world.client_got(), [ack(iss.wrapping_add(1), 1011)], "near is questioned");
    world.client(rst(1011));
    assert_eq!(world.outcomes(), [HoldOutcome::ClientGone]);
    world.open(1);
    world.pass(HOLD_TIME);
    assert_eq!(world.out.0, []);
    assert_eq!(world.switch.poll_timeout(), None);
}

#[test]
fn who_does_not_finish_the_handshake_is_not_shown_to_the_guest() {
    for opens in [false, true] {
        let mut world = World::with(answering());
        let iss = answered(&mut world);
        if opens {
            world.open(1);
        }
        world.pass(ms(7000));
        assert_eq!(world.guest_got(1), []);
        let (again, refused) = (syn_ack(iss, 1001), rst_ack(iss.wrapping_add(1), 1001));
        // With a guest that is there, a client that has never heard of us had better ask again.
        let told = if opens { vec![again, again] } else { vec![again, again, refused] };
        assert_eq!(world.client_got(), told);
        assert_eq!(world.outcomes(), [HoldOutcome::Expired]);
    }
}

#[test]
fn an_early_fin_reaches_the_guest_after_the_data() {
    let mut world = World::with(answering());
    let iss = established(&mut world);
    world.client(fin(1001, iss.wrapping_add(1)).with(10));
    assert_eq!(world.client_got(), [ack(iss.wrapping_add(1), 1012)]);
    world.open(1);
    assert_eq!(world.guest_got(1), [syn(1000)]);
    world.guest(1, syn_ack(9000, 1001));
    assert_eq!(world.guest_got(1), [fin(1001, 9001).with(10)]);
    // Lost: it is sent again.
    world.pass(ms(100));
    assert_eq!(world.guest_got(1), [fin(1001, 9001).with(10)]);
    world.guest(1, ack(9001, 1012).with(20));
    assert_eq!(world.client_got(), [ack(iss.wrapping_add(1), 1012).with(20)]);
}

#[test]
fn a_full_table_answers_with_cookies_and_a_real_client_gets_through() {
    let mut settings = answering();
    settings.hold.flows = 4;
    let mut world = World::with(settings);
    for client_port in 1..=3 {
        world.client(syn(77).on_port(client_port));
    }
    assert_eq!((world.client_got().len(), world.activity().2), (3, 2), "half of it for SYNs");
    assert_eq!(world.counter("cookies_sent"), 1);
    world.forget();
    let iss = answered(&mut world);
    assert_eq!((world.activity().2, world.wakes()), (2, 0));
    world.client(ack(1001, iss.wrapping_add(2)));
    assert_eq!(world.activity().2, 2, "not the number that was given");
    world.client_got();
    world.client(ack(1001, iss.wrapping_add(1)).with(10));
    assert_eq!(world.client_got(), [ack(iss.wrapping_add(1), 1011)]);
    let proven =
        |event: &Event| matches!(event, Event::Wake { trigger: Trigger::TcpHandshake, .. });
    assert!(world.events.iter().any(proven));
    world.open(1);
    assert_eq!(world.guest_got(1), [syn(1000)], "the others have not shown that they exist");
    world.guest(1, syn_ack(9000, 1001));
    assert_eq!(world.guest_got(1), [ack(1001, 9001).with(10)]);
}

#[test]
fn a_client_that_exists_asks_for_its_service_until_it_comes() {
    let mut world = World::with(answering());
    established(&mut world);
    assert_eq!(world.wakes(), 2, "by its SYN, which may be forged, and by its answer");
    world.pass(ms(2500));
    assert_eq!(world.wakes(), 4, "once a second");
    world.open(1);
    world.pass(ms(2500));
    assert_eq!(world.wakes(), 4);
}

#[test]
fn errors_about_translated_segments_name_the_guests_own_numbers() {
    use etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded;
    use etherparse::{Icmpv4Slice, Icmpv4Type, IpSlice, PacketBuilder};
    let mut world = World::with(answering());
    let iss = established(&mut world);
    world.open(1);
    world.guest(1, syn_ack(9000, 1001));
    world.guest(1, ack(9001, 1001).with(1000));
    world.forget();

    // A router on the way to the client, about what it saw.
    let seen = ack(iss.wrapping_add(1), 1001).with(1000).packet(support::Side::Guest);
    let mut message = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], support::SERVICE_V4.octets(), 64)
        .icmpv4(Icmpv4Type::DestinationUnreachable(FragmentationNeeded { next_hop_mtu: 576 }))
        .write(&mut message, &seen[..28])
        .unwrap();
    world.uplink(&message);
    let got = world.guest_got_packets(1).remove(0);
    let sent = ack(9001, 1001).with(1000).packet(support::Side::Guest);
    let ip = IpSlice::from_slice(&got).unwrap();
    let icmp = Icmpv4Slice::from_slice(ip.payload().payload).unwrap();
    assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());
    assert_eq!(icmp.payload()[20..28], sent[20..28]);

    // The guest, about a segment of the client.
    let got = ack(1001, 9001).with(3).packet(support::Side::Client);
    let mut message = Vec::new();
    PacketBuilder::ipv4(support::SERVICE_V4.octets(), support::CLIENT_V4.octets(), 64)
        .icmpv4(Icmpv4Type::TimeExceeded(
            etherparse::icmpv4::TimeExceededCode::FragmentReassemblyTimeExceeded,
        ))
        .write(&mut message, &got)
        .unwrap();
    world.guest_packet(1, &message);
    let shown = world.clients_got().remove(0);
    let sent = ack(1001, iss.wrapping_add(1)).with(3).packet(support::Side::Client);
    let ip = IpSlice::from_slice(&shown).unwrap();
    let icmp = Icmpv4Slice::from_slice(ip.payload().payload).unwrap();
    assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());
    assert_eq!(icmp.payload()[20..36], sent[20..36]);
}

#[test]
fn a_guest_with_many_half_open_connections_gets_finished_handshakes_only() {
    let mut settings = answering();
    settings.hold.flows = 100;
    let mut world = World::with(settings);
    established(&mut world);
    world.open(1);
    world.guest(1, syn_ack(9000, 1001));
    world.forget();
    // Nobody finishes these: the guest is known to listen and gets them directly.
    for client_port in 1..=64 {
        world.client(syn(5).on_port(client_port));
        world.guest(1, syn_ack(77, 6).on_port(client_port));
    }
    assert_eq!((world.guest_got(1).len(), world.client_got().len()), (64, 64));
    world.client(syn(5).on_port(100));
    assert_eq!(world.guest_got(1), [], "one more is not shown to it");
    let [answer] = world.client_got()[..] else { panic!("one answer") };
    world.pass(ms(12_000));
    world.client(syn(5).on_port(101));
    assert_eq!(world.guest_got(1), [rst(6).on_port(1)], "and the oldest ones are given up");
    world.forget();
    world.client(ack(6, answer.seq.wrapping_add(1)).on_port(100).with(9));
    assert_eq!(world.guest_got(1), [syn(5).on_port(100)]);
    world.guest(1, syn_ack(300, 6).on_port(100));
    assert_eq!(world.guest_got(1), [ack(6, 301).on_port(100).with(9)]);

    // It listens, so its refusal is its own.
    world.client(syn(5).on_port(102));
    world.guest(1, syn_ack(77, 6).on_port(102));
    world.client_got();
    world.client(syn(5).on_port(103));
    let [answer] = world.client_got()[..] else { panic!("one answer") };
    world.client(ack(6, answer.seq.wrapping_add(1)).on_port(103));
    world.guest_got(1);
    world.guest(1, rst_ack(0, 6).on_port(103));
    assert_eq!(world.client_got(), [rst_ack(answer.seq.wrapping_add(1), 6).on_port(103)]);
}

#[test]
fn a_guest_that_dies_ends_its_connections_in_the_numbers_that_clients_know() {
    let mut world = World::with(answering());
    let iss = established(&mut world);
    world.client(ack(1001, iss.wrapping_add(1)).with(10));
    world.open(1);
    world.guest(1, syn_ack(9000, 1001));
    world.forget();
    world.close(1);
    assert_eq!(world.client_got(), [rst_ack(iss.wrapping_add(1), 1011)], "while it was relayed");

    let iss = established(&mut world);
    world.open(2);
    world.guest(2, syn_ack(9000, 1001));
    world.guest(2, ack(9001, 1001).with(10));
    world.forget();
    world.close(2);
    assert_eq!(world.client_got(), [rst_ack(iss.wrapping_add(11), 1001)], "after it");
    world.pass(ms(2000));
    assert_eq!(world.switch.poll_timeout(), None);
}

#[test]
fn who_was_answered_waits_for_the_next_guest_if_the_first_one_dies_before() {
    let mut world = World::with(answering());
    let iss = established(&mut world);
    world.open(1);
    world.guest(1, rst_ack(0, 1001));
    world.close(1);
    world.client(ack(1001, iss.wrapping_add(1)).with(10));
    world.open(2);
    assert_eq!(world.guest_got(2), [syn(1000)]);
    world.guest(2, syn_ack(4000, 1001));
    assert_eq!(world.guest_got(2), [ack(1001, 4001).with(10)]);
    assert_eq!(world.outcomes(), [HoldOutcome::HandedOver]);
}

#[test]
fn a_burst_of_syns_does_not_reach_a_running_guest_before_it_answers_any() {
    let mut settings = answering();
    settings.hold.flows = 100;
    let mut world = World::with(settings);
    established(&mut world);
    world.open(1);
    world.guest(1, syn_ack(9000, 1001));
    world.forget();
    for client_port in 1..=200 {
        world.client(syn(5).on_port(client_port));
    }
    assert_eq!((world.guest_got(1).len(), world.client_got().len()), (64, 136));
    assert_eq!(world.counter("cookies_sent"), 136);
}

#[test]
fn a_service_that_comes_back_at_once_wakes_for_its_own_clients() {
    let mut world = World::with(answering());
    established(&mut world);
    world.command(Command::Detach(SERVICE));
    world.command(Command::Attach(answering()));
    world.forget();
    established(&mut world);
    assert_eq!(world.wakes(), 2, "for the SYN, and for its client");
    world.pass(ms(1000));
    assert_eq!(world.wakes(), 3, "and again while it waits");
}
