//! DNS over TCP (RFC 7766): messages behind their length, many on a connection, answered in the order in which they came.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::{Arrival, Outcome, Responder, Transport};
use crate::clock;

/// How long a client may be silent, or take nothing (RFC 7766, section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// Connections at once; beyond, new ones wait in the listener's queue.
const CONNECTIONS: usize = 256;

/// Answers on a listener until the task is dropped.
pub(super) async fn serve(responder: Responder, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, source)) => {
                connections.spawn(answer_all(responder.clone(), stream, source, Transport::Tcp));
            }
            // Of that connection, or no descriptor is free: the next one may be better, but not at once.
            Err(error) => {
                debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn answer_all(
    responder: Responder,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    source: SocketAddr,
    transport: Transport,
) {
    loop {
        let Ok(Ok(query)) = timeout(IDLE, read(&mut stream)).await else { return };
        let arrival = Arrival { source, transport, received_at: clock::now() };
        let reply = match responder.respond(&query, &arrival) {
            Outcome::Silence => return,
            Outcome::Send(reply) => reply,
            Outcome::Wait { reply, ready, cap } => {
                // Ready, not to be ready, or too late: it is answered in any case.
                let _ = timeout(cap, ready).await;
                reply
            }
        };
        match timeout(IDLE, write(&mut stream, &reply.message)).await {
            Ok(Ok(())) => responder.sent(reply),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Reads one message.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut query = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut query).await?;
    Ok(query)
}

/// Writes one message, length and octets in one go (RFC 7766, section 8).
async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await?;
    stream.flush().await
}
