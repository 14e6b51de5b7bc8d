//! A service's table.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_proto::rr::Name;
use policies::backoff::BackoffPolicy;
use policies::stop::StopMode;
use policies::units::format_size;
use synjitsu::{HoldMode, Overflow};

use super::super::checked::{
    AddressChoice, AnswerMode, Hold, ImageRef, Limits, Network, Service, WakeTriggers, ZoneSettings,
};
use super::super::{addresses, raw};
use super::{Checker, MIB};

/// Guest memory comes in these (Solo5 hvt ABI 2).
const MEMORY_UNIT: u64 = 2 * MIB;
const MEMORY_MAX: u64 = 4096 * MIB;
/// What a command line may take, its NUL left out (Solo5 hvt ABI 2).
const COMMAND_LINE_MAX: usize = 8191;
const PLACEHOLDERS: [&str; 5] = ["{name}", "{ipv4}", "{ipv4_gateway}", "{ipv6}", "{ipv6_gateway}"];

impl Checker<'_> {
    /// The table `path`, whose service is called `name`.
    pub(super) fn service(
        &mut self,
        path: &str,
        name: &str,
        raw: &raw::Service,
        network: &Network,
        zone: &ZoneSettings,
        limits: &Limits,
    ) -> Option<Service> {
        let key = |field: &str| format!("{path}.{field}");
        let names = self.names(path, name, raw.names.as_deref(), zone);
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
        let own = names.as_deref().unwrap_or_default();
        let own_ttl = ttl.unwrap_or(zone.ttl);
        let records = self.service_records(path, raw.records.as_deref(), own, &zone.apex, own_ttl);
        let boot_timeout =
            self.duration(&key("boot_timeout"), raw.boot_timeout.as_deref(), seconds(10));
        let grace = self.duration(&key("stop_grace"), raw.stop_grace.as_deref(), seconds(5));
        let cap = self.duration(&key("ready_cap"), raw.ready_cap.as_deref(), seconds(1));
        let stop = self.stop(&key("stop"), raw.stop.as_deref(), grace);
        let ready =
            self.word(&key("answer"), raw.answer.as_deref(), &[("now", false), ("ready", true)]);
        let wake = self.wake(&key("wake"), raw.wake.as_deref());
        let hold = self.hold(path, &raw.hold);
        let backoff = self.backoff(path, &raw.backoff);
        let cap = cap?;
        Some(Service {
            key: name.to_owned(),
            template: None,
            records: records?,
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
            stop: stop?,
            snapshot: raw.snapshot.unwrap_or(true),
            answer: if ready? { AnswerMode::Ready { cap } } else { AnswerMode::Now },
            wake: wake?,
            wake_on_refresh: raw.wake_on_refresh.unwrap_or(true),
            boot_timeout: boot_timeout?,
            hold: hold?,
            backoff: backoff?,
        })
    }

    fn stop(&mut self, key: &str, text: Option<&str>, grace: Option<Duration>) -> Option<StopMode> {
        let grace = grace?;
        let modes = [StopMode::Destroy, StopMode::Shutdown { grace }, StopMode::Suspend { grace }];
        self.word(key, text, &modes.map(|mode| (mode.label(), mode)))
    }

    pub(super) fn names(
        &mut self,
        path: &str,
        service: &str,
        texts: Option<&[String]>,
        zone: &ZoneSettings,
    ) -> Option<Vec<Name>> {
        let key = format!("{path}.names");
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

    pub(super) fn image(&mut self, key: &str, text: Option<&str>) -> Option<ImageRef> {
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
            let file = self.folder.join(text);
            if !file.is_file() {
                let found = format!("{text:?}, and {} is no file", file.display());
                let fix =
                    "correct the path; a relative one starts at the configuration file's folder";
                self.note(key, found, "\"builtin:hello\", or a file", fix);
                return None;
            }
            return Some(ImageRef::File(file));
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

    pub(super) fn command_line(&mut self, key: &str, text: Option<&str>) -> Option<Option<String>> {
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

    pub(super) fn memory(&mut self, key: &str, text: Option<&str>, limits: &Limits) -> Option<u64> {
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

    pub(super) fn address4(
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

    pub(super) fn address6(
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

    pub(super) fn wake(&mut self, key: &str, texts: Option<&[String]>) -> Option<WakeTriggers> {
        let default = WakeTriggers { dns: true, packet: true, ping: false };
        let Some(texts) = texts else { return Some(default) };
        let mut wake = WakeTriggers { dns: false, packet: false, ping: false };
        for text in texts {
            match text.as_str() {
                "dns" => wake.dns = true,
                "packet" => wake.packet = true,
                "ping" => wake.ping = true,
                _ => {
                    self.note(
                        key,
                        format!("{text:?}"),
                        "\"dns\", \"packet\" or \"ping\"",
                        "write some of these words",
                    );
                    return None;
                }
            }
        }
        Some(wake)
    }

    pub(super) fn hold(&mut self, path: &str, raw: &raw::Hold) -> Option<Hold> {
        let key = |field: &str| format!("{path}.hold.{field}");
        let modes = [("handshake", HoldMode::Handshake), ("syn", HoldMode::Syn)];
        let mode = self.word(&key("mode"), raw.mode.as_deref(), &modes);
        let time = self.duration(&key("time"), raw.time.as_deref(), Duration::from_secs(10));
        let flows = self.at_least(&key("flows"), raw.flows, 1024, 1);
        let bytes = self.size(&key("bytes"), raw.bytes.as_deref(), MIB);
        let buffer = self.size(&key("buffer"), raw.buffer.as_deref(), MIB / 16);
        let buffer = buffer.and_then(|octets| self.window(&key("buffer"), octets));
        let words = [("drop", Overflow::Drop), ("reset", Overflow::Reset)];
        let overflow = self.word(&key("overflow"), raw.overflow.as_deref(), &words);
        Some(Hold {
            mode: mode?,
            time: time?,
            flows: flows?,
            bytes: bytes?,
            buffer: buffer?,
            overflow: overflow?,
        })
    }

    /// What one client may send early: at least a full segment, at most what a window can say (RFC 7323, section 2.3).
    fn window(&mut self, key: &str, octets: u64) -> Option<u32> {
        let window = u32::try_from(octets).ok().filter(|octets| (1460..=1 << 30).contains(octets));
        if window.is_none() {
            let found = format!("\"{}\"", format_size(octets));
            self.note(key, found, "a size from \"1460B\" to \"1GiB\"", "write \"64KiB\"");
        }
        window
    }

    pub(super) fn backoff(&mut self, path: &str, raw: &raw::Backoff) -> Option<BackoffPolicy> {
        let key = |field: &str| format!("{path}.backoff.{field}");
        let default = BackoffPolicy::default();
        let initial = self.duration(&key("initial"), raw.initial.as_deref(), default.initial);
        let max = self.duration(&key("max"), raw.max.as_deref(), default.max);
        let stable_after =
            self.duration(&key("stable_after"), raw.stable_after.as_deref(), default.stable_after);
        Some(BackoffPolicy { initial: initial?, max: max?, stable_after: stable_after? })
    }
}
