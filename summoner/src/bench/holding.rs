//! `--holding`: what holding a client's first packets is worth. The time to the first byte of connections to a service
//! that is not up, over a link of known length, to a guest that takes a known time to listen; in three manners.
//!
//! ```text
//!                  not held                  syn                      handshake
//!   client    SYN ---> dropped          SYN ---> kept            SYN ---> SYN-ACK, at once
//!                                                                request ---> kept
//!                  the guest is there        the guest is there       the guest is there
//!             SYN again, 1 s after the  SYN-ACK <--- its answer  first byte <--- the request's answer
//!             first; SYN-ACK; request   request --->
//!             first byte                first byte <---
//! ```
//!
//! Kernels' TCP on both sides; the switch and its driver as they are in the daemon. The guest is a kernel in a
//! namespace whose port this opens after the given time, so that nothing is measured but the holding.

use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use policies::Instant;
use synjitsu::{HoldMode, HoldPolicy, Overflow};
use synjitsu_device::faulty::{Faults, Link};
use synjitsu_device::{DeviceError, tcp_info};

use super::BenchError;
use super::client::{Outcome, Stamps};
use super::failure::Failure;
use super::report::Report;
use super::report::record::Recorder;
use crate::clock::now;
use crate::harness;
use crate::harness::lab::exchange::{Exchange, PATIENCE};
use crate::harness::lab::stack::TcpOptions;
use crate::harness::lab::{Family, Lab, LabError, LabSetup};

/// Names of the rows.
pub mod row {
    /// Nobody holds anything.
    pub const NOT_HELD: &str = "not_held";
    /// The SYN is held.
    pub const SYN: &str = "held_syn";
    /// The SYN is answered, and what follows is held.
    pub const HANDSHAKE: &str = "held_handshake";
}

/// Labs at the same time: their clients wait nearly all the time.
const LANES: usize = 8;
/// From the start of one lane to that of the next, so that they do not go in step.
const STAGGER: Duration = Duration::from_millis(37);

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Connections in each manner.
    pub connections: usize,
    /// Each way.
    pub delay: Duration,
    /// From the wake to the guest's listening.
    pub boot: Duration,
    /// For the report; nothing here is left to chance.
    pub seed: u64,
}

impl Options {
    /// A client at a distance of 100 ms there and back, and a guest that takes 300 ms.
    #[must_use]
    pub const fn usual(connections: usize, seed: u64) -> Self {
        let (delay, boot) = (Duration::from_millis(50), Duration::from_millis(300));
        Self { connections, delay, boot, seed }
    }
}

/// The three manners; without a mode the switch does not know the service until its guest is up.
const MANNERS: [(&str, Option<HoldMode>); 3] = [
    (row::NOT_HELD, None),
    (row::SYN, Some(HoldMode::Syn)),
    (row::HANDSHAKE, Some(HoldMode::Handshake)),
];

/// Enters a namespace and measures.
///
/// The process must have one thread only, and is in the namespace from then on.
///
/// # Errors
/// When the machine allows no namespaces or TUN devices, or the switch does not do what it should. A connection that
/// fails is none: it is counted.
pub fn run(options: &Options, command: String) -> Result<Report, BenchError> {
    harness::enter_network()?;
    let mut recorder = Recorder::new();
    for (row, _) in MANNERS {
        recorder.plan(row, options.connections);
    }
    recorder.baseline(row::NOT_HELD);
    recorder.note(format!(
        "a link of {:?} each way; the guest listens {:?} after the wake",
        options.delay, options.boot
    ));
    let recorder = Mutex::new(recorder);
    let lanes = LANES.min(options.connections.max(1));
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes)
            .map(|lane| {
                // As even as it gets.
                let count =
                    options.connections / lanes + usize::from(lane < options.connections % lanes);
                let recorder = &recorder;
                scope.spawn(move || {
                    thread::sleep(STAGGER * u32::try_from(lane).unwrap_or(0));
                    measure(options, count, recorder)
                })
            })
            .collect();
        lanes.into_iter().try_for_each(|lane| {
            lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let recorder = recorder.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(recorder.finish(command, options.seed))
}

/// One lane: the manners in turns.
fn measure(options: &Options, count: usize, recorder: &Mutex<Recorder>) -> Result<(), BenchError> {
    let mut labs = Vec::new();
    for (row, mode) in MANNERS {
        let mut lab = Lab::new(&setup(options, mode.unwrap_or(HoldMode::Syn)))?;
        lab.listen()?;
        labs.push((row, mode, lab));
    }
    for _ in 0..count {
        for (row, mode, lab) in &mut labs {
            let outcome = match mode {
                Some(_) => held(options, lab)?,
                None => not_held(options, lab)?,
            };
            let mut recorder = recorder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            recorder.outcome(row, row, &outcome);
        }
    }
    Ok(())
}

fn setup(options: &Options, mode: HoldMode) -> LabSetup {
    LabSetup {
        link: Link::symmetric(options.seed, Faults::delay(options.delay)),
        hold: HoldPolicy {
            mode,
            time: PATIENCE,
            flows: 1024,
            bytes: 1 << 24,
            buffer: 64 << 10,
            overflow: Overflow::Drop,
        },
        mtu: (1500, 1500),
        client: TcpOptions::DEFAULT,
        guest: TcpOptions::DEFAULT,
    }
}

/// One connection to the service, which is cold before and after.
fn held(options: &Options, lab: &mut Lab) -> Result<Outcome, BenchError> {
    lab.forget_events();
    let client = begin(lab);
    let woken = lab.wait_for_wake()?;
    thread::sleep((woken + options.boot).saturating_since(now()));
    lab.open()?;
    let outcome = end(client)?;
    lab.close()?;
    Ok(outcome)
}

/// The same without anybody who holds; the boot begins when the first packet would have arrived.
fn not_held(options: &Options, lab: &mut Lab) -> Result<Outcome, BenchError> {
    lab.detach();
    let begun = now();
    let client = begin(lab);
    thread::sleep((begun + options.delay + options.boot).saturating_since(now()));
    lab.attach();
    lab.open()?;
    end(client)
}

fn begin(lab: &Lab) -> JoinHandle<Result<Outcome, DeviceError>> {
    let (namespace, address) = (lab.client(), lab.address(Family::V4));
    thread::spawn(move || namespace.within(|| request(address)))
}

fn end(client: JoinHandle<Result<Outcome, DeviceError>>) -> Result<Outcome, BenchError> {
    let outcome = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok(outcome.map_err(LabError::from)?)
}

fn request(address: std::net::SocketAddr) -> Outcome {
    let begun = now();
    let result = attempt(begun, address);
    let (result, syn_retransmissions) = match result {
        Ok((stamps, again)) => (Ok(stamps), again),
        Err(failure) => (Err(failure), 0),
    };
    Outcome { result, syn_retransmissions, address: Some(address.ip()) }
}

fn attempt(begun: Instant, address: std::net::SocketAddr) -> Result<(Stamps, u32), Failure> {
    let since = || now().saturating_since(begun);
    let exchange = Exchange { up: 0, down: 1, seed: 1 };
    let mut client = exchange.connect(address).map_err(|_| Failure::ConnectFailed)?;
    let connected = since();
    let again = tcp_info::total_retransmissions(client.stream()).map_err(|_| Failure::Local)?;
    client.write_early(0).map_err(|_| Failure::WriteFailed)?;
    client.wait_for_first_byte().map_err(|_| Failure::ReadTimeout)?;
    let first_byte = since();
    client.finish().map_err(|_| Failure::WrongPage)?;
    let stamps = Stamps {
        started: Duration::ZERO,
        answered: Duration::ZERO,
        connected,
        first_byte,
        last_byte: since(),
    };
    Ok((stamps, again))
}
