//! From a configuration to deployments: numbers, addresses, images and command lines for each service.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use policies::{Generation, ServiceId};

use crate::config::addresses::{self, AddressError, Assigned};
use crate::config::{Config, ImageRef, Network, Service};
use crate::dns::ServiceSignal;
use crate::engine::Template;
use crate::image::{LoadError, LoadedImage};
use crate::orchestrator::Deployment;
use crate::snapshots::{KeyParts, Machine};
use crate::state::{State, StateError};

/// Why a configuration cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// There are not enough addresses.
    #[error("cannot give every service an address")]
    Addresses(#[from] AddressError),
    /// An image cannot be booted.
    #[error(transparent)]
    Image(#[from] LoadError),
    /// What is to be remembered cannot be.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Makes deployments, and remembers what must stay the same from one configuration to the next.
#[derive(Debug)]
pub struct Deployer {
    state: State,
    machine: Machine,
    numbers: HashMap<String, (ServiceId, Arc<ServiceSignal>)>,
    /// The number of the next service that is new: none is given twice.
    next: u32,
    /// The images of the newest configuration, those of its templates too.
    images: HashMap<ImageRef, Arc<LoadedImage>>,
}

impl Deployer {
    /// A deployer that remembers in `state`, and deploys on `machine`.
    #[must_use]
    pub fn new(state: State, machine: Machine) -> Self {
        let (numbers, images) = (HashMap::new(), HashMap::new());
        Self { state, machine, numbers, next: 0, images }
    }

    /// The first generation of this life of the daemon.
    #[must_use]
    pub fn first_generation(&self) -> Generation {
        self.state.first_generation()
    }

    /// The deployments of `config`, each image read and checked again.
    ///
    /// # Errors
    /// When an address or an image is missing; nothing has changed then.
    pub fn deploy(&mut self, config: &Config) -> Result<Vec<Deployment>, DeployError> {
        let assigned = addresses::assign(config, &self.state.addresses())?;
        let images = load_images(config)?;
        self.state.remember(&assigned)?;
        let services = config.services.iter();
        let deployments = services.map(|(key, settings)| {
            let addresses = assigned.get(key).cloned().unwrap_or_default();
            let image = images[&settings.image].clone();
            self.deployment(config, settings, addresses, image)
        });
        let deployments = deployments.collect();
        self.images = images;
        Ok(deployments)
    }

    /// The deployment of one more service, which a template of `config` has made. Nothing of it is remembered across restarts.
    ///
    /// # Errors
    /// When its image cannot be read any more.
    pub fn deploy_one(
        &mut self,
        config: &Config,
        settings: &Service,
        addresses: Assigned,
    ) -> Result<Deployment, LoadError> {
        let image = match self.images.get(&settings.image) {
            Some(image) => image.clone(),
            // Of a configuration that was not put into force after all.
            None => Arc::new(LoadedImage::load(&settings.image)?),
        };
        Ok(self.deployment(config, settings, addresses, image))
    }

    /// Forgets a service that a template has made. Should it be made again, it is another one.
    pub fn forget(&mut self, key: &str) {
        self.numbers.remove(key);
    }

    fn deployment(
        &mut self,
        config: &Config,
        settings: &Service,
        addresses: Assigned,
        image: Arc<LoadedImage>,
    ) -> Deployment {
        let (id, signal) = self.number(&settings.key);
        let template = self.template(config, settings, id, &addresses, image);
        Deployment { id, signal, template, addresses, settings: settings.clone() }
    }

    fn template(
        &self,
        config: &Config,
        settings: &Service,
        id: ServiceId,
        addresses: &Assigned,
        image: Arc<LoadedImage>,
    ) -> Arc<Template> {
        let command_line = command_line(&config.network, settings, addresses);
        let (mac, mtu) = (guest_mac(id), config.network.mtu);
        let key = self.machine.key(KeyParts {
            image: image.plan.digest.as_bytes(),
            memory: settings.memory,
            command_line: &command_line,
            mac,
            mtu,
            // Told by the machine.
            cpu: &[],
            monitor: "",
        });
        Arc::new(Template {
            service: id,
            name: settings.key.clone(),
            image,
            memory: settings.memory,
            command_line,
            mac,
            mtu,
            snapshot: settings.snapshot,
            stop: settings.stop,
            key,
        })
    }

    fn number(&mut self, key: &str) -> (ServiceId, Arc<ServiceSignal>) {
        if let Some(known) = self.numbers.get(key) {
            return known.clone();
        }
        let number = (ServiceId(self.next), ServiceSignal::new());
        // At a thousand services made in a second, 49 days of that.
        self.next = self.next.wrapping_add(1);
        self.numbers.insert(key.to_owned(), number.clone());
        number
    }
}

/// Loads each image once, however many services boot it, and checks that it fits each of them.
fn load_images(config: &Config) -> Result<HashMap<ImageRef, Arc<LoadedImage>>, LoadError> {
    let mut images: HashMap<ImageRef, Arc<LoadedImage>> = HashMap::new();
    let templates = config.templates.values().map(|template| &template.prototype);
    for settings in config.services.values().chain(templates) {
        let image = match images.get(&settings.image) {
            Some(image) => image.clone(),
            None => Arc::new(LoadedImage::load(&settings.image)?),
        };
        image.plan.check_memory(settings.memory).map_err(|source| LoadError::Memory {
            name: settings.image.to_string(),
            service: settings.key.clone(),
            source,
        })?;
        images.insert(settings.image.clone(), image);
    }
    Ok(images)
}

/// The gateway of a prefix: its first host address, which is the daemon's own.
#[must_use]
pub fn gateways(network: &Network) -> (Ipv4Addr, Option<Ipv6Addr>) {
    let ipv4 = Ipv4Addr::from_bits(network.ipv4.network().to_bits().saturating_add(1));
    let ipv6 =
        network.ipv6.map(|net| Ipv6Addr::from_bits(net.network().to_bits().saturating_add(1)));
    (ipv4, ipv6)
}

/// Locally administered (IEEE 802: second-lowest bit of the first octet), the service's number inside.
const fn guest_mac(id: ServiceId) -> [u8; 6] {
    let [a, b, c, d] = id.0.to_be_bytes();
    [0x02, 0x4a, a, b, c, d]
}

/// The link-layer address that guests know their gateway by.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0x47, 0, 0, 0, 1];

/// Fills the placeholders of a service's command line; by default, the flags by which MirageOS guests are told
/// their addresses, and the built-in ones too.
fn command_line(network: &Network, settings: &Service, addresses: &Assigned) -> String {
    let (gateway4, gateway6) = gateways(network);
    let mut values: BTreeMap<&str, String> = BTreeMap::new();
    values.insert("{name}", settings.key.clone());
    if let Some(address) = addresses.ipv4 {
        values.insert("{ipv4}", format!("{address}/{}", network.ipv4.prefix_len()));
        values.insert("{ipv4_gateway}", gateway4.to_string());
    }
    if let (Some(address), Some(net), Some(gateway)) = (addresses.ipv6, network.ipv6, gateway6) {
        values.insert("{ipv6}", format!("{address}/{}", net.prefix_len()));
        values.insert("{ipv6_gateway}", gateway.to_string());
    }
    let default = || {
        let mut flags = String::from("--name={name}");
        if addresses.ipv4.is_some() {
            flags.push_str(" --ipv4={ipv4} --ipv4-gateway={ipv4_gateway}");
        }
        if values.contains_key("{ipv6}") {
            flags.push_str(" --ipv6={ipv6} --ipv6-gateway={ipv6_gateway}");
        }
        flags
    };
    let template = settings.command_line.clone().unwrap_or_else(default);
    values.iter().fold(template, |text, (placeholder, value)| text.replace(placeholder, value))
}
