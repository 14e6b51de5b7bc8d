//! Which services templates have made, within which bounds, and when each may be forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{LowerName, Name};
use policies::{Instant, ServiceId};
use tracing::warn;

use crate::config::{Config, addresses};
use crate::deploy::Deployer;
use crate::orchestrator::Deployment;

/// How soon it is looked again at one that could not be forgotten, at the least.
const PATIENCE: Duration = Duration::from_secs(1);

/// The services that templates have made.
#[derive(Debug, Default)]
pub struct Instances {
    /// By key.
    made: BTreeMap<String, Made>,
}

/// A service that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// What it is.
    pub deployment: Deployment,
    /// Its template.
    template: Arc<str>,
    /// When.
    made_at: Instant,
    /// When it may be time to forget it.
    look_at: Instant,
}

impl Made {
    /// How long nobody must have asked for it: a client may use an answer for its TTL, and what follows from that is as
    /// long ago as an idle guest's last use.
    fn retention(&self) -> Duration {
        let settings = &self.deployment.settings;
        settings.idle.saturating_add(Duration::from_secs(u64::from(settings.ttl)))
    }

    /// Since when nobody has asked for it.
    fn last_asked(&self) -> Instant {
        self.deployment.signal.last_asked().unwrap_or(self.made_at).max(self.made_at)
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Making {
    /// The service is there already.
    There,
    /// It is new, and not attached and published yet.
    New(Box<Deployment>),
}

/// Why no service is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such template any more, or it matches other names now.
    Unknown,
    /// The template has as many as it may.
    Full,
    /// No address is left.
    NoAddress,
    /// The image cannot be read any more.
    NoImage,
}

impl Refusal {
    /// The closed set of words for metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Full => "full",
            Self::NoAddress => "no_address",
            Self::NoImage => "no_image",
        }
    }
}

impl Instances {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Made> + Clone {
        self.made.values()
    }

    /// Whether one has this key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.made.contains_key(key)
    }

    /// How many a template has.
    #[must_use]
    pub fn count(&self, template: &str) -> usize {
        self.made.values().filter(|made| &*made.template == template).count()
    }

    /// The service for `name`, by the template that is called `template`: with an address that none of `configured` has.
    ///
    /// # Errors
    /// When there can be none; nothing has changed then.
    pub fn make(
        &mut self,
        now: Instant,
        config: &Config,
        deployer: &mut Deployer,
        configured: &[Deployment],
        (template, name): (&str, &LowerName),
    ) -> Result<Making, Refusal> {
        let template = config.templates.get(template).ok_or(Refusal::Unknown)?;
        let name = Name::from(name.clone());
        let label = name.iter().next().and_then(|label| std::str::from_utf8(label).ok());
        let settings = label
            .filter(|_| name.base_name() == template.pattern.base_name())
            .and_then(|label| template.service(label).ok())
            .ok_or(Refusal::Unknown)?;
        if self.made.contains_key(&settings.key) {
            return Ok(Making::There);
        }
        if self.count(&template.key) >= usize::try_from(template.max).unwrap_or(usize::MAX) {
            return Err(Refusal::Full);
        }
        let made = self.made.values().map(|made| made.deployment.addresses);
        let taken = configured.iter().map(|deployment| deployment.addresses).chain(made);
        let addresses = addresses::assign_one(&config.network, &settings, taken)
            .map_err(|_| Refusal::NoAddress)?;
        let deployment = deployer.deploy_one(config, &settings, addresses).map_err(|error| {
            warn!(template = &*template.key, error = %crate::report(&error), "a template's image cannot be read");
            Refusal::NoImage
        })?;
        let mut made = Made {
            deployment: deployment.clone(),
            template: template.key.clone(),
            made_at: now,
            look_at: now,
        };
        made.look_at = now + made.retention();
        self.made.insert(settings.key, made);
        Ok(Making::New(Box::new(deployment)))
    }

    /// Takes one out; it can be [put back](Self::put_back).
    pub fn take(&mut self, key: &str) -> Option<Made> {
        self.made.remove(key)
    }

    /// Puts back what was taken out.
    pub fn put_back(&mut self, made: Made) {
        self.made.insert(made.deployment.settings.key.clone(), made);
    }

    /// When [`due`](Self::due) may have something to say next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.made.values().map(|made| made.look_at).min()
    }

    /// Those for which nobody has asked for long enough: key and number. If one of them is not cold, it is looked at again
    /// later.
    pub fn due(&mut self, now: Instant) -> Vec<(String, ServiceId)> {
        let mut due = Vec::new();
        for (key, made) in self.made.iter_mut().filter(|(_, made)| made.look_at <= now) {
            let forgotten_at = made.last_asked() + made.retention();
            if forgotten_at <= now {
                due.push((key.clone(), made.deployment.id));
                made.look_at = now + made.deployment.settings.idle.max(PATIENCE);
            } else {
                made.look_at = forgotten_at;
            }
        }
        due
    }

    /// What is left of them under another configuration: those whose template still matches them, as it is now, and whose
    /// names and addresses no configured service has.
    #[must_use]
    pub fn under(
        &self,
        config: &Config,
        deployer: &mut Deployer,
        configured: &[Deployment],
    ) -> Self {
        let kept = self.made.iter().filter_map(|(key, made)| {
            let deployment = under(made, config, deployer, configured)?;
            Some((key.clone(), Made { deployment, ..made.clone() }))
        });
        Self { made: kept.collect() }
    }
}

fn under(
    made: &Made,
    config: &Config,
    deployer: &mut Deployer,
    configured: &[Deployment],
) -> Option<Deployment> {
    let template = config.templates.get(&*made.template)?;
    let (label, _) = made.deployment.settings.key.split_once('.')?;
    let settings = template.service(label).ok()?;
    let addresses = made.deployment.addresses;
    let clashes = |other: &Deployment| {
        other.settings.names.iter().any(|name| settings.names.contains(name))
            || (addresses.ipv4.is_some() && addresses.ipv4 == other.addresses.ipv4)
            || (addresses.ipv6.is_some() && addresses.ipv6 == other.addresses.ipv6)
    };
    if settings.names != made.deployment.settings.names || configured.iter().any(clashes) {
        return None;
    }
    deployer.deploy_one(config, &settings, addresses).ok()
}
