//! The daemon's own tables: `log`, `limits`, `zone`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use policies::access::{AccessError, AccessList, Prefix, PrefixError};
use policies::budget::{Limit, WakeLimits};
use policies::warm::WarmPolicy;
use zone::{NameServer, Soa};

use super::super::checked::{Limits, Log, LogFormat, TsigKey, Wakes, ZoneSettings};
use super::super::raw;
use super::content::has_at_apex;
use super::{Checker, MIB};
use crate::publish::serial::SerialChoice;

impl Checker<'_> {
    pub(super) fn log(&mut self, raw: &raw::Log) -> Option<Log> {
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

    pub(super) fn limits(&mut self, raw: &raw::Limits) -> Option<Limits> {
        let instances = self.at_least("limits.instances", raw.instances, 256, 1);
        let memory = self.size("limits.memory", raw.memory.as_deref(), 2048 * MIB);
        let booting = self.at_least("limits.booting", raw.booting, 4, 1);
        let ready_shells = self.ready_shells(raw);
        let hold_flows = self.at_least("limits.hold_flows", raw.hold_flows, 16_384, 1);
        let hold_bytes = self.size("limits.hold_bytes", raw.hold_bytes.as_deref(), 16 * MIB);
        let prefix_flows =
            self.at_least("limits.prefix_hold_flows", raw.prefix_hold_flows, 4096, 1);
        let prefix_bytes =
            self.size("limits.prefix_hold_bytes", raw.prefix_hold_bytes.as_deref(), 8 * MIB);
        let wakes = self.wakes(&raw.wakes, instances.unwrap_or(0));
        Some(Limits {
            instances: instances?,
            memory: memory?,
            booting: booting?,
            ready_shells: ready_shells?,
            parked_shells: raw.parked_shells.unwrap_or(16),
            hold_flows: hold_flows?,
            hold_bytes: hold_bytes?,
            prefix_hold_flows: prefix_flows?,
            prefix_hold_bytes: prefix_bytes?,
            wakes: wakes?,
        })
    }

    /// The defaults follow `limits.instances`: what may run at once may be woken at once, by one network, and nobody who
    /// means well exceeds that. Above it the budget is for deployments that know their clients.
    fn wakes(&mut self, raw: &raw::Wakes, instances: u32) -> Option<Wakes> {
        let of_one = instances.max(2000);
        let of_all = of_one.saturating_mul(2);
        let rate = self.rate("limits.wakes.rate", raw.rate.as_deref(), "200/s");
        let proven_rate =
            self.rate("limits.wakes.proven_rate", raw.proven_rate.as_deref(), "200/s");
        let prefix_rate =
            self.rate("limits.wakes.prefix_rate", raw.prefix_rate.as_deref(), "100/s");
        let limits = WakeLimits {
            forgeable: Limit { rate: rate?, burst: raw.burst.unwrap_or(of_all) },
            proven: Limit { rate: proven_rate?, burst: raw.proven_burst.unwrap_or(of_all) },
            prefix: Limit { rate: prefix_rate?, burst: raw.prefix_burst.unwrap_or(of_one) },
        };
        let access = self.access(raw)?;
        Some(Wakes { limits, dry_run: raw.dry_run.unwrap_or(false), access: Arc::new(access) })
    }

    fn access(&mut self, raw: &raw::Wakes) -> Option<AccessList> {
        let (deny_key, allow_key) = ("limits.wakes.deny", "limits.wakes.allow");
        let deny = self.prefixes(deny_key, raw.deny.as_deref());
        let allow = self.prefixes(allow_key, raw.allow.as_deref());
        match AccessList::new(&deny?, &allow?) {
            Ok(list) => Some(list),
            Err(AccessError::Both(prefix)) => {
                let expected = format!("prefixes that {deny_key} does not have");
                self.note(allow_key, prefix, &expected, "remove it from one of them");
                None
            }
            Err(AccessError::NotDenied(prefix)) => {
                let expected = format!("exceptions from {deny_key}: who is not denied may wake");
                let fix = "remove it, or deny a prefix around it; `deny = [\"0.0.0.0/0\", \"::/0\"]` denies everybody else";
                self.note(allow_key, prefix, &expected, fix);
                None
            }
        }
    }

    pub(super) fn prefixes(&mut self, key: &str, texts: Option<&[String]>) -> Option<Vec<Prefix>> {
        let parsed = texts.unwrap_or_default().iter().map(|text| {
            let noted = |error: PrefixError| {
                let fix = "write the first address of the prefix and its length";
                self.note(key, format!("{text:?}"), &error.to_string(), fix);
            };
            text.parse().map_err(noted).ok()
        });
        // All of them are looked at before one stops it.
        parsed.collect::<Vec<_>>().into_iter().collect()
    }

    /// A number, or the word `adaptive`; its bounds are judged even while they are not used.
    fn ready_shells(&mut self, raw: &raw::Limits) -> Option<WarmPolicy> {
        let horizon = self.duration(
            "limits.adaptive.horizon",
            raw.adaptive.horizon.as_deref(),
            Duration::from_secs(60),
        );
        if horizon.is_some_and(|horizon| horizon.is_zero()) {
            self.note("limits.adaptive.horizon", "\"0s\"", "more than nothing", "write \"1m\"");
        }
        let min = raw.adaptive.min.unwrap_or(2);
        let max = raw.adaptive.max.unwrap_or_else(|| min.max(32));
        if max < min {
            let expected = format!("at least limits.adaptive.min, which is {min}");
            self.note("limits.adaptive.max", max, &expected, "raise it, or lower the minimum");
        }
        let text = raw.ready_shells.as_deref().unwrap_or("2");
        if text == "adaptive" {
            return Some(WarmPolicy::Adaptive { min, max, horizon: horizon? });
        }
        let count = text.parse().ok().map(WarmPolicy::Fixed);
        if count.is_none() {
            let fix = "write a number such as 2, or the word \"adaptive\"";
            self.note(
                "limits.ready_shells",
                format!("{text:?}"),
                "0 or more, or \"adaptive\"",
                fix,
            );
        }
        count
    }

    pub(super) fn zone(
        &mut self,
        raw: &raw::Zone,
        keys: &BTreeMap<String, TsigKey>,
    ) -> Option<ZoneSettings> {
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
        let ttl = self.ttl("zone.ttl", raw.ttl, 60)?;
        let records = self.content(raw, &apex, ttl)?;
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
        let transfer = self.transfer(&raw.transfer, keys);
        let first = first.clone();
        if has_at_apex(&records, &apex, RecordType::NS) {
            name_servers.clear();
        }
        let wakes = [("first", false), ("all", true)];
        let wake_all = self.word("zone.shared_wake", raw.shared_wake.as_deref(), &wakes);
        let mname = match &raw.mname {
            Some(text) => self.name("zone.mname", text, &apex),
            None => Some(first.name.clone()),
        };
        let rname = self.name("zone.rname", raw.rname.as_deref().unwrap_or("hostmaster"), &apex);
        let refresh = self.seconds("zone.refresh", raw.refresh, 3600);
        let retry = self.seconds("zone.retry", raw.retry, 600);
        let expire = self.seconds("zone.expire", raw.expire, 86_400);
        let minimum = self.ttl("zone.minimum", raw.minimum, 30);
        let serial = self.serial(raw.serial.as_deref());
        let soa = Soa {
            mname: mname?,
            rname: rname?,
            // Chosen when the content is known.
            serial: 0,
            refresh: refresh?,
            retry: retry?,
            expire: expire?,
            minimum: minimum?,
        };
        Some(ZoneSettings {
            apex,
            ttl,
            soa,
            serial: serial?,
            name_servers,
            records,
            wake_all: wake_all?,
            reverse: raw.reverse.unwrap_or(false),
            transfer: transfer?,
        })
    }

    fn serial(&mut self, text: Option<&str>) -> Option<SerialChoice> {
        let text = text.unwrap_or("auto");
        if text == "auto" {
            return Some(SerialChoice::Auto);
        }
        let parsed = text.parse().ok().map(SerialChoice::Fixed);
        if parsed.is_none() {
            let expected = "\"auto\", or a number up to 4294967295";
            self.note("zone.serial", format!("{text:?}"), expected, "write \"auto\"");
        }
        parsed
    }
}
