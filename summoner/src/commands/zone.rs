//! `summoner zone`: the zones as master files, for other tools to check, and to see what would be served.

use std::time::SystemTime;

use hickory_proto::rr::RecordType;
use zone::{RrSet, Zone, master};

use super::{ConfigArgs, Exit, Failure};
use crate::config::addresses;
use crate::daemon::Source;
use crate::publish;
use crate::state::Remembered;

pub(super) fn run(args: ConfigArgs, apex: Option<&str>) -> Result<(), Failure> {
    let config = Source::from(args).load().map_err(|error| Failure::configuration(&error))?;
    let remembered =
        Remembered::peek(&config.state_dir).map_err(|error| Failure::unavailable(&error))?;
    let assigned = addresses::assign(&config, &remembered.addresses)
        .map_err(|error| Failure::configuration(&error))?;
    let mut zones =
        publish::planned(&config, &assigned).map_err(|error| Failure::configuration(&error))?;
    publish::preview(&config, &mut zones, &remembered.serials, SystemTime::now());
    let wanted = apex.map(|apex| format!("{}.", apex.trim_end_matches('.')).to_ascii_lowercase());
    let is_wanted =
        |zone: &&Zone| wanted.as_ref().is_none_or(|wanted| zone.apex().to_string() == *wanted);
    let chosen: Vec<&Zone> = zones.iter().filter(is_wanted).collect();
    if chosen.is_empty() {
        let known: Vec<_> = zones.iter().map(|zone| zone.apex().to_string()).collect();
        let text =
            format!("{} is none of the zones {}", apex.unwrap_or_default(), known.join(", "));
        return Err(Failure { exit: Exit::Usage, text });
    }
    chosen.into_iter().for_each(print);
    Ok(())
}

/// The SOA first, then in canonical order (RFC 4034, section 6.1).
fn print(zone: &Zone) {
    let mut rrsets: Vec<&RrSet> = zone.rrsets().collect();
    rrsets.sort_by(|one, other| {
        let place =
            |rrset: &RrSet| (rrset.record_type != RecordType::SOA, u16::from(rrset.record_type));
        let (one_place, other_place) = (place(one), place(other));
        (one_place.0, &one.owner, one_place.1).cmp(&(other_place.0, &other.owner, other_place.1))
    });
    for record in rrsets.into_iter().flat_map(|rrset| &rrset.records) {
        println!("{}", master::print(record));
    }
}
