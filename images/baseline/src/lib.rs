//! The default service over an operating system's sockets.
//!
//! Site, requests and responses are those of the guest `hello`; this crate is what stands for the guest's network
//! stack: a listening socket and one connection after the other. Clients are not served side by side, because a
//! process that is started for one client needs no more, and every provision for it would be paid at its start.
#![forbid(unsafe_code)]

mod connection;
mod service;

pub use hello::Host;
pub use service::{Failure, Service};
