//! Connections are counted while they are open, and their clients are told when the guest goes away.

mod support;

use std::time::Duration;

use support::segment::{ack, fin, rst, rst_ack, syn, syn_ack};
use support::{SERVICE, Segment, World, ms, port};
use synjitsu::Command;

#[test]
fn the_reset_of_a_closed_port_fits_the_connection() {
    let mut world = World::running();
    world.client(ack(1001, 9001).with(100));
    world.guest(1, ack(9001, 1101).with(1400));
    // An older segment again, and one that somebody else made up.
    world.guest(1, ack(9001, 1101).with(700));
    world.client(ack(777_777, 888_888).with(5));
    world.forget();
    world.close(1);
    assert_eq!(world.client_got(), [rst_ack(10_401, 1101)]);
    assert_eq!(world.guest_got(1), []);
    assert_eq!(world.switch.poll_timeout(), None);
}

#[test]
fn every_connection_gets_its_own_reset_in_a_fixed_order() {
    let mut world = World::running();
    for client_port in [5, 3, 9] {
        world.client(syn(10).on_port(client_port));
        world.guest(1, syn_ack(20, 11).on_port(client_port));
    }
    world.forget();
    world.command(Command::Detach(SERVICE));
    let expected = [
        rst_ack(21, 11).on_port(3),
        rst_ack(21, 11).on_port(5),
        rst_ack(21, 11).on_port(9),
        rst_ack(9001, 1001),
    ];
    assert_eq!(world.client_got(), expected);
}

#[test]
fn a_connection_is_open_until_both_fins_are_acknowledged() {
    let mut world = World::running();
    let steps: [(bool, Segment, u32); 6] = [
        (true, fin(1001, 9001), 1),
        (false, ack(9001, 1002), 1),
        (false, ack(9001, 1002).with(10), 1),
        (false, fin(9011, 1002), 1),
        (true, ack(1002, 9011), 1),
        (true, ack(1002, 9012), 0),
    ];
    for (client, segment, open) in steps {
        if client {
            world.client(segment);
        } else {
            world.guest(1, segment);
        }
        assert_eq!(world.activity().1, open, "after {segment:?}");
    }
    world.forget();
    world.close(1);
    assert_eq!(world.client_got(), [], "nothing is left to reset");
}

#[test]
fn the_guest_may_close_first() {
    let mut world = World::running();
    world.guest(1, fin(9001, 1001));
    world.client(ack(1001, 9002).with(4));
    assert_eq!(world.activity().1, 1, "the client has more to say");
    world.guest(1, ack(9002, 1005));
    world.client(fin(1005, 9002));
    assert_eq!(world.activity().1, 1);
    world.guest(1, ack(9002, 1006));
    assert_eq!(world.activity().1, 0);
}

#[test]
fn a_reset_ends_a_connection_if_it_can_be_the_clients() {
    let mut world = World::running();
    world.client(rst(500_000));
    assert_eq!(world.activity().1, 1, "out of the window");
    world.client(rst(1001));
    assert_eq!(world.activity().1, 0);

    let mut world = World::running();
    world.guest(1, rst(9001));
    assert_eq!(world.client_got(), [rst(9001)]);
    assert_eq!(world.activity().1, 0);
}

#[test]
fn silent_connections_are_forgotten() {
    let mut world = World::running();
    world.client(syn(1).on_port(2));
    world.guest(1, syn_ack(1, 2).on_port(2));
    assert_eq!(world.activity().1, 2);
    world.pass(Duration::from_secs(4 * 60 - 1));
    assert_eq!(world.activity().1, 2);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.activity().1, 1, "four minutes for a half-open one (RFC 5382)");
    world.pass(Duration::from_secs(2 * 3600 - 10));
    world.client(ack(1001, 9001));
    world.pass(Duration::from_secs(2 * 3600 + 4 * 60 - 1));
    assert_eq!(world.activity().1, 1);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.activity().1, 0, "two hours and four minutes for an established one");
    assert_eq!(world.switch.poll_timeout(), None);
}

#[test]
fn a_busy_connection_moves_its_timer_once_a_second_at_most() {
    let mut world = World::running();
    let mut deadlines = std::collections::BTreeSet::new();
    for _ in 0..500 {
        world.client(ack(1001, 9001).with(10));
        deadlines.insert(world.switch.poll_timeout().unwrap());
        world.pass(ms(10));
    }
    assert!(deadlines.len() <= 6, "{} timers in 5 s", deadlines.len());
}

#[test]
fn connections_that_the_guest_makes_count_once_they_are_answered() {
    let mut world = World::running();
    // The guest calls the client: the client's side is the listening one.
    world.guest(1, syn(500).on_port(443).to_port(3000));
    assert_eq!(world.activity().1, 1);
    world.client(syn_ack(800, 77).on_port(443).to_port(3000));
    assert_eq!(world.activity().1, 1, "an answer to nothing");
    world.client(syn_ack(800, 501).on_port(443).to_port(3000));
    assert_eq!(world.activity().1, 2);
    world.guest(1, ack(501, 801).with(9).on_port(443).to_port(3000));
    world.forget();
    world.close(1);
    let expected = [rst_ack(510, 801).on_port(443).to_port(3000), rst_ack(9001, 1001)];
    let mut got = world.client_got();
    got.sort_by_key(|segment| segment.client_port);
    assert_eq!(got, expected);
}

#[test]
fn a_flood_of_half_open_connections_does_not_push_out_established_ones() {
    let mut world = World::running();
    for source_port in 0..20_000_u16 {
        world.guest(1, syn_ack(1, 2).on_port(source_port));
    }
    world.pass(Duration::from_secs(5 * 60));
    world.forget();
    assert_eq!(world.activity().1, 1);
    world.close(1);
    assert_eq!(world.client_got(), [rst_ack(9001, 1001)]);
}

#[test]
fn an_address_that_moves_takes_its_clients_along() {
    let mut world = World::running();
    world.client(syn(1).over_v6().on_port(2));
    world.guest(1, syn_ack(1, 2).over_v6().on_port(2));
    world.client(syn(9).on_port(3).to_port(99));
    world.forget();
    let mut settings = port();
    settings.ipv4 = Some("10.9.0.99".parse().unwrap());
    world.command(Command::Attach(settings));
    assert_eq!(
        world.client_got(),
        [rst_ack(0, 10).on_port(3).to_port(99), rst_ack(9001, 1001)],
        "the held one and the connected one; IPv6 stays"
    );
    assert_eq!(world.activity().1, 1);
    world.client(syn(1000));
    assert_eq!(world.counter("dropped_unknown_destination"), 1);

    // Another service gets an address before its owner was told.
    let mut other = port();
    other.service = policies::ServiceId(8);
    other.ipv4 = None;
    world.command(Command::Attach(other));
    assert_eq!(world.client_got(), [rst_ack(2, 2).over_v6().on_port(2)]);
    world.client(syn(5).over_v6());
    assert!(world.events.iter().any(|event| matches!(
        event,
        synjitsu::Event::Wake { service: policies::ServiceId(8), .. }
    )));
}
