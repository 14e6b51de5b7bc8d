//! A connection that was opened while its service was cold carries every octet both ways, over links that delay, lose,
//! double, reorder and damage packets, between two kernels' TCP stacks.
//!
//! The default is what fits into the ordinary tests. Much more of it, with another seed:
//!
//! ```sh
//! LINKS_SOAK=1 LINKS_SEED=12345 cargo test --release -p summoner --test connections_survive_bad_links -- --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use summoner::harness::lab::exchange::{Client, Exchange, ExchangeError};
use summoner::harness::lab::stack::TcpOptions;
use summoner::harness::lab::{Family, Lab, LabSetup};
use synjitsu::{HoldMode, HoldPolicy, Overflow};
use synjitsu_device::faulty::{Faults, Link, Share};

const MIB: u64 = 1 << 20;
/// What a bulk transfer carries.
const BULK: u64 = 64 * MIB;
/// What one client may send before the guest takes it.
const BUFFER: u32 = 64 * 1024;
const MODES: [HoldMode; 2] = [HoldMode::Syn, HoldMode::Handshake];
/// Labs at the same time: they wait most of their time.
const AT_ONCE: usize = 8;

/// What the client and its clock have come to when the guest's port opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// A packet has asked for the service.
    Woken,
    /// The same, but the guest's stack refuses connections for some more of its own time.
    WokenBeforeItListens,
    /// The client's connection is open.
    Connected,
    /// The client has sent so much, and the switch has acknowledged it.
    Acknowledged(u64),
    /// The client has sent until it could not send more.
    Full,
    /// The client has sent all that it had and its end.
    Ended,
}

impl Moment {
    /// Whether it is a packet's, and the client does not care.
    const fn is_packet(self) -> bool {
        matches!(self, Self::Woken | Self::WokenBeforeItListens)
    }

    /// Whether a client can come to it while nobody but the switch is there.
    fn exists_in(self, mode: HoldMode) -> bool {
        match self {
            Self::Woken | Self::WokenBeforeItListens => true,
            Self::Connected | Self::Acknowledged(_) | Self::Full | Self::Ended => {
                mode == HoldMode::Handshake
            }
        }
    }
}

/// One lab and what happens in it.
#[derive(Debug, Clone, Copy)]
struct Case {
    mode: HoldMode,
    family: Family,
    faults: Faults,
    seed: u64,
    client: TcpOptions,
    guest: TcpOptions,
    /// The largest packet on the client's link and on the guest's.
    mtu: (u16, u16),
    moment: Moment,
    /// Boots of the guest, one after the other: with the second one the switch has seen what its stack offers.
    boots: u64,
    /// Connections at the same time in each of them, all opened while the guest is cold.
    connections: u64,
    up: u64,
    down: u64,
}

impl Case {
    const fn new(mode: HoldMode, faults: Faults) -> Self {
        Self {
            mode,
            family: Family::V4,
            faults,
            seed: 1,
            client: TcpOptions::DEFAULT,
            guest: TcpOptions::DEFAULT,
            mtu: (1500, 1500),
            moment: Moment::Woken,
            boots: 1,
            connections: 1,
            up: 256 * 1024,
            down: 256 * 1024,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, family, client, guest, mtu, moment, boots, connections, .. } = self;
        let Self { up, down, .. } = self;
        let link = Link::symmetric(self.seed, self.faults);
        write!(
            f,
            "{mode:?} {family:?}, {link}; {boots} x {connections} x {up} up {down} down, open when {moment:?}, \
             mtu {mtu:?}, client {client}, guest {guest}"
        )
    }
}

/// A link whose faults come often enough that every transfer meets them, and that is quick enough for a test.
const fn bad() -> Faults {
    Faults {
        late: Share::percent(5),
        lateness: Duration::from_millis(3),
        loss: Share::percent(2),
        duplication: Share::percent(2),
        corruption: Share::of_thousand(2),
        ..Faults::delay(Duration::from_millis(1))
    }
}

/// Runs a case and says what went wrong.
fn run(case: &Case) -> Result<(), String> {
    let setup = LabSetup {
        link: Link::symmetric(case.seed, case.faults),
        hold: HoldPolicy {
            mode: case.mode,
            // Longer than any patience: nothing here is to expire.
            time: Duration::from_secs(3600),
            flows: 1000,
            bytes: 64 * MIB,
            buffer: BUFFER,
            overflow: Overflow::Drop,
        },
        mtu: case.mtu,
        client: case.client,
        guest: case.guest,
    };
    let begun = Instant::now();
    let mut lab = Lab::new(&setup).map_err(|error| error.to_string())?;
    let result = (1..=case.boots).try_for_each(|boot| {
        if boot > 1 {
            lab.close().map_err(|error| error.to_string())?;
            lab.forget_events();
        }
        in_lab(case, &mut lab)
    });
    let tallies = lab.watch().tallies();
    // Shown when a test fails, or with --nocapture.
    println!("{:>8.3?} {case}", begun.elapsed());
    result.map_err(|error| {
        let (counters, server) = (lab.counters(), lab.server_problems());
        let counters: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).collect();
        format!(
            "{error}\n  in {case}\n  link {tallies:?}\n  switch {counters:?}\n  server {server:?}"
        )
    })?;
    if case.faults.loss > Share::NONE && case.up.min(case.down) >= BULK {
        for way in [tallies.inbound, tallies.outbound] {
            if [way.lost, way.duplicated, way.damaged, way.overtaken].contains(&0) {
                return Err(format!("the link was not bad: {way:?}\n  in {case}"));
            }
        }
    }
    Ok(())
}

fn in_lab(case: &Case, lab: &mut Lab) -> Result<(), String> {
    if case.moment != Moment::WokenBeforeItListens && !lab.listens() {
        lab.listen().map_err(|error| error.to_string())?;
    }
    let address = lab.address(case.family);
    let (reached, moments) = channel();
    let (go_on, may_go_on): (Vec<_>, Vec<_>) =
        (0..case.connections).map(|_| channel::<()>()).unzip();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..case.connections)
            .zip(may_go_on)
            .map(|(number, may_go_on)| {
                let (reached, client) = (reached.clone(), lab.client());
                let Case { up, down, seed, moment, .. } = *case;
                let exchange = Exchange { up, down, seed: seed.wrapping_add(number) };
                let work = move || -> Result<u32, ExchangeError> {
                    let client = come_to(moment, exchange.connect(address)?)?;
                    if !moment.is_packet() {
                        let _ = reached.send(());
                        // Nothing is ever sent: the other end is dropped when the port is open.
                        let _ = may_go_on.recv();
                    }
                    client.finish()
                };
                scope.spawn(move || client.within(work))
            })
            .collect();
        drop(reached);
        lab.wait_for_wake().map_err(|error| error.to_string())?;
        if !case.moment.is_packet() {
            // A client that failed is found below.
            let come = (0..case.connections).take_while(|_| moments.recv().is_ok()).count();
            assert!(come > 0 || case.connections == 0, "no client came to {:?}", case.moment);
        }
        lab.open().map_err(|error| error.to_string())?;
        if case.moment == Moment::WokenBeforeItListens {
            // The guest's kernel refuses meanwhile; the switch is told that by a RST, which is an event of its own.
            lab.wait_for_refusal().map_err(|error| error.to_string())?;
            lab.listen().map_err(|error| error.to_string())?;
        }
        drop(go_on);
        let mut problems = Vec::new();
        for (number, client) in clients.into_iter().enumerate() {
            match client.join().unwrap() {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => problems.push(format!("client {number}: {}", report(&error))),
                Err(error) => problems.push(error.to_string()),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    })
}

/// What a client does before the guest's port opens.
fn come_to(moment: Moment, mut client: Client) -> Result<Client, ExchangeError> {
    match moment {
        Moment::Woken | Moment::WokenBeforeItListens | Moment::Connected => {}
        Moment::Acknowledged(octets) => {
            client.write_early(octets)?;
            client.wait_until_acknowledged()?;
        }
        Moment::Full => {
            let written = client.write_until_full()?;
            assert!(written > u64::from(BUFFER), "the client's own buffer is too small: {written}");
        }
        Moment::Ended => {
            client.write_all()?;
            client.wait_until_acknowledged()?;
        }
    }
    Ok(client)
}

fn report(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Runs all cases, some at a time, and fails with everything that went wrong.
fn run_all(cases: impl IntoIterator<Item = Case>, at_once: usize) {
    let cases: Vec<Case> =
        cases.into_iter().filter(|case| case.moment.exists_in(case.mode)).collect();
    let left = Mutex::new(cases.iter());
    let problems = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap().next();
                    let Some(case) = next else { return };
                    if let Err(problem) = run(case) {
                        problems.lock().unwrap().push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), cases.len(), problems.join("\n"));
}

/// False, with the reason, where no lab can be made.
fn can_run() -> bool {
    let missing = if !nix::unistd::geteuid().is_root() {
        Some("root, to make network namespaces")
    } else if !Path::new("/dev/net/tun").exists() {
        Some("/dev/net/tun")
    } else {
        None
    };
    if let Some(missing) = missing {
        let name = thread::current().name().unwrap_or("test").to_owned();
        // Not a print macro: those are captured by the test harness.
        let _ = writeln!(std::io::stderr(), "SKIPPED {name}: needs {missing}");
    }
    missing.is_none()
}

fn soak() -> bool {
    std::env::var_os("LINKS_SOAK").is_some()
}

/// The seed of all seeds; each case's is printed.
fn seed() -> u64 {
    std::env::var("LINKS_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// Gives each case a seed of its own.
fn seeded(cases: impl IntoIterator<Item = Case>) -> impl Iterator<Item = Case> {
    let first = seed().wrapping_mul(1_000_003);
    (0..).zip(cases).map(move |(index, case)| Case { seed: first.wrapping_add(index), ..case })
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[test]
fn with_every_combination_of_options() {
    if !can_run() {
        return;
    }
    let mut cases = Vec::new();
    for client in TcpOptions::all() {
        for guest in TcpOptions::all() {
            for mode in MODES {
                // Both families come with every option of either side, if not with every pair.
                let even = cases.len() / 2 % 2 == 0;
                let families: &[Family] =
                    if soak() { &FAMILIES } else { &FAMILIES[usize::from(even)..][..1] };
                for family in families {
                    let case = Case::new(mode, bad());
                    let moment = match mode {
                        HoldMode::Syn => Moment::Woken,
                        HoldMode::Handshake => Moment::Acknowledged(10_000),
                    };
                    cases.push(Case {
                        client,
                        guest,
                        family: *family,
                        moment,
                        connections: 2,
                        ..case
                    });
                }
            }
        }
    }
    run_all(seeded(cases), AT_ONCE);
}

#[test]
fn whenever_the_guest_comes() {
    if !can_run() {
        return;
    }
    let moments = [
        Moment::Woken,
        Moment::WokenBeforeItListens,
        Moment::Connected,
        Moment::Acknowledged(1),
        Moment::Acknowledged(1448),
        Moment::Acknowledged(u64::from(BUFFER) / 2),
        Moment::Full,
    ];
    let mut cases = Vec::new();
    for mode in MODES {
        for family in FAMILIES {
            for moment in moments {
                let case = Case::new(mode, bad());
                cases.push(Case { family, moment, up: 4 * MIB, connections: 2, ..case });
            }
            let case = Case::new(mode, bad());
            for up in [0, 1, 30_000] {
                cases.push(Case { family, moment: Moment::Ended, up, connections: 3, ..case });
            }
        }
    }
    run_all(seeded(cases), AT_ONCE);
}

#[test]
fn whatever_fits_into_a_packet() {
    if !can_run() {
        return;
    }
    let mut cases = Vec::new();
    for mode in MODES {
        for family in FAMILIES {
            for mtu in [(1280, 1280), (1280, 1500), (1500, 9000), (9000, 9000)] {
                let case = Case::new(mode, bad());
                let moment = Moment::Woken;
                cases.push(Case {
                    family,
                    mtu,
                    moment,
                    connections: 2,
                    up: MIB,
                    down: MIB,
                    ..case
                });
            }
        }
    }
    run_all(seeded(cases), AT_ONCE);
}

/// Bulk in one direction after the other: what fills the link is one connection.
fn bulk(faults: Faults) {
    if !can_run() {
        return;
    }
    let bulk = if soak() { 16 * BULK } else { BULK };
    let mut cases = Vec::new();
    for (mode, family) in [
        (HoldMode::Handshake, Family::V4),
        (HoldMode::Handshake, Family::V6),
        (HoldMode::Syn, Family::V4),
    ] {
        let case = Case { family, ..Case::new(mode, faults) };
        let moment = match mode {
            HoldMode::Syn => Moment::Woken,
            HoldMode::Handshake => Moment::Acknowledged(20_000),
        };
        cases.push(Case { moment, up: bulk, down: bulk, ..case });
    }
    run_all(seeded(cases), 2);
}

#[test]
fn with_64_mib_each_way_over_a_link_with_delay() {
    bulk(Faults::delay(Duration::from_millis(5)));
}

#[test]
fn with_64_mib_each_way_over_a_bad_link() {
    bulk(bad());
}
