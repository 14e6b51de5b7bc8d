//! Decisions: pure functions over facts, without I/O, clock, lock or async.
//!
//! The crate also owns the few types that every core needs to name the same thing in the same way:
//! [`Instant`], [`ServiceId`] and [`Generation`]; and how durations, sizes and rates are written ([`units`]).
#![forbid(unsafe_code)]

pub mod access;
pub mod admission;
pub mod backoff;
pub mod budget;
mod id;
pub mod idle;
pub mod parking;
pub mod refresh;
pub mod response_rate;
pub mod stop;
mod time;
pub mod units;
pub mod warm;

pub use id::{Generation, ServiceId};
pub use time::Instant;
