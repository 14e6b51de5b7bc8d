//! Answers that wait for a guest to be ready.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use synjitsu_device::datagrams::Envelope;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::debug;

use super::super::{Reply, Responder};

/// How many answers wait at once; beyond, they do not wait.
const WAITING: usize = 1024;

/// An answer that waits.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) reply: Reply,
    /// Told when the guest is ready; dropped if it will not be.
    pub(super) ready: oneshot::Receiver<()>,
    /// The longest wait.
    pub(super) cap: Duration,
    /// To whom, and by which socket.
    pub(super) envelope: Envelope,
    pub(super) socket: Arc<UdpSocket>,
}

/// Keeps the answers that wait.
#[derive(Debug)]
pub(in super::super) struct Waiting {
    responder: Responder,
    queue: mpsc::Receiver<Late>,
}

/// Where workers put answers that wait, and what keeps them.
pub(super) fn queue(responder: Responder) -> (mpsc::Sender<Late>, Waiting) {
    let (late, queue) = mpsc::channel(WAITING);
    (late, Waiting { responder, queue })
}

impl Waiting {
    /// Sends each answer when its time has come, until there are no workers.
    pub(in super::super) async fn run(mut self) {
        let mut waiting = JoinSet::new();
        while let Some(mut late) = self.queue.recv().await {
            while waiting.try_join_next().is_some() {}
            if waiting.len() >= WAITING {
                late.send(&self.responder);
                continue;
            }
            let responder = self.responder.clone();
            waiting.spawn(async move {
                // Ready, not to be ready, or too late: it is answered in any case.
                let _ = tokio::time::timeout(late.cap, &mut late.ready).await;
                late.send(&responder);
            });
        }
        while waiting.join_next().await.is_some() {}
    }
}

impl Late {
    /// Sends it.
    pub(super) fn send(self, responder: &Responder) {
        // A full socket loses it, as any network may: the client asks again.
        if let Err(error) = self.envelope.send(self.socket.as_fd(), &self.reply.message) {
            debug!(%error, "an answer could not be sent");
        }
        responder.sent(self.reply);
    }
}
