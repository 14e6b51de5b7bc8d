//! A zone with signatures and proofs (RFC 4033, 4034, 4035).
//!
//! A zone is signed whole when it is built: a question costs no signature. Signatures of what has not changed are taken
//! over from the zone before, so that a small change costs a few. What does not exist is denied by a chain of NSEC
//! records: the names of services are no secret (they are asked for in the clear), and it needs no hashing.
//!
//! ```text
//!   Zone --sign(Signing, zone before)--> Zone with   DNSKEY, CDS, CDNSKEY at the apex
//!                                                    an NSEC record per name      chain.rs
//!                                                    RRSIGs                       sign.rs, canonical.rs
//!   Zone::answer --dnssec_ok--> proofs                                            proof.rs
//! ```
//!
//! There is one kind of key, which signs everything: see [`ZoneKey`].

mod canonical;
mod chain;
mod key;
mod proof;
mod sign;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use hickory_proto::ProtoError;

pub(crate) use chain::Chain;
pub use key::ZoneKey;

/// What a zone is signed with, and when.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'k> {
    /// Each of them is published and signs everything; at least one.
    pub keys: &'k [ZoneKey],
    /// The time.
    pub now: SystemTime,
    /// How long signatures are valid.
    pub validity: Validity,
}

/// How long signatures are valid (RFC 6781, section 4.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// They begin to be valid so long before they are made, for validators whose clock is late.
    pub backdate: Duration,
    /// How long they are valid after they were made.
    pub lifetime: Duration,
    /// A signature with less than this left is made anew.
    pub refresh: Duration,
}

/// Why a zone cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// There is no key.
    #[error("the zone {apex} cannot be signed without a key")]
    NoKey {
        /// The zone.
        apex: String,
    },
    /// It has records that only a signed zone has.
    #[error(
        "the zone {apex} has a {record_type} record at {owner}: it is signed already; remove such records from its file, or set `dnssec.enabled` to false"
    )]
    AlreadySigned {
        /// The zone.
        apex: String,
        /// Where.
        owner: String,
        /// RRSIG, NSEC, NSEC3 or NSEC3PARAM.
        record_type: String,
    },
    /// A key does not work.
    #[error("a key of the zone cannot be used")]
    Key {
        /// What was said of it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record has no canonical form.
    #[error("the {record_type} records of {owner} cannot be signed")]
    Form {
        /// Whose.
        owner: String,
        /// Their type.
        record_type: String,
        /// Why.
        source: ProtoError,
    },
}
