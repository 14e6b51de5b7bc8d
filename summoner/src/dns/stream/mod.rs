//! DNS over connections: TCP (RFC 7766), TLS (RFC 7858) and HTTPS (RFC 8484).
//!
//! ```text
//!   listener --accept--> a place in the table, or the place of whoever was silent longest
//!                          |
//!              TCP --------+------ TLS --+--> connection   messages behind their length, many at once
//!                                        +--> https        a message in each request
//! ```

mod connection;
mod frame;
mod https;
mod places;
mod table;
pub mod tls;

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use self::connection::{Peer, answer_all};
use self::places::{Place, Places};
use self::table::Bounds;
use self::tls::Identity;
use super::{Responder, ServeError, Transport};
use crate::clock;

/// Where connections are accepted, and how they are treated.
#[derive(Debug)]
pub struct Streams {
    /// For DNS over TCP.
    pub tcp: Vec<StdListener>,
    /// For DNS over TLS.
    pub tls: Vec<StdListener>,
    /// For DNS over HTTPS.
    pub https: Vec<StdListener>,
    /// The path of the HTTPS URI.
    pub https_path: String,
    /// Who the server is; without it nothing is served on `tls` and `https`.
    pub identity: Option<Arc<Identity>>,
    /// Connections at once, at least 1.
    pub connections: u32,
    /// Connections at once of one source prefix, at least 1.
    pub prefix_connections: u32,
    /// How long a client may be silent, or take nothing.
    pub idle: Duration,
}

/// Why a connection ended. The labels of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client closed it.
    Client,
    /// The client was silent, or took nothing, for too long.
    Idle,
    /// Another client needed the place.
    Displaced,
    /// It failed.
    Broken,
    /// TLS could not be agreed on.
    Handshake,
    /// What the client sent is no DNS.
    Nonsense,
}

impl End {
    const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Idle => "idle",
            Self::Displaced => "displaced",
            Self::Broken => "broken",
            Self::Handshake => "handshake",
            Self::Nonsense => "nonsense",
        }
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Server {
    responder: Responder,
    places: Places,
    idle: Duration,
    https_path: Arc<str>,
}

/// Starts answering on all listeners, in tasks of `drivers`.
pub(super) fn serve(
    responder: Responder,
    streams: Streams,
    drivers: &mut JoinSet<()>,
) -> Result<(), ServeError> {
    let bounds = Bounds {
        total: usize::try_from(streams.connections).unwrap_or(usize::MAX),
        prefix: usize::try_from(streams.prefix_connections).unwrap_or(usize::MAX),
    };
    let server = Server {
        responder,
        places: Places::new(bounds),
        idle: streams.idle,
        https_path: streams.https_path.into(),
    };
    let listen =
        |listener| TcpListener::from_std(listener).map_err(|source| ServeError::Thread { source });
    for listener in streams.tcp {
        drivers.spawn(server.clone().accept_all(listen(listener)?, Kind::Tcp));
    }
    let Some(identity) = streams.identity else { return Ok(()) };
    for listener in streams.tls {
        let kind = Kind::Tls(identity.acceptor(&[b"dot"]));
        drivers.spawn(server.clone().accept_all(listen(listener)?, kind));
    }
    for listener in streams.https {
        let kind = Kind::Https(identity.acceptor(&[b"h2", b"http/1.1"]));
        drivers.spawn(server.clone().accept_all(listen(listener)?, kind));
    }
    Ok(())
}

/// What is spoken on a listener's connections.
#[derive(Clone)]
enum Kind {
    Tcp,
    Tls(TlsAcceptor),
    Https(TlsAcceptor),
}

impl Kind {
    const fn transport(&self) -> Transport {
        match self {
            Self::Tcp => Transport::Tcp,
            Self::Tls(_) => Transport::Tls,
            Self::Https(_) => Transport::Https,
        }
    }
}

impl Server {
    async fn accept_all(self, listener: TcpListener, kind: Kind) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, source)) => {
                    let place = Arc::new(self.places.take(clock::now(), source.ip()));
                    let peer = Peer { source, transport: kind.transport(), idle: self.idle };
                    connections.spawn(self.clone().attend(stream, kind.clone(), peer, place));
                }
                // Of that connection, or no descriptor is free: the next one may be better, but not at once.
                Err(error) => {
                    debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    /// From the first octet to the last.
    async fn attend(self, stream: TcpStream, kind: Kind, peer: Peer, place: Arc<Place>) {
        let transport = peer.transport.label();
        self.responder.metrics().connection_opened(transport);
        // Answers are whole when they are written: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let end = tokio::select! {
            end = self.speak(stream, kind, peer, &place) => end,
            () = place.taken() => End::Displaced,
        };
        debug!(source = %peer.source, transport, end = end.label(), "a connection ended");
        self.responder.metrics().connection_closed(transport, end.label());
    }

    async fn speak(&self, stream: TcpStream, kind: Kind, peer: Peer, place: &Arc<Place>) -> End {
        let acceptor = match kind {
            Kind::Tcp => return answer_all(self.responder.clone(), stream, peer, place).await,
            Kind::Tls(ref acceptor) | Kind::Https(ref acceptor) => acceptor,
        };
        let stream = match timeout(self.idle, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                debug!(source = %peer.source, %error, "no TLS could be agreed on");
                return End::Handshake;
            }
            Err(_) => return End::Idle,
        };
        if matches!(kind, Kind::Https(_)) {
            return https::answer_all(&self.responder, stream, peer, place, &self.https_path).await;
        }
        answer_all(self.responder.clone(), stream, peer, place).await
    }
}
