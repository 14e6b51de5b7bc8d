//! Every key there is: its type, its default, and a sentence. The reference and the search for unknown keys both use
//! this table, and tests hold it against the structures that are really read.

mod reference;
mod search;
mod services;

pub use reference::reference;
pub use search::{find, is_table, nearest, short_form};

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// A whole number, or a word that stands for a way to find one.
    NumberOrWord,
    /// `true` or `false`.
    Flag,
    /// A list of texts; commas between them in a variable or a flag.
    List,
    /// A number with a unit of time.
    Duration,
    /// A number with a unit of size.
    Size,
    /// A number in a unit of time.
    Rate,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::NumberOrWord => "number or word",
            Self::Flag => "true or false",
            Self::List => "list of texts",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Rate => "rate",
        }
    }
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its path; `*` stands for a name of the user's choice.
    pub path: &'static str,
    /// What its value must look like.
    pub kind: Kind,
    /// The default as it would be written, or what happens without.
    pub default: &'static str,
    /// What it means.
    pub text: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, text: &'static str) -> Key {
    Key { path, kind, default, text }
}

/// All keys, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(services::KEYS)
}

/// Those of the daemon.
const KEYS: &[Key] = &[
    key(
        "state_dir",
        Kind::Text,
        "\"/var/lib/summoner\"",
        "Folder for what is remembered across restarts: the automatic addresses, and the services' snapshots. One daemon per folder.",
    ),
    key(
        "dns.listen",
        Kind::List,
        "[\"127.0.0.1:5353\"]",
        "Addresses and ports that answer queries, over UDP and TCP.",
    ),
    key(
        "dns.workers",
        Kind::Number,
        "the machine's processors",
        "Threads that answer queries by UDP, for each address of `dns.listen`.",
    ),
    key(
        "dns.tcp.connections",
        Kind::Number,
        "1024",
        "Connections at once, by TCP, TLS and HTTPS together. One more ends the one that was silent longest.",
    ),
    key(
        "dns.tcp.prefix_connections",
        Kind::Number,
        "64",
        "Connections at once of one source prefix (/24 of IPv4, /56 of IPv6). One more ends that prefix's own.",
    ),
    key(
        "dns.tcp.idle",
        Kind::Duration,
        "\"10s\"",
        "How long a client may be silent, or take nothing, until its connection is closed. Clients that ask are told (RFC 7828).",
    ),
    key(
        "dns.tls.listen",
        Kind::List,
        "none",
        "Addresses and ports that answer queries over TLS (RFC 7858), such as `[\"0.0.0.0:853\"]`. See [TRANSFER.md](../TRANSFER.md).",
    ),
    key(
        "dns.tls.certificate",
        Kind::Text,
        "none",
        "PEM file with the certificate and those between it and its root, for TLS and HTTPS. Read again on `SIGHUP`.",
    ),
    key(
        "dns.tls.key",
        Kind::Text,
        "none",
        "PEM file with the certificate's private key. Read again on `SIGHUP`.",
    ),
    key(
        "dns.https.listen",
        Kind::List,
        "none",
        "Addresses and ports that answer queries over HTTPS (RFC 8484), with the certificate of `dns.tls`.",
    ),
    key("dns.https.path", Kind::Text, "\"/dns-query\"", "The path of their URI."),
    key(
        "dns.cookies",
        Kind::Flag,
        "true",
        "Whether DNS cookies (RFC 7873) are answered. A client that comes back with a good one has proven its address: its responses have no rate, and what it may wake is counted with that of TCP clients.",
    ),
    key(
        "dns.cookie_secret_file",
        Kind::Text,
        "secrets of its own, made at each start",
        "File with the secrets of cookies, if several servers answer under one address (RFC 9018): one of 32 hexadecimal digits on each line. The first makes cookies, the others are still known; the format is NSD's. Read at the start.",
    ),
    key(
        "dns.nsid",
        Kind::Text,
        "\"none\"",
        "What the server calls itself when it is asked (RFC 5001, and `id.server` of RFC 4892), to tell servers of one address apart.",
    ),
    key(
        "dns.version",
        Kind::Text,
        "\"none\"",
        "What it says of its software (`version.server`, `version.bind`); `\"none\"`: such queries are refused.",
    ),
    key(
        "dns.rate_limit.rate",
        Kind::Rate,
        "\"200/s\"",
        "Responses by UDP that one source prefix (/24 of IPv4, /56 of IPv6) gets of each kind, and as many at once as in a second; `\"none\"`: no limit. Those with a valid cookie and by TCP are not counted. Each thread that answers counts for itself. See [THREAT-MODEL.md](../THREAT-MODEL.md).",
    ),
    key(
        "dns.rate_limit.answers",
        Kind::Rate,
        "`dns.rate_limit.rate`",
        "The same for one kind: records that were asked for.",
    ),
    key(
        "dns.rate_limit.nodata",
        Kind::Rate,
        "`dns.rate_limit.rate`",
        "Names that exist without the type.",
    ),
    key("dns.rate_limit.nxdomain", Kind::Rate, "`dns.rate_limit.rate`", "Names that do not exist."),
    key("dns.rate_limit.referrals", Kind::Rate, "`dns.rate_limit.rate`", "Referrals."),
    key(
        "dns.rate_limit.refused",
        Kind::Rate,
        "`dns.rate_limit.rate`",
        "Names of other zones, and what this client may not ask.",
    ),
    key(
        "dns.rate_limit.errors",
        Kind::Rate,
        "`dns.rate_limit.rate`",
        "Queries that cannot be read or are not supported.",
    ),
    key(
        "dns.rate_limit.slip",
        Kind::Number,
        "2",
        "Every so-manieth response beyond the rate is sent truncated, so that a real client comes again by TCP; the others are not sent. 1: all of them; 0: none.",
    ),
    key(
        "dns.rate_limit.allow",
        Kind::List,
        "[\"127.0.0.0/8\", \"::1/128\"]",
        "Networks without a limit.",
    ),
    key(
        "dns.rate_limit.dry_run",
        Kind::Flag,
        "false",
        "Only counts what is beyond the rates (`summoner_dns_rate_limited_total`), to find some that fit.",
    ),
    key(
        "dns.rate_limit.slots",
        Kind::Number,
        "65536",
        "Prefixes and kinds that each thread remembers, 24 octets each. If there are more, those least used are forgotten.",
    ),
    key("zone.apex", Kind::Text, "required", "The zone's top owner name."),
    key(
        "zone.ttl",
        Kind::Number,
        "60",
        "TTL in seconds of the records at the apex and of the name servers' addresses, and the default of the services'.",
    ),
    key(
        "zone.mname",
        Kind::Text,
        "the first of `zone.name_servers`",
        "SOA: the primary name server.",
    ),
    key(
        "zone.rname",
        Kind::Text,
        "\"hostmaster\"",
        "SOA: the mailbox of who is responsible, its `@` written as a dot.",
    ),
    key(
        "zone.serial",
        Kind::NumberOrWord,
        "\"auto\"",
        "SOA: version of the zone's content. `\"auto\"`: another one whenever the content is another, also across restarts; seconds since 1970 if that is higher. Or a number.",
    ),
    key("zone.refresh", Kind::Number, "3600", "SOA: seconds after which a secondary asks again."),
    key(
        "zone.retry",
        Kind::Number,
        "600",
        "SOA: seconds after which it tries again when that failed.",
    ),
    key("zone.expire", Kind::Number, "86400", "SOA: seconds after which it stops answering."),
    key(
        "zone.minimum",
        Kind::Number,
        "30",
        "SOA: upper bound in seconds of the time for which resolvers remember that a name or type does not exist.",
    ),
    key(
        "zone.name_servers.*",
        Kind::List,
        "`ns = []`",
        "A name server and its addresses. The name is relative to the apex, or absolute with a dot at its end; addresses are for names in the zone.",
    ),
    key(
        "zone.file",
        Kind::Text,
        "none",
        "A zone file (RFC 1035, section 5) whose records are served too. An SOA or name servers of the apex in it take the place of the configured ones; the serial of its SOA is the lowest that is used.",
    ),
    key(
        "zone.records",
        Kind::List,
        "[]",
        "More records, each as a line of a zone file, relative to the apex: `[\"www CNAME hello\", \"@ MX 10 mail\"]`.",
    ),
    key(
        "zone.aliases.*",
        Kind::Text,
        "none",
        "Another name for a name, in the zone or not: a CNAME. A question for it wakes the service that it leads to.",
    ),
    key(
        "zone.shared_wake",
        Kind::Text,
        "\"first\"",
        "Which services a question wakes if several have the name: `\"first\"`, the one whose address the answer names first (they take turns), or `\"all\"`.",
    ),
    key(
        "zone.reverse",
        Kind::Flag,
        "false",
        "Whether to serve the reverse zones of the services' prefixes (`in-addr.arpa`, `ip6.arpa`) with a PTR for each service.",
    ),
    key(
        "dnssec.enabled",
        Kind::Flag,
        "false",
        "Signs the zones. The key is made at the first start; `summoner dnssec ds` prints what the parent zone needs then. See [DNSSEC.md](../DNSSEC.md).",
    ),
    key(
        "dnssec.algorithm",
        Kind::Text,
        "\"ecdsap256sha256\"",
        "How keys sign that are made from now on: `\"ecdsap256sha256\"` or `\"ed25519\"`. A key that is there keeps its own.",
    ),
    key(
        "dnssec.keys",
        Kind::List,
        "[\"first\"]",
        "Names of the keys; each is a file in `state_dir`, made if it is not there, and signs everything. Two of them while one replaces the other.",
    ),
    key(
        "dnssec.validity",
        Kind::Duration,
        "\"14d\"",
        "How long signatures are valid; they are made anew when half of it is over. At least a day and twice `zone.expire`.",
    ),
    key(
        "zone.transfer.to",
        Kind::List,
        "none",
        "Prefixes of the secondaries that may have the zones whole, such as `[\"192.0.2.53/32\"]`; nobody else may. See [TRANSFER.md](../TRANSFER.md).",
    ),
    key(
        "zone.transfer.key",
        Kind::Text,
        "none",
        "The key, named as its table under `[tsig]`, with which secondaries must sign, and we do. Without `to` they may sign from anywhere.",
    ),
    key(
        "zone.transfer.notify",
        Kind::List,
        "none",
        "Secondaries that are told when a zone has changed: addresses, with a port if it is not 53.",
    ),
    key(
        "tsig.*.name",
        Kind::Text,
        "the table's",
        "Name of a key for signatures (TSIG, RFC 8945), the same at the secondary.",
    ),
    key(
        "tsig.*.algorithm",
        Kind::Text,
        "\"hmac-sha256\"",
        "How its signatures are made: `\"hmac-sha256\"`, `\"hmac-sha384\"` or `\"hmac-sha512\"`.",
    ),
    key("tsig.*.secret", Kind::Text, "none", "The shared secret in base64, at least 16 octets."),
    key(
        "tsig.*.secret_file",
        Kind::Text,
        "none",
        "File with the secret, so that the configuration may be read by others. Read again on `SIGHUP`.",
    ),
    key(
        "network.attach",
        Kind::Text,
        "\"tun\"",
        "What the services are attached to: `\"tun\"`, a device of the daemon's own, to whose prefixes the host routes; or `\"lan:eth0\"`, the Ethernet segment of the interface eth0, where they have addresses beside the host's. See [LAN.md](../LAN.md).",
    ),
    key(
        "network.interface",
        Kind::Text,
        "\"summon0\"",
        "Name of the TUN device that carries the service prefixes, for `attach = \"tun\"`.",
    ),
    key(
        "network.ipv4",
        Kind::Text,
        "\"10.77.0.0/16\"; none on a LAN",
        "IPv4 prefix of the services. Its first host address is the daemon's own, the guests' gateway. On a LAN: the segment's subnet, such as `\"192.168.1.0/24\"`.",
    ),
    key(
        "network.ipv6",
        Kind::Text,
        "\"fd77:6a69:7400::/64\"; `\"none\"` on a LAN",
        "IPv6 prefix of the services; `\"none\"` for none. On a LAN: the segment's prefix.",
    ),
    key(
        "network.pool",
        Kind::Text,
        "all of `network.ipv4`; none on a LAN",
        "The IPv4 addresses that services get automatically: the first and the last one, such as `\"192.168.1.200-192.168.1.230\"`. On a LAN, leave them out of what the DHCP server gives away.",
    ),
    key(
        "network.mac",
        Kind::Text,
        "\"auto\"",
        "The services' link-layer address on a LAN: `\"own\"`, one beside the interface's; `\"interface\"`, the interface's, if the network takes no other from this host (Wi-Fi, some virtual machines; the host must not forward packets then); `\"auto\"`: `\"interface\"` on Wi-Fi, else `\"own\"`.",
    ),
    key(
        "network.gateways",
        Kind::List,
        "the host's own",
        "Routers by which the services reach what is not on their LAN: at most one of each family. By default the host's default routes through the interface, as they are at the time.",
    ),
    key("network.mtu", Kind::Number, "1500", "Largest IP packet of the services, in octets."),
    key(
        "limits.instances",
        Kind::Number,
        "256",
        "Instances at once. A wake beyond a limit waits for its turn.",
    ),
    key(
        "limits.memory",
        Kind::Size,
        "\"2GiB\"",
        "Guest memory of all instances together, as their services are configured.",
    ),
    key("limits.booting", Kind::Number, "4", "Boots at the same time."),
    key(
        "limits.ready_shells",
        Kind::NumberOrWord,
        "2",
        "Shells made ahead, so that a summon need not make one: so many, or `\"adaptive\"`: as many as the wakes of late would have needed. Each is a process with an empty VM.",
    ),
    key(
        "limits.adaptive.min",
        Kind::Number,
        "2",
        "The fewest ready shells if their number is `\"adaptive\"`.",
    ),
    key("limits.adaptive.max", Kind::Number, "32", "The most of them."),
    key(
        "limits.adaptive.horizon",
        Kind::Duration,
        "\"1m\"",
        "How long a burst of wakes is remembered: after this time the shells kept for its return are down to about a third.",
    ),
    key(
        "limits.parked_shells",
        Kind::Number,
        "16",
        "Used shells that are kept, each for the service that it served: the fastest way to that service's next guest. The services woken most, and last, keep theirs. Each takes 2 to 3 MiB; 0 for none.",
    ),
    key(
        "limits.hold_flows",
        Kind::Number,
        "16384",
        "First packets held at once, of all services together.",
    ),
    key(
        "limits.hold_bytes",
        Kind::Size,
        "\"16MiB\"",
        "Memory of those packets, and of what clients sent early.",
    ),
    key(
        "limits.prefix_hold_flows",
        Kind::Number,
        "4096",
        "First packets held at once of the clients of one source prefix (/24 of IPv4, /56 of IPv6).",
    ),
    key("limits.prefix_hold_bytes", Kind::Size, "\"8MiB\"", "Their memory."),
    key(
        "limits.wakes.rate",
        Kind::Rate,
        "\"200/s\"",
        "Wakes that may cost a boot, if their source may be forged: queries by UDP, SYNs, datagrams, pings. Beyond it a query is answered all the same, but wakes nothing; a TCP client that finishes its handshake is proven, and counts below. A wake of a service that boots or runs already costs nothing, and neither does an administrator's.",
    ),
    key(
        "limits.wakes.burst",
        Kind::Number,
        "twice `limits.instances`, at least 4000",
        "As many of them at once; 0: what may be forged wakes nothing.",
    ),
    key(
        "limits.wakes.proven_rate",
        Kind::Rate,
        "\"200/s\"",
        "Wakes that may cost a boot, if their source has answered: TCP clients whose handshake was finished while they were held (`mode = \"handshake\"`), queries by TCP or with a valid cookie. Whoever forges sources cannot use this up.",
    ),
    key(
        "limits.wakes.proven_burst",
        Kind::Number,
        "twice `limits.instances`, at least 4000",
        "As many of them at once.",
    ),
    key(
        "limits.wakes.prefix_rate",
        Kind::Rate,
        "\"100/s\"",
        "Wakes that may cost a boot of one source prefix (/24 of IPv4, /56 of IPv6), forgeable and proven ones counted apart. Many clients may share one: those of a resolver, for example.",
    ),
    key(
        "limits.wakes.prefix_burst",
        Kind::Number,
        "`limits.instances`, at least 2000",
        "As many of them at once. The defaults let one network wake as much as may run, half of what all may: few deployments need that, so lower them to what your clients do. `summoner_wakes_over_budget_total` tells.",
    ),
    key(
        "limits.wakes.dry_run",
        Kind::Flag,
        "false",
        "Only counts what would be refused, to find limits that fit.",
    ),
    key(
        "limits.wakes.deny",
        Kind::List,
        "[]",
        "Source prefixes whose queries and packets wake nothing: `\"192.0.2.0/24\"`, `\"2001:db8::/32\"`, an address. A query is answered all the same, and does not count as use; what runs already serves everybody. For DNS the source is the resolver. See [WAKING.md](../WAKING.md).",
    ),
    key(
        "limits.wakes.allow",
        Kind::List,
        "[]",
        "Exceptions from `limits.wakes.deny`: of the prefixes that a source is in, the longest counts.",
    ),
    key(
        "admin.socket",
        Kind::Text,
        "\"/run/summoner/admin.sock\"",
        "Unix socket for `ps`, `wake`, `stop`, `logs` and `snapshot`. Whoever may open it may do everything; it is made with mode 0600.",
    ),
    key("metrics.listen", Kind::Text, "none", "Address and port that shows `/metrics`."),
    key(
        "log.filter",
        Kind::Text,
        "\"info\"",
        "What is logged, in the form of the `tracing` crate: `\"info\"`, `\"summoner=debug\"`.",
    ),
    key("log.format", Kind::Text, "\"text\"", "`\"text\"` for people, `\"json\"` for machines."),
];
