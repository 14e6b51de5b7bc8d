//! How a query came, and how well its source is known.

use std::net::SocketAddr;
use std::time::Duration;

use policies::Instant;
use policies::budget::Credibility;

use crate::clock;

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

impl Transport {
    /// Its word in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
        }
    }

    /// Whether nobody on the way can read it.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        match self {
            Self::Udp | Self::Tcp => false,
            Self::Tls | Self::Https => true,
        }
    }
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
    /// How long the connection it came by may be silent, if it came by one whose client may ask (RFC 7828).
    pub idle: Option<Duration>,
    /// Whether the query itself shows that its source is not forged: by a valid cookie (RFC 7873). Drivers say `false`; the
    /// responder finds out.
    pub proven: bool,
}

impl Arrival {
    /// Of a query that has just come.
    #[must_use]
    pub fn now(source: SocketAddr, transport: Transport) -> Self {
        Self { source, transport, received_at: clock::now(), idle: None, proven: false }
    }

    /// A datagram may come from anybody, unless it has a cookie that we sent there; whoever asks over a connection has been answered there.
    #[must_use]
    pub const fn credibility(&self) -> Credibility {
        match self.transport {
            Transport::Udp if !self.proven => Credibility::Forgeable,
            Transport::Udp | Transport::Tcp | Transport::Tls | Transport::Https => {
                Credibility::Proven
            }
        }
    }
}
