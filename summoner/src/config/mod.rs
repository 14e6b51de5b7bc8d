//! Configuration: a TOML file, then the environment, then flags; checked once, and trusted after that.
//!
//! ```text
//!   text --toml--> lines of keys --+
//!   file, SUMMONER_*, --set --config--> merged tree --keys--> unknown keys
//!                                          |
//!                                          +--serde--> Raw --check--> Config, or every problem found
//! ```
//!
//! Every key is defined in one place, [`keys`]; the reference in `docs/reference/config.md` is made from it.

pub mod addresses;
mod check;
mod checked;
pub mod keys;
mod problem;
mod raw;
mod source;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use checked::{
    AddressChoice, Admin, AnswerMode, Attach, Config, Dns, Dnssec, Hold, Https, IdentityFiles,
    ImageRef, Limits, Log, LogFormat, MetricsSettings, Network, Service, Tcp, Template,
    TransferSettings, TsigKey, WakeTriggers, Wakes, ZoneSettings,
};
pub use problem::{ConfigError, Place, Problem};

/// Where the admin socket is if nobody says otherwise.
pub const DEFAULT_ADMIN_SOCKET: &str = "/run/summoner/admin.sock";

/// Reads and checks a configuration. `overrides` are keys and values from flags.
///
/// Relative paths in a file are relative to the file's folder.
///
/// # Errors
/// With every problem that was found, each with its place.
pub fn load(path: Option<&Path>, overrides: &[(String, String)]) -> Result<Config, ConfigError> {
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        // What is not Unicode is none of ours.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    let layers = source::Layers::read(path, environment, overrides)?;
    let raw = layers.raw()?;
    let folder = path.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    check::check(&raw, &layers, folder)
}
