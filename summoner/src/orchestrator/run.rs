//! The loop around the orchestrator: the only place where it meets a clock and waits.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::request::Request;
use super::{Change, Deployment, Limits, Orchestrator};
use crate::clock::{now, tokio_instant};
use crate::dns::QueryWake;
use crate::engine::EngineEvent;
use crate::packet_events;

/// How long guests may take to end when the daemon goes down.
const FAREWELL: Duration = Duration::from_secs(10);

/// What is to be in force from now on.
#[derive(Debug)]
pub struct Configuration {
    /// What may run, and what wakes may cost.
    pub limits: Limits,
    /// The services, all of them.
    pub services: Vec<Deployment>,
    /// Told when it is in force.
    pub done: oneshot::Sender<()>,
}

/// Where the orchestrator's work comes from.
#[derive(Debug)]
pub struct Inputs {
    /// Wakes by DNS.
    pub queries: mpsc::Receiver<QueryWake>,
    /// The switch.
    pub packets: packet_events::Receiver,
    /// The engine.
    pub engine: mpsc::Receiver<EngineEvent>,
    /// Administrators.
    pub requests: mpsc::Receiver<Request>,
    /// New sets of services.
    pub configurations: mpsc::Receiver<Configuration>,
    /// Services that templates make and that are forgotten.
    pub changes: mpsc::Receiver<Change>,
}

/// Runs until `shutdown`, then stops every guest.
pub async fn run(
    mut orchestrator: Orchestrator,
    mut inputs: Inputs,
    shutdown: impl Future<Output = ()>,
) {
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = step(&mut orchestrator, &mut inputs) => {}
        }
    }
    orchestrator.shut_down(now());
    let farewell = tokio::time::sleep(FAREWELL);
    tokio::pin!(farewell);
    while !orchestrator.services.is_empty() {
        tokio::select! {
            () = &mut farewell => {
                warn!(left = orchestrator.services.len(), "guests did not end in time and are abandoned to the kernel");
                break;
            }
            () = step(&mut orchestrator, &mut inputs) => {}
        }
    }
}

/// Waits for one input and handles it. Safe to cancel: an input is taken and handled without a pause.
async fn step(orchestrator: &mut Orchestrator, inputs: &mut Inputs) {
    let due = orchestrator.poll_timeout();
    let timer = async {
        match due {
            Some(at) => tokio::time::sleep_until(tokio_instant(at)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        Some(event) = inputs.packets.recv() => orchestrator.handle_packets(now(), event),
        Some(event) = inputs.engine.recv() => orchestrator.handle_engine(now(), event),
        Some(wake) = inputs.queries.recv() => orchestrator.handle_query(now(), wake),
        Some(request) = inputs.requests.recv() => orchestrator.handle_request(now(), request),
        Some(Configuration { limits, services, done }) = inputs.configurations.recv() => {
            orchestrator.configure(now(), &limits, services);
            // Who asked may have stopped waiting.
            let _ = done.send(());
        }
        Some(change) = inputs.changes.recv() => orchestrator.handle_change(now(), change),
        () = timer => orchestrator.handle_timeout(now()),
    }
}
