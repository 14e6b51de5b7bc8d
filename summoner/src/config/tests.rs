//! What is accepted, what is refused, and what is said about it.

mod content;
mod lan;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use policies::access::Access;
use policies::budget::{Limit, Rate};
use policies::response_rate::ResponseClass;
use policies::stop::StopMode;
use policies::warm::WarmPolicy;
use proptest::prelude::*;

use super::addresses::{self, Assigned};
use super::source::Layers;
use super::*;

mod templates;

/// Checks `text` as if it were a file, with an environment and flags.
fn read(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("summoner.toml");
    std::fs::write(&file, text).unwrap();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flags: Vec<_> = flags.iter().map(own).collect();
    let layers = Layers::read(Some(&file), environment.iter().map(own), &flags)?;
    let raw = layers.raw()?;
    check::check(&raw, &layers, Path::new("/etc/summoner"))
}

fn good(text: &str) -> Config {
    read(text, &[], &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// The problems with `text`, each as "line key".
fn places(text: &str) -> Vec<String> {
    let error = read(text, &[], &[]).expect_err("it is wrong");
    let line = |problem: &Problem| match &problem.place {
        Place::Line(_, line) => line.to_string(),
        other => other.to_string(),
    };
    error.problems.iter().map(|problem| format!("{} {}", line(problem), problem.key)).collect()
}

const SMALL: &str = "[zone]\napex = \"jit.test\"\n[services.web]\nimage = \"builtin:hello\"\n";

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let config = good(SMALL);
    assert_eq!(config.zone.apex.to_string(), "jit.test.");
    assert_eq!(config.dns.listen, ["127.0.0.1:5353".parse().unwrap()]);
    assert_eq!(config.dns.workers, None);
    let web = &config.services["web"];
    assert_eq!(web.names[0].to_string(), "web.jit.test.");
    assert_eq!((web.memory, web.ttl), (8 << 20, 60));
    assert_eq!(web.idle, Duration::from_secs(10));
    assert!(web.count_open_connections && web.wake.dns && web.wake.packet);
    assert_eq!(web.answer, AnswerMode::Now);
    assert!(web.snapshot && web.wake_on_refresh && web.stop == StopMode::Destroy);
    assert_eq!(
        (config.limits.ready_shells, config.limits.parked_shells),
        (WarmPolicy::Fixed(2), 16)
    );
}

#[test]
fn everything_can_be_said() {
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let text = r#"
        state_dir = "state"
        dns.listen = ["127.0.0.1:53", "[::1]:53"]
        dns.tcp = { connections = 9, prefix_connections = 3, idle = "2s" }
        dns.tls = { listen = ["127.0.0.1:853"], certificate = "dns.pem", key = "dns.key" }
        dns.https = { listen = ["[::1]:443"], path = "/ask" }
        dns.workers = 3
        metrics.listen = "127.0.0.1:9177"
        admin.socket = "/run/x.sock"
        log = { filter = "summoner=debug", format = "json" }
        [zone]
        apex = "Jit.Test."
        ttl = 300
        mname = "ns1"
        rname = "ops.example.org."
        serial = 7
        refresh = 1
        retry = 2
        expire = 3
        minimum = 4
        [zone.name_servers]
        ns1 = ["192.0.2.1", "2001:db8::1"]
        "ns.example.net." = []
        [dnssec]
        enabled = true
        algorithm = "ed25519"
        keys = ["2026", "2027-a"]
        validity = "3d"
        [zone.transfer]
        to = ["192.0.2.0/24", "2001:db8::1"]
        key = "secondary"
        notify = ["192.0.2.53", "[2001:db8::1]:5353"]
        [tsig.secondary]
        name = "transfer.example.org."
        algorithm = "hmac-sha512"
        secret = "MDEyMzQ1Njc4OWFiY2RlZg=="
        [network]
        interface = "jit0"
        ipv4 = "192.168.7.0/24"
        ipv6 = "2001:db8:7::/64"
        mtu = 1400
        attach = "tun"
        pool = "192.168.7.16-192.168.7.31"
        [limits]
        instances = 9
        memory = "1GiB"
        booting = 2
        ready_shells = 0
        parked_shells = 3
        adaptive = { min = 0, max = 0, horizon = "1s" }
        hold_flows = 10
        hold_bytes = "1MiB"
        prefix_hold_flows = 5
        prefix_hold_bytes = "512KiB"
        [limits.wakes]
        rate = "5/m"
        burst = 6
        proven_rate = "7/h"
        proven_burst = 8
        prefix_rate = "1/s"
        prefix_burst = 0
        dry_run = true
        deny = ["0.0.0.0/0", "2001:db8::/32"]
        allow = ["192.0.2.0/24"]
        [services.web]
        names = ["www", "@", "deep.down", "abs.jit.test."]
        image = "images/web"
        command_line = "--ip={ipv4}"
        memory = "32MiB"
        ipv4 = "192.168.7.9"
        ipv6 = "none"
        ttl = 1
        idle = "1m"
        count_open_connections = false
        minimum_uptime = "5s"
        stop = "shutdown"
        stop_grace = "3s"
        snapshot = false
        answer = "ready"
        ready_cap = "250ms"
        wake = ["packet", "ping"]
        wake_on_refresh = false
        boot_timeout = "20s"
        [services.web.hold]
        mode = "syn"
        time = "4s"
        flows = 5
        bytes = "64KiB"
        buffer = "4KiB"
        overflow = "reset"
        [services.web.backoff]
        initial = "1s"
        max = "1h"
        stable_after = "10s"
        [templates.pr]
        pattern = "*.PR"
        max = 5
        image = "builtin:hello"
        idle = "2m"
        ipv6 = "none"
        hold = "syn"
        backoff = { initial = "2s" }
        "#;
    let config = good(&text.replace("images/web", image));
    let web = &config.services["web"];
    let names: Vec<_> = web.names.iter().map(ToString::to_string).collect();
    assert_eq!(config.dns.workers, Some(3));
    assert_eq!(names, ["www.jit.test.", "jit.test.", "deep.down.jit.test.", "abs.jit.test."]);
    assert_eq!(web.image, ImageRef::File(image.into()));
    assert_eq!(web.ipv4, AddressChoice::Fixed(Ipv4Addr::new(192, 168, 7, 9)));
    assert_eq!(web.ipv6, AddressChoice::None);
    assert_eq!(web.hold.overflow, synjitsu::Overflow::Reset);
    assert_eq!(config.state_dir, Path::new("/etc/summoner/state"));
    assert_eq!(config.admin.socket, Path::new("/run/x.sock"));
    assert_eq!(config.zone.name_servers.len(), 2);
    assert_eq!(
        config.dnssec,
        Dnssec {
            enabled: true,
            algorithm: crate::dnssec::Algorithm::Ed25519,
            keys: vec!["2026".to_owned(), "2027-a".to_owned()],
            validity: Duration::from_secs(3 * 86_400),
        }
    );
    let grace = Duration::from_secs(3);
    assert!(!web.snapshot && !web.wake_on_refresh && web.stop == StopMode::Shutdown { grace });
    assert_eq!(
        (config.limits.ready_shells, config.limits.parked_shells),
        (WarmPolicy::Fixed(0), 3)
    );
    let may = |address: &str| {
        config.limits.wakes.access.access(address.parse().unwrap()) == Access::Allowed
    };
    assert!(may("192.0.2.1") && may("::1") && !may("198.51.100.1") && !may("2001:db8::1"));
}

#[test]
fn the_stock_of_shells_is_a_number_or_follows_the_wakes() {
    let minute = Duration::from_secs(60);
    let stock = |limits: &str, flags: &[(&str, &str)]| {
        let config = read(&format!("{SMALL}[limits]\n{limits}\n"), &[], flags);
        config.map(|config| config.limits.ready_shells).map_err(|error| error.to_string())
    };
    assert_eq!(stock("ready_shells = 7", &[]), Ok(WarmPolicy::Fixed(7)));
    assert_eq!(
        stock("ready_shells = \"adaptive\"", &[]),
        Ok(WarmPolicy::Adaptive { min: 2, max: 32, horizon: minute })
    );
    // The layers above can change the one without the other.
    let bounds = "ready_shells = \"adaptive\"\n[limits.adaptive]\nmin = 40";
    let policy = WarmPolicy::Adaptive { min: 40, max: 40, horizon: minute };
    assert_eq!(stock(bounds, &[]), Ok(policy), "the default maximum gives way");
    assert_eq!(stock(bounds, &[("limits.ready_shells", "3")]), Ok(WarmPolicy::Fixed(3)));
    assert_eq!(
        stock("", &[("limits.ready_shells", "adaptive"), ("limits.adaptive.min", "40")]),
        Ok(policy)
    );
    let told = stock("ready_shells = \"many\"", &[]).unwrap_err();
    assert!(told.contains("\"many\"") && told.contains("\"adaptive\""), "{told}");
}

#[test]
fn wake_budgets_have_defaults_that_follow_the_instances() {
    let wakes = |limits: &str| good(&format!("{SMALL}[limits]\n{limits}\n")).limits.wakes;
    let limits = wakes("").limits;
    assert_eq!(
        (limits.forgeable.burst, limits.proven.burst, limits.prefix.burst),
        (4000, 4000, 2000)
    );
    assert_eq!(limits.prefix.rate, Rate::per_second(100).unwrap());
    assert!(!wakes("").dry_run);
    let limits = wakes("instances = 8000").limits;
    assert_eq!(
        (limits.forgeable.burst, limits.proven.burst, limits.prefix.burst),
        (16_000, 16_000, 8000)
    );
    let limits = wakes("wakes = { rate = \"6/m\", burst = 0, prefix_burst = 1, dry_run = true }");
    assert_eq!(
        limits.limits.forgeable,
        Limit { rate: Rate::new(1, Duration::from_secs(10)).unwrap(), burst: 0 }
    );
    assert!(limits.dry_run);
    let flags = [("limits.wakes.proven_rate", "9/s"), ("limits.wakes.dry_run", "true")];
    let config = read(SMALL, &[("SUMMONER_LIMITS__WAKES__BURST", "3")], &flags).unwrap();
    assert_eq!(config.limits.wakes.limits.proven.rate, Rate::per_second(9).unwrap());
    assert_eq!(config.limits.wakes.limits.forgeable.burst, 3);
    assert!(config.limits.wakes.dry_run);
    assert_eq!(good(SMALL).fixed_differences(&config), [""; 0], "all of it changes at once");
}

#[test]
fn a_hold_mode_may_be_the_whole_hold() {
    use synjitsu::HoldMode::{Handshake, Syn};
    let seconds = Duration::from_secs;
    let hold = |file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        let config = read(&format!("{SMALL}{file}\n"), environment, flags);
        config.map(|config| (config.services["web"].hold.mode, config.services["web"].hold.time))
    };
    assert_eq!(hold("", &[], &[]), Ok((Handshake, seconds(10))));
    assert_eq!(hold("hold = \"syn\"", &[], &[]), Ok((Syn, seconds(10))));
    assert_eq!(hold("hold = \"handshake\"", &[], &[]), Ok((Handshake, seconds(10))));
    assert_eq!(hold("hold = { mode = \"syn\", time = \"3s\" }", &[], &[]), Ok((Syn, seconds(3))));
    // The layers say the one and the other form, and each field is that of the last one to say it.
    let variable = [("SUMMONER_SERVICES__WEB__HOLD", "syn")];
    assert_eq!(hold("", &variable, &[]), Ok((Syn, seconds(10))));
    assert_eq!(hold("[services.web.hold]\ntime = \"3s\"", &variable, &[]), Ok((Syn, seconds(3))));
    let flag = [("services.web.hold", "handshake")];
    assert_eq!(hold("hold = \"syn\"", &variable, &flag), Ok((Handshake, seconds(10))));
    let flag = [("services.web.hold.mode", "handshake"), ("services.web.hold.time", "3s")];
    assert_eq!(hold("hold = \"syn\"", &variable, &flag), Ok((Handshake, seconds(3))));
    let flag = [("services.web.hold.time", "3s")];
    assert_eq!(hold("hold = \"syn\"", &[], &flag), Ok((Syn, seconds(3))));
    // What is wrong is told where it is written.
    let told = |result: Result<_, ConfigError>| result.unwrap_err().to_string();
    for (file, found) in [
        ("hold = \"later\"", "\"later\""),
        ("hold = 5", "\"5\""),
        ("hold = [\"syn\"]", "[\"syn\"]"),
    ] {
        let text = told(hold(file, &[], &[]));
        assert!(
            text.contains("summoner.toml:5: services.web.hold.mode") && text.contains(found),
            "{text}"
        );
    }
    let text = told(hold("", &[("SUMMONER_SERVICES__WEB__HOLD", "later")], &[]));
    assert!(text.contains("environment SUMMONER_SERVICES__WEB__HOLD:"), "{text}");
    let text = told(hold("", &[], &[("services.web.hold", "later")]));
    assert!(text.contains("--set services.web.hold:"), "{text}");
    let text = told(hold("holds = \"syn\"", &[], &[]));
    assert!(text.contains("did you mean `services.web.hold`?"), "{text}");
    let text = told(hold("hold = { mod = \"syn\" }", &[], &[]));
    assert!(text.contains("did you mean `services.web.hold.mode`?"), "{text}");
}

#[test]
fn every_stop_mode_has_its_word() {
    let stop = |word: &str| good(&format!("{SMALL}stop = \"{word}\"\n")).services["web"].stop;
    let grace = Duration::from_secs(5);
    for mode in [StopMode::Destroy, StopMode::Shutdown { grace }, StopMode::Suspend { grace }] {
        assert_eq!(stop(mode.label()), mode);
    }
}

#[test]
fn the_later_layer_wins() {
    let set = [
        ("SUMMONER_ZONE__TTL", "5"),
        ("SUMMONER_DNS__LISTEN", "127.0.0.1:1, 127.0.0.1:2"),
        ("PATH", "/bin"),
    ];
    let config = read(SMALL, &set, &[("services.web.idle", "3s"), ("zone.ttl", "6")]).unwrap();
    assert_eq!(config.zone.ttl, 6, "a flag beats the environment");
    assert_eq!(config.dns.listen.len(), 2);
    assert_eq!(config.services["web"].idle, Duration::from_secs(3));
}

#[test]
fn problems_say_where_they_are() {
    assert_eq!(
        places("[zone]\napex = \"jit.test\"\nttk = 5\n[dns]\nlisten = []\n"),
        ["3 zone.ttk"]
    );
    let error = read("[zone]\napex = \"jit.test\"\nttk = 5\n", &[], &[]).unwrap_err();
    assert!(error.to_string().contains("did you mean `zone.ttl`?"), "{error}");
    let two = format!("{SMALL}idle = \"soon\"\nmemory = \"7MiB\"\n");
    assert_eq!(places(&two), ["6 services.web.memory", "5 services.web.idle"]);
    let error = read(&two, &[], &[]).unwrap_err().to_string();
    assert!(error.contains("\"soon\"") && error.contains("write \"8MiB\""), "{error}");
    assert_eq!(places("[zone]\napex = \"jit.test\"\nttl = \"x\"\n"), ["3 zone.ttl"]);
    assert_eq!(places("[zone\n"), ["1 "]);
    assert_eq!(places("[zone]\napex = \"jit.test\"\napex = \"b\"\n"), ["3 "]);
    assert_eq!(places("[zone]\nttl = 5\n"), ["1 zone.apex"]);
    let variable = read(SMALL, &[("SUMMONER_ZONE__TTK", "1")], &[]).unwrap_err().to_string();
    assert!(variable.contains("environment SUMMONER_ZONE__TTK"), "{variable}");
    let flag = read(SMALL, &[], &[("services.web.idle", "soon")]).unwrap_err().to_string();
    assert!(flag.contains("--set services.web.idle"), "{flag}");
}

/// That a service with `line`, or what follows it there, has one problem, at `key`.
fn refused(line: &str, key: &str) {
    let image = if line.starts_with("image") { "" } else { "image = \"builtin:hello\"\n" };
    let text = format!("[zone]\napex = \"jit.test\"\n[services.web]\n{image}{line}\n");
    let places = places(&text);
    assert!(places.len() == 1 && places[0].ends_with(key), "{line}: {places:?}");
}

#[test]
fn what_cannot_work_is_refused() {
    for (line, key) in [
        ("memory = \"0MiB\"", "services.web.memory"),
        ("memory = \"4GiB\"", "services.web.memory"),
        ("names = []", "services.web.names"),
        ("names = [\"a.example.\"]", "services.web.names"),
        ("names = [\"*\"]", "services.web.names"),
        ("names = [\"a..b\"]", "services.web.names"),
        ("names = [\"ns\"]", "services.web.names"),
        ("image = \"builtin:nothing\"", "services.web.image"),
        ("image = \"images/nowhere\"", "services.web.image"),
        ("ipv4 = \"10.77.0.1\"", "services.web.ipv4"),
        ("ipv4 = \"10.77.255.255\"", "services.web.ipv4"),
        ("ipv4 = \"192.0.2.1\"", "services.web.ipv4"),
        ("ipv6 = \"fd77:6a69:7400::1\"", "services.web.ipv6"),
        ("command_line = \"{ip}\"", "services.web.command_line"),
        ("stop = \"now\"", "services.web.stop"),
        ("wake = [\"knock\"]", "services.web.wake"),
        ("ttl = 4294967295", "services.web.ttl"),
        ("[services.web.hold]\nflows = 0", "services.web.hold.flows"),
        ("[services.web.hold]\nmode = \"later\"", "services.web.hold.mode"),
        ("[services.web.hold]\nbuffer = \"1KiB\"", "services.web.hold.buffer"),
        ("[zone.aliases]\nweb = \"other\"", "zone"),
        ("[zone.aliases]\n\"x.example.\" = \"web\"", "zone.aliases.x.example."),
        ("records = [\"A\"]", "services.web.records"),
        ("records = [\"x.example. TXT x\"]", "services.web.records"),
        ("[network]\nipv4 = \"10.77.0.1/16\"", "network.ipv4"),
        ("[network]\nmtu = 500", "network.mtu"),
        ("[network]\ninterface = \"a/b\"", "network.interface"),
        ("[network]\nattach = \"eth0\"", "network.attach"),
        ("[network]\nattach = \"lan:\"", "network.attach"),
        ("[network]\nmac = \"own\"", "network.mac"),
        ("[network]\ngateways = []", "network.gateways"),
        ("[limits]\nbooting = 0", "limits.booting"),
        ("[limits]\nready_shells = -1", "limits.ready_shells"),
        ("[limits]\nready_shells = 2.5", "limits.ready_shells"),
        ("[limits]\nready_shells = true", "limits.ready_shells"),
        ("[limits]\nready_shells = \"lots\"", "limits.ready_shells"),
        ("[limits]\nready_shells = [2]", "limits.ready_shells"),
        ("[limits]\nparked_shells = -1", "limits.parked_shells"),
        ("[limits.adaptive]\nmin = 5\nmax = 4", "limits.adaptive.max"),
        ("[limits.adaptive]\nhorizon = \"0s\"", "limits.adaptive.horizon"),
        ("[limits.wakes]\nrate = 5", "limits.wakes.rate"),
        ("[limits.wakes]\nrate = \"0/s\"", "limits.wakes.rate"),
        ("[limits.wakes]\nprefix_rate = \"5\"", "limits.wakes.prefix_rate"),
        ("[limits.wakes]\nproven_burst = -1", "limits.wakes.proven_burst"),
        ("[limits.wakes]\ndry_run = \"perhaps\"", "limits.wakes.dry_run"),
        ("[limits.wakes]\ndeny = [\"192.0.2.1/24\"]", "limits.wakes.deny"),
        ("[limits.wakes]\nallow = [\"192.0.2.0/24\"]", "limits.wakes.allow"),
        ("[limits.wakes]\nallow = [\"::/0\"]\ndeny = [\"::/0\"]", "limits.wakes.allow"),
        ("[dns]\ncookie_secret_file = \"/nonexistent\"", "dns.cookie_secret_file"),
        ("[dns]\nnsid = \"\"", "dns.nsid"),
        ("[dns.rate_limit]\nrate = \"0/s\"", "dns.rate_limit.rate"),
        ("[dns.rate_limit]\nnxdomain = \"never\"", "dns.rate_limit.nxdomain"),
        ("[dns.rate_limit]\nslots = 3", "dns.rate_limit.slots"),
        ("[dns.rate_limit]\nallow = [\"192.0.2.1/24\"]", "dns.rate_limit.allow"),
        ("snapshot = \"often\"", "services.web.snapshot"),
        ("[log]\nfilter = \"=nonsense=\"", "log.filter"),
        ("[dns]\nlisten = [\"localhost:53\"]", "dns.listen"),
        ("[dns.tcp]\nconnections = 0", "dns.tcp.connections"),
        ("[zone.transfer]\nto = [\"somewhere\"]", "zone.transfer.to"),
        ("[zone.transfer]\nkey = \"nobody\"", "zone.transfer.key"),
        ("[zone.transfer]\nnotify = [\"ns.example.org\"]", "zone.transfer.notify"),
        ("[zone.transfer]\nnotify = [\"192.0.2.1\"]", "zone.transfer.notify"),
        ("[tsig.k]\nsecret = \"c2hvcnQ=\"", "tsig.k.secret"),
        ("[tsig.k]\nsecret_file = \"nowhere\"", "tsig.k.secret_file"),
        ("[tsig.k]\nalgorithm = \"hmac-md5\"\nsecret = \"\"", "tsig.k.algorithm"),
        ("[tsig.k]\nalgorithm = \"hmac-sha256\"", "tsig.k"),
        ("[dns.tcp]\nidle = \"1ms\"", "dns.tcp.idle"),
        ("[dns.tls]\nlisten = [\"127.0.0.1:853\"]", "dns.tls.listen"),
        ("[dns.tls]\nkey = \"x\"", "dns.tls.key"),
        ("[dns.https]\nlisten = [\"127.0.0.1:443\"]", "dns.https.listen"),
        ("[dns.https]\npath = \"dns?\"", "dns.https.path"),
        ("[dns]\nworkers = 0", "dns.workers"),
    ] {
        refused(line, key);
    }
}

#[test]
fn responses_have_a_rate_of_each_class() {
    let default = good(SMALL).dns.settings.rate_limit.expect("there is a limit");
    let burst = |limit: Option<Limit>| limit.map(|limit| limit.burst);
    assert!(default.limits.classes.iter().all(|limit| burst(*limit) == Some(200)));
    assert_eq!((default.limits.slip, default.allow.len(), default.dry_run), (2, 2, false));
    let text = "[dns.rate_limit]\nrate = \"30/m\"\nerrors = \"none\"\nreferrals = \"7/s\"\n";
    let some = good(&format!("{SMALL}{text}")).dns.settings.rate_limit.unwrap();
    let of = |class: ResponseClass| burst(some.limits.classes[class.index()]);
    assert_eq!(of(ResponseClass::Answer), Some(1), "less than one in a second is one at once");
    assert_eq!((of(ResponseClass::Error), of(ResponseClass::Referral)), (None, Some(7)));
    let none = good(&format!("{SMALL}[dns.rate_limit]\nrate = \"none\"\n"));
    assert_eq!(none.dns.settings.rate_limit, None);
}

#[test]
fn the_reference_is_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/config.md");
    let made = keys::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &made).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(written, made, "run UPDATE_DOCS=1 cargo test -p summoner --lib config");
}

/// Every key of the table is read, and every key that is read is in the table.
#[test]
fn the_table_is_what_is_read() {
    for key in keys::all() {
        let path = key.path.replace('*', "name");
        let text = format!("{SMALL}\n");
        // A value of no type at all: if the key is read, it is the value that is wrong, not the key.
        let error = read(&text, &[], &[]).map(drop);
        assert!(error.is_ok());
        let value = "\u{1f} ,\u{1f}";
        match read(SMALL, &[], &[(&path, value)]) {
            Ok(_) => assert!(matches!(key.kind, keys::Kind::Text), "{path} took nonsense"),
            Err(error) => {
                assert!(
                    !error.to_string().contains("unknown"),
                    "{path} is in the table but not read: {error}"
                );
            }
        }
    }
}

fn many(count: usize) -> Config {
    let mut text = SMALL.to_owned();
    for number in 0..count {
        text.push_str(&format!("[services.s{number}]\nimage = \"builtin:hello\"\n"));
    }
    good(&text)
}

#[test]
fn a_full_prefix_is_told() {
    let mut text = SMALL.to_owned() + "[network]\nipv4 = \"10.0.0.0/29\"\n";
    for number in 0..4 {
        text.push_str(&format!("[services.s{number}]\nimage = \"builtin:hello\"\n"));
    }
    assert_eq!(good(&text).services.len(), 5, "eight addresses, but three of them are nobody's");
    text.push_str("[services.last]\nimage = \"builtin:hello\"\n");
    assert!(places(&text)[0].ends_with("network"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn automatic_addresses_are_unique_usable_and_stay(count in 1..60_usize, gone in 0..60_usize) {
        let config = many(count);
        let first = addresses::assign(&config, &BTreeMap::new()).unwrap();
        prop_assert_eq!(&first, &addresses::assign(&config, &BTreeMap::new()).unwrap(), "not the same twice");
        let v4: std::collections::HashSet<Ipv4Addr> = first.values().filter_map(|a| a.ipv4).collect();
        let v6: std::collections::HashSet<Ipv6Addr> = first.values().filter_map(|a| a.ipv6).collect();
        prop_assert_eq!((v4.len(), v6.len()), (first.len(), first.len()));
        for address in v4 {
            prop_assert!(addresses::is_usable4(&config.network.ipv4, address));
        }
        // Services come and go: those that stay keep what is remembered.
        let after = addresses::assign(&many(gone), &first).unwrap();
        for (key, before) in &first {
            prop_assert!(after.get(key).is_none_or(|now| now == before), "{} moved", key);
        }
    }

    #[test]
    fn whatever_is_remembered_addresses_stay_unique(a: u32, b: u128) {
        let strange = Assigned { ipv4: Some(Ipv4Addr::from_bits(a)), ipv6: Some(Ipv6Addr::from_bits(b)) };
        let remembered = BTreeMap::from([("web".to_owned(), strange), ("s0".to_owned(), strange)]);
        let assigned = addresses::assign(&many(3), &remembered).unwrap();
        let v4: std::collections::HashSet<_> = assigned.values().map(|a| a.ipv4).collect();
        let v6: std::collections::HashSet<_> = assigned.values().map(|a| a.ipv6).collect();
        prop_assert_eq!((v4.len(), v6.len()), (4, 4));
    }

    #[test]
    fn no_text_is_a_panic(text in "\\PC{0,60}|(\\[[a-z.]{0,12}\\]\n|[a-z_]{0,12} = [0-9a-z\"]{0,6}\n){0,6}") {
        let _ = read(&text, &[], &[]);
    }
}
