//! What the fuzz targets do with their input, and what must hold whatever it is.
//!
//! The tests of `summoner` include this file and replay the corpus: so it needs no libFuzzer, and every input means
//! something. A violation is a panic.
#![allow(dead_code, unreachable_pub, reason = "shared by the fuzz targets and a test")]
#![allow(clippy::unwrap_used, reason = "a failure is the finding")]

pub mod master;
pub mod queries;
mod server;
