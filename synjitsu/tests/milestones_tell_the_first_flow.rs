//! The owner is told how far the first flow of each instance came, whether it was held or not.

mod support;

use policies::{Generation, Instant};
use support::segment::{ack, rst, rst_ack, syn, syn_ack};
use support::{HOLD_TIME, World, ms};
use synjitsu::MilestoneKind::{self, FirstByte, HandedOver, Held, Passed, Replayed};
use synjitsu::{Event, HoldOutcome};

/// What was told: of which generation, when, what.
fn story(world: &World) -> Vec<(Option<u64>, Instant, MilestoneKind)> {
    let milestone = |event: &Event| match event {
        Event::Milestone { generation, at, what, .. } => {
            Some((generation.map(|Generation(number)| number), *at, *what))
        }
        _ => None,
    };
    world.events.iter().filter_map(milestone).collect()
}

/// The guest of `generation` answers the SYN with ISN 1000 and sends a byte, 1 ms and 2 ms from now.
fn serve(world: &mut World, generation: u64, client_port: u16) {
    world.pass(ms(1));
    world.guest(generation, syn_ack(9000, 1001).on_port(client_port));
    world.pass(ms(1));
    world.guest(generation, ack(9001, 1001).with(1).on_port(client_port));
}

#[test]
fn of_a_syn_that_came_first() {
    let mut world = World::new();
    let start = world.now;
    world.client(syn(1000));
    world.pass(ms(3));
    world.open(1);
    serve(&mut world, 1, 40_000);
    let expected = [
        (None, start, Held),
        (Some(1), start + ms(3), Replayed),
        (Some(1), start + ms(4), HandedOver),
        (Some(1), start + ms(5), FirstByte),
    ];
    assert_eq!(story(&world), expected);
}

#[test]
fn of_a_syn_that_found_the_port_open() {
    let mut world = World::new();
    world.open(1);
    world.pass(ms(3));
    let start = world.now;
    world.client(syn(1000));
    serve(&mut world, 1, 40_000);
    let expected = [
        (Some(1), start, Passed),
        (Some(1), start + ms(1), HandedOver),
        (Some(1), start + ms(2), FirstByte),
    ];
    assert_eq!(story(&world), expected);
    // The next ones tell nothing.
    world.client(syn(1000).on_port(2));
    serve(&mut world, 1, 2);
    assert_eq!(story(&world).len(), 3);
}

#[test]
fn of_a_syn_that_came_long_after_the_guest() {
    let mut world = World::new();
    world.open(1);
    world.pass(HOLD_TIME * 2);
    let start = world.now;
    world.client(syn(1000));
    assert_eq!(world.activity().2, 0, "nothing is held for a guest that had so long to listen");
    serve(&mut world, 1, 40_000);
    let expected = [
        (Some(1), start, Passed),
        (Some(1), start + ms(1), HandedOver),
        (Some(1), start + ms(2), FirstByte),
    ];
    assert_eq!(story(&world), expected);
}

#[test]
fn of_each_generation_again() {
    let mut world = World::new();
    for generation in [1, 2] {
        world.open(generation);
        world.client(syn(1000));
        serve(&mut world, generation, 40_000);
        world.close(generation);
        let told: Vec<_> = story(&world).iter().map(|(whose, _, what)| (*whose, *what)).collect();
        let whose = Some(generation);
        assert_eq!(told, [(whose, Passed), (whose, HandedOver), (whose, FirstByte)]);
        world.forget();
    }
}

#[test]
fn of_a_syn_whose_guest_failed_from_the_beginning_again() {
    let mut world = World::new();
    world.open(1);
    let start = world.now;
    world.client(syn(1000));
    world.pass(ms(5));
    world.close(1);
    assert_eq!(story(&world), [(Some(1), start, Passed), (None, start, Held)]);
    world.forget();
    world.open(2);
    serve(&mut world, 2, 40_000);
    let told: Vec<_> = story(&world).iter().map(|(whose, _, what)| (*whose, *what)).collect();
    assert_eq!(told, [(Some(2), Replayed), (Some(2), HandedOver), (Some(2), FirstByte)]);
}

#[test]
fn of_the_next_flow_if_the_first_one_came_to_nothing() {
    // Nobody booted in time, or the guest refused until the end.
    for boots in [false, true] {
        let mut world = World::new();
        world.client(syn(1000));
        if boots {
            world.open(1);
            world.guest(1, rst_ack(0, 1001));
        }
        world.pass(HOLD_TIME);
        let outcome = if boots { HoldOutcome::Refused } else { HoldOutcome::Expired };
        assert_eq!(world.outcomes(), [outcome]);
        world.forget();
        let start = world.now;
        world.client(syn(1000).on_port(2));
        if !boots {
            world.open(1);
        }
        serve(&mut world, 1, 2);
        let told: Vec<_> = story(&world).iter().map(|(_, at, what)| (*at, *what)).collect();
        let tail = [(start + ms(1), HandedOver), (start + ms(2), FirstByte)];
        let begin: &[_] =
            if boots { &[(start, Passed)] } else { &[(start, Held), (start, Replayed)] };
        assert_eq!(told, [begin, &tail].concat());
    }
}

#[test]
fn of_who_has_waited_longest_if_the_first_one_gives_up() {
    let mut world = World::new();
    let start = world.now;
    world.client(syn(500).on_port(1));
    world.pass(ms(2));
    world.client(syn(1000).on_port(2));
    world.pass(ms(2));
    world.client(rst(501).on_port(1));
    assert_eq!(story(&world), [(None, start, Held), (None, start + ms(2), Held)]);
    world.open(1);
    serve(&mut world, 1, 2);
    assert_eq!(world.milestones(), [Held, Held, Replayed, HandedOver, FirstByte]);

    // The same when the guest was asked already.
    let mut world = World::new();
    world.client(syn(500).on_port(1));
    world.client(syn(1000).on_port(2));
    world.pass(ms(2));
    world.open(1);
    let opened = world.now;
    world.pass(ms(2));
    world.forget();
    world.client(rst(501).on_port(1));
    assert_eq!(story(&world), [(Some(1), start, Held), (Some(1), opened, Replayed)]);
    serve(&mut world, 1, 2);
    assert_eq!(world.milestones(), [Held, Replayed, HandedOver, FirstByte]);
}

#[test]
fn of_the_next_flow_if_the_guest_left_the_first_one_unanswered() {
    let mut world = World::new();
    world.open(1);
    world.pass(HOLD_TIME);
    world.client(syn(500).on_port(1));
    world.pass(HOLD_TIME);
    world.forget();
    world.client(syn(1000).on_port(2));
    serve(&mut world, 1, 2);
    assert_eq!(world.milestones(), [Passed, HandedOver, FirstByte]);
}
