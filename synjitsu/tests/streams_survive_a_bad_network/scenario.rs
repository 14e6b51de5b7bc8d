//! What is drawn for one run: the network, the life of the guests, and who wants what of the service.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use synjitsu::HoldMode;

use crate::endpoint::{Application, Stack};
use crate::network::Faults;

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) mode: HoldMode,
    pub(crate) hold_time: Duration,
    /// Octets that one client may send early.
    pub(crate) buffer: u32,
    /// Bounds on what is held for the service.
    pub(crate) flows: u32,
    pub(crate) bytes: u64,
    pub(crate) faults: Faults,
    /// Frames that wait in front of the guest at most, and how long it needs for one.
    pub(crate) queue: usize,
    pub(crate) service_time: Duration,
    /// Whether a guest of the image has run before, so that it is known what it offers.
    pub(crate) known: bool,
    pub(crate) guests: Vec<Life>,
    pub(crate) guest: Stack,
    pub(crate) plans: Vec<Plan>,
}

/// One boot of the guest; its times are counted from the end of the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    /// When its port is opened.
    pub(crate) opens: Duration,
    /// How long after that it listens.
    pub(crate) listens: Duration,
    /// Whether it refuses until then, or is silent.
    pub(crate) refuses: bool,
    /// How long after the opening its port is closed.
    pub(crate) closes: Option<Duration>,
}

/// One connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) v6: bool,
    pub(crate) begins: Duration,
    pub(crate) stack: Stack,
    pub(crate) client: Application,
    pub(crate) guest: Application,
    /// How long after its beginning the client gives up, and whether it begins anew from the same port.
    pub(crate) aborts: Option<(Duration, bool)>,
    /// How far before the end of the circle the client's and the guest's numbers begin.
    pub(crate) isn: (u32, u32),
}

fn ms(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn stack(least_mss: u16) -> impl Strategy<Value = Stack> {
    let options = (
        prop_oneof![2 => Just(1460_u16), 1 => Just(536_u16), 1 => least_mss..1440],
        option::weighted(0.7, 0_u8..=14),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![2 => 2_000_u32..6_000, 2 => 6_000_u32..70_000, 1 => 70_000_u32..400_000],
    );
    let habits = (
        prop::bool::weighted(0.8),
        ms(1..200),
        2_000_u32..40_000,
        any::<bool>(),
        any::<bool>(),
        0_u8..4,
        any::<bool>(),
    );
    (options, habits).prop_map(
        |(
            (mss, window_scale, sack, timestamps, buffer),
            (reassembles, ack_delay, flight, random_sizes, probes_with_octet, padding, eager),
        )| Stack {
            mss,
            window_scale,
            sack: sack && reassembles,
            timestamps,
            // A window of less than a unit could not be said.
            buffer: buffer.max(2 << window_scale.unwrap_or(0)),
            reassembles,
            ack_delay,
            flight,
            random_sizes,
            probes_with_octet,
            padding,
            eager,
        },
    )
}

fn octets() -> impl Strategy<Value = i64> {
    prop_oneof![2 => Just(0_i64), 4 => 1_i64..3_000, 4 => 3_000_i64..30_000, 1 => 30_000_i64..100_000]
}

fn speed(octets: i64) -> impl Strategy<Value = i64> {
    // Slow enough to fill windows, quick enough to come to an end.
    let slow = (octets / 400).max(50);
    prop_oneof![2 => Just(0_i64), 1 => slow..slow * 8]
}

fn application() -> impl Strategy<Value = (i64, i64, i64)> {
    octets().prop_flat_map(|octets| (Just(octets), speed(octets), speed(octets)))
}

fn plan(least_mss: u16) -> impl Strategy<Value = Plan> {
    let first = prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))];
    let numbers = prop_oneof![1 => 0_u32..20_000, 1 => any::<u32>()];
    let life = (any::<bool>(), ms(0..1_500), option::weighted(0.2, (ms(0..2_500), any::<bool>())));
    (life, stack(least_mss), application(), application(), first, (numbers.clone(), numbers))
        .prop_map(
            |((v6, begins, aborts), stack, client, guest, (client_first, guest_first), isn)| {
                let application = |(octets, reads, writes), closes_first| Application {
                    octets,
                    closes_first,
                    reads,
                    writes,
                };
                Plan {
                    v6,
                    begins,
                    stack,
                    // Each reads as fast as the other one's stream is long.
                    client: application((client.0, guest.1, client.2), client_first),
                    guest: application((guest.0, client.1, guest.2), guest_first),
                    aborts,
                    isn: (isn.0.wrapping_neg(), isn.1.wrapping_neg()),
                }
            },
        )
}

fn life() -> impl Strategy<Value = Life> {
    (
        prop_oneof![1 => Just(Duration::ZERO), 4 => ms(0..1_500), 1 => ms(1_500..7_000)],
        prop_oneof![2 => Just(Duration::ZERO), 2 => ms(0..400), 1 => ms(400..5_000)],
        any::<bool>(),
        option::weighted(0.25, ms(0..4_000)),
    )
        .prop_map(|(opens, listens, refuses, closes)| Life { opens, listens, refuses, closes })
}

fn faults() -> impl Strategy<Value = Faults> {
    let bad = (0_u32..120, 0_u32..80, 0_u32..250, ms(1..80), ms(1..250)).prop_map(
        |(loss, duplication, reordering, delay, detour)| Faults {
            loss,
            duplication,
            reordering,
            delay,
            detour,
        },
    );
    let good = ms(1..80).prop_map(|delay| Faults {
        loss: 0,
        duplication: 0,
        reordering: 0,
        delay,
        detour: Duration::ZERO,
    });
    prop_oneof![3 => bad, 1 => good]
}

/// Any run in a mode; `crowded` if the bounds are such that some clients get no place at first.
pub(crate) fn scenario(mode: HoldMode, crowded: bool) -> impl Strategy<Value = Scenario> {
    let hold = (
        ms(1_000..6_000),
        prop_oneof![3 => 4_096_u32..70_000, 1 => 500_u32..4_096],
        if crowded { 1..6_u32 } else { 64..65 },
        if crowded { 2_000..60_000_u64 } else { 1_000_000..1_000_001 },
    );
    let host = (
        prop_oneof![2 => Just(1_000_usize), 1 => 3_usize..20],
        prop_oneof![4 => 0_u64..400, 1 => 400_u64..6_000],
    );
    // A cookie has no place for smaller segments than everybody takes.
    let plans = vec(plan(if crowded { 536 } else { 256 }), 1..5);
    ((any::<u64>(), any::<bool>()), hold, faults(), host, vec(life(), 0..3), stack(256), plans)
        .prop_map(
            move |(
                (seed, known),
                (hold_time, buffer, flows, bytes),
                faults,
                host,
                guests,
                guest,
                plans,
            )| {
                let (queue, service_time) = (host.0, Duration::from_micros(host.1));
                Scenario {
                    seed,
                    mode,
                    hold_time,
                    buffer,
                    flows,
                    bytes,
                    faults,
                    queue,
                    service_time,
                    known,
                    guests,
                    guest,
                    plans,
                }
            },
        )
}
