//! A just-in-time unikernel summoner.
//!
//! An authoritative DNS server answers a query by booting the unikernel that the name stands for; the switch
//! (`synjitsu`) holds the first packets of its clients until it is up; when nothing has used it for a while it is
//! destroyed. This crate is the drivers and the wiring: the decisions are in `policies`, `lifecycle`, `zone` and
//! `synjitsu`, the guests' monitor in `monitor`. `docs/ARCHITECTURE.md` has the map.
#![forbid(unsafe_code)]

pub mod admin;
pub mod bench;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod deploy;
pub mod dns;
pub mod dnssec;
pub mod engine;
pub mod entropy;
pub mod harness;
pub mod image;
pub mod metrics;
mod metrics_page;
pub mod orchestrator;
pub mod packet_events;
pub mod publish;
pub mod resolve;
pub mod snapshots;
pub mod state;
pub mod templates;
mod uplink;

/// An error and its causes in one line: printed once, at the edge.
#[must_use]
pub fn report(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let next = source.to_string();
        // A transparent error repeats its cause's text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = source.source();
    }
    text
}
