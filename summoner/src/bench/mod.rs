//! The measuring instrument: request-to-response latency, whole and by phase, over real sockets.
//!
//! ```text
//!   schedule (when, whom, which kind)        suite: own namespace, own daemons, baselines in the same run
//!        |                                        |
//!       load (threads, due times) <---------------+         target: any deployment
//!        |                                                      |
//!      client (query, SYN, request, first byte, last byte) -----+
//!        |
//!      report: stats (rows), goals and ratios, text, JSON, plots     slo, compare (rank test)
//! ```
//!
//! `flood` is an experiment of its own: forged SYNs beside clients.
//!
//! Three rules. Latency counts from the time at which a request was *due*, whoever was late. Nothing that failed is
//! left out: it is counted, by kind. What is compared is measured in the same run, interleaved, because absolute times
//! on a shared machine mean little.

pub mod admin;
pub mod baseline;
pub mod client;
pub mod compare;
pub mod environment;
pub mod failure;
pub mod flood;
pub mod holding;
pub mod load;
pub mod memory;
mod page;
pub mod random;
pub mod rank;
pub mod report;
pub mod schedule;
pub mod scrape;
pub mod slo;
pub mod stats;
pub mod suite;
pub mod target;
pub mod throughput;

use hickory_proto::ProtoError;

use failure::Failure;

/// Why there is no report. A request that fails is no reason: it is counted in the report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The machine cannot.
    #[error(transparent)]
    Place(#[from] crate::harness::PlaceError),
    /// A daemon of the suite did not start or end.
    #[error(transparent)]
    Daemon(#[from] crate::harness::daemon::DaemonError),
    /// A daemon could not be steered.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// A daemon's counts could not be read.
    #[error(transparent)]
    Scrape(#[from] scrape::ScrapeError),
    /// A client and a guest with a link between them could not be made, or led.
    #[error(transparent)]
    Lab(#[from] crate::harness::lab::LabError),
    /// The schedule could not be carried out.
    #[error(transparent)]
    Load(#[from] load::LoadError),
    /// What throughput is compared with could not be made.
    #[error(transparent)]
    Peer(#[from] throughput::PeerError),
    /// A variant of the default image could not be made.
    #[error(transparent)]
    Image(#[from] images::ImageError),
    /// Nor be put somewhere.
    #[error("cannot write to the folder for temporary files")]
    Folder(#[source] std::io::Error),
    /// What is compared with could not be made.
    #[error(transparent)]
    Baseline(#[from] baseline::BaselineError),
    /// A flood could not be sent.
    #[error(transparent)]
    Flood(#[from] flood::sender::SendError),
    /// The experiment's own configuration is not understood.
    #[error(transparent)]
    Own(crate::config::ConfigError),
    /// A query could not be written.
    #[error(transparent)]
    Resolve(#[from] crate::resolve::ResolveError),
    /// A name could not be written.
    #[error("cannot write a service's name")]
    Name(#[source] ProtoError),
    /// Not every kind of the mix can have names of its own.
    #[error(
        "a mix of {kinds} kinds needs {kinds} names at least, not {names}; give more with --name"
    )]
    TooFewNames {
        /// How many names there are.
        names: usize,
        /// How many kinds.
        kinds: usize,
    },
    /// Cold requests need a service that can be stopped.
    #[error(
        "cold and held requests need services that are not running; name the daemon's admin socket with --admin, so that they can be stopped"
    )]
    NoWayToCool,
    /// A service that was to be warm did not answer.
    #[error("{name} did not answer when it was asked for the first time ({failure})")]
    Unprepared {
        /// Which.
        name: String,
        /// Why.
        failure: Failure,
    },
}
