//! `summoner bench`: how long a client waits for a service that was not running.

pub mod baseline;
