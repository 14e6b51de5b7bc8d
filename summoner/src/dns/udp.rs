//! DNS over UDP: each query is read, answered and sent in one go, and only then does it wake anybody.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policies::budget::Credibility;
use policies::response_rate::Verdict;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::limit::{RateLimiter, slipped};
use super::{Arrival, Outcome, Reply, Responder, Transport};
use crate::clock;

/// The longest query that is read; longer ones are cut and then refused as malformed.
const LONGEST: usize = 4096;
/// Queries that are answered before others get their turn on this thread.
const BURST: usize = 32;
/// Answers that wait for a guest at once; beyond, they do not wait.
const WAITING: usize = 1024;

/// Answers on a socket until the task is dropped.
pub(super) async fn serve(responder: Responder, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = [0; LONGEST];
    // Answers that wait for a guest to be ready.
    let mut waiting = JoinSet::new();
    let mut limiter = responder.settings().rate_limit.clone().map(RateLimiter::new);
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
                    let outcome = responder.respond(&buffer[..length], &arrival);
                    let outcome = match &mut limiter {
                        Some(limiter) => limited(limiter, &arrival, outcome, &socket),
                        None => outcome,
                    };
                    match outcome {
                        Outcome::Silence => {}
                        Outcome::Wait { reply, .. } if waiting.len() >= WAITING => {
                            send(&responder, &socket, source, reply);
                        }
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
        if let Some(limiter) = &mut limiter {
            limiter.report(&*responder.metrics());
        }
        if let Err(error) = socket.readable().await {
            warn!(%error, "a UDP socket cannot be waited for");
            return;
        }
    }
}

/// What is left to do for an outcome if its response may be beyond its rate. Then it wakes nobody: that is up to the query by
/// TCP, or the packet, of a client that is there.
fn limited(
    limiter: &mut RateLimiter,
    arrival: &Arrival,
    outcome: Outcome,
    socket: &UdpSocket,
) -> Outcome {
    let reply = match &outcome {
        Outcome::Silence => return outcome,
        Outcome::Send(reply) | Outcome::Wait { reply, .. } => reply,
    };
    let proven = reply.credibility == Credibility::Proven;
    match limiter.verdict(arrival.received_at, arrival.source.ip(), reply.class, proven) {
        Verdict::Send => outcome,
        Verdict::Drop => Outcome::Silence,
        Verdict::Slip => {
            if let Some(short) = slipped(&reply.message) {
                send_octets(socket, arrival.source, &short);
            }
            Outcome::Silence
        }
    }
}

fn send(responder: &Responder, socket: &UdpSocket, to: SocketAddr, reply: Reply) {
    send_octets(socket, to, &reply.message);
    responder.sent(reply);
}

fn send_octets(socket: &UdpSocket, to: SocketAddr, octets: &[u8]) {
    // A full socket loses it, as any network may: the client asks again.
    if let Err(error) = socket.try_send_to(octets, to) {
        debug!(%error, "an answer could not be sent");
    }
}

/// Whether an answer can be sent there: not to port 0, and not to everybody.
fn is_answerable(source: SocketAddr) -> bool {
    let to_many = match source.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    source.port() != 0 && !to_many
}
