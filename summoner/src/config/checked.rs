//! The configuration as the daemon uses it: everything is there, and everything is right.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dns::Settings;
use crate::dns::tsig::FUDGE;
use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, Record, TSigner};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policies::access::AccessList;
use policies::backoff::BackoffPolicy;
use policies::budget::WakeLimits;
use policies::stop::StopMode;
use policies::warm::WarmPolicy;
use synjitsu::{HoldMode, Overflow};
use synjitsu_device::lan::ServicesMac;

use crate::dnssec::Algorithm;
use crate::publish::serial::SerialChoice;
use zone::{NameServer, Soa, ZoneData};

/// A checked configuration. Each field is the key of the same name; see `docs/reference/config.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder for what is remembered across restarts.
    pub state_dir: PathBuf,
    /// Where queries are answered.
    pub dns: Dns,
    /// The zone.
    pub zone: ZoneSettings,
    /// Whether and how the zones are signed.
    pub dnssec: Dnssec,
    /// Secrets shared with others.
    pub tsig: Vec<TsigKey>,
    /// The services' network.
    pub network: Network,
    /// What may run.
    pub limits: Limits,
    /// The administrators' socket.
    pub admin: Admin,
    /// The metrics page.
    pub metrics: MetricsSettings,
    /// The daemon's log.
    pub log: Log,
    /// The services, by key.
    pub services: BTreeMap<String, Service>,
    /// The templates, by key.
    pub templates: BTreeMap<String, Template>,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Addresses that answer, over UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Threads that answer by UDP, for each address; as many as there are processors if it is not said.
    pub workers: Option<usize>,
    /// Connections, of all kinds.
    pub tcp: Tcp,
    /// Addresses that answer over TLS.
    pub tls: Vec<SocketAddr>,
    /// Addresses that answer over HTTPS.
    pub https: Https,
    /// Who the server is, for TLS and HTTPS; there if either has addresses.
    pub identity: Option<IdentityFiles>,
    /// How queries are answered, whatever the zones say.
    pub settings: Settings,
}

/// `[dns.tcp]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// At once.
    pub connections: u32,
    /// At once, of one source prefix.
    pub prefix_connections: u32,
    /// How long a client may be silent, or take nothing.
    pub idle: Duration,
}

/// `[dns.https]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Https {
    /// Addresses.
    pub listen: Vec<SocketAddr>,
    /// The path of the URI.
    pub path: String,
}

/// `dns.tls.certificate` and `dns.tls.key`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// PEM, with all certificates but the root's.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// `[zone]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneSettings {
    /// Its top owner name.
    pub apex: Name,
    /// Seconds.
    pub ttl: u32,
    /// Start of authority, but for its serial.
    pub soa: Soa,
    /// How the serial is chosen.
    pub serial: SerialChoice,
    /// At least one, unless `records` has those of the apex.
    pub name_servers: Vec<NameServer>,
    /// What is in the zone besides the services: of its file, its records and its aliases.
    pub records: Vec<Record>,
    /// Of several services behind one name: whether a question wakes all of them, or the one that is named first.
    pub wake_all: bool,
    /// Whether the reverse zones of the services' prefixes are served.
    pub reverse: bool,
    /// Secondaries.
    pub transfer: TransferSettings,
}

/// `[zone.transfer]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransferSettings {
    /// Who may have the zones; empty for anybody with the key, or nobody.
    pub to: Vec<IpNet>,
    /// With which key, one of `[tsig]`.
    pub key: Option<Name>,
    /// Who is told of changes.
    pub notify: Vec<SocketAddr>,
}

/// `[tsig.NAME]`
#[derive(Clone, PartialEq, Eq)]
pub struct TsigKey {
    /// Its name.
    pub name: Name,
    /// One that can be computed.
    pub algorithm: TsigAlgorithm,
    /// Octets.
    pub secret: Vec<u8>,
}

impl TsigKey {
    /// What signs with it.
    ///
    /// # Panics
    /// Never: the algorithm was checked.
    #[must_use]
    pub fn signer(&self) -> TSigner {
        let (secret, algorithm) = (self.secret.clone(), self.algorithm.clone());
        TSigner::new(secret, algorithm, self.name.clone(), FUDGE)
            .expect("only algorithms that can be computed are configured")
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsigKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ZoneSettings {
    /// The zone without services.
    #[must_use]
    pub fn zone_data(&self) -> ZoneData {
        ZoneData {
            apex: self.apex.clone(),
            soa: self.soa.clone(),
            name_servers: self.name_servers.clone(),
            ttl: self.ttl,
            services: Vec::new(),
            records: self.records.clone(),
            wake_all: self.wake_all,
            templates: Vec::new(),
        }
    }
}

/// `[dnssec]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dnssec {
    /// Whether the zones are signed.
    pub enabled: bool,
    /// How keys sign that are made from now on.
    pub algorithm: Algorithm,
    /// Names of the keys, at least one; each signs everything.
    pub keys: Vec<String>,
    /// How long a signature is valid after it was made.
    pub validity: Duration,
}

/// `[network]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What the services are attached to.
    pub attach: Attach,
    /// IPv4 prefix of the services.
    pub ipv4: Ipv4Net,
    /// IPv6 prefix of the services.
    pub ipv6: Option<Ipv6Net>,
    /// Largest IP packet, in octets.
    pub mtu: u16,
    /// Which IPv4 addresses may be given automatically; `None` for all of the prefix.
    pub pool: Option<RangeInclusive<Ipv4Addr>>,
}

/// What the services are attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attach {
    /// A TUN device of the daemon's own: the services are behind the host, which routes to them.
    Tun {
        /// Its name.
        interface: String,
    },
    /// An Ethernet segment that is there already: the services are beside the host.
    Lan {
        /// The interface that it is reached by.
        interface: String,
        /// The services' link-layer address.
        mac: ServicesMac,
        /// Routers; `None` for the host's.
        gateways: Option<Vec<IpAddr>>,
    },
}

impl Attach {
    /// The interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        match self {
            Self::Tun { interface } | Self::Lan { interface, .. } => interface,
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Instances at once.
    pub instances: u32,
    /// Their guest memory, in octets.
    pub memory: u64,
    /// Boots at once.
    pub booting: u32,
    /// Shells made ahead.
    pub ready_shells: WarmPolicy,
    /// Used shells kept for their services; 0 for none.
    pub parked_shells: u32,
    /// First packets held.
    pub hold_flows: u32,
    /// Their memory, in octets.
    pub hold_bytes: u64,
    /// First packets held of one source prefix.
    pub prefix_hold_flows: u32,
    /// Their memory, in octets.
    pub prefix_hold_bytes: u64,
    /// Wakes.
    pub wakes: Wakes,
}

/// `[limits.wakes]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wakes {
    /// How many may cost a boot.
    pub limits: WakeLimits,
    /// Whether those beyond are only counted.
    pub dry_run: bool,
    /// Who may wake at all.
    pub access: Arc<AccessList>,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The socket's path.
    pub socket: PathBuf,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Where the page is, if it is.
    pub listen: Option<SocketAddr>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A filter of the `tracing` crate.
    pub filter: String,
    /// For whom.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// `[services.KEY]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The key.
    pub key: String,
    /// The key of the template that it was made by: then that, not a name of a client's choice, is a label of metrics.
    pub template: Option<Arc<str>>,
    /// Absolute, in lower case, at least one.
    pub names: Vec<Name>,
    /// Its records besides its addresses, absolute.
    pub records: Vec<Record>,
    /// What boots.
    pub image: ImageRef,
    /// What the guest is told; `None` for its addresses in the usual form.
    pub command_line: Option<String>,
    /// Octets; a multiple of 2 MiB.
    pub memory: u64,
    /// Its IPv4 address.
    pub ipv4: AddressChoice<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: AddressChoice<Ipv6Addr>,
    /// Seconds.
    pub ttl: u32,
    /// How long a guest is kept after its last use.
    pub idle: Duration,
    /// Whether an open connection is use.
    pub count_open_connections: bool,
    /// How long a guest is kept at the least.
    pub minimum_uptime: Duration,
    /// How a guest is made to end.
    pub stop: StopMode,
    /// Whether the guest is kept as it is when it has just become ready, and cloned from that.
    pub snapshot: bool,
    /// When a query that wakes is answered.
    pub answer: AnswerMode,
    /// What wakes it.
    pub wake: WakeTriggers,
    /// Whether a query that only keeps a cache fresh wakes it, and counts as use.
    pub wake_on_refresh: bool,
    /// How long a guest may take until it is ready.
    pub boot_timeout: Duration,
    /// How first packets are held.
    pub hold: Hold,
    /// The wait after failed boots.
    pub backoff: BackoffPolicy,
}

/// `[templates.KEY]`: services that are made when somebody asks for their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The key.
    pub key: Arc<str>,
    /// The wildcard that their names match: absolute, in lower case.
    pub pattern: Name,
    /// How many there may be at once.
    pub max: u32,
    /// What each of them is like, but for its key, its name and its addresses.
    pub prototype: Service,
}

impl Template {
    /// The service that is called `label`.
    ///
    /// # Errors
    /// When the name would be too long.
    pub fn service(&self, label: &str) -> Result<Service, ProtoError> {
        let mut name = self.pattern.base_name().prepend_label(label)?;
        name.set_fqdn(true);
        let names = vec![name.to_lowercase()];
        let key = format!("{label}.{}", self.key);
        Ok(Service { key, names, template: Some(self.key.clone()), ..self.prototype.clone() })
    }
}

/// What boots.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageRef {
    /// One that is part of the daemon.
    Builtin(String),
    /// A file.
    File(PathBuf),
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How a service gets an address of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressChoice<A> {
    /// From the prefix, always the same.
    Auto,
    /// This one.
    Fixed(A),
    /// None of this family.
    None,
}

/// When a query that wakes is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerMode {
    /// At once.
    Now,
    /// When the guest is ready, or after the cap.
    Ready {
        /// The longest wait.
        cap: Duration,
    },
}

/// What wakes a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakeTriggers {
    /// A query for an address.
    pub dns: bool,
    /// The first packet of a connection, or a datagram.
    pub packet: bool,
    /// An echo request.
    pub ping: bool,
}

/// How first packets are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// What the client sees meanwhile.
    pub mode: HoldMode,
    /// How long.
    pub time: Duration,
    /// How many.
    pub flows: u32,
    /// How much, in octets.
    pub bytes: u64,
    /// How much one client may send early, in octets.
    pub buffer: u32,
    /// What happens to one more.
    pub overflow: Overflow,
}

impl Config {
    /// The settings that differ and take effect only at a start.
    #[must_use]
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        let limits = (&self.limits, &other.limits);
        [
            ("state_dir", self.state_dir != other.state_dir),
            ("dns", self.dns != other.dns),
            ("network", self.network != other.network),
            ("admin", self.admin != other.admin),
            ("metrics", self.metrics != other.metrics),
            ("log", self.log != other.log),
            ("limits.ready_shells", limits.0.ready_shells != limits.1.ready_shells),
            ("limits.parked_shells", limits.0.parked_shells != limits.1.parked_shells),
            ("limits.hold_flows", limits.0.hold_flows != limits.1.hold_flows),
            ("limits.hold_bytes", limits.0.hold_bytes != limits.1.hold_bytes),
            ("limits.prefix_hold_flows", limits.0.prefix_hold_flows != limits.1.prefix_hold_flows),
            ("limits.prefix_hold_bytes", limits.0.prefix_hold_bytes != limits.1.prefix_hold_bytes),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// Takes over from `running` what takes effect only at a start.
    pub fn keep_fixed(&mut self, running: &Self) {
        self.state_dir.clone_from(&running.state_dir);
        self.dns.clone_from(&running.dns);
        self.network.clone_from(&running.network);
        self.admin.clone_from(&running.admin);
        self.metrics.clone_from(&running.metrics);
        self.log.clone_from(&running.log);
        self.limits.ready_shells = running.limits.ready_shells;
        self.limits.parked_shells = running.limits.parked_shells;
        self.limits.hold_flows = running.limits.hold_flows;
        self.limits.hold_bytes = running.limits.hold_bytes;
        self.limits.prefix_hold_flows = running.limits.prefix_hold_flows;
        self.limits.prefix_hold_bytes = running.limits.prefix_hold_bytes;
    }
}
