//! HTTP/1.1 (RFC 9110, RFC 9112) for small services: requests with bounded heads, responses in constant
//! memory, persistent connections.
//!
//! A service implements [`Site`]; [`Http`] is the connection that [`Server::listen`](crate::server::Server)
//! is given.

mod connection;
mod request;
mod response;

pub use connection::{Http, Site};
pub use request::{HEAD_MAX, Head, Refusal, Request};
pub use response::{Body, Response, Status, pattern};
