//! DNSSEC: the keys and who signs with them, when.
//!
//! ```text
//!   keys     a file per key in the state folder, made on first use, never replaced
//!   signer   which keys sign which zone, when signatures have to be made anew
//!     zone::Zone::sign    the signing itself
//! ```

mod keys;
mod signer;

pub use keys::{Algorithm, KeyError, KeyFolder, NamedKey};
pub use signer::{Prepared, Round, Signer, SignerError};
