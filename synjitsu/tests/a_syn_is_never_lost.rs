//! Whoever sends a SYN gets an answer without sending it again: from the guest if it comes up in time.

mod support;

use std::time::Duration;

use policies::Generation;
use support::segment::{ack, rst, rst_ack, syn, syn_ack};
use support::{HOLD_TIME, SERVICE, World, ms, port};
use synjitsu::MilestoneKind::{FirstByte, HandedOver, Held, Replayed};
use synjitsu::{Command, Event, HoldOutcome, Overflow, Trigger};

#[test]
fn a_syn_waits_for_the_guest_and_the_answer_passes_untouched() {
    for v6 in [false, true] {
        let over = |segment: support::Segment| support::Segment { v6, ..segment };
        let mut world = World::new();
        let sent_at = world.now;
        world.client(over(syn(1000)));
        assert_eq!(world.wakes(), 1);
        assert!(matches!(
            world.events[..],
            [
                Event::Milestone { service: SERVICE, what: Held, .. },
                Event::Wake { service: SERVICE, trigger: Trigger::TcpSyn, at, .. },
            ] if at == sent_at
        ));
        world.pass(ms(30));
        assert_eq!(world.out.0, []);

        world.open(1);
        assert_eq!(world.guest_got(1), [over(syn(1000))]);
        let answer = over(syn_ack(9000, 1001));
        world.guest(1, answer);
        assert_eq!(world.client_got(), [answer]);
        assert_eq!(world.outcomes(), [HoldOutcome::HandedOver]);
        assert!(matches!(world.events.last(), Some(Event::Milestone { what: HandedOver, .. })));

        world.client(over(ack(1001, 9001)));
        world.client(over(ack(1001, 9001).with(10)));
        assert_eq!(world.guest_got(1), [over(ack(1001, 9001)), over(ack(1001, 9001).with(10))]);
        world.guest(1, over(ack(9001, 1011)));
        world.guest(1, over(ack(9001, 1011).with(7)));
        world.guest(1, over(ack(9008, 1011).with(7)));
        assert_eq!(world.milestones(), [Held, Replayed, HandedOver, FirstByte]);
        world.pass(HOLD_TIME * 2);
        assert_eq!(world.guest_got(1), [], "nothing is replayed after the hand-over");
    }
}

#[test]
fn retransmissions_are_counted_and_not_queued() {
    let mut world = World::new();
    for _ in 0..4 {
        world.client(syn(1000));
        world.pass(ms(100));
    }
    assert_eq!(world.counter("held_retransmissions"), 3);
    world.open(1);
    assert_eq!(world.guest_got(1), [syn(1000)]);
    world.client(syn(1000));
    assert_eq!(world.guest_got(1), [], "the switch replays in its own time");
    world.guest(1, syn_ack(9000, 1001));
    world.client(syn(1000));
    assert_eq!(world.guest_got(1), [syn(1000)], "after the hand-over the guest is asked");
}

#[test]
fn a_new_attempt_from_the_same_port_replaces_the_old_one() {
    let mut world = World::new();
    world.client(syn(1000));
    world.client(syn(5000));
    assert_eq!(world.outcomes(), [HoldOutcome::ClientGone]);
    world.open(1);
    assert_eq!(world.guest_got(1), [syn(5000)]);
    // Once more, when the guest may know the first one.
    world.client(syn(7000));
    assert_eq!(world.guest_got(1), [rst(5001), syn(7000)]);
    world.guest(1, syn_ack(9000, 5001));
    assert_eq!(world.client_got(), [], "an answer to nobody");
    world.guest(1, syn_ack(9100, 7001));
    assert_eq!(world.client_got(), [syn_ack(9100, 7001)]);
    assert_eq!(world.milestones(), [Held, Replayed, HandedOver]);
}

#[test]
fn a_refusal_is_hidden_and_the_guest_asked_again_at_once() {
    let mut world = World::new();
    world.client(syn(1000));
    world.open(1);
    world.guest_got(1);
    let mut asked = 0;
    for _ in 0..20 {
        world.guest(1, rst_ack(0, 1001));
        world.pass(ms(2));
        asked += world.guest_got(1).len();
    }
    assert_eq!(asked, 7, "after 1, 1.5, 2.25, ... ms, each time from the refusal on");
    assert_eq!(world.counter("hidden_refusals"), 20);
    assert_eq!(world.client_got(), []);
    world.pass(ms(50));
    world.guest(1, syn_ack(9000, 1001));
    assert_eq!(world.client_got(), [syn_ack(9000, 1001)]);
    assert_eq!(world.outcomes(), [HoldOutcome::HandedOver]);
}

#[test]
fn silence_is_asked_again_until_the_hold_time_ends() {
    let mut world = World::new();
    world.client(syn(1000));
    world.open(1);
    world.pass(ms(19));
    assert_eq!(world.guest_got(1), [syn(1000)]);
    world.pass(ms(1));
    assert_eq!(world.guest_got(1), [syn(1000)]);
    world.pass(ms(30));
    assert_eq!(world.guest_got(1), [syn(1000)]);
    world.pass(HOLD_TIME - ms(51));
    let asked = world.guest_got(1).len();
    assert!((24..=30).contains(&asked), "asked {asked} times in 5 s");
    assert_eq!(world.client_got(), []);
    world.pass(ms(1));
    assert_eq!(world.client_got(), [rst_ack(0, 1001)]);
    assert_eq!(world.guest_got(1), [rst(1001)], "the guest does not answer it later");
    assert_eq!(world.outcomes(), [HoldOutcome::Expired]);
    assert_eq!(world.switch.poll_timeout(), None);
}

#[test]
fn an_unreachable_message_of_the_guest_is_a_refusal_too() {
    use etherparse::icmpv4::DestUnreachableHeader;
    use etherparse::{Icmpv4Type, PacketBuilder};
    let mut world = World::new();
    world.client(syn(1000));
    world.open(1);
    let mut message = Vec::new();
    PacketBuilder::ipv4(support::SERVICE_V4.octets(), support::CLIENT_V4.octets(), 64)
        .icmpv4(Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port))
        .write(&mut message, &syn(1000).packet(support::Side::Client)[..28])
        .unwrap();
    world.guest_packet(1, &message);
    assert_eq!(world.clients_got(), [[0_u8; 0]; 0]);
    assert_eq!(world.counter("hidden_refusals"), 1);
    world.guest(1, syn_ack(9000, 1001));
    world.clients_got();
    world.guest_packet(1, &message);
    assert_eq!(world.clients_got(), [message], "of a flow that is not held it passes");
}

#[test]
fn a_client_is_refused_when_the_hold_time_ends() {
    let mut world = World::new();
    world.client(syn(1000).with(5));
    world.pass(HOLD_TIME - ms(1));
    assert_eq!(world.client_got(), []);
    world.pass(ms(1));
    assert_eq!(world.client_got(), [rst_ack(0, 1006)]);
    assert_eq!(world.outcomes(), [HoldOutcome::Expired], "no guest was ever asked");

    world.forget();
    world.client(syn(2000));
    world.open(1);
    world.guest(1, rst_ack(0, 2001));
    world.pass(HOLD_TIME);
    assert_eq!(world.client_got(), [rst_ack(0, 2001)]);
    assert_eq!(world.outcomes(), [HoldOutcome::Refused], "the guest was asked and refused");
    assert!(world.events.iter().all(|event| match event {
        Event::HoldEnded { waited, .. } => *waited == HOLD_TIME,
        _ => true,
    }));
}

#[test]
fn a_client_that_gives_up_is_forgotten() {
    let mut world = World::new();
    world.client(syn(1000));
    world.client(rst(77));
    assert_eq!(world.outcomes(), [], "a forged one is not believed");
    world.client(rst(1001));
    assert_eq!(world.outcomes(), [HoldOutcome::ClientGone]);
    world.open(1);
    assert_eq!(world.guest_got(1), []);

    world.client(syn(2000));
    assert_eq!(world.guest_got(1), [syn(2000)]);
    world.client(rst(2001));
    assert_eq!(world.guest_got(1), [rst(2001)]);
    world.pass(HOLD_TIME);
    assert_eq!(world.guest_got(1), []);
    assert_eq!(world.client_got(), []);
}

#[test]
fn a_new_syn_to_an_open_port_is_covered_until_the_guest_listens() {
    let mut world = World::new();
    world.open(1);
    world.client(syn(1000));
    assert_eq!(world.guest_got(1), [syn(1000)]);
    world.guest(1, rst_ack(0, 1001));
    assert_eq!(world.client_got(), []);
    world.pass(ms(1));
    assert_eq!(world.guest_got(1), [syn(1000)]);
    world.guest(1, syn_ack(9000, 1001));
    assert_eq!(world.client_got(), [syn_ack(9000, 1001)]);

    // Port 80 is known now, port 81 is not.
    world.client(syn(1000).on_port(2));
    world.guest(1, rst_ack(0, 1001).on_port(2));
    assert_eq!(world.client_got(), [rst_ack(0, 1001).on_port(2)]);
    world.client(syn(1000).on_port(3).to_port(81));
    world.guest(1, rst_ack(0, 1001).on_port(3).to_port(81));
    assert_eq!(world.client_got(), []);

    // Whoever had so long to listen does not want to.
    world.pass(HOLD_TIME);
    world.client_got();
    world.client(syn(1000).on_port(4).to_port(82));
    world.guest(1, rst_ack(0, 1001).on_port(4).to_port(82));
    assert_eq!(world.client_got(), [rst_ack(0, 1001).on_port(4).to_port(82)]);
}

#[test]
fn a_syn_that_meets_a_closing_port_waits_for_the_next_guest() {
    let mut world = World::running();
    world.close(1);
    assert!(world.events.contains(&Event::Closed { service: SERVICE, generation: Generation(1) }));
    world.forget();
    world.client(syn(3000).on_port(2));
    assert_eq!(world.wakes(), 1);
    assert_eq!(world.out.0, []);
    world.open(2);
    assert_eq!(world.guest_got(2), [syn(3000).on_port(2)]);
    assert_eq!(world.guest_got(1), []);
}

#[test]
fn who_waits_for_a_guest_that_dies_waits_for_the_next_one() {
    let mut world = World::new();
    world.client(syn(1000));
    world.open(1);
    world.guest(1, rst_ack(0, 1001));
    world.forget();
    world.close(1);
    assert_eq!(world.wakes(), 1, "somebody still waits");
    assert_eq!(world.outcomes(), []);
    assert_eq!(world.milestones(), [Held]);
    world.pass(ms(1000));
    assert_eq!(world.out.0, [], "a closed port is not asked");
    world.open(2);
    assert_eq!(world.guest_got(2), [syn(1000)]);
    world.guest(2, syn_ack(9000, 1001));
    assert_eq!(world.outcomes(), [HoldOutcome::HandedOver]);
}

#[test]
fn who_is_not_answered_by_a_running_guest_waits_for_the_next_one() {
    let mut world = World::running();
    world.client(syn(3000).on_port(2));
    world.client(syn(3000).on_port(2));
    world.client(syn(4000).on_port(3));
    world.client(syn(5000).on_port(4));
    world.client(syn(6000).on_port(5));
    world.guest(1, syn_ack(9000, 4001).on_port(3));
    world.guest(1, rst_ack(0, 5001).on_port(4));
    world.client(rst(6001).on_port(5));
    assert_eq!(world.guest_got(1).len(), 6, "all of this is between them and the guest");
    assert_eq!(world.activity().2, 0);
    world.forget();
    world.pass(ms(100));

    // The guest dies with one SYN unanswered.
    world.close(1);
    assert_eq!(world.wakes(), 1);
    assert_eq!(world.client_got(), [rst_ack(9001, 4001).on_port(3), rst_ack(9001, 1001)]);
    assert_eq!(world.activity().2, 1);
    world.open(2);
    assert_eq!(world.guest_got(2), [syn(3000).on_port(2)]);
    world.guest(2, syn_ack(7000, 3001).on_port(2));
    assert_eq!(world.client_got(), [syn_ack(7000, 3001).on_port(2)]);
    assert!(matches!(
        world.events.last(),
        Some(Event::Milestone { what: HandedOver, generation: Some(Generation(2)), .. })
    ));
    assert_eq!(world.outcomes(), [HoldOutcome::HandedOver]);
}

#[test]
fn a_client_that_begins_anew_is_not_reset_for_its_old_connection() {
    let mut world = World::running();
    world.client(syn(70_000));
    world.forget();
    world.close(1);
    assert_eq!(world.client_got(), [], "it knows nothing of that connection any more");
    world.open(2);
    assert_eq!(world.guest_got(2), [syn(70_000)]);
}

#[test]
fn what_is_kept_of_unanswered_syns_is_bounded_and_expires() {
    let mut settings = port();
    settings.hold.flows = 2;
    let mut world = World::with(settings);
    world.open(1);
    world.client(syn(1));
    world.guest(1, syn_ack(1, 2));
    for client_port in 1..=3 {
        world.client(syn(1000).on_port(client_port));
    }
    world.pass(ms(10));
    world.forget();
    world.close(1);
    assert_eq!(world.activity().2, 2, "the newest ones");
    world.open(2);
    let kept: Vec<u16> = world.guest_got(2).iter().map(|segment| segment.client_port).collect();
    assert_eq!(kept, [2, 3]);

    let mut world = World::running();
    world.client(syn(1000).on_port(2));
    world.pass(HOLD_TIME);
    world.forget();
    world.close(1);
    assert_eq!(world.activity().2, 0, "the guest had long enough");
    assert_eq!(world.switch.poll_timeout(), None);
}

#[test]
fn a_forgotten_service_resets_whom_its_guest_did_not_answer() {
    let mut world = World::running();
    world.client(syn(1000).on_port(2));
    world.forget();
    world.command(Command::Detach(SERVICE));
    assert_eq!(world.client_got(), [rst_ack(0, 1001).on_port(2), rst_ack(9001, 1001)]);
    assert_eq!(world.switch.poll_timeout(), None);
    assert_eq!(world.wakes(), 0);

    // The same when it only loses the address.
    let mut world = World::running();
    world.client(syn(1000).on_port(2));
    world.forget();
    let mut settings = port();
    settings.ipv4 = None;
    world.command(Command::Attach(settings));
    assert_eq!(world.client_got(), [rst_ack(0, 1001).on_port(2), rst_ack(9001, 1001)]);
}

#[test]
fn a_broken_syn_does_not_stand_in_the_way_of_the_good_one() {
    for v6 in [false, true] {
        let good = support::Segment { v6, ..syn(1000) };
        let mut broken = good.packet(support::Side::Client);
        let window = broken.len() - 5;
        broken[window] ^= 1;
        let mut world = World::new();
        world.uplink(&broken);
        assert_eq!(world.events, [], "it wakes nobody");
        assert_eq!(world.counter("dropped_checksum"), 1);
        world.client(good);
        assert_eq!((world.wakes(), world.activity().2), (1, 1));
        world.uplink(&broken);
        world.open(1);
        assert_eq!(world.guest_got_packets(1), [good.packet(support::Side::Client)]);
    }
}

#[test]
fn a_connection_that_is_left_over_in_the_guest_does_not_block_a_new_attempt() {
    let mut world = World::new();
    world.client(syn(1000));
    world.open(1);
    // Its answer is lost, and so is the RST when the client begins anew.
    world.client(syn(70_000));
    world.guest_got(1);
    // The guest defends the old connection (RFC 5961, section 4.2): it is told what a client would tell it.
    world.guest(1, ack(9001, 1001));
    assert_eq!(world.client_got(), []);
    assert_eq!(world.guest_got(1), [rst(1001)]);
    world.pass(ms(1));
    assert_eq!(world.guest_got(1), [syn(70_000)], "and asked again at once");
    // It sends its old answer again.
    world.guest(1, syn_ack(9000, 1001));
    assert_eq!(world.guest_got(1), [rst(1001)]);
    world.guest(1, syn_ack(9500, 70_001));
    assert_eq!(world.client_got(), [syn_ack(9500, 70_001)]);
}

#[test]
fn everything_held_is_released_in_the_order_of_arrival() {
    let mut world = World::new();
    for client_port in [9, 3, 7, 1] {
        world.client(syn(u32::from(client_port)).on_port(client_port));
        world.pass(ms(1));
    }
    world.open(1);
    let ports: Vec<u16> = world.guest_got(1).iter().map(|segment| segment.client_port).collect();
    assert_eq!(ports, [9, 3, 7, 1]);
}

#[test]
fn a_full_hold_refuses_as_configured_and_still_wakes() {
    for overflow in [Overflow::Drop, Overflow::Reset] {
        let mut settings = port();
        settings.hold.flows = 2;
        settings.hold.overflow = overflow;
        let mut world = World::with(settings);
        for client_port in 1..=4 {
            world.client(syn(1000).on_port(client_port));
        }
        let told = [rst_ack(0, 1001).on_port(3), rst_ack(0, 1001).on_port(4)];
        let expected: &[_] = if overflow == Overflow::Reset { &told } else { &[] };
        assert_eq!(world.client_got(), expected);
        assert_eq!(world.outcomes(), [HoldOutcome::Overflow; 2]);
        assert_eq!(world.counter("dropped_overflow"), 2);
        assert_eq!(world.activity().2, 2);
        world.pass(Duration::from_secs(1));
        world.client(syn(1000).on_port(9));
        assert_eq!(world.wakes(), 2, "also who is refused needs the service");
        world.open(1);
        assert_eq!(world.guest_got(1).len(), 2);
    }
}

#[test]
fn the_bytes_held_are_bounded_too() {
    let mut settings = port();
    settings.hold.bytes = 100;
    let mut world = World::with(settings);
    world.client(syn(1000).with(20));
    world.client(syn(1000).on_port(2));
    assert_eq!(world.activity().2, 2);
    world.client(syn(1000).on_port(3));
    assert_eq!(world.outcomes(), [HoldOutcome::Overflow], "40 + 20, 40, and 40 are more than 100");
}
