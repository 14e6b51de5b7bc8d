//! Whatever clients and guests send: no panic, and the bounds hold.

mod support;

use proptest::prelude::*;
use support::segment::{ack, echo, fin, rst, syn, syn_ack, udp};
use support::{Side, World, ms};

/// Packets from which to start, so that random changes come deep into the parsers.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds =
        vec![udp(false, b"abc"), udp(true, b"abc"), echo(false, b"abc"), echo(true, b"abc")];
    for v6 in [false, true] {
        let segments =
            [syn(1), syn(1).with(3), ack(2, 3).with(9), fin(2, 3), rst(2), syn_ack(9000, 1001)];
        for segment in segments {
            let segment = support::Segment { v6, ..segment };
            seeds.push(segment.packet(Side::Client));
            seeds.push(segment.packet(Side::Guest));
        }
    }
    // ARP, and a neighbour solicitation.
    seeds.push([&[0, 1, 8, 0, 6, 4, 0, 1][..], &[2; 20]].concat());
    let mut solicitation = udp(true, &[0; 32]);
    solicitation[6] = 58;
    solicitation[7] = 255;
    solicitation[40] = 135;
    seeds.push(solicitation);
    seeds
}

#[derive(Debug, Clone)]
struct Mutation {
    seed: usize,
    changes: Vec<(usize, u8)>,
    cut: usize,
    from_guest: bool,
    ether_type: u8,
}

impl Mutation {
    fn packet(&self) -> Vec<u8> {
        let seeds = seeds();
        let mut packet = seeds[self.seed % seeds.len()].clone();
        for (at, value) in &self.changes {
            let at = at % packet.len();
            packet[at] = *value;
        }
        packet.truncate(packet.len().saturating_sub(self.cut));
        packet
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let changes = prop::collection::vec((any::<usize>(), any::<u8>()), 0..4);
    let cut = prop_oneof![3 => Just(0_usize), 1 => 0_usize..60];
    (any::<usize>(), changes, cut, any::<bool>(), 0_u8..3).prop_map(
        |(seed, changes, cut, from_guest, ether_type)| Mutation {
            seed,
            changes,
            cut,
            from_guest,
            ether_type,
        },
    )
}

fn frame(ether_type: u8, payload: &[u8]) -> Vec<u8> {
    let ether_type = [[8, 0], [0x86, 0xdd], [8, 6]][usize::from(ether_type)];
    [&support::GATEWAY_MAC[..], &support::GUEST_MAC, &ether_type, payload].concat()
}

fn check(world: &mut World) {
    let (_, _, held) = world.activity();
    assert!(held <= 50);
    world.pass(ms(3));
    world.out.0.clear();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_packets(open in any::<bool>(), mutations in prop::collection::vec(mutation(), 1..60)) {
        let mut world = if open { World::running() } else { World::new() };
        for (index, mutation) in mutations.iter().enumerate() {
            if mutation.from_guest {
                world.guest_frame(1, &frame(mutation.ether_type, &mutation.packet()));
            } else {
                world.uplink(&mutation.packet());
            }
            if index == 20 {
                world.open(2);
            }
            check(&mut world);
        }
        world.pass(support::HOLD_TIME);
        prop_assert_eq!(world.activity().2, 0);
    }

    #[test]
    fn random_bytes(version in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()], mut bytes in prop::collection::vec(any::<u8>(), 0..200), ether_type in 0_u8..3) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        let mut world = World::running();
        world.uplink(&bytes);
        world.guest_frame(1, &bytes);
        world.guest_frame(1, &frame(ether_type, &bytes));
        check(&mut world);
    }
}
