//! The daemon as the benchmark sees it beside its network: what runs, since when, and making it cold again.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::admin::client::{ClientError, ask_once};
use crate::admin::protocol::{Reply, Request};
use crate::clock::now;
use crate::orchestrator::ServiceStatus;

/// How long a service may take to become what is waited for. Never a verdict: many times what is needed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at the daemon.
const LOOK: Duration = Duration::from_millis(1);

/// Why the daemon could not be steered.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// It did not answer, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It answered something else.
    #[error("the daemon answered something else; are both of the same version?")]
    Unexpected,
    /// It has no such service.
    #[error("the daemon has no service `{0}`; `summoner ps` lists its services")]
    NoService(String),
    /// It never got there.
    #[error("{what} after {PATIENCE:?}")]
    Never {
        /// What did not happen.
        what: String,
    },
}

/// A daemon's admin socket.
#[derive(Debug, Clone)]
pub struct Admin {
    socket: PathBuf,
}

impl Admin {
    /// The daemon that answers on `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Every service of the daemon.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn services(&self) -> Result<Vec<ServiceStatus>, AdminError> {
        match ask_once(&self.socket, &Request::Ps)? {
            Reply::Services(services) => Ok(services),
            _ => Err(AdminError::Unexpected),
        }
    }

    /// One service, by its key or a name.
    ///
    /// # Errors
    /// When the daemon does not answer, or has no such service.
    pub fn service(&self, name: &str) -> Result<ServiceStatus, AdminError> {
        let services = self.services()?;
        let found = services.into_iter().find(|service| is_named(service, name));
        found.ok_or_else(|| AdminError::NoService(name.to_owned()))
    }

    /// How many services have a snapshot that the next summon will use.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn snapshots(&self) -> Result<usize, AdminError> {
        match ask_once(&self.socket, &Request::Snapshots)? {
            Reply::Snapshots(all) => Ok(all.iter().filter(|one| one.stale.is_none()).count()),
            _ => Err(AdminError::Unexpected),
        }
    }

    /// Wakes a service and waits until it is ready.
    ///
    /// # Errors
    /// When the daemon does not answer, or the service does not come up.
    pub fn wake(&self, name: &str) -> Result<(), AdminError> {
        match ask_once(&self.socket, &Request::Wake { name: name.to_owned() })? {
            Reply::Awake(_) => Ok(()),
            _ => Err(AdminError::Unexpected),
        }
    }

    /// Stops a service and waits until it is cold.
    ///
    /// # Errors
    /// When the daemon does not answer, or has no such service.
    pub fn stop(&self, name: &str) -> Result<(), AdminError> {
        match ask_once(&self.socket, &Request::Stop { name: name.to_owned() })? {
            Reply::Stopped => Ok(()),
            _ => Err(AdminError::Unexpected),
        }
    }

    /// Waits until every service for which `wanted` says so is in the state `state`.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn wait_for(
        &self,
        state: &str,
        wanted: impl Fn(&ServiceStatus) -> bool,
    ) -> Result<Vec<ServiceStatus>, AdminError> {
        let deadline = now() + PATIENCE;
        loop {
            let services = self.services()?;
            let others = services.iter().find(|one| wanted(one) && one.state != state);
            match others {
                None => return Ok(services),
                Some(service) if now() > deadline => {
                    let what =
                        format!("`{}` is {} and not {state}", service.service, service.state);
                    return Err(AdminError::Never { what });
                }
                Some(_) => thread::sleep(LOOK),
            }
        }
    }

    /// Makes services cold: asks for it, and waits until it is so.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn make_cold<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), AdminError> {
        let names: Vec<_> = names.into_iter().collect();
        names.iter().try_for_each(|name| self.stop(name))?;
        let wanted = |service: &ServiceStatus| names.iter().any(|name| is_named(service, name));
        self.wait_for("cold", wanted).map(drop)
    }

    /// How often services were booted since the daemon started.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn boots(&self) -> Result<u64, AdminError> {
        Ok(boots(&self.services()?))
    }
}

/// A generation's lower half counts the boots of a service since its daemon started.
fn boots(services: &[ServiceStatus]) -> u64 {
    let newest = services.iter().filter_map(|service| service.timeline.as_ref()?.generation);
    newest.map(|generation| generation & 0xffff_ffff).sum()
}

fn is_named(service: &ServiceStatus, name: &str) -> bool {
    let bare = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    service.service == name || service.names.iter().any(|own| bare(own) == bare(name))
}
