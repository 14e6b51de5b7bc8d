//! Octets in bulk through the whole path, both ways, with the shared ring and with a hypercall for each frame, next to the
//! same octets between two sockets of the kernel. Every turn measures each contestant once in each direction, in a
//! random order.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use images::Features;
use tempfile::TempDir;

use super::Suite;
use super::world::{Running, World};
use crate::bench::BenchError;
use crate::bench::failure::Failure;
use crate::bench::throughput::{
    Clock, Direction, Peer, Throughput, TransferError, fetch, median, push,
};

/// What takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contestant {
    /// A guest whose frames go by the shared ring.
    Ring,
    /// One that makes a hypercall for each frame, as every host of its interface can serve it.
    Calls,
    /// Two sockets and a pair of devices between them.
    Veth,
    /// Two sockets.
    Loopback,
}

impl Contestant {
    const fn label(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Calls => "calls",
            Self::Veth => "veth",
            Self::Loopback => "loopback",
        }
    }
}

/// Ports of the guest's services.
const DISCARD: u16 = 9;
const HTTP: u16 = 80;

/// The scenario `throughput`.
pub(super) fn run(suite: &mut Suite<'_>) -> Result<(), BenchError> {
    let octets = suite.options.octets;
    let folder = tempfile::tempdir().map_err(BenchError::Folder)?;
    let image = without_ring(&folder)?;
    let ring = World { name: "ring", services: 1, idle: "1h", set: &[] }.start(suite)?;
    let set = [("services.*.image", image.as_str())];
    let calls = World { name: "calls", services: 1, idle: "1h", set: &set }.start(suite)?;
    let mut lanes = vec![
        Lane::to_guest(Contestant::Ring, &ring)?,
        Lane::to_guest(Contestant::Calls, &calls)?,
        Lane::to_peer(Contestant::Loopback, Peer::on_loopback()?),
    ];
    match Peer::across_a_cable() {
        Ok(peer) => lanes.push(Lane::to_peer(Contestant::Veth, peer)),
        Err(error) => {
            let reason = crate::report(&error);
            suite.recorder.note(format!("throughput: no pair of devices was measured: {reason}"));
        }
    }
    let mut jobs: Vec<(usize, Direction)> = (0..lanes.len())
        .flat_map(|lane| Direction::ALL.map(|direction| (lane, direction)))
        .collect();
    let turns = suite.options.transfers;
    let mebibytes = octets >> 20;
    (suite.progress)(&format!("throughput: {turns} turns of {} times {mebibytes} MiB", jobs.len()));
    // The first turn is nobody's usual one.
    for turn in 0..=turns {
        suite.random.shuffle(&mut jobs);
        for (lane, direction) in &jobs {
            lanes[*lane].transfer(suite, *direction, octets, turn > 0)?;
        }
    }
    for direction in Direction::ALL {
        report(suite, &lanes, direction, octets);
    }
    drop(lanes);
    ring.during(suite, |_, _| Ok(()))?;
    calls.during(suite, |_, _| Ok(()))
}

/// The default image, which does without the ring; its path as the configuration has it.
fn without_ring(folder: &TempDir) -> Result<String, BenchError> {
    let path = folder.path().join("hello-without-ring");
    let ring = Features::SHARED_RING.union(Features::POLL_SERVES_RING);
    let image = images::without(images::builtin::HELLO, ring)?;
    std::fs::write(&path, image).map_err(BenchError::Folder)?;
    // As a TOML string: a temporary folder's name may have anything in it.
    Ok(toml::Value::String(path.to_string_lossy().into_owned()).to_string())
}

/// Whom octets are exchanged with.
enum Place<'a> {
    Guest(&'a Running),
    /// It ends when it is dropped.
    Peer {
        _peer: Peer,
    },
}

/// A contestant, and what was found.
struct Lane<'a> {
    contestant: Contestant,
    place: Place<'a>,
    discard: SocketAddr,
    bytes: SocketAddr,
    found: [Found; 2],
}

#[derive(Debug, Default)]
struct Found {
    rates: Vec<f64>,
    length: Duration,
    clock: Clock,
}

impl<'a> Lane<'a> {
    fn to_peer(contestant: Contestant, peer: Peer) -> Self {
        let (discard, bytes) = (peer.discard, peer.bytes);
        let found = <[Found; 2]>::default();
        Self { contestant, place: Place::Peer { _peer: peer }, discard, bytes, found }
    }

    fn to_guest(contestant: Contestant, running: &'a Running) -> Result<Self, BenchError> {
        let key = &running.keys[0];
        running.admin.wake(key)?;
        let service = running.admin.service(key)?;
        let address = service.ipv4.map(IpAddr::V4).or_else(|| service.ipv6.map(IpAddr::V6));
        let address = address.ok_or_else(|| BenchError::Unprepared {
            name: key.clone(),
            failure: Failure::DnsNoAddress,
        })?;
        Ok(Self {
            contestant,
            place: Place::Guest(running),
            discard: (address, DISCARD).into(),
            bytes: (address, HTTP).into(),
            found: Default::default(),
        })
    }

    fn transfer(
        &mut self,
        suite: &mut Suite<'_>,
        direction: Direction,
        octets: u64,
        counts: bool,
    ) -> Result<(), BenchError> {
        let before = self.clock()?;
        let result = match direction {
            Direction::ToService => push(self.discard, octets),
            Direction::FromService => fetch(self.bytes, octets),
        };
        let after = self.clock()?;
        if !counts {
            return Ok(());
        }
        let part = format!("{}_{}", direction.label(), self.contestant.label());
        suite.recorder.plan(&part, 1);
        let tally = suite.recorder.tally(&part);
        tally.sent += 1;
        tally.baseline = matches!(self.place, Place::Peer { .. });
        match result {
            Ok(length) => {
                let found = &mut self.found[direction as usize];
                found.rates.push(octets as f64 / (length.as_secs_f64() * 1e6));
                found.length += length;
                if let (Some(before), Some(after)) = (before, after) {
                    found.clock.add_since(before, after);
                }
            }
            Err(error) => {
                suite.recorder.failed(&part, failure(&error));
                suite.recorder.note(format!("{part}: {}", crate::report(&error)));
            }
        }
        Ok(())
    }

    fn clock(&self) -> Result<Option<Clock>, BenchError> {
        let Place::Guest(running) = self.place else { return Ok(None) };
        let service = running.admin.service(&running.keys[0])?;
        let Some(monitor) = service.process else { return Ok(None) };
        Ok(Clock::look(running.process(), monitor, running.frames()?))
    }
}

const fn failure(error: &TransferError) -> Failure {
    match error {
        TransferError::Connection { .. } => Failure::Reset,
        TransferError::Length { .. } => Failure::Truncated,
        TransferError::NoPage { .. } => Failure::NotHttp,
    }
}

fn report(suite: &mut Suite<'_>, lanes: &[Lane<'_>], direction: Direction, octets: u64) {
    let found = |lane: &Lane<'_>| median(&lane.found[direction as usize].rates);
    let reference = |contestant| found(lanes.iter().find(|lane| lane.contestant == contestant)?);
    let (veth, loopback) = (reference(Contestant::Veth), reference(Contestant::Loopback));
    for lane in lanes {
        let Some(rate) = found(lane) else { continue };
        let Found { rates, length, clock } = &lane.found[direction as usize];
        let throughput = Throughput {
            octets,
            rates: rates.clone(),
            rate,
            by_veth: veth.map(|veth| rate / veth),
            by_loopback: loopback.map(|loopback| rate / loopback),
            cost: clock.cost(*length),
        };
        suite.recorder.throughput(direction.label(), lane.contestant.label(), throughput);
    }
}
