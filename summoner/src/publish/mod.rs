//! What DNS shows of the deployments: the zones and, beside them, whom a name wakes.
//!
//! ```text
//!   configuration, deployments
//!        | content    what the zones say
//!        | serial     another number whenever they say something else, remembered across restarts
//!        | sign       with the signatures of before where they fit (dnssec)
//!        | history    what has changed, for secondaries
//!        v
//!    Published        to be swapped in whole
//! ```

mod content;
mod reverse;
pub mod serial;

pub use content::planned;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::rr::Name;
use policies::ServiceId;
use policies::access::AccessList;
use zone::{SignError, Zone, ZoneError, Zones};

use crate::config::{Config, Dnssec, TransferSettings, TsigKey};
use crate::dns::transfer::Ledger;
use crate::dns::{Published, ServiceEntry};
use crate::dnssec::{KeyError, Round, Signer};
use crate::orchestrator::Deployment;
use crate::state::{State, StateError};
use serial::{SerialChoice, Version};

/// Why the zones cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The data do not make a zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// A serial that is not remembered could be used twice.
    #[error(transparent)]
    State(#[from] StateError),
    /// A zone that is to be signed has no keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A zone cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Makes what DNS answers from, and remembers what the next version must go on from.
#[derive(Debug)]
pub struct Publisher {
    state: State,
    signer: Signer,
    ledger: Ledger,
    /// What was published last, if it is signed: to be signed again when it is time.
    signed: Option<Unsigned>,
}

/// What is to be published, before it has serials and signatures.
#[derive(Debug, Clone)]
struct Unsigned {
    zones: Vec<Zone>,
    services: HashMap<ServiceId, ServiceEntry>,
    access: Arc<AccessList>,
    serial: SerialChoice,
    dnssec: Dnssec,
    transfer: TransferSettings,
    tsig: Vec<TsigKey>,
}

impl Publisher {
    /// A publisher that remembers in `state`, and signs by `signer`.
    #[must_use]
    pub fn new(state: State, signer: Signer) -> Self {
        Self { state, signer, ledger: Ledger::default(), signed: None }
    }

    /// The zones of `config` with `deployments` in them, at the time of day `now`. To be swapped in when the deployments
    /// are in force: a serial that is remembered and never served does no harm.
    ///
    /// # Errors
    /// When the data do not make a zone or cannot be signed, or what must be remembered cannot be. What was published before is still good then.
    pub fn publish(
        &mut self,
        config: &Config,
        deployments: &[Deployment],
        now: SystemTime,
    ) -> Result<Published, PublishError> {
        let unsigned = Unsigned {
            zones: build(config, deployments)?,
            services: entries(deployments),
            access: config.limits.wakes.access.clone(),
            serial: config.zone.serial,
            dnssec: config.dnssec.clone(),
            transfer: config.zone.transfer.clone(),
            tsig: config.tsig.clone(),
        };
        self.issue(unsigned, now)
    }

    /// How long to wait until it may be time to publish the same again, with new signatures.
    #[must_use]
    pub fn next_look(&self, now: SystemTime) -> Duration {
        self.signer.next_look(now)
    }

    /// What was published last with new signatures, if it is time for them.
    ///
    /// # Errors
    /// When it cannot be signed, or what must be remembered cannot be. What was published before is still good then.
    pub fn refresh(&mut self, now: SystemTime) -> Result<Option<Published>, PublishError> {
        match &self.signed {
            Some(unsigned) if self.signer.is_due(now) => {
                self.issue(unsigned.clone(), now).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn issue(&mut self, unsigned: Unsigned, now: SystemTime) -> Result<Published, PublishError> {
        let prepared = self.signer.prepare(&unsigned.dnssec, &unsigned.zones, now)?;
        let again = prepared.is_some().then(|| unsigned.clone());
        let Unsigned { mut zones, services, access, serial, transfer, tsig, .. } = unsigned;
        let round = prepared.as_ref().map(|prepared| prepared.round);
        let versions = number(serial, &mut zones, round, &self.state.remembered().serials, now);
        // Remembered first: a serial that was used must never be given to other content.
        self.state.remember_serials(versions)?;
        let zones = self.signer.sign(prepared, zones)?;
        self.signed = again;
        let zones = Zones::new(zones);
        let transfers = self.ledger.note(&transfer, &tsig, &zones);
        Ok(Published { zones, services, access, transfers })
    }
}

/// Gives zones that are not published the serials that they would have now; nothing is remembered.
pub fn preview(
    config: &Config,
    zones: &mut [Zone],
    remembered: &BTreeMap<String, Version>,
    now: SystemTime,
) {
    number(config.zone.serial, zones, None, remembered, now);
}

/// The names of the zones that `config` makes.
#[must_use]
pub fn apexes(config: &Config) -> Vec<Name> {
    content::zones(config, &[]).into_iter().map(|zone| zone.apex).collect()
}

/// Content: the zones as they are before they have serials.
fn build(config: &Config, deployments: &[Deployment]) -> Result<Vec<Zone>, ZoneError> {
    content::zones(config, deployments).into_iter().map(Zone::build).collect()
}

/// Serial: gives each zone its own; returns what is to be remembered.
fn number(
    choice: SerialChoice,
    zones: &mut [Zone],
    round: Option<Round>,
    remembered: &BTreeMap<String, Version>,
    now: SystemTime,
) -> BTreeMap<String, Version> {
    let numbered = zones.iter_mut().map(|zone| {
        let apex = zone.apex().to_string();
        let digest = serial::digest(zone);
        let digest = round.map_or_else(|| digest.clone(), |round| round.digest(&digest));
        let old = remembered.get(&apex);
        let serial = serial::choose(choice, old, &digest, serial::least(zone), now);
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
