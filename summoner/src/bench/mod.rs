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
//! Three rules. Latency counts from the time at which a request was *due*, whoever was late. Nothing that failed is
//! left out: it is counted, by kind. What is compared is measured in the same run, interleaved, because absolute times
//! on a shared machine mean little.

pub mod admin;
pub mod baseline;
pub mod client;
pub mod compare;
pub mod environment;
pub mod failure;
pub mod load;
pub mod memory;
mod page;
pub mod random;
pub mod rank;
pub mod report;
pub mod schedule;
pub mod slo;
pub mod stats;
