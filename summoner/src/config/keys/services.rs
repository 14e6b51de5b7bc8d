//! The keys of services and of templates.

use super::{Key, Kind, key};

/// In the order of the reference.
pub(super) const KEYS: &[Key] = &[
    key(
        "services.*.names",
        Kind::List,
        "the service's key",
        "Its names, relative to the apex (`\"@\"` is the apex itself), or absolute with a dot at the end. Several names mean one service; services may share a name, and are answered in turn.",
    ),
    key(
        "services.*.records",
        Kind::List,
        "[]",
        "Its other records, as in a zone file, at its first name and relative to it: `[\"HTTPS 1 . alpn=h2\", \"_http._tcp SRV 0 0 80 @\"]`. Bindings (HTTPS, SVCB) to the service itself get its addresses as hints. Not for templates.",
    ),
    key(
        "services.*.image",
        Kind::Text,
        "required",
        "What boots: `\"builtin:hello\"`, or a file, relative to the configuration file's folder.",
    ),
    key(
        "services.*.command_line",
        Kind::Text,
        "`--name`, and `--ipv4`, `--ipv6` with their gateways",
        "What the guest is told at its start. `{name}`, `{ipv4}`, `{ipv4_gateway}`, `{ipv6}`, `{ipv6_gateway}` stand for the service's own; addresses have their prefix length.",
    ),
    key("services.*.memory", Kind::Size, "\"8MiB\"", "Guest memory, a multiple of 2 MiB."),
    key(
        "services.*.ipv4",
        Kind::Text,
        "\"auto\"",
        "`\"auto\"`, `\"none\"`, or an address in `network.ipv4`. Automatic ones stay the same.",
    ),
    key(
        "services.*.ipv6",
        Kind::Text,
        "\"auto\"",
        "`\"auto\"`, `\"none\"`, or an address in `network.ipv6`.",
    ),
    key(
        "services.*.ttl",
        Kind::Number,
        "`zone.ttl`",
        "TTL in seconds of its addresses. They stay valid while no guest runs: a packet wakes the service as well as a query.",
    ),
    key(
        "services.*.idle",
        Kind::Duration,
        "\"10s\"",
        "How long a guest is kept after its last packet or query.",
    ),
    key(
        "services.*.count_open_connections",
        Kind::Flag,
        "true",
        "Whether an open connection keeps the guest, however silent it is.",
    ),
    key(
        "services.*.minimum_uptime",
        Kind::Duration,
        "\"0s\"",
        "How long a guest is kept at the least.",
    ),
    key(
        "services.*.stop",
        Kind::Text,
        "\"destroy\"",
        "How a guest is made to end: `\"destroy\"` at once; `\"shutdown\"` asks it first; `\"suspend\"` keeps its memory as a snapshot that the next wake resumes, also after a restart of the daemon.",
    ),
    key(
        "services.*.stop_grace",
        Kind::Duration,
        "\"5s\"",
        "How long a guest that was asked may take, or its snapshot, before it is destroyed.",
    ),
    key(
        "services.*.snapshot",
        Kind::Flag,
        "true",
        "Whether the guest is kept as it is when it waits for its first input, and the next ones are clones of that instead of booting. Only images that renew their random numbers when told are kept. Does not concern `stop = \"suspend\"`.",
    ),
    key(
        "services.*.answer",
        Kind::Text,
        "\"now\"",
        "When a query that wakes is answered: `\"now\"`, or `\"ready\"`: when the guest is up, for clients that must not be held.",
    ),
    key(
        "services.*.ready_cap",
        Kind::Duration,
        "\"1s\"",
        "How long an answer waits for `\"ready\"` at the most; it is given then in any case.",
    ),
    key(
        "services.*.wake",
        Kind::List,
        "[\"dns\", \"packet\"]",
        "What wakes the service: a query for an address (`\"dns\"`), the first packet of a connection or a datagram (`\"packet\"`), an echo request (`\"ping\"`). The first packets of connections are held in any case.",
    ),
    key(
        "services.*.wake_on_refresh",
        Kind::Flag,
        "true",
        "Whether queries count that look as if they only kept a resolver's cache fresh: those of a network that asked the same about one TTL ago. With `false` they are answered, and neither wake the service nor keep its guest. See [WAKING.md](../WAKING.md).",
    ),
    key(
        "services.*.boot_timeout",
        Kind::Duration,
        "\"10s\"",
        "How long a guest may take until it is ready.",
    ),
    key(
        "services.*.hold.mode",
        Kind::Text,
        "\"handshake\"",
        "What a TCP client sees before the guest is up: `\"handshake\"` answers it at once, takes what it sends and gives that to the guest; `\"syn\"` keeps it waiting with its first packet. `hold = \"syn\"` is short for `hold.mode = \"syn\"`. Why the first is the default: docs/HOLDING.md.",
    ),
    key(
        "services.*.hold.time",
        Kind::Duration,
        "\"10s\"",
        "How long a client's first packet waits for a guest that answers it; then the client is refused.",
    ),
    key("services.*.hold.flows", Kind::Number, "1024", "First packets held at once."),
    key(
        "services.*.hold.bytes",
        Kind::Size,
        "\"1MiB\"",
        "Memory of those packets, and of what clients sent early.",
    ),
    key(
        "services.*.hold.buffer",
        Kind::Size,
        "\"64KiB\"",
        "What one client may send before the guest takes it (`mode = \"handshake\"`).",
    ),
    key(
        "services.*.hold.overflow",
        Kind::Text,
        "\"drop\"",
        "What happens to one packet more: `\"drop\"` (its client tries again), or `\"reset\"` (its client is refused).",
    ),
    key(
        "services.*.backoff.initial",
        Kind::Duration,
        "\"500ms\"",
        "The wait after a failed boot; doubled with each in a row.",
    ),
    key("services.*.backoff.max", Kind::Duration, "\"30s\"", "The longest wait."),
    key(
        "services.*.backoff.stable_after",
        Kind::Duration,
        "\"2s\"",
        "A guest that ends by itself sooner than this counts as a failed boot.",
    ),
    key(
        "templates.*.pattern",
        Kind::Text,
        "required",
        "The names for which services are made: `\"*.pr\"` for every label before `pr`, relative to the apex or absolute with a dot at its end. The first query for an address, of a client that is no forgery, makes the service; it is forgotten when it is cold and nobody has asked for it for its `idle` and its TTL. A template has all keys of `[services.KEY]` but `names`. See [WAKING.md](../WAKING.md).",
    ),
    key(
        "templates.*.max",
        Kind::Number,
        "64",
        "How many services it may have at once. For one more the answer is SERVFAIL, until one is forgotten.",
    ),
];
