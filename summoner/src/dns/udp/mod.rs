//! DNS over UDP: threads that answer in batches, several on an address.
//!
//! ```text
//!   socket --Batch--> Worker --Batch--> socket, and only then wakes
//!                        |  Answerer: Prepared, what was answered before, if the query is Plain
//!                        |            Responder, if it is not, or was not
//!                        +--answers that have to wait--> Waiting, a task of the thread `dns`
//! ```
//!
//! A worker waits in the receiving call itself, for its own socket: the fewer calls, the less time a query takes. What
//! ends it is a flag and the shutdown of its socket.

mod answerer;
mod counts;
mod late;
mod plain;
mod prepared;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::net::Shutdown;
use synjitsu_device::datagrams::Listener;
use tokio::sync::mpsc;
use tracing::error;

pub(super) use late::Waiting;
use worker::Worker;

use super::{Responder, URGENCY};

/// The workers of all listeners; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<(Arc<UdpSocket>, JoinHandle<()>)>,
    stopping: Arc<AtomicBool>,
    /// Told by a worker that ends, for whatever reason.
    ended: mpsc::Receiver<()>,
}

/// Says, when it is dropped, that a worker has ended: also by a panic.
struct Ends(mpsc::Sender<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        // One that is full says it already.
        let _ = self.0.try_send(());
    }
}

impl Workers {
    /// Starts a worker for each socket. What is beside them has to be run: it keeps the answers that have to wait.
    ///
    /// # Errors
    /// When a thread cannot be made; those that were made end.
    pub(super) fn start(
        responder: &Responder,
        listeners: Vec<Listener>,
    ) -> io::Result<(Self, Waiting)> {
        let (late, waiting) = late::queue(responder.clone());
        let (ends, ended) = mpsc::channel(1);
        let mut workers = Self { threads: Vec::new(), stopping: Arc::default(), ended };
        let sockets =
            listeners.into_iter().flat_map(|Listener { sockets, tells_arrival, .. }| {
                sockets.into_iter().map(move |socket| (socket, tells_arrival))
            });
        for (number, (socket, tells_arrival)) in sockets.enumerate() {
            let socket = Arc::new(socket);
            let worker = Worker {
                responder: responder.clone(),
                socket: socket.clone(),
                tells_arrival,
                late: late.clone(),
                stopping: workers.stopping.clone(),
            };
            let ends = Ends(ends.clone());
            let run = move || {
                let _ends = ends;
                // Only who is privileged may; for others, that guests yield has to do.
                let _ = rustix::process::nice(-URGENCY);
                if let Err(error) = worker.run() {
                    error!(%error, "a UDP socket cannot be received from");
                }
            };
            let thread =
                std::thread::Builder::new().name(format!("dns-udp-{number}")).spawn(run)?;
            workers.threads.push((socket, thread));
        }
        Ok((workers, waiting))
    }

    /// Waits until a worker ends without having been asked to. Without workers: for ever.
    pub(super) async fn ended(&mut self) {
        if self.threads.is_empty() || self.ended.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        for (socket, thread) in self.threads.drain(..) {
            // The socket is not connected, which is an error here, and its reader is woken nevertheless.
            let _ = rustix::net::shutdown(&socket, Shutdown::Read);
            if thread.join().is_err() {
                error!("a thread that answers DNS panicked");
            }
        }
    }
}
