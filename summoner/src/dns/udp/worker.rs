//! A thread that answers what comes by one socket: a batch is received, answered, sent, and only then wakes anybody.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use policies::Instant;
use synjitsu_device::datagrams::{Batch, Envelope};
use tokio::sync::mpsc;
use tracing::debug;

use super::super::{Arrival, Outcome, Responder, Transport};
use super::answerer::Answerer;
use super::late::Late;
use crate::clock;

/// How long a worker pauses after the system had no memory for it.
const PAUSE: Duration = Duration::from_millis(10);

/// So many queries at once mean that more are on their way.
const CROWD: usize = 2;

/// What a worker needs.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) responder: Responder,
    pub(super) socket: Arc<UdpSocket>,
    /// Whether the socket tells at which address a query arrived.
    pub(super) tells_arrival: bool,
    /// For answers that have to wait.
    pub(super) late: mpsc::Sender<Late>,
    pub(super) stopping: Arc<AtomicBool>,
}

impl Worker {
    /// Answers until it is told to stop.
    ///
    /// # Errors
    /// When the socket fails for good.
    pub(super) fn run(self) -> io::Result<()> {
        let mut batch = Batch::new(self.tells_arrival);
        let mut answerer = Answerer::new(self.responder.clone());
        loop {
            let received = match batch.receive(self.socket.as_fd()) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) if is_temporary(&error) => {
                    debug!(%error, "a UDP socket reports");
                    std::thread::sleep(PAUSE);
                    0
                }
                Err(error) => return Err(error),
            };
            if self.stopping.load(Ordering::SeqCst) {
                return Ok(());
            }
            let now = answerer.begin(clock::now());
            for slot in 0..received {
                let Some(arrival) = arrival(&batch, slot, now.received_at) else { continue };
                if let Some(outcome) = answerer.answer(&mut batch, slot, arrival, &now) {
                    self.wait(outcome, *batch.envelope(slot));
                }
            }
            drop(now);
            let sent = batch.send(self.socket.as_fd());
            if sent.failed > 0 {
                debug!(lost = sent.failed, "answers could not be sent");
            }
            answerer.end();
            if received >= CROWD {
                // Others have their turn, and more queries come meanwhile: going to sleep between two of them and being woken
                // costs more than answering. With fewer, whoever asks next is answered at once.
                std::thread::yield_now();
            }
        }
    }

    /// Keeps an answer until its time has come.
    fn wait(&self, outcome: Outcome, envelope: Envelope) {
        let late = Late { outcome, envelope, socket: self.socket.clone() };
        // Too many wait: this one does not.
        if let Err(refused) = self.late.try_send(late) {
            refused.into_inner().hurry(&self.responder);
        }
    }
}

/// How a query came, unless nobody could be answered.
fn arrival(batch: &Batch, slot: usize, received_at: Instant) -> Option<Arrival> {
    let source = batch.envelope(slot).peer().filter(is_answerable)?;
    Some(Arrival { received_at, ..Arrival::now(source, Transport::Udp) })
}

/// Whether a socket that failed so may be received from again.
fn is_temporary(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // Of an earlier answer that could not be delivered, or of a machine without memory.
    const TEMPORARY: [Errno; 8] = [
        Errno::AGAIN,
        Errno::CONNREFUSED,
        Errno::HOSTUNREACH,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::NONET,
    ];
    Errno::from_io_error(error).is_some_and(|errno| TEMPORARY.contains(&errno))
}

/// Ports of services that answer whatever comes, and of none: echo, daytime, quotes, chargen, time. No client asks from there,
/// and an answer would be answered for ever.
const NOT_CLIENTS: [u16; 6] = [0, 7, 13, 17, 19, 37];

/// Whether an answer can be sent there: to a client's port, and not to everybody.
fn is_answerable(source: &SocketAddr) -> bool {
    let to_many = match source.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    !NOT_CLIENTS.contains(&source.port()) && !to_many
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_are_answered() {
        let answerable = |source: &str| is_answerable(&source.parse().unwrap());
        for source in ["192.0.2.1:53", "192.0.2.1:40000", "[2001:db8::1]:1024"] {
            assert!(answerable(source), "{source}");
        }
        for source in [
            "192.0.2.1:0",
            "192.0.2.1:19",
            "[2001:db8::1]:7",
            "0.0.0.0:53",
            "[::]:53",
            "224.0.0.1:53",
        ] {
            assert!(!answerable(source), "{source}");
        }
    }
}
