//! Authoritative answers for zones of ephemeral services and of ordinary records.
//!
//! Pure: a question goes in, an [`Answer`] comes out that borrows from the zone. Everything that depends on the
//! zone's content only is worked out when it is built; a question costs one hash look-up, and one more per label
//! for a name that does not exist. Terms are those of RFC 9499.
//!
//! ```text
//!   ZoneData --build--> Zone --+
//!   ZoneData --build--> Zone --+--> Zones --find(name)--> Zone --answer(question)--> Answer
//! ```
#![forbid(unsafe_code)]

mod answer;
mod build;
mod catalogue;
pub mod history;
pub mod master;
mod redirect;
mod rrset;
mod signed;
mod template;
pub mod wire;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Kind, Placed, Question};
pub use build::{NameServer, ServiceRecords, Soa, ZoneData, ZoneError};
pub use catalogue::Zones;
pub use rrset::RrSet;
pub use signed::{SignError, Signing, Validity, ZoneKey};
pub use template::{TemplateRecords, Unmade};

use std::collections::HashMap;
use std::sync::Arc;

use hickory_proto::rr::{LowerName, RData, Record, RecordType};
use policies::ServiceId;

/// A zone, ready to be asked.
#[derive(Debug, Clone)]
pub struct Zone {
    apex: LowerName,
    /// The SOA as it stands in the authority section of a negative answer, with the negative TTL (RFC 2308,
    /// section 3).
    negative: RrSet,
    /// Every name that exists, empty non-terminals included (RFC 4592, section 2.2.2).
    nodes: HashMap<LowerName, Node>,
    /// Whether any name but the apex has name servers, or any has a DNAME: only then answers have to look for these.
    has_cuts: bool,
    /// Of several services behind one name: whether a question wakes all of them, or the one that is named first.
    wake_all: bool,
    /// The names in canonical order, if the zone is signed.
    chain: Option<signed::Chain>,
}

/// What is at a name.
#[derive(Debug, Clone, Default)]
struct Node {
    rrsets: Vec<RrSet>,
    services: Vec<Service>,
    /// The template that stands here; the name is a wildcard then, and has no records.
    template: Option<Arc<str>>,
}

/// A service behind a name.
#[derive(Debug, Clone, Copy)]
struct Service {
    id: ServiceId,
    wake_on_query: bool,
}

impl Node {
    fn get(&self, record_type: RecordType) -> Option<&RrSet> {
        self.rrsets.iter().find(|rrset| rrset.record_type == record_type)
    }
}

impl Zone {
    /// The zone's top owner name.
    #[must_use]
    pub const fn apex(&self) -> &LowerName {
        &self.apex
    }

    /// The SOA record.
    ///
    /// # Panics
    /// Never: a zone is not built without one.
    #[must_use]
    pub fn soa(&self) -> &Record {
        let apex = self.nodes.get(&self.apex).and_then(|node| node.get(RecordType::SOA));
        let soa = apex.and_then(|rrset| rrset.records.first());
        soa.expect("a zone is built with its SOA")
    }

    /// Gives the zone a serial, in its SOA and in its negative answers. Signatures of the SOA are gone then.
    pub fn set_serial(&mut self, serial: u32) {
        let apex = self.nodes.get_mut(&self.apex).map(|node| &mut node.rrsets);
        let stored = apex.into_iter().flatten();
        let of_soa = stored.filter(|rrset| rrset.record_type == RecordType::SOA);
        for rrset in of_soa.chain([&mut self.negative]) {
            rrset.signatures.clear();
            for record in &mut rrset.records {
                if let RData::SOA(soa) = &mut record.data {
                    soa.serial = serial;
                }
            }
        }
    }

    /// All RRsets, in no order: those of the apex, of services, of other names, and glue.
    pub fn rrsets(&self) -> impl Iterator<Item = &RrSet> {
        self.nodes.values().flat_map(|node| &node.rrsets)
    }

    /// Whether a name exists: it or a name below it has records.
    #[must_use]
    pub fn has_name(&self, name: &LowerName) -> bool {
        self.nodes.contains_key(name)
    }
}
