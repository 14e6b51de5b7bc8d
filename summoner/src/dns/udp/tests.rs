//! What is answered again is what the responder would have answered, octet for octet.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use hickory_proto::rr::rdata::{A, CNAME, MX, NULL, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use policies::{Instant, ServiceId};
use prometheus::IntCounter;
use proptest::prelude::*;
use synjitsu_device::datagrams::{Batch, Listener, listen};
use tokio::sync::mpsc;
use zone::{NameServer, ServiceRecords, Soa, TemplateRecords, Zone, ZoneData, Zones};

use super::super::settings::CookieSecrets;
use super::super::{
    Arrival, DnsMetrics, Limited, Outcome, Published, QueryWake, Responder, ServiceEntry,
    ServiceSignal, Settings, Transfers, Transport,
};
use super::answerer::Answerer;
use crate::config::AnswerMode;

/// Counts queries by their labels.
#[derive(Debug, Default)]
struct Counted(Mutex<HashMap<(&'static str, &'static str), IntCounter>>);

impl Counted {
    /// What was counted since the last time.
    fn taken(&self) -> HashMap<(&'static str, &'static str), u64> {
        let counters = self.0.lock().unwrap();
        let counts = counters.iter().map(|(labels, counter)| (*labels, counter.get()));
        let counts = counts.filter(|(_, count)| *count > 0).collect();
        counters.values().for_each(IntCounter::reset);
        counts
    }
}

impl DnsMetrics for Counted {
    fn queries(&self, qtype: &'static str, rcode: &'static str) -> IntCounter {
        let new = || IntCounter::new("queries", "not shown").unwrap();
        self.0.lock().unwrap().entry((qtype, rcode)).or_insert_with(new).clone()
    }
    fn wake_dropped(&self) {}
    fn transfer(&self, _: &'static str, _: &'static str) {}
    fn notified(&self, _: &'static str) {}
    fn unmade(&self, _: &'static str) {}
    fn wake_withheld(&self, _: &'static str) {}
    fn connection_opened(&self, _: &'static str) {}
    fn connection_closed(&self, _: &'static str, _: &'static str) {}
    fn rate_limited(&self, _: policies::response_rate::ResponseClass, _: Limited, _: u64) {}
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// Names of every kind: of services (with one address or several, awake and not), of records, aliases, a cut, a wildcard,
/// an empty non-terminal, and none.
const NAMES: [&str; 14] = [
    "jit.test.",
    "one.jit.test.",
    "two.jit.test.",
    "cold.jit.test.",
    "large.jit.test.",
    "alias.jit.test.",
    "away.jit.test.",
    "below.cut.jit.test.",
    "any.wild.jit.test.",
    "wild.jit.test.",
    "below.moved.jit.test.",
    "not-yet.made.jit.test.",
    "nothing.jit.test.",
    "elsewhere.test.",
];

fn published(serial: u32, texts: usize) -> Published {
    let service = |id: u32, text: &str| ServiceRecords {
        id: ServiceId(id),
        names: vec![name(text)],
        ipv4: Some([10, 77, 0, u8::try_from(id).unwrap()].into()),
        ipv6: (id != 3).then(|| [0xfd77, 0, 0, 0, 0, 0, 0, 1].into()),
        ttl: 60,
        wake_on_query: true,
        records: Vec::new(),
    };
    let record = |owner: &str, data| Record::from_rdata(name(owner), 60, data);
    let text = |number: usize| RData::TXT(TXT::new(vec![format!("{number} {}", "x".repeat(200))]));
    let mut records = vec![
        record("alias.jit.test.", RData::CNAME(CNAME(name("two.jit.test.")))),
        record("away.jit.test.", RData::CNAME(CNAME(name("www.elsewhere.test.")))),
        record("cut.jit.test.", RData::NS(hickory_proto::rr::rdata::NS(name("ns.cut.jit.test.")))),
        record("ns.cut.jit.test.", RData::A(A::new(192, 0, 2, 9))),
        record(
            "moved.jit.test.",
            RData::Unknown {
                code: RecordType::DNAME,
                rdata: NULL::with(b"\x03two\x03jit\x04test\x00".to_vec()),
            },
        ),
        record("*.wild.jit.test.", RData::A(A::new(192, 0, 2, 7))),
        record("one.jit.test.", RData::MX(MX::new(5, name("two.jit.test.")))),
    ];
    records.extend((0..texts).map(|number| record("large.jit.test.", text(number))));
    let zone = Zone::build(ZoneData {
        apex: name("jit.test."),
        soa: Soa {
            mname: name("ns.jit.test."),
            rname: name("hostmaster.jit.test."),
            serial,
            refresh: 3600,
            retry: 600,
            expire: 86_400,
            minimum: 30,
        },
        name_servers: vec![NameServer {
            name: name("ns.jit.test."),
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        }],
        ttl: 300,
        services: vec![
            service(1, "one.jit.test."),
            service(2, "two.jit.test."),
            service(3, "two.jit.test."),
            service(4, "cold.jit.test."),
        ],
        templates: vec![TemplateRecords { key: "made".into(), pattern: name("*.made.jit.test.") }],
        records,
        wake_all: false,
    });
    let entry = |id: u32| {
        let signal = ServiceSignal::new();
        signal.set_awake(id != 4);
        let key = id.to_string();
        let answer = AnswerMode::Now;
        (ServiceId(id), ServiceEntry { signal, answer, wake_on_refresh: true, key })
    };
    Published {
        zones: Zones::new([Arc::new(zone.unwrap())]),
        services: (1..=4).map(entry).collect(),
        transfers: Transfers::default(),
        access: Arc::default(),
    }
}

/// A responder, its line to the orchestrator, and a client and a server with a socket each.
struct World {
    published: Arc<ArcSwap<Published>>,
    responder: Responder,
    wakes: mpsc::Receiver<QueryWake>,
    counted: Arc<Counted>,
    listener: Listener,
    client: UdpSocket,
}

impl World {
    fn new() -> Self {
        let published = Arc::new(ArcSwap::from_pointee(published(1, 3)));
        let (wakes, queries) = mpsc::channel(1024);
        let counted = Arc::new(Counted::default());
        let settings =
            Settings { cookies: Some(CookieSecrets::OfThisServer), ..Settings::default() };
        let responder =
            Responder::new(published.clone(), wakes, counted.clone(), Arc::new(settings));
        let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(listener.address).unwrap();
        Self { published, responder, wakes: queries, counted, listener, client }
    }

    /// Sends a query through a batch and an answerer; what comes back, and whom it wakes.
    fn ask(
        &mut self,
        answerer: &mut Answerer,
        query: &[u8],
        at: Instant,
    ) -> (Option<Vec<u8>>, usize) {
        let socket = &self.listener.sockets[0];
        self.client.send(query).unwrap();
        let mut batch = Batch::new(false);
        assert_eq!(batch.receive(socket.as_fd()).unwrap(), 1);
        let now = answerer.begin(at);
        let arrival = arrival(self.client.local_addr().unwrap(), at);
        assert!(answerer.answer(&mut batch, 0, arrival, &now).is_none(), "nobody waits here");
        drop(now);
        let sent = batch.has_outgoing();
        batch.send(socket.as_fd());
        answerer.end();
        let answer = sent.then(|| {
            let mut buffer = [0; 2000];
            let length = self.client.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        });
        (answer, self.woken())
    }

    fn woken(&mut self) -> usize {
        std::iter::from_fn(|| self.wakes.try_recv().ok()).count()
    }
}

fn arrival(source: SocketAddr, received_at: Instant) -> Arrival {
    Arrival { received_at, ..Arrival::now(source, Transport::Udp) }
}

/// A query's octets: mostly plain, sometimes not.
fn query() -> impl Strategy<Value = Vec<u8>> {
    let qtype = prop_oneof![
        8 => prop::sample::select(vec![1_u16, 28, 16, 2, 6, 15, 5, 65, 255, 43]),
        1 => any::<u16>(),
    ];
    let flags = prop_oneof![
        8 => prop::sample::select(vec![[0_u8, 0], [1, 0], [0, 0x10], [1, 0x30], [1, 0x20]]),
        1 => any::<[u8; 2]>(),
    ];
    let opt = prop_oneof![
        3 => Just(None),
        6 => (prop::sample::select(vec![0_u16, 512, 700, 1232, 4096]), any::<bool>(), 0..6_u8)
            .prop_map(Some),
    ];
    let class = prop_oneof![20 => Just(1_u16), 1 => any::<u16>()];
    let parts = (any::<u16>(), flags, 0..NAMES.len(), any::<u32>(), qtype, class, opt);
    let octets = parts.prop_map(|(id, flags, place, case, qtype, class, opt)| {
        let mut octets = id.to_be_bytes().to_vec();
        octets.extend(flags);
        octets.extend([0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())]);
        let mut bits = case;
        for label in NAMES[place].trim_end_matches('.').split('.') {
            octets.push(u8::try_from(label.len()).unwrap());
            octets.extend(label.bytes().map(|octet| {
                bits = bits.rotate_left(1);
                if bits & 1 == 1 { octet.to_ascii_uppercase() } else { octet }
            }));
        }
        octets.push(0);
        octets.extend(qtype.to_be_bytes());
        octets.extend(class.to_be_bytes());
        if let Some((payload, dnssec_ok, options)) = opt {
            let options: &[u8] = match options {
                1 => &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
                2 => &[0, 10, 0, 3, 1, 2, 3],
                3 => &[0, 3, 0, 0],
                4 => &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 3, 0, 0],
                _ => &[],
            };
            octets.extend([0, 0, 41]);
            octets.extend(payload.to_be_bytes());
            octets.extend([0, 0, if dnssec_ok { 0x80 } else { 0 }, 0]);
            octets.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
            octets.extend(options);
        }
        octets
    });
    // Now and then with octets changed, or cut.
    (octets, prop::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>())), 0..20_usize)
        .prop_map(|(mut octets, change, cut)| {
            if let Some((place, octet)) = change {
                let place = place.index(octets.len());
                octets[place] = octet;
            }
            if cut == 0 {
                octets.truncate(octets.len() - 1);
            }
            octets
        })
}

/// The response without the time and the hash of a server cookie, which change from second to second. Another option may follow.
fn without_cookie(mut response: Vec<u8>) -> Vec<u8> {
    let option = response.windows(4).rposition(|octets| octets == [0, 10, 0, 24]);
    if let Some(server) = option.and_then(|at| response.get_mut(at + 12..at + 28)) {
        server.fill(0);
    }
    response
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_answered_again_is_what_would_be_answered(
        queries in prop::collection::vec((query(), 0..3_u64, 0..40_u32, 0..9_usize), 1..120),
    ) {
        let mut world = World::new();
        let mut answerer = Answerer::new(world.responder.clone());
        let mut serial = 1;
        for (query, second, change, texts) in queries {
            if change == 0 {
                // Another zone: nothing of the old one may be answered.
                serial += 1;
                world.published.store(Arc::new(published(serial, texts)));
            }
            let at = Instant::from_nanos(7_000_000_000 + second * 1_000_000_000);
            let source = world.client.local_addr().unwrap();
            let expected = match world.responder.respond(&query, &arrival(source, at)) {
                Outcome::Send(reply) => {
                    let octets = reply.message.clone();
                    world.responder.sent(reply);
                    Some(octets)
                }
                _ => None,
            };
            let woken = world.woken();
            let counted = world.counted.taken();
            let answered = world.ask(&mut answerer, &query, at);
            prop_assert_eq!(
                (answered.0.map(without_cookie), answered.1),
                (expected.map(without_cookie), woken),
                "{:02x?}", query
            );
            let again = world.counted.taken();
            prop_assert_eq!(again, counted);
        }
    }
}

#[test]
fn what_was_answered_is_remembered_for_names_that_exist_only() {
    let mut world = World::new();
    let mut answerer = Answerer::new(world.responder.clone());
    let at = Instant::from_nanos(7_000_000_000);
    let ask = |world: &mut World, answerer: &mut Answerer, text: &str, octets: &[u8]| {
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in text.trim_end_matches('.').split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.bytes());
        }
        query.extend(octets);
        world.ask(answerer, &query, at);
        answerer.remembered()
    };
    let a = [0, 0, 1, 0, 1];
    assert_eq!(ask(&mut world, &mut answerer, "one.jit.test.", &a), 1);
    assert_eq!(ask(&mut world, &mut answerer, "ONE.jit.test.", &a), 1, "in any case");
    assert_eq!(ask(&mut world, &mut answerer, "one.jit.test.", &[0, 0, 28, 0, 1]), 2);
    assert_eq!(ask(&mut world, &mut answerer, "one.jit.test.", &[0, 0, 99, 0, 1]), 2, "SPF");
    for text in [
        "nothing.jit.test.",
        "any.wild.jit.test.",
        "below.cut.jit.test.",
        "a.moved.jit.test.",
        "x.test.",
    ] {
        assert_eq!(ask(&mut world, &mut answerer, text, &a), 2, "{text}");
    }
    world.published.store(Arc::new(published(2, 0)));
    assert_eq!(ask(&mut world, &mut answerer, "nothing.jit.test.", &a), 0, "another zone");
}
