//! A port is closed for idleness only if nothing came since the verdict, and a wake is never forgotten.

mod support;

use std::time::Duration;

use policies::{Generation, Instant};
use support::segment::{ack, echo, fin, rst_ack, syn, udp};
use support::{HOLD_TIME, SERVICE, World, ms, port};
use synjitsu::{Command, Event};

const CLOSED: Event = Event::Closed { service: SERVICE, generation: Generation(1) };
const REFUSED: Event = Event::CloseRefused { service: SERVICE, generation: Generation(1) };

#[test]
fn a_packet_after_the_stamp_refuses_the_close() {
    let mut world = World::running();
    let (stamp, open, held) = world.activity();
    assert_eq!((stamp, open, held), (Some(world.now), 1, 0));
    world.pass(ms(10));
    world.client(ack(1001, 9001));
    world.close_if(1, stamp);
    assert_eq!(world.events, [REFUSED]);
    world.guest_got(1);
    world.client(ack(1001, 9001));
    assert_eq!(world.guest_got(1).len(), 1, "still open");

    world.forget();
    let (stamp, ..) = world.activity();
    world.close_if(1, stamp);
    assert_eq!(world.events, [CLOSED]);
}

#[test]
fn packets_of_the_guest_count_as_well() {
    let mut world = World::running();
    let (stamp, ..) = world.activity();
    world.pass(ms(10));
    world.guest(1, ack(9001, 1001).with(3));
    world.close_if(1, stamp);
    assert_eq!(world.events.last(), Some(&REFUSED));
}

#[test]
fn what_the_switch_says_itself_does_not_count() {
    let mut world = World::new();
    world.client(syn(1000));
    let held_at = world.now;
    world.pass(ms(5));
    world.open(1);
    assert_eq!(world.activity(), (Some(held_at), 0, 1), "the held packet counts");
    world.guest(1, rst_ack(0, 1001));
    world.pass(ms(500));
    assert!(world.counter("replays") > 1);
    assert_eq!(world.activity().0, Some(held_at), "replays and hidden refusals do not");
    world.pass(HOLD_TIME);
    assert_eq!(world.activity(), (Some(held_at), 0, 0));
    world.client(syn(1).on_port(2));
    assert_eq!(world.activity().0, Some(world.now));
}

#[test]
fn a_client_that_waits_for_the_guest_refuses_the_close() {
    let mut world = World::new();
    world.client(syn(1000));
    world.open(1);
    world.forget();
    let far = Some(Instant::FAR_FUTURE);
    world.close_if(1, far);
    assert_eq!(world.events, [REFUSED]);
    world.close(1);
    assert!(world.events.contains(&CLOSED), "without a condition it closes");
}

#[test]
fn an_unused_port_closes() {
    let mut world = World::new();
    world.open(1);
    world.close_if(1, Some(Instant::ZERO));
    assert_eq!(world.events, [CLOSED]);
}

#[test]
fn a_late_close_of_an_older_generation_closes_nothing() {
    let mut world = World::running();
    world.close(1);
    world.open(2);
    world.forget();
    world.close(1);
    assert_eq!(world.events, []);
    world.client(syn(5).on_port(9));
    assert_eq!(world.guest_got(2).len(), 1);
    // Whoever waits for the answer gets it.
    world.forget();
    world.close_if(1, Some(Instant::ZERO));
    assert_eq!(world.events, [CLOSED]);
    world.client(syn(5).on_port(8));
    assert_eq!(world.guest_got(2).len(), 1);
}

#[test]
fn a_late_open_opens_nothing() {
    let mut world = World::new();
    world.open(2);
    world.close(2);
    world.forget();
    for generation in [1, 2] {
        world.open(generation);
        world.client(syn(5));
        assert_eq!(world.out.0, []);
    }
    assert_eq!(world.counter("stale_commands"), 2);
    world.open(3);
    assert_eq!(world.guest_got(3).len(), 1);
    world.open(3);
    assert_eq!(world.guest_got(3).len(), 0, "it is open already");
}

#[test]
fn a_newer_generation_takes_the_port_over() {
    let mut world = World::running();
    world.open(2);
    assert_eq!(world.client_got().len(), 1, "the old one's client is reset");
    world.guest(1, ack(9001, 1001));
    assert_eq!(world.client_got(), []);
    assert_eq!(world.counter("dropped_stale_port"), 1);
    world.client(syn(5).on_port(9));
    assert_eq!(world.guest_got(2).len(), 1);
    assert_eq!(world.guest_got(1).len(), 0);
}

#[test]
fn one_wake_for_many_packets_and_one_more_each_second() {
    let mut world = World::new();
    for client_port in 1..=40 {
        world.client(syn(1000).on_port(client_port));
        world.pass(ms(10));
    }
    assert_eq!(world.wakes(), 1);
    world.pass(ms(599));
    world.client(syn(1000).on_port(1));
    assert_eq!(world.wakes(), 1);
    world.pass(ms(1));
    world.client(syn(1000).on_port(1));
    world.client(syn(1000).on_port(2));
    assert_eq!(world.wakes(), 2, "maybe the first led to nothing");
}

#[test]
fn a_service_that_is_woken_by_name_only_holds_and_keeps_still() {
    let mut settings = port();
    (settings.wake_on_packet, settings.wake_on_echo) = (false, false);
    let mut world = World::with(settings);
    world.client(syn(1000));
    world.uplink(&udp(false, b"x"));
    world.uplink(&echo(true, b"x"));
    assert_eq!(world.wakes(), 0);
    assert_eq!(world.activity().2, 1);
    assert_eq!(world.counter("dropped_not_holdable"), 2);
    // The settings change while somebody waits.
    settings.wake_on_packet = true;
    world.command(Command::Attach(settings));
    assert_eq!(world.wakes(), 1);
    world.open(1);
    assert_eq!(world.guest_got(1), [syn(1000)]);
}

#[test]
fn segments_of_nothing_wake_nobody() {
    let mut world = World::new();
    world.client(ack(5, 77));
    world.client(fin(5, 78));
    assert_eq!(world.client_got(), [support::segment::rst(77), support::segment::rst(78)]);
    world.client(support::segment::rst(5));
    assert_eq!(world.client_got(), []);
    assert_eq!(world.wakes(), 0);
    assert_eq!(world.counter("dropped_stray_segment"), 1);
    for _ in 0..5000 {
        world.client(ack(5, 77));
    }
    assert!(world.client_got().len() <= 1000, "there is a budget");
    world.pass(Duration::from_secs(1));
    world.client(ack(5, 77));
    assert_eq!(world.client_got().len(), 1);
}

#[test]
fn a_report_about_nobody_is_answered() {
    let mut world = World::new();
    world.command(Command::Detach(SERVICE));
    assert_eq!(world.activity(), (None, 0, 0));
}
