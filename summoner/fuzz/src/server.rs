//! A server with a bit of everything, but without sockets and services that run.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hickory_proto::dnssec::crypto::Ed25519SigningKey;
use hickory_proto::rr::Name;
use summoner::config::{self, Config};
use summoner::deploy::Deployer;
use summoner::dns::{Published, Responder};
use summoner::dnssec::{KeyFolder, Signer};
use summoner::metrics::Metrics;
use summoner::publish::Publisher;
use summoner::snapshots::Machine;
use summoner::state::State;
use tokio::sync::mpsc;
use zone::master::{Source, parse};
use zone::{Signing, Validity, Zone, ZoneData, ZoneKey, Zones};

const CONFIG: &str = r#"
state_dir = "state"
[dns]
nsid = "fuzz"
version = "fuzz"
[zone]
apex = "jit.test"
[zone.transfer]
to = ["192.0.2.0/24"]
[tsig.key]
secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
[services.web]
image = "builtin:hello"
names = ["web", "@", "a.b.c"]
[services.slow]
image = "builtin:hello"
names = ["slow"]
answer = "ready"
"#;

/// A zone of its own, signed and not.
const RECORDS: &str = r#"
@       MX 10 mail
@       TXT "one" "two" "\000\255"
@       CAA 0 issue "ca.example"
mail    A 192.0.2.1
mail    AAAA 2001:db8::1
www     CNAME mail
loop1   CNAME loop2
loop2   CNAME loop1
out     CNAME www.example.org.
chain   CNAME www
*.wild  TXT "wild"
*.wild  A 192.0.2.2
x.y.wild A 192.0.2.3
*.alias CNAME *.wild
old     DNAME new
a.new   A 192.0.2.4
deep.er.and.deep.er A 192.0.2.5
sub     NS ns.sub
sub     NS ns.example.org.
ns.sub  A 192.0.2.6
secure  NS ns.sub
secure  DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000
_http._tcp SRV 0 0 80 mail
svc     HTTPS 1 . alpn=h2 ipv4hint=192.0.2.7
odd\.name\000\255 TXT "odd"
odd     TYPE65280 \# 3 010203
large   TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
"#;

thread_local! {
    /// Made once for each thread: an answer changes nothing that the next one depends on.
    pub static RESPONDER: Responder = responder();
}

fn responder() -> Responder {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("summoner.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let config = config::load(Some(&file), &[]).unwrap();
    let state = State::open(&config.state_dir).unwrap();
    let signer = Signer::new(KeyFolder::of(&config.state_dir));
    let deployments = Deployer::new(state.clone(), Machine::this()).deploy(&config).unwrap();
    let published =
        Publisher::new(state, signer).publish(&config, &deployments, SystemTime::now()).unwrap();
    let zones = published.zones.iter().cloned();
    let zones = zones.chain([Arc::new(rich(&config, "plain.test.")), Arc::new(signed(&config))]);
    let published = Published { zones: Zones::new(zones.collect::<Vec<_>>()), ..published };
    // Of size one and never read: wakes find it full.
    let (wakes, _) = mpsc::channel(1);
    let published = Arc::new(ArcSwap::from_pointee(published));
    let settings = Arc::new(config.dns.settings.clone());
    Responder::new(published, wakes, Arc::new(Metrics::new()), settings)
}

fn rich(config: &Config, apex: &str) -> Zone {
    let apex = Name::from_ascii(apex).unwrap();
    let many = (0..40).map(|number| format!("large TXT \"{number} {}\"\n", "x".repeat(200)));
    let text = RECORDS.to_owned() + &many.collect::<String>();
    let source = Source { name: "records", text: &text, origin: &apex, ttl: Some(300) };
    let written = parse(source, &mut |_, _| Err("not here".to_owned())).unwrap();
    let records = written.into_iter().map(|written| written.record).collect();
    Zone::build(ZoneData { apex, records, ..config.zone.zone_data() }).unwrap()
}

fn signed(config: &Config) -> Zone {
    let secret = Ed25519SigningKey::generate_pkcs8().unwrap();
    let key = ZoneKey::new(Arc::new(Ed25519SigningKey::from_pkcs8(&secret).unwrap())).unwrap();
    let day = Duration::from_secs(86_400);
    let validity = Validity { backdate: day, lifetime: day * 14, refresh: day * 7 };
    let signing = Signing { keys: &[key], now: SystemTime::now(), validity };
    rich(config, "signed.test.").sign(&signing, None).unwrap()
}
