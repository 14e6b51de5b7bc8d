//! Raw frames, one after the other.
//!
//! The first octet chooses the bounds and which ports are open. Then each record is a control octet, a length and as many
//! octets as that says. Of the control octet
//!
//! | bits | mean |
//! |---|---|
//! | 0, 1 | from the uplink, from the first guest, from the second guest; or a command, which the length chooses |
//! | 2 | the packet's checksums are made right |
//! | 3 | an Ethernet header is put before a guest's packet |
//! | 4, 5 | how much time passes afterwards |
//! | 6 | the packet is 256 octets longer than the length says, 512 with 7 |
use std::time::Duration;

use policies::Generation;
use synjitsu::{Command, Overflow};

use super::input::Input;
use super::packet;
use super::world::{HOLD_TIME, Size, World, frame, service};

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let choices = input.octet();
    let chosen = |bit: u8| choices >> bit & 1 == 1;
    let mut world = World::new(Size {
        flows: if chosen(2) { 3 } else { 50 },
        bytes: if chosen(3) { 600 } else { 50_000 },
        buffer: if chosen(3) { 200 } else { 4000 },
        mtu: if chosen(4) { 300 } else { 1500 },
        overflow: if chosen(5) { Overflow::Reset } else { Overflow::Drop },
    });
    let mut generation = 0;
    for index in [0, 1] {
        if chosen(index) {
            open(&mut world, index, &mut generation);
        }
    }
    while !input.is_over() {
        let (control, length) = (input.octet(), input.octet());
        match control & 3 {
            3 => command(&mut world, length, &mut generation),
            from => {
                let more = usize::from(control >> 6) * 256;
                let mut bytes = input.take(usize::from(length) + more).to_vec();
                if control & 4 != 0 {
                    packet::repair(&mut bytes);
                }
                if from == 0 {
                    world.uplink(&bytes);
                } else {
                    let bytes = if control & 8 != 0 { frame(from - 1, &bytes) } else { bytes };
                    world.guest_frame(from - 1, &bytes);
                }
            }
        }
        world.pass([0, 1, 100, 1500].map(Duration::from_millis)[usize::from(control >> 4 & 3)]);
        world.command(Command::Report(service(control >> 4 & 1)));
    }
    world.end();
}

fn open(world: &mut World, index: u8, generation: &mut u64) {
    *generation += 1;
    let generation = Generation(*generation);
    world.command(Command::Open { service: service(index), generation });
}

fn command(world: &mut World, choice: u8, generation: &mut u64) {
    let index = choice & 1;
    match choice >> 1 & 3 {
        0 => open(world, index, generation),
        1 => {
            let Some(generation) = world.open_generation(index) else { return };
            let only_if_idle_since = (choice & 8 != 0).then_some(world.now);
            let service = service(index);
            world.command(Command::Close { service, generation, only_if_idle_since });
        }
        2 => {
            world.pass(HOLD_TIME);
        }
        _ => {
            world.oversleep(Duration::from_secs(u64::from(choice)));
        }
    }
}
