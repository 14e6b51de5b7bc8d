//! DNS over UDP: each query is read, answered and sent in one go, and only then does it wake anybody.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::{Arrival, Outcome, Reply, Responder, Transport};
use crate::clock;

/// The longest query that is read; longer ones are cut and then refused as malformed.
const LONGEST: usize = 4096;
/// Queries that are answered before others get their turn on this thread.
const BURST: usize = 32;

/// Answers on a socket until the task is dropped.
pub(super) async fn serve(responder: Responder, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = [0; LONGEST];
    // Answers that wait for a guest to be ready.
    let mut waiting = JoinSet::new();
    loop {
        for _ in 0..BURST {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, source)) if is_answerable(source) => {
                    let arrival = Arrival {
                        source,
                        transport: Transport::Udp,
                        received_at: clock::now(),
                        idle: None,
                    };
                    match responder.respond(&buffer[..length], &arrival) {
                        Outcome::Silence => {}
                        Outcome::Send(reply) => send(&responder, &socket, source, reply),
                        Outcome::Wait { reply, ready, cap } => {
                            let (responder, socket) = (responder.clone(), socket.clone());
                            waiting.spawn(async move {
                                // Ready, not to be ready, or too late: it is answered in any case.
                                let _ = tokio::time::timeout(cap, ready).await;
                                send(&responder, &socket, source, reply);
                            });
                        }
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Of an earlier answer that could not be delivered; the socket is as good as before.
                Err(error) => debug!(%error, "a UDP socket reports"),
            }
        }
        while waiting.try_join_next().is_some() {}
        if let Err(error) = socket.readable().await {
            warn!(%error, "a UDP socket cannot be waited for");
            return;
        }
    }
}

fn send(responder: &Responder, socket: &UdpSocket, to: SocketAddr, reply: Reply) {
    // A full socket loses it, as any network may: the client asks again.
    if let Err(error) = socket.try_send_to(&reply.message, to) {
        debug!(%error, "an answer could not be sent");
    }
    responder.sent(reply);
}

/// Whether an answer can be sent there: not to port 0, and not to everybody.
fn is_answerable(source: SocketAddr) -> bool {
    let to_many = match source.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    source.port() != 0 && !to_many
}
