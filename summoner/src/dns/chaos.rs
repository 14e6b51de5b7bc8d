//! What the server says of itself in class CHAOS (RFC 4892): its version, and its identity.

use hickory_proto::op::Query;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record, RecordType};

use super::Settings;

/// The answer to a question of class CH, if the settings give one.
pub(super) fn answer(asked: &Query, settings: &Settings) -> Option<Record> {
    if !matches!(asked.query_type(), RecordType::TXT | RecordType::ANY) {
        return None;
    }
    let text = match asked.name().to_lowercase().to_ascii().as_str() {
        "version.bind." | "version.server." => settings.version.as_ref(),
        "id.server." | "hostname.bind." => settings.identity.as_ref(),
        _ => None,
    }?;
    // Not to be kept: the next query may go to another server of the same address.
    let text = RData::TXT(TXT::new(vec![text.clone()]));
    let mut record = Record::from_rdata(asked.name().to_lowercase(), 0, text);
    record.dns_class = asked.query_class();
    Some(record)
}
