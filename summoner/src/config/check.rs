//! From texts to checked values; every problem is noted and the look goes on.

mod content;
mod dns;
mod dnssec;
mod network;
mod responses;
mod server;
mod service;
mod template;
mod transfer;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hickory_proto::rr::Name;
use policies::budget::Rate;
use policies::units::{parse_duration, parse_rate, parse_size};

use super::checked::{AddressChoice, Admin, Config, MetricsSettings, Service, ZoneSettings};
use super::problem::{ConfigError, Problem};
use super::raw::Raw;
use super::source::Layers;
use super::{DEFAULT_ADMIN_SOCKET, addresses};
use crate::publish::planned;

const MIB: u64 = 1 << 20;
/// Checks everything; `folder` is what relative paths are relative to.
pub(super) fn check(raw: &Raw, layers: &Layers, folder: &Path) -> Result<Config, ConfigError> {
    let mut checker = Checker { layers, folder, problems: Vec::new() };
    let config = checker.config(raw);
    match config {
        Some(config) if checker.problems.is_empty() => {
            let assigned = match addresses::assign(&config, &BTreeMap::new()) {
                Ok(assigned) => assigned,
                Err(error) => {
                    let fix =
                        "widen the prefix or the pool, or give fewer services automatic addresses"
                            .to_owned();
                    let expected = "an address for every service".to_owned();
                    return Err(layers.problem("network", error.to_string(), expected, fix).into());
                }
            };
            if let Err(error) = planned(&config, &assigned) {
                let fix = "correct the services' names and records, or those of `zone`".to_owned();
                let expected = "records that make a zone together".to_owned();
                return Err(layers.problem("zone", error.to_string(), expected, fix).into());
            }
            Ok(config)
        }
        _ => Err(ConfigError { problems: checker.problems }),
    }
}

struct Checker<'a> {
    layers: &'a Layers,
    folder: &'a Path,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn config(&mut self, raw: &Raw) -> Option<Config> {
        let state_dir = self.path(raw.state_dir.as_deref(), "/var/lib/summoner");
        let dns = self.dns(&raw.dns);
        let network = self.network(&raw.network);
        let limits = self.limits(&raw.limits);
        let socket = self.path(raw.admin.socket.as_deref(), DEFAULT_ADMIN_SOCKET);
        let listen =
            raw.metrics.listen.as_deref().map(|text| self.socket_address("metrics.listen", text));
        let log = self.log(&raw.log);
        let tsig = self.tsig(&raw.tsig);
        let zone = self.zone(&raw.zone, &tsig);
        let (Some(network), Some(zone), Some(limits)) = (network, zone, limits) else {
            // Services can be judged only against these.
            return None;
        };
        let dnssec = self.dnssec(&raw.dnssec, &zone);
        let services: Vec<Option<Service>> = raw
            .services
            .iter()
            .map(|(key, raw)| {
                self.service(&format!("services.{key}"), key, raw, &network, &zone, &limits)
            })
            .collect();
        let services: Vec<Service> = services.into_iter().collect::<Option<_>>()?;
        let templates = self.templates(&raw.templates, &services, &network, &zone, &limits);
        self.no_two_alike(&services, &zone);
        self.no_guessed_addresses(&network, &services);
        Some(Config {
            state_dir,
            dns: dns?,
            zone,
            dnssec: dnssec?,
            tsig: tsig.into_values().collect(),
            network,
            limits,
            admin: Admin { socket },
            metrics: MetricsSettings {
                listen: match listen {
                    Some(listen) => Some(listen?),
                    None => None,
                },
            },
            log: log?,
            services: services.into_iter().map(|service| (service.key.clone(), service)).collect(),
            templates: templates?,
        })
    }

    fn note(&mut self, key: &str, found: impl Display, expected: &str, fix: &str) {
        let problem =
            self.layers.problem(key, found.to_string(), expected.to_owned(), fix.to_owned());
        self.problems.push(problem);
    }

    fn path(&self, text: Option<&str>, default: &str) -> PathBuf {
        text.map_or_else(|| PathBuf::from(default), |text| self.folder.join(text))
    }

    fn duration(&mut self, key: &str, text: Option<&str>, default: Duration) -> Option<Duration> {
        let Some(text) = text else { return Some(default) };
        parse_duration(text)
            .map_err(|error| {
                self.note(
                    key,
                    format!("{text:?}"),
                    &error.to_string(),
                    "write a number and a unit, such as \"10s\"",
                );
            })
            .ok()
    }

    fn size(&mut self, key: &str, text: Option<&str>, default: u64) -> Option<u64> {
        let Some(text) = text else { return Some(default) };
        parse_size(text)
            .map_err(|error| {
                self.note(
                    key,
                    format!("{text:?}"),
                    &error.to_string(),
                    "write a number and a unit, such as \"8MiB\"",
                );
            })
            .ok()
    }

    fn rate(&mut self, key: &str, text: Option<&str>, default: &str) -> Option<Rate> {
        let text = text.unwrap_or(default);
        parse_rate(text)
            .map_err(|error| {
                let fix = "write a number in a unit of time, such as \"100/s\"";
                self.note(key, format!("{text:?}"), &error.to_string(), fix);
            })
            .ok()
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, key: &str, text: Option<&str>, words: &[(&str, T)]) -> Option<T> {
        let (_, default) = words.first()?;
        let Some(text) = text else { return Some(*default) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.note(
                key,
                format!("{text:?}"),
                &format!("one of {}", all.join(", ")),
                "write one of these words",
            );
        }
        found
    }

    fn at_least(&mut self, key: &str, value: Option<u32>, default: u32, least: u32) -> Option<u32> {
        let value = value.unwrap_or(default);
        if value < least {
            self.note(key, value, &format!("{least} or more"), "raise it");
            return None;
        }
        Some(value)
    }

    fn socket_address(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let expected = "an address and a port, such as \"127.0.0.1:53\" or \"[::1]:53\"";
            self.note(
                key,
                format!("{text:?}"),
                expected,
                "write an IP address, not a name, and a port",
            );
        }
        parsed
    }

    /// A name, relative to the apex unless it ends with a dot.
    fn name(&mut self, key: &str, text: &str, apex: &Name) -> Option<Name> {
        let absolute = match text {
            "@" => Ok(apex.clone()),
            text if text.ends_with('.') => Name::from_ascii(text),
            text => Name::from_ascii(text).and_then(|name| name.append_domain(apex)),
        };
        match absolute {
            Ok(name) if !text.is_empty() && name.num_labels() > 0 && !name.is_wildcard() => {
                Some(name.to_lowercase())
            }
            Ok(_) | Err(_) => {
                let expected = "a DNS name, relative to the apex or with a dot at its end";
                self.note(
                    key,
                    format!("{text:?}"),
                    expected,
                    "use labels of letters, digits and `-`, with dots between them",
                );
                None
            }
        }
    }

    fn seconds(&mut self, key: &str, value: Option<u32>, default: i32) -> Option<i32> {
        let Some(value) = value else { return Some(default) };
        i32::try_from(value)
            .map_err(|_| self.note(key, value, "seconds, up to 2147483647", "lower it"))
            .ok()
    }

    /// RFC 2181, section 8: 31 bits.
    fn ttl(&mut self, key: &str, value: Option<u32>, default: u32) -> Option<u32> {
        self.seconds(key, value, 0)?;
        Some(value.unwrap_or(default))
    }

    fn no_two_alike(&mut self, services: &[Service], zone: &ZoneSettings) {
        // Services may share a name; a name server is no service.
        let servers: Vec<&Name> = zone.name_servers.iter().map(|server| &server.name).collect();
        for service in services {
            for name in service.names.iter().filter(|name| servers.contains(name)) {
                self.note(
                    &format!("services.{}.names", service.key),
                    name,
                    "a name that zone.name_servers does not have",
                    "remove it from one of them",
                );
            }
        }
        let fixed4 = services.iter().filter_map(|service| match service.ipv4 {
            AddressChoice::Fixed(address) => Some((address, service.key.as_str())),
            _ => None,
        });
        for (address, first, second) in twice_of(fixed4) {
            self.note(
                &format!("services.{second}.ipv4"),
                address,
                &format!("an address that {first} does not have"),
                "choose another",
            );
        }
        let fixed6 = services.iter().filter_map(|service| match service.ipv6 {
            AddressChoice::Fixed(address) => Some((address, service.key.as_str())),
            _ => None,
        });
        for (address, first, second) in twice_of(fixed6) {
            self.note(
                &format!("services.{second}.ipv6"),
                address,
                &format!("an address that {first} does not have"),
                "choose another",
            );
        }
    }
}

/// What is owned a second time: the thing, its first owner, its second.
fn twice_of<'a, T: Eq + Hash + Clone>(
    items: impl Iterator<Item = (T, &'a str)>,
) -> Vec<(T, String, String)> {
    let mut owners: HashMap<T, &str> = HashMap::new();
    let mut found = Vec::new();
    for (thing, owner) in items {
        if let Some(first) = owners.get(&thing) {
            found.push((thing, (*first).to_owned(), owner.to_owned()));
        } else {
            owners.insert(thing, owner);
        }
    }
    found
}
