//! Answers that wait: for a guest to be ready, or for a service to be made.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;

use synjitsu_device::datagrams::Envelope;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use super::super::{Outcome, Reply, Responder};

/// How many answers wait at once; beyond, they do not wait.
const WAITING: usize = 1024;

/// An answer that waits.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) outcome: Outcome,
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
        while let Some(late) = self.queue.recv().await {
            while waiting.try_join_next().is_some() {}
            if waiting.len() >= WAITING {
                late.hurry(&self.responder);
                continue;
            }
            let responder = self.responder.clone();
            waiting.spawn(async move {
                let Late { outcome, envelope, socket } = late;
                if let Some(reply) = outcome.settle().await {
                    send(&responder, &envelope, &socket, reply);
                }
            });
        }
        while waiting.join_next().await.is_some() {}
    }
}

impl Late {
    /// Sends it now, if there is anything to be said without waiting.
    pub(super) fn hurry(self, responder: &Responder) {
        match self.outcome {
            Outcome::Send(reply) | Outcome::Wait { reply, .. } => {
                send(responder, &self.envelope, &self.socket, reply);
            }
            // The client asks again.
            Outcome::Silence | Outcome::Transfer(_) | Outcome::Later(_) => {}
        }
    }
}

fn send(responder: &Responder, envelope: &Envelope, socket: &UdpSocket, reply: Reply) {
    // A full socket loses it, as any network may: the client asks again.
    if let Err(error) = envelope.send(socket.as_fd(), &reply.message) {
        debug!(%error, "an answer could not be sent");
    }
    responder.sent(reply);
}
