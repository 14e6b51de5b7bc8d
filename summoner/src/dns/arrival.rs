//! How a query came, and how well its source is known.

use std::net::SocketAddr;

use policies::Instant;
use policies::budget::Credibility;

/// What carries a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A datagram (RFC 1035, section 4.2.1).
    Udp,
    /// A connection (RFC 7766).
    Tcp,
    /// A connection under TLS (RFC 7858).
    Tls,
    /// An HTTPS request (RFC 8484).
    Https,
}

/// How a query came.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Who sent it, or who is said to have.
    pub source: SocketAddr,
    /// By what.
    pub transport: Transport,
    /// When.
    pub received_at: Instant,
}

impl Arrival {
    /// A datagram may come from anybody; whoever asks over a connection has been answered there.
    #[must_use]
    pub const fn credibility(&self) -> Credibility {
        match self.transport {
            Transport::Udp => Credibility::Forgeable,
            Transport::Tcp | Transport::Tls | Transport::Https => Credibility::Proven,
        }
    }
}
