//! An RRset and its signatures.

use hickory_proto::rr::{Name, Record, RecordType};

/// All records of a name that have one type (RFC 2181, section 5), with their signatures.
#[derive(Debug, Clone, PartialEq)]
pub struct RrSet {
    /// Whose they are, in lower case.
    pub owner: Name,
    /// TYPE.
    pub record_type: RecordType,
    /// The records, at least one; all have the same TTL.
    pub records: Vec<Record>,
    /// The RRSIGs that cover them; empty in a zone that is not signed.
    pub signatures: Vec<Record>,
}

impl RrSet {
    /// An RRset that is not signed.
    #[must_use]
    pub const fn new(owner: Name, record_type: RecordType, records: Vec<Record>) -> Self {
        Self { owner, record_type, records, signatures: Vec::new() }
    }

    /// TTL in seconds.
    #[must_use]
    pub fn ttl(&self) -> u32 {
        self.records.first().map_or(0, |record| record.ttl)
    }

    /// Adds a record, unless the set has it already. A set has one TTL, the smallest (RFC 2181, section 5.2).
    pub(crate) fn add(&mut self, record: Record) {
        let ttl = self.records.first().map_or(record.ttl, |first| first.ttl.min(record.ttl));
        if !self.records.iter().any(|known| known.data == record.data) {
            self.records.push(record);
        }
        for record in &mut self.records {
            record.ttl = ttl;
        }
    }
}
