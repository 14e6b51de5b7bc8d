//! Breadth first through everything that can happen, up to a shift in time and generations.

use std::collections::{HashSet, VecDeque};

use policies::{Generation, Instant};

use super::TICK;
use super::faults::Faulty;
use super::world::{Broken, Process, STEPS, Step, World};
use crate::State;

/// A world with times relative to now and generations relative to the newest: worlds with equal keys behave alike.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    state: State,
    next: u64,
    failures: u32,
    process: Option<Process>,
    port: Option<Generation>,
    wanted: bool,
    asked_admission: bool,
    idle_question: Option<Generation>,
    close_question: Option<Generation>,
    boots_in: u64,
}

fn key(world: &World) -> Key {
    let generation = |g: Generation| Generation(world.newest.0.wrapping_sub(g.0));
    // Deadlines that have passed are all alike, and so are lives that are stable.
    let ahead =
        |at: Instant| Instant::from_nanos(at.as_nanos().saturating_sub(world.now.as_nanos()));
    let ago = |at: Instant| {
        let age = world.now.saturating_since(at).min(3 * TICK);
        Instant::ZERO + age
    };
    let state = match *world.machine.state() {
        State::Summoning { generation: g, deadline } => {
            State::Summoning { generation: generation(g), deadline: ahead(deadline) }
        }
        State::Running { generation: g, ready_at, check_at } => State::Running {
            generation: generation(g),
            ready_at: ago(ready_at),
            check_at: check_at.map(ahead),
        },
        State::Closing { generation: g, ready_at, wake_pending } => {
            State::Closing { generation: generation(g), ready_at: ago(ready_at), wake_pending }
        }
        State::Draining { generation: g, deadline, wake_pending, failed } => State::Draining {
            generation: generation(g),
            deadline: deadline.map(ahead),
            wake_pending,
            failed,
        },
        State::Backoff { until, wake_pending } => {
            State::Backoff { until: ahead(until), wake_pending }
        }
        state @ (State::Cold | State::Wanted) => state,
    };
    Key {
        state,
        next: world.machine.next().0.wrapping_sub(world.newest.0),
        // The back-off has reached its limit by then.
        failures: world.machine.failures().min(3),
        process: world
            .process
            .map(|process| Process { generation: generation(process.generation), ..process }),
        port: world.port.map(generation),
        wanted: world.wanted,
        asked_admission: world.asked_admission,
        idle_question: world.idle_question.map(generation),
        close_question: world.close_question.map(generation),
        boots_in: ahead(world.boots_from).as_nanos(),
    }
}

/// Visits every reachable world; returns how many there are, or the first broken promise.
pub(super) fn explore(machine: &Faulty) -> Result<usize, Broken> {
    let start = World::new(machine.clone());
    let mut seen = HashSet::from([key(&start)]);
    let mut queue = VecDeque::from([start]);
    while let Some(world) = queue.pop_front() {
        served_in_the_end(&world)?;
        left_alone_in_the_end(&world)?;
        for step in STEPS {
            if let Some(next) = world.step(step)?
                && seen.insert(key(&next))
            {
                queue.push_back(next);
            }
        }
    }
    Ok(seen.len())
}

/// Lets the world behave: what is asked is answered, what boots is ready, what is destroyed goes.
fn behave(world: &World, idle: bool) -> Result<Option<World>, Broken> {
    let doomed = world.process.is_some_and(|process| process.doomed);
    let steps: &[Step] = match (doomed, idle) {
        (true, _) => &[Step::Exit],
        (false, true) => &[Step::Admit, Step::Ready, Step::Idle, Step::CloseNow],
        (false, false) => {
            &[Step::Admit, Step::Ready, Step::Busy, Step::CloseRefused, Step::CloseNow]
        }
    };
    for step in steps {
        if let Some(next) = world.step(*step)? {
            return Ok(Some(next));
        }
    }
    // Nothing to answer: time passes.
    let later = world.step(Step::Tick)?;
    match later {
        Some(later) => later.step(Step::Timer),
        None => Ok(None),
    }
}

/// How many steps a world that behaves needs at the most.
const PATIENCE: usize = 64;

fn served_in_the_end(world: &World) -> Result<(), Broken> {
    let mut world = world.clone();
    for _ in 0..PATIENCE {
        if !world.wanted {
            return Ok(());
        }
        match behave(&world, false)? {
            Some(next) => world = next,
            None => break,
        }
    }
    Err(format!("a wake is never served: {world:?}"))
}

fn left_alone_in_the_end(world: &World) -> Result<(), Broken> {
    let mut world = world.clone();
    for _ in 0..PATIENCE {
        if *world.machine.state() == State::Cold {
            return Ok(());
        }
        match behave(&world, true)? {
            Some(next) => world = next,
            None => break,
        }
    }
    Err(format!("a service that nobody uses never gets cold: {world:?}"))
}
