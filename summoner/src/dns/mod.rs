//! DNS: hickory reads and writes messages, the zones answer, and a question for a service that is not awake sends a wake.
//! The answer never waits for a boot, unless the service is configured so.
//!
//! ```text
//!   udp, stream        octets in, octets out, sockets, limits on connections
//!     limit            how many responses each network gets
//!     screen           the outline of a query
//!     Responder        octets -> Outcome: protocol, signs of use, wakes; never waits
//!       zone           question -> answer
//!       render         answer -> octets that the client can take
//! ```

mod arrival;
mod chaos;
mod cookies;
mod edns;
mod labels;
mod later;
mod limit;
mod render;
mod responder;
mod screen;
mod settings;
mod signal;
mod signed;
pub mod stream;
pub mod transfer;
pub mod tsig;
mod udp;
mod uses;
mod wire;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::RecordType;
use policies::access::AccessList;
use policies::budget::Credibility;
use policies::response_rate::ResponseClass;
use policies::{Instant, ServiceId};
use prometheus::IntCounter;
use synjitsu_device::datagrams::Listener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use zone::Zones;

pub use arrival::{Arrival, Transport};
pub use cookies::{Cookies, SecretsError};
pub use later::Later;
pub use limit::{Limited, RateLimit};
pub use responder::{Outcome, Reply, Responder};
pub use settings::{CookieSecrets, Settings};
pub use signal::ServiceSignal;
pub use stream::Streams;
pub use transfer::Transfers;

use udp::Workers;

use crate::config::AnswerMode;

/// How much more of a busy processor the threads that answer get than others, if they may (nice(2)): they need little, but
/// at once.
const URGENCY: i32 = 10;

/// The zones and whom their names wake; swapped whole when the configuration changes.
#[derive(Debug)]
pub struct Published {
    /// Answers.
    pub zones: Zones,
    /// Who may have the zones whole, and their history.
    pub transfers: Transfers,
    /// The services that answers refer to.
    pub services: HashMap<ServiceId, ServiceEntry>,
    /// Whose queries may wake and count as use.
    pub access: Arc<AccessList>,
}

/// What a query needs to know of a service.
#[derive(Debug, Clone)]
pub struct ServiceEntry {
    /// Its line to the orchestrator.
    pub signal: Arc<ServiceSignal>,
    /// When a query that wakes is answered.
    pub answer: AnswerMode,
    /// Whether a query that only keeps a cache fresh wakes it, and counts as use.
    pub wake_on_refresh: bool,
    /// Its key.
    pub key: String,
}

/// A query for a service that is not awake.
#[derive(Debug)]
pub struct QueryWake {
    /// The service.
    pub service: ServiceId,
    /// When the query was received.
    pub received_at: Instant,
    /// What was asked for.
    pub qtype: RecordType,
    /// Who asked: a resolver, most often.
    pub source: IpAddr,
    /// Whether that is certain.
    pub credibility: Credibility,
    /// Told when the guest is ready; dropped if it will not be.
    pub ready: Option<oneshot::Sender<()>>,
}

/// What DNS counts.
pub trait DnsMetrics: Send + Sync {
    /// Where queries are counted that were of a type and answered with a code. Both labels are of closed sets.
    fn queries(&self, qtype: &'static str, rcode: &'static str) -> IntCounter;
    /// A query was answered.
    fn query(&self, qtype: &'static str, rcode: &'static str) {
        self.queries(qtype, rcode).inc();
    }
    /// A wake found the queue full.
    fn wake_dropped(&self);
    /// A query for a service neither woke it nor counted as use. The label is of a closed set.
    fn wake_withheld(&self, reason: &'static str);
    /// A connection was accepted. The label is of a closed set.
    fn connection_opened(&self, transport: &'static str);
    /// A connection ended. Both labels are of closed sets.
    fn connection_closed(&self, transport: &'static str, reason: &'static str);
    /// So many responses of a class were beyond the rate of their source's network.
    fn rate_limited(&self, class: ResponseClass, limited: Limited, count: u64);
    /// A transfer was asked for. Both labels are of closed sets.
    fn transfer(&self, qtype: &'static str, result: &'static str);
    /// A secondary was told of a change, or could not be. The label is of a closed set.
    fn notified(&self, result: &'static str);
    /// A query for a service that a template could make, and what came of it. The label is of a closed set.
    fn unmade(&self, result: &'static str);
}

/// Why DNS ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket failed for good.
    #[error("a DNS socket failed: nothing can be received from it any more")]
    Socket,
    /// The thread that answers cannot be.
    #[error("the thread that answers DNS cannot go on")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
}

/// Sockets that queries come by.
#[derive(Debug)]
pub struct Sockets {
    /// UDP.
    pub udp: Vec<Listener>,
    /// Connections.
    pub streams: Streams,
}

/// Answers on all sockets until `shutdown`, in threads of their own: an answer never waits for a summon that is under way.
///
/// # Errors
/// When a thread cannot be made, or a socket fails for good.
pub async fn serve_apart(
    responder: Responder,
    sockets: Sockets,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let failed = |source| ServeError::Thread { source };
    let (done, ended) = oneshot::channel();
    let serving = move || -> Result<(), ServeError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(async { serve(responder, sockets, shutdown).await })
    };
    std::thread::Builder::new()
        .name("dns".to_owned())
        // Nobody waits for it any more only when the daemon is gone.
        .spawn(move || {
            // Only who is privileged may; for others, that guests yield has to do.
            let _ = rustix::process::nice(-URGENCY);
            drop(done.send(serving()));
        })
        .map_err(failed)?;
    match ended.await {
        Ok(served) => served,
        Err(_) => Err(failed(std::io::Error::other("it panicked"))),
    }
}

/// Answers on all sockets until `shutdown`: by UDP in a thread for each socket, by TCP here.
///
/// # Errors
/// When a thread cannot be made, or a socket fails for good.
pub async fn serve(
    responder: Responder,
    Sockets { udp, streams }: Sockets,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (mut workers, waiting) =
        Workers::start(&responder, udp).map_err(|source| ServeError::Thread { source })?;
    let mut drivers = JoinSet::new();
    drivers.spawn(waiting.run());
    stream::serve(responder, streams, &mut drivers)?;
    tokio::select! {
        () = shutdown => Ok(()),
        () = workers.ended() => Err(ServeError::Socket),
        Some(_) = drivers.join_next() => Err(ServeError::Socket),
    }
}
