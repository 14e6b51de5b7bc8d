//! What DNS shows of the deployments: the zones and, beside them, whom a name wakes.
//!
//! ```text
//!   configuration, deployments
//!        | content    what the zones say
//!        | serial     another number whenever they say something else, remembered across restarts
//!        v
//!    Published        to be swapped in whole
//! ```

mod content;
pub mod serial;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use policies::ServiceId;
use zone::{Zone, ZoneError, Zones};

use crate::config::Config;
use crate::dns::{Published, ServiceEntry};
use crate::orchestrator::Deployment;
use crate::state::{State, StateError};
use serial::Version;

/// Why the zones cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The data do not make a zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// A serial that is not remembered could be used twice.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Makes what DNS answers from, and remembers what the next version must go on from.
#[derive(Debug)]
pub struct Publisher {
    state: State,
}

impl Publisher {
    /// A publisher that remembers in `state`.
    #[must_use]
    pub const fn new(state: State) -> Self {
        Self { state }
    }

    /// The zones of `config` with `deployments` in them, at the time of day `now`. To be swapped in when the deployments
    /// are in force: a serial that is remembered and never served does no harm.
    ///
    /// # Errors
    /// When the data do not make a zone, or what must be remembered cannot be. Nothing has changed then.
    pub fn publish(
        &mut self,
        config: &Config,
        deployments: &[Deployment],
        now: SystemTime,
    ) -> Result<Published, PublishError> {
        let mut zones = build(config, deployments)?;
        let versions = number(config, &mut zones, &self.state.remembered().serials, now);
        self.state.remember_serials(versions)?;
        Ok(Published {
            zones: Zones::new(zones.into_iter().map(Arc::new)),
            services: entries(deployments),
            access: config.limits.wakes.access.clone(),
        })
    }
}

/// Content: the zones as they are before they have serials.
fn build(config: &Config, deployments: &[Deployment]) -> Result<Vec<Zone>, ZoneError> {
    content::zones(config, deployments).into_iter().map(Zone::build).collect()
}

/// Serial: gives each zone its own; returns what is to be remembered.
fn number(
    config: &Config,
    zones: &mut [Zone],
    remembered: &BTreeMap<String, Version>,
    now: SystemTime,
) -> BTreeMap<String, Version> {
    let numbered = zones.iter_mut().map(|zone| {
        let apex = zone.apex().to_string();
        let digest = serial::digest(zone);
        let old = remembered.get(&apex);
        let serial = serial::choose(config.zone.serial, old, &digest, None, now);
        zone.set_serial(serial);
        (apex, Version { serial, digest })
    });
    numbered.collect()
}

/// The services, for whom answers are a reason to boot.
fn entries(deployments: &[Deployment]) -> HashMap<ServiceId, ServiceEntry> {
    let entry = |deployment: &Deployment| ServiceEntry {
        signal: deployment.signal.clone(),
        answer: deployment.settings.answer,
        wake_on_refresh: deployment.settings.wake_on_refresh,
        key: deployment.settings.key.clone(),
    };
    deployments.iter().map(|deployment| (deployment.id, entry(deployment))).collect()
}
