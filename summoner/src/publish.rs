//! What DNS shows of the deployments: the zone and, beside it, whom a name wakes.

use std::collections::HashMap;
use std::sync::Arc;

use zone::{ServiceRecords, Zone, ZoneData, ZoneError, Zones};

use crate::config::Config;
use crate::dns::{Published, ServiceEntry};
use crate::orchestrator::Deployment;

/// The zone of `config` with `deployments` in it, to be swapped in whole.
///
/// # Errors
/// When the zone's data do not make a zone.
pub fn publish(config: &Config, deployments: &[Deployment]) -> Result<Published, ZoneError> {
    let services = deployments.iter().map(|deployment| ServiceRecords {
        id: deployment.id,
        names: deployment.settings.names.clone(),
        ipv4: deployment.addresses.ipv4,
        ipv6: deployment.addresses.ipv6,
        ttl: deployment.settings.ttl,
        wake_on_query: deployment.settings.wake.dns,
        records: Vec::new(),
    });
    let zone = Zone::build(ZoneData { services: services.collect(), ..config.zone.zone_data() })?;
    let entries: HashMap<_, _> = deployments
        .iter()
        .map(|deployment| {
            let entry = ServiceEntry {
                signal: deployment.signal.clone(),
                answer: deployment.settings.answer,
                wake_on_refresh: deployment.settings.wake_on_refresh,
                key: deployment.settings.key.clone(),
            };
            (deployment.id, entry)
        })
        .collect();
    let access = config.limits.wakes.access.clone();
    Ok(Published { zones: Zones::new([Arc::new(zone)]), services: entries, access })
}
