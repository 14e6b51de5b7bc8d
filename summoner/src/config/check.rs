//! From texts to checked values; every problem is noted and the look goes on.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hickory_proto::rr::Name;
use ipnet::{Ipv4Net, Ipv6Net};
use policies::backoff::BackoffPolicy;
use policies::stop::StopMode;
use policies::units::{format_size, parse_duration, parse_size};
use synjitsu::Overflow;
use zone::{NameServer, Soa};

use super::checked::{
    AddressChoice, Admin, AnswerMode, Config, Dns, Hold, ImageRef, Limits, Log, LogFormat,
    MetricsSettings, Network, Service, WakeTriggers, ZoneSettings,
};
use super::problem::{ConfigError, Problem};
use super::raw::{self, Raw};
use super::source::Layers;
use super::{DEFAULT_ADMIN_SOCKET, addresses};

const MIB: u64 = 1 << 20;
/// Guest memory comes in these (Solo5 hvt ABI 2).
const MEMORY_UNIT: u64 = 2 * MIB;
const MEMORY_MAX: u64 = 4096 * MIB;
/// What a command line may take, its NUL left out (Solo5 hvt ABI 2).
const COMMAND_LINE_MAX: usize = 8191;
const PLACEHOLDERS: [&str; 5] = ["{name}", "{ipv4}", "{ipv4_gateway}", "{ipv6}", "{ipv6_gateway}"];

/// Checks everything; `folder` is what relative paths are relative to.
pub(super) fn check(raw: &Raw, layers: &Layers, folder: &Path) -> Result<Config, ConfigError> {
    let mut checker = Checker { layers, folder, problems: Vec::new() };
    let config = checker.config(raw);
    match config {
        Some(config) if checker.problems.is_empty() => {
            if let Err(error) = addresses::assign(&config, &BTreeMap::new()) {
                let fix = "widen the prefix, or give fewer services automatic addresses".to_owned();
                let expected = "an address for every service".to_owned();
                return Err(layers.problem("network", error.to_string(), expected, fix).into());
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
        let zone = self.zone(&raw.zone);
        let (Some(network), Some(zone), Some(limits)) = (network, zone, limits) else {
            // Services can be judged only against these.
            return None;
        };
        let services: Vec<Option<Service>> = raw
            .services
            .iter()
            .map(|(key, raw)| self.service(key, raw, &network, &zone, &limits))
            .collect();
        let services: Vec<Service> = services.into_iter().collect::<Option<_>>()?;
        self.no_two_alike(&services, &zone);
        Some(Config {
            state_dir,
            dns: dns?,
            zone,
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

    fn dns(&mut self, raw: &raw::Dns) -> Option<Dns> {
        let default = vec!["127.0.0.1:5353".to_owned()];
        let texts = raw.listen.as_ref().unwrap_or(&default);
        if texts.is_empty() {
            self.note(
                "dns.listen",
                "an empty list",
                "at least one address and port",
                "name where queries come in",
            );
            return None;
        }
        let listen: Vec<_> =
            texts.iter().map(|text| self.socket_address("dns.listen", text)).collect();
        Some(Dns { listen: listen.into_iter().collect::<Option<_>>()? })
    }

    fn log(&mut self, raw: &raw::Log) -> Option<Log> {
        let filter = raw.filter.clone().unwrap_or_else(|| "info".to_owned());
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&filter) {
            self.note(
                "log.filter",
                format!("{filter:?} ({error})"),
                "a filter such as \"info\"",
                "write one of error, warn, info, debug, trace",
            );
            return None;
        }
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Some(Log { filter, format: self.word("log.format", raw.format.as_deref(), &words)? })
    }

    fn limits(&mut self, raw: &raw::Limits) -> Option<Limits> {
        let instances = self.at_least("limits.instances", raw.instances, 256, 1);
        let memory = self.size("limits.memory", raw.memory.as_deref(), 2048 * MIB);
        let booting = self.at_least("limits.booting", raw.booting, 4, 1);
        let hold_flows = self.at_least("limits.hold_flows", raw.hold_flows, 16_384, 1);
        let hold_bytes = self.size("limits.hold_bytes", raw.hold_bytes.as_deref(), 16 * MIB);
        Some(Limits {
            instances: instances?,
            memory: memory?,
            booting: booting?,
            ready_shells: raw.ready_shells.unwrap_or(2),
            hold_flows: hold_flows?,
            hold_bytes: hold_bytes?,
        })
    }

    fn network(&mut self, raw: &raw::Network) -> Option<Network> {
        let interface = raw.interface.clone().unwrap_or_else(|| "summon0".to_owned());
        // IFNAMSIZ, with its NUL, is 16.
        let good = (1..=15).contains(&interface.len())
            && interface
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
            && interface != "."
            && interface != "..";
        if !good {
            self.note(
                "network.interface",
                format!("{interface:?}"),
                "1 to 15 letters, digits, `-`, `_` or `.`",
                "choose another name",
            );
        }
        let ipv4 = self.prefix4(raw.ipv4.as_deref().unwrap_or("10.77.0.0/16"));
        let ipv6 = match raw.ipv6.as_deref().unwrap_or("fd77:6a69:7400::/64") {
            "none" => Some(None),
            text => self.prefix6(text).map(Some),
        };
        let mtu = raw.mtu.unwrap_or(1500);
        // IPv6 needs 1280 (RFC 8200, section 5).
        if !(1280..=9000).contains(&mtu) {
            self.note("network.mtu", mtu, "1280 to 9000", "1500 suits most networks");
        }
        Some(Network { interface, ipv4: ipv4?, ipv6: ipv6?, mtu })
    }

    fn prefix4(&mut self, text: &str) -> Option<Ipv4Net> {
        let parsed = text
            .parse::<Ipv4Net>()
            .ok()
            .filter(|net| (8..=29).contains(&net.prefix_len()) && net.addr() == net.network());
        if parsed.is_none() {
            self.note(
                "network.ipv4",
                format!("{text:?}"),
                "a prefix of /8 to /29, its host bits zero, such as \"10.77.0.0/16\"",
                "write the first address of the prefix and its length",
            );
        }
        parsed
    }

    fn prefix6(&mut self, text: &str) -> Option<Ipv6Net> {
        let parsed = text
            .parse::<Ipv6Net>()
            .ok()
            .filter(|net| (32..=120).contains(&net.prefix_len()) && net.addr() == net.network());
        if parsed.is_none() {
            self.note("network.ipv6", format!("{text:?}"), "a prefix of /32 to /120, its host bits zero, such as \"fd00:1:2:3::/64\", or \"none\"", "write the first address of the prefix and its length");
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

    fn zone(&mut self, raw: &raw::Zone) -> Option<ZoneSettings> {
        let Some(text) = &raw.apex else {
            self.note(
                "zone.apex",
                "nothing",
                "the zone's name, such as \"jit.example.org\"",
                "add `apex = \"...\"` under `[zone]`",
            );
            return None;
        };
        let apex =
            self.name("zone.apex", &format!("{}.", text.trim_end_matches('.')), &Name::root())?;
        let mut name_servers = Vec::new();
        let default = BTreeMap::from([("ns".to_owned(), Vec::new())]);
        for (text, addresses) in raw.name_servers.as_ref().unwrap_or(&default) {
            let key = format!("zone.name_servers.{text}");
            let name = self.name(&key, text, &apex)?;
            let parsed: Result<Vec<_>, _> =
                addresses.iter().map(|address| address.parse()).collect();
            let Ok(addresses) = parsed else {
                self.note(
                    &key,
                    format!("{addresses:?}"),
                    "a list of IP addresses",
                    "write addresses without a port",
                );
                return None;
            };
            if !addresses.is_empty() && !apex.zone_of(&name) {
                self.note(
                    &key,
                    format!("{addresses:?}"),
                    "no addresses for a name outside of the zone",
                    "leave the list empty: the name's own zone has them",
                );
            }
            name_servers.push(NameServer { name, addresses });
        }
        let Some(first) = name_servers.first() else {
            self.note(
                "zone.name_servers",
                "nothing",
                "at least one name server",
                "add `ns = []` under `[zone.name_servers]`",
            );
            return None;
        };
        let mname = match &raw.mname {
            Some(text) => self.name("zone.mname", text, &apex),
            None => Some(first.name.clone()),
        };
        let rname = self.name("zone.rname", raw.rname.as_deref().unwrap_or("hostmaster"), &apex);
        let refresh = self.seconds("zone.refresh", raw.refresh, 3600);
        let retry = self.seconds("zone.retry", raw.retry, 600);
        let expire = self.seconds("zone.expire", raw.expire, 86_400);
        let ttl = self.ttl("zone.ttl", raw.ttl, 60);
        let minimum = self.ttl("zone.minimum", raw.minimum, 30);
        let soa = Soa {
            mname: mname?,
            rname: rname?,
            serial: raw.serial.unwrap_or(1),
            refresh: refresh?,
            retry: retry?,
            expire: expire?,
            minimum: minimum?,
        };
        Some(ZoneSettings { apex, ttl: ttl?, soa, name_servers })
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

    fn service(
        &mut self,
        name: &str,
        raw: &raw::Service,
        network: &Network,
        zone: &ZoneSettings,
        limits: &Limits,
    ) -> Option<Service> {
        let key = |field: &str| format!("services.{name}.{field}");
        let names = self.names(name, raw.names.as_deref(), zone);
        let image = self.image(&key("image"), raw.image.as_deref());
        let command_line = self.command_line(&key("command_line"), raw.command_line.as_deref());
        let memory = self.memory(&key("memory"), raw.memory.as_deref(), limits);
        let ipv4 = self.address4(&key("ipv4"), raw.ipv4.as_deref(), network);
        let ipv6 = self.address6(&key("ipv6"), raw.ipv6.as_deref(), network);
        let ttl = self.ttl(&key("ttl"), raw.ttl, zone.ttl);
        let seconds = Duration::from_secs;
        let idle = self.duration(&key("idle"), raw.idle.as_deref(), seconds(10));
        let minimum_uptime =
            self.duration(&key("minimum_uptime"), raw.minimum_uptime.as_deref(), Duration::ZERO);
        let boot_timeout =
            self.duration(&key("boot_timeout"), raw.boot_timeout.as_deref(), seconds(10));
        let grace = self.duration(&key("stop_grace"), raw.stop_grace.as_deref(), seconds(5));
        let cap = self.duration(&key("ready_cap"), raw.ready_cap.as_deref(), seconds(1));
        let shutdown =
            self.word(&key("stop"), raw.stop.as_deref(), &[("destroy", false), ("shutdown", true)]);
        let ready =
            self.word(&key("answer"), raw.answer.as_deref(), &[("now", false), ("ready", true)]);
        let wake = self.wake(&key("wake"), raw.wake.as_deref());
        let hold = self.hold(name, &raw.hold);
        let backoff = self.backoff(name, &raw.backoff);
        let (grace, cap) = (grace?, cap?);
        Some(Service {
            key: name.to_owned(),
            names: names?,
            image: image?,
            command_line: command_line?,
            memory: memory?,
            ipv4: ipv4?,
            ipv6: ipv6?,
            ttl: ttl?,
            idle: idle?,
            count_open_connections: raw.count_open_connections.unwrap_or(true),
            minimum_uptime: minimum_uptime?,
            stop: if shutdown? { StopMode::Shutdown { grace } } else { StopMode::Destroy },
            answer: if ready? { AnswerMode::Ready { cap } } else { AnswerMode::Now },
            wake: wake?,
            boot_timeout: boot_timeout?,
            hold: hold?,
            backoff: backoff?,
        })
    }

    fn names(
        &mut self,
        service: &str,
        texts: Option<&[String]>,
        zone: &ZoneSettings,
    ) -> Option<Vec<Name>> {
        let key = format!("services.{service}.names");
        let own = [service.to_owned()];
        let texts = texts.unwrap_or(&own);
        if texts.is_empty() {
            self.note(
                &key,
                "an empty list",
                "at least one name",
                "remove the key: the service's own key is its name then",
            );
            return None;
        }
        let names: Vec<_> = texts.iter().map(|text| self.name(&key, text, &zone.apex)).collect();
        let names = names.into_iter().collect::<Option<Vec<_>>>()?;
        for name in &names {
            if !zone.apex.zone_of(name) {
                self.note(
                    &key,
                    name,
                    &format!("names in the zone {}", zone.apex),
                    "leave out the dot at its end, or the name",
                );
            }
        }
        Some(names)
    }

    fn image(&mut self, key: &str, text: Option<&str>) -> Option<ImageRef> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            self.note(
                key,
                "nothing",
                "\"builtin:hello\", or a file",
                "add `image = \"builtin:hello\"`",
            );
            return None;
        };
        let Some(name) = text.strip_prefix("builtin:") else {
            return Some(ImageRef::File(self.folder.join(text)));
        };
        if images::builtin::find(name).is_none() {
            let known = images::builtin::NAMES.join(", ");
            self.note(
                key,
                format!("{text:?}"),
                &format!("a built-in image: {known}"),
                "write one of these, or the path of a file",
            );
            return None;
        }
        Some(ImageRef::Builtin(name.to_owned()))
    }

    fn command_line(&mut self, key: &str, text: Option<&str>) -> Option<Option<String>> {
        let Some(text) = text else { return Some(None) };
        let mut rest = text.to_owned();
        for placeholder in PLACEHOLDERS {
            rest = rest.replace(placeholder, "");
        }
        if text.contains('\0') || text.len() > COMMAND_LINE_MAX {
            self.note(
                key,
                format!("{} octets", text.len()),
                "at most 8191 octets, none of them NUL",
                "shorten it",
            );
            return None;
        }
        if let Some(start) = rest.find('{') {
            let found: String = rest[start..].chars().take(24).collect();
            self.note(
                key,
                format!("{found:?}"),
                &format!("one of the placeholders {}", PLACEHOLDERS.join(", ")),
                "correct the placeholder",
            );
            return None;
        }
        Some(Some(text.to_owned()))
    }

    fn memory(&mut self, key: &str, text: Option<&str>, limits: &Limits) -> Option<u64> {
        let memory = self.size(key, text, 8 * MIB)?;
        let shown = format!("\"{}\"", format_size(memory));
        if memory == 0 || !memory.is_multiple_of(MEMORY_UNIT) || memory > MEMORY_MAX {
            let up =
                format_size(memory.next_multiple_of(MEMORY_UNIT).clamp(MEMORY_UNIT, MEMORY_MAX));
            self.note(
                key,
                shown,
                "a multiple of 2 MiB, from \"2MiB\" to \"4GiB\"",
                &format!("write \"{up}\""),
            );
            return None;
        }
        if memory > limits.memory {
            let limit = format_size(limits.memory);
            self.note(
                key,
                shown,
                &format!("at most limits.memory, which is \"{limit}\""),
                "lower it, or raise limits.memory",
            );
            return None;
        }
        Some(memory)
    }

    fn address4(
        &mut self,
        key: &str,
        text: Option<&str>,
        network: &Network,
    ) -> Option<AddressChoice<Ipv4Addr>> {
        match text.unwrap_or("auto") {
            "auto" => Some(AddressChoice::Auto),
            "none" => Some(AddressChoice::None),
            text => {
                let good = |address: &Ipv4Addr| addresses::is_usable4(&network.ipv4, *address);
                let parsed = text.parse().ok().filter(good).map(AddressChoice::Fixed);
                if parsed.is_none() {
                    self.note(key, format!("{text:?}"), &format!("\"auto\", \"none\", or an address in {} but its first two and its last", network.ipv4), "choose an address of the prefix");
                }
                parsed
            }
        }
    }

    fn address6(
        &mut self,
        key: &str,
        text: Option<&str>,
        network: &Network,
    ) -> Option<AddressChoice<Ipv6Addr>> {
        match (text.unwrap_or("auto"), network.ipv6) {
            ("none", _) => Some(AddressChoice::None),
            ("auto", None) => Some(AddressChoice::None),
            ("auto", Some(_)) => Some(AddressChoice::Auto),
            (text, net) => {
                let good = |address: &Ipv6Addr| {
                    net.is_some_and(|net| addresses::is_usable6(&net, *address))
                };
                let parsed = text.parse().ok().filter(good).map(AddressChoice::Fixed);
                if parsed.is_none() {
                    let prefix = net.map_or_else(
                        || "network.ipv6, which is \"none\"".to_owned(),
                        |net| net.to_string(),
                    );
                    self.note(
                        key,
                        format!("{text:?}"),
                        &format!("\"auto\", \"none\", or an address in {prefix} but its first two"),
                        "choose an address of the prefix",
                    );
                }
                parsed
            }
        }
    }

    fn wake(&mut self, key: &str, texts: Option<&[String]>) -> Option<WakeTriggers> {
        let Some(texts) = texts else { return Some(WakeTriggers { dns: true, packet: true }) };
        let mut wake = WakeTriggers { dns: false, packet: false };
        for text in texts {
            match text.as_str() {
                "dns" => wake.dns = true,
                "packet" => wake.packet = true,
                _ => {
                    self.note(
                        key,
                        format!("{text:?}"),
                        "\"dns\", \"packet\", or both",
                        "write one of these words",
                    );
                    return None;
                }
            }
        }
        Some(wake)
    }

    fn hold(&mut self, service: &str, raw: &raw::Hold) -> Option<Hold> {
        let key = |field: &str| format!("services.{service}.hold.{field}");
        let time = self.duration(&key("time"), raw.time.as_deref(), Duration::from_secs(10));
        let flows = self.at_least(&key("flows"), raw.flows, 1024, 1);
        let bytes = self.size(&key("bytes"), raw.bytes.as_deref(), MIB);
        let words = [("drop", Overflow::Drop), ("reset", Overflow::Reset)];
        let overflow = self.word(&key("overflow"), raw.overflow.as_deref(), &words);
        Some(Hold { time: time?, flows: flows?, bytes: bytes?, overflow: overflow? })
    }

    fn backoff(&mut self, service: &str, raw: &raw::Backoff) -> Option<BackoffPolicy> {
        let key = |field: &str| format!("services.{service}.backoff.{field}");
        let default = BackoffPolicy::default();
        let initial = self.duration(&key("initial"), raw.initial.as_deref(), default.initial);
        let max = self.duration(&key("max"), raw.max.as_deref(), default.max);
        let stable_after =
            self.duration(&key("stable_after"), raw.stable_after.as_deref(), default.stable_after);
        Some(BackoffPolicy { initial: initial?, max: max?, stable_after: stable_after? })
    }

    fn no_two_alike(&mut self, services: &[Service], zone: &ZoneSettings) {
        let servers =
            zone.name_servers.iter().map(|server| (server.name.clone(), "zone.name_servers"));
        let names = services.iter().flat_map(|service| {
            service.names.iter().map(|name| (name.clone(), service.key.as_str()))
        });
        let twice: Vec<_> = twice(servers.filter(|(name, _)| zone.apex.zone_of(name)).chain(names));
        for (name, first, second) in twice {
            self.note(
                &format!("services.{second}.names"),
                &name,
                &format!("a name that {first} does not have"),
                "remove it from one of them",
            );
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

fn twice<'a>(items: impl Iterator<Item = (Name, &'a str)>) -> Vec<(Name, String, String)> {
    twice_of(items)
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
