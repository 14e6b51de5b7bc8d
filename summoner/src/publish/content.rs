//! What the zones say: the configuration's own records, and the services'.

use std::collections::BTreeMap;

use hickory_proto::rr::rdata::svcb::{IpHint, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, HTTPS};
use hickory_proto::rr::{Name, RData, Record};
use policies::ServiceId;
use zone::{ServiceRecords, TemplateRecords, Zone, ZoneData, ZoneError};

use super::reverse;
use crate::config::addresses::Assigned;
use crate::config::{Config, Service};
use crate::orchestrator::Deployment;

/// The zones of `config` with `deployments` in them; their serials are still to be chosen.
pub(super) fn zones(config: &Config, deployments: &[Deployment]) -> Vec<ZoneData> {
    let services = deployments
        .iter()
        .map(|deployment| service(deployment.id, &deployment.settings, &deployment.addresses));
    with_services(config, services.collect())
}

/// The zones of `config` as they are when its services have these addresses, which nothing needs to run for.
///
/// # Errors
/// When the data do not make a zone.
pub fn planned(
    config: &Config,
    assigned: &BTreeMap<String, Assigned>,
) -> Result<Vec<Zone>, ZoneError> {
    let services = config.services.iter().zip(0..).map(|((key, settings), id)| {
        let addresses = assigned.get(key).copied().unwrap_or_default();
        service(ServiceId(id), settings, &addresses)
    });
    with_services(config, services.collect()).into_iter().map(Zone::build).collect()
}

fn with_services(config: &Config, services: Vec<ServiceRecords>) -> Vec<ZoneData> {
    let reverse = if config.zone.reverse { reverse::zones(config, &services) } else { Vec::new() };
    let templates = config.templates.values().map(|template| TemplateRecords {
        key: template.key.clone(),
        pattern: template.pattern.clone(),
    });
    let templates = templates.collect();
    let forward = ZoneData { services, templates, ..config.zone.zone_data() };
    std::iter::once(forward).chain(reverse).collect()
}

fn service(id: ServiceId, settings: &Service, addresses: &Assigned) -> ServiceRecords {
    let records = settings.records.iter().cloned();
    ServiceRecords {
        id,
        names: settings.names.clone(),
        ipv4: addresses.ipv4,
        ipv6: addresses.ipv6,
        ttl: settings.ttl,
        wake_on_query: settings.wake.dns,
        records: records.map(|record| with_hints(record, &settings.names, addresses)).collect(),
    }
}

/// A binding to the service itself gets its addresses, unless it has some: a client that has them need not wait for another
/// answer (RFC 9460, section 7.3).
fn with_hints(mut record: Record, names: &[Name], addresses: &Assigned) -> Record {
    let owner = record.name.clone();
    if let RData::HTTPS(HTTPS(binding)) | RData::SVCB(binding) = &mut record.data {
        let target = if binding.target_name.is_root() { &owner } else { &binding.target_name };
        // A priority of 0 is an alias, which has no parameters (section 2.4.2).
        if binding.svc_priority > 0 && names.contains(target) {
            add_hints(binding, addresses);
        }
    }
    record
}

fn add_hints(binding: &mut SVCB, addresses: &Assigned) {
    let ipv4 = addresses
        .ipv4
        .map(|address| (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A(address)]))));
    let ipv6 = addresses.ipv6.map(|address| {
        (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(vec![AAAA(address)])))
    });
    for (key, hint) in ipv4.into_iter().chain(ipv6) {
        if !binding.svc_params.iter().any(|(known, _)| *known == key) {
            binding.svc_params.push((key, hint));
        }
    }
    // In the order of their numbers (section 2.2).
    binding.svc_params.sort_by_key(|(key, _)| u16::from(*key));
}
