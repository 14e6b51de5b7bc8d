//! Authoritative answers for a zone of ephemeral services.
//!
//! Pure: a question goes in, an [`Answer`] comes out that borrows from the zone. Everything that depends on the
//! zone's content only is worked out when it is built; a question costs one hash look-up, and one more per label
//! for a name that does not exist. Terms are those of RFC 9499.
#![forbid(unsafe_code)]

mod answer;
mod build;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Question};
pub use build::{NameServer, ServiceRecords, Soa, ZoneData, ZoneError};

use std::collections::HashMap;

use hickory_proto::rr::{LowerName, Record, RecordType};
use policies::ServiceId;

/// A zone, ready to be asked.
#[derive(Debug)]
pub struct Zone {
    apex: LowerName,
    /// The SOA as it stands in the authority section of a negative answer, with the negative TTL (RFC 2308,
    /// section 3).
    negative: Record,
    /// Every name that exists, empty non-terminals included (RFC 4592, section 2.2.2).
    nodes: HashMap<LowerName, Node>,
}

/// What is at a name.
#[derive(Debug, Default)]
struct Node {
    rrsets: Vec<RrSet>,
    service: Option<Service>,
}

/// All records of a name that have one type.
#[derive(Debug)]
struct RrSet {
    record_type: RecordType,
    records: Vec<Record>,
    /// Addresses of the names in `records`, for the additional section.
    glue: Vec<Record>,
}

/// The service behind a name.
#[derive(Debug, Clone, Copy)]
struct Service {
    id: ServiceId,
    wake_on_query: bool,
}

impl Zone {
    /// The zone's top owner name.
    #[must_use]
    pub const fn apex(&self) -> &LowerName {
        &self.apex
    }
}
