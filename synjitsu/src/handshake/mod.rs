//! Hold mode `handshake`: the switch answers a client in the name of a guest that is not up, and hands the open
//! connection over.
//!
//! ```text
//!   SYN ---------> Client ---------------------------> Relay -------------------> Translation
//!                  answers, takes early data           the guest has accepted:     the guest has taken all that was
//!                  (SYN-RECEIVED, ESTABLISHED)         gives it what was taken      acknowledged: numbers are shifted
//! ```
//!
//! The guest sees the client's own sequence numbers; only those of the guest differ from what the client sees, by the
//! distance between its initial one and ours. [`isn`] chooses ours, [`cookie`] hides a SYN in it when nothing may
//! be kept, [`learned`] knows what guests offer. Nothing here knows of ports, timers or other connections.

mod client;
mod cookie;
mod isn;
mod learned;
mod reassembly;
mod relay;
mod translation;

pub(crate) use client::{Client, Heard, Reply, Terms};
pub(crate) use cookie::Cookies;
pub(crate) use isn::Numbers;
pub(crate) use learned::Learned;
pub(crate) use relay::{Relay, Wire};
pub(crate) use translation::Translation;
