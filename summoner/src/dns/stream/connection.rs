//! One client's connection, clear or under TLS: many queries, answered as they come, and out of order where one has to
//! wait (RFC 7766, section 7).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::End;
use super::frame::{self, Incoming};
use super::places::Place;
use crate::clock;
use crate::dns::transfer::Transfer;
use crate::dns::{Arrival, Outcome, Reply, Responder, Transport};

/// Answers that may wait for guests on one connection; beyond, it is not read.
const WAITING: usize = 64;
/// Octets of answers that are gathered for one write, but for the last answer's.
const GATHERED: usize = 16 * 1024;

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) source: SocketAddr,
    pub(super) transport: Transport,
    /// How long it may be silent, or take nothing.
    pub(super) idle: Duration,
}

/// Answers until the client goes, is silent, or sends what is no DNS.
pub(super) async fn answer_all(
    responder: Responder,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    place: &Place,
) -> End {
    let mut connection = Connection {
        responder,
        stream,
        peer,
        incoming: Incoming::default(),
        gathered: Gathered::default(),
        waiting: JoinSet::new(),
        transfer: None,
    };
    match connection.run(place).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

struct Connection<S> {
    responder: Responder,
    stream: S,
    peer: Peer,
    incoming: Incoming,
    gathered: Gathered,
    /// Answers that wait for guests to be ready, or for services to be made.
    waiting: JoinSet<Option<Reply>>,
    /// What is being sent; other queries wait until it is done.
    transfer: Option<Transfer>,
}

/// Answers that are to be written.
#[derive(Default)]
struct Gathered {
    octets: Vec<u8>,
    replies: Vec<Reply>,
}

impl Gathered {
    fn add(&mut self, reply: Reply) {
        // A responder's message is never longer than a stream takes.
        if frame::put(&mut self.octets, &reply.message) {
            self.replies.push(reply);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self, place: &Place) -> Result<std::convert::Infallible, End> {
        let mut deadline = Instant::now() + self.peer.idle;
        let mut open = true;
        loop {
            if self.answer_what_is_here(place)? {
                self.write().await?;
                deadline = Instant::now() + self.peer.idle;
                continue;
            }
            if !open && self.waiting.is_empty() {
                return Err(End::Client);
            }
            tokio::select! {
                Some(waited) = self.waiting.join_next() => {
                    // One that panicked is not answered.
                    if let Ok(Some(reply)) = waited {
                        self.gathered.add(reply);
                    }
                }
                read = self.stream.read_buf(self.incoming.buffer()),
                    if open && self.waiting.len() < WAITING =>
                {
                    // After its end, what was asked before is still answered.
                    open = read.map_err(|_| End::Broken)? > 0;
                }
                // Also for a client that sends its query an octet at a time.
                () = sleep_until(deadline), if self.waiting.is_empty() => return Err(End::Idle),
            }
        }
    }

    /// Gathers the answers to the queries that are whole. Says whether there is anything to be written.
    fn answer_what_is_here(&mut self, place: &Place) -> Result<bool, End> {
        while self.gathered.octets.len() < GATHERED && self.waiting.len() < WAITING {
            if let Some(transfer) = &mut self.transfer {
                place.touch(clock::now());
                // Half a transfer is worth nothing: the secondary keeps what it has and tries again.
                match transfer.next_message().map_err(|_| End::Broken)? {
                    Some(message) if frame::put(&mut self.gathered.octets, &message) => {}
                    Some(_) => return Err(End::Broken),
                    None => self.transfer = None,
                }
                continue;
            }
            let Some(query) = self.incoming.next().map_err(|_| End::Nonsense)? else { break };
            place.touch(clock::now());
            self.answer(&query)?;
        }
        Ok(!self.gathered.octets.is_empty())
    }

    fn answer(&mut self, query: &BytesMut) -> Result<(), End> {
        let Peer { source, transport, idle } = self.peer;
        let arrival = Arrival { idle: Some(idle), ..Arrival::now(source, transport) };
        match self.responder.respond(query, &arrival) {
            // Whoever sends what cannot be answered once will hardly do better.
            Outcome::Silence => return Err(End::Nonsense),
            Outcome::Send(reply) => self.gathered.add(reply),
            Outcome::Transfer(transfer) => self.transfer = Some(transfer),
            unsettled @ (Outcome::Wait { .. } | Outcome::Later(_)) => {
                self.waiting.spawn(unsettled.settle());
            }
        }
        Ok(())
    }

    /// Writes what is gathered, lengths and octets in one go (RFC 7766, section 8).
    async fn write(&mut self) -> Result<(), End> {
        let Gathered { octets, replies } = std::mem::take(&mut self.gathered);
        let written = timeout(self.peer.idle, async {
            self.stream.write_all(&octets).await?;
            self.stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => {
                replies.into_iter().for_each(|reply| self.responder.sent(reply));
                Ok(())
            }
            Ok(Err(_)) => Err(End::Broken),
            Err(_) => Err(End::Idle),
        }
    }
}
