//! What the zones say: the configuration's own records, and the services'.

use zone::{ServiceRecords, TemplateRecords, ZoneData};

use crate::config::Config;
use crate::orchestrator::Deployment;

/// The zones of `config` with `deployments` in them; their serials are still to be chosen.
pub(super) fn zones(config: &Config, deployments: &[Deployment]) -> Vec<ZoneData> {
    let services = deployments.iter().map(|deployment| ServiceRecords {
        id: deployment.id,
        names: deployment.settings.names.clone(),
        ipv4: deployment.addresses.ipv4,
        ipv6: deployment.addresses.ipv6,
        ttl: deployment.settings.ttl,
        wake_on_query: deployment.settings.wake.dns,
        records: Vec::new(),
    });
    let templates = config.templates.values().map(|template| TemplateRecords {
        key: template.key.clone(),
        pattern: template.pattern.clone(),
    });
    vec![ZoneData {
        services: services.collect(),
        templates: templates.collect(),
        ..config.zone.zone_data()
    }]
}
