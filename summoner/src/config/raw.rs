//! The configuration as it is written: every value still a text, nothing checked.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) state_dir: Option<String>,
    pub(super) dns: Dns,
    pub(super) zone: Zone,
    pub(super) dnssec: Dnssec,
    pub(super) tsig: BTreeMap<String, Tsig>,
    pub(super) network: Network,
    pub(super) limits: Limits,
    pub(super) admin: Admin,
    pub(super) metrics: Metrics,
    pub(super) log: Log,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) templates: BTreeMap<String, Service>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dns {
    pub(super) listen: Option<Vec<String>>,
    pub(super) workers: Option<u32>,
    pub(super) tcp: Tcp,
    pub(super) tls: Tls,
    pub(super) https: Https,
    pub(super) cookies: Option<bool>,
    pub(super) cookie_secret_file: Option<String>,
    pub(super) nsid: Option<String>,
    pub(super) version: Option<String>,
    pub(super) rate_limit: RateLimit,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tcp {
    pub(super) connections: Option<u32>,
    pub(super) prefix_connections: Option<u32>,
    pub(super) idle: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) listen: Option<Vec<String>>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Https {
    pub(super) listen: Option<Vec<String>>,
    pub(super) path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateLimit {
    pub(super) rate: Option<String>,
    pub(super) answers: Option<String>,
    pub(super) nodata: Option<String>,
    pub(super) nxdomain: Option<String>,
    pub(super) referrals: Option<String>,
    pub(super) refused: Option<String>,
    pub(super) errors: Option<String>,
    pub(super) slip: Option<u32>,
    pub(super) allow: Option<Vec<String>>,
    pub(super) dry_run: Option<bool>,
    pub(super) slots: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Zone {
    pub(super) apex: Option<String>,
    pub(super) ttl: Option<u32>,
    pub(super) mname: Option<String>,
    pub(super) rname: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) refresh: Option<u32>,
    pub(super) retry: Option<u32>,
    pub(super) expire: Option<u32>,
    pub(super) minimum: Option<u32>,
    pub(super) name_servers: Option<BTreeMap<String, Vec<String>>>,
    pub(super) file: Option<String>,
    pub(super) records: Option<Vec<String>>,
    pub(super) aliases: Option<BTreeMap<String, String>>,
    pub(super) shared_wake: Option<String>,
    pub(super) reverse: Option<bool>,
    pub(super) transfer: Transfer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Transfer {
    pub(super) to: Option<Vec<String>>,
    pub(super) key: Option<String>,
    pub(super) notify: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tsig {
    pub(super) name: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) secret_file: Option<String>,
}

impl std::fmt::Debug for Tsig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tsig").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dnssec {
    pub(super) enabled: Option<bool>,
    pub(super) algorithm: Option<String>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) validity: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Network {
    pub(super) attach: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) ipv4: Option<String>,
    pub(super) ipv6: Option<String>,
    pub(super) mtu: Option<u16>,
    pub(super) pool: Option<String>,
    pub(super) mac: Option<String>,
    pub(super) gateways: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) instances: Option<u32>,
    pub(super) memory: Option<String>,
    pub(super) booting: Option<u32>,
    pub(super) ready_shells: Option<String>,
    pub(super) adaptive: Adaptive,
    pub(super) wakes: Wakes,
    pub(super) parked_shells: Option<u32>,
    pub(super) hold_flows: Option<u32>,
    pub(super) hold_bytes: Option<String>,
    pub(super) prefix_hold_flows: Option<u32>,
    pub(super) prefix_hold_bytes: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Adaptive {
    pub(super) min: Option<u32>,
    pub(super) max: Option<u32>,
    pub(super) horizon: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wakes {
    pub(super) rate: Option<String>,
    pub(super) burst: Option<u32>,
    pub(super) proven_rate: Option<String>,
    pub(super) proven_burst: Option<u32>,
    pub(super) prefix_rate: Option<String>,
    pub(super) prefix_burst: Option<u32>,
    pub(super) dry_run: Option<bool>,
    pub(super) allow: Option<Vec<String>>,
    pub(super) deny: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub(super) socket: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) filter: Option<String>,
    pub(super) format: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Service {
    /// Of a template; the table of keys has it nowhere else.
    pub(super) pattern: Option<String>,
    /// Of a template.
    pub(super) max: Option<u32>,
    pub(super) names: Option<Vec<String>>,
    pub(super) image: Option<String>,
    pub(super) records: Option<Vec<String>>,
    pub(super) command_line: Option<String>,
    pub(super) memory: Option<String>,
    pub(super) ipv4: Option<String>,
    pub(super) ipv6: Option<String>,
    pub(super) ttl: Option<u32>,
    pub(super) idle: Option<String>,
    pub(super) count_open_connections: Option<bool>,
    pub(super) minimum_uptime: Option<String>,
    pub(super) stop: Option<String>,
    pub(super) stop_grace: Option<String>,
    pub(super) snapshot: Option<bool>,
    pub(super) answer: Option<String>,
    pub(super) ready_cap: Option<String>,
    pub(super) wake: Option<Vec<String>>,
    pub(super) wake_on_refresh: Option<bool>,
    pub(super) boot_timeout: Option<String>,
    pub(super) hold: Hold,
    pub(super) backoff: Backoff,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hold {
    pub(super) mode: Option<String>,
    pub(super) time: Option<String>,
    pub(super) flows: Option<u32>,
    pub(super) bytes: Option<String>,
    pub(super) buffer: Option<String>,
    pub(super) overflow: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Backoff {
    pub(super) initial: Option<String>,
    pub(super) max: Option<String>,
    pub(super) stable_after: Option<String>,
}
