//! The zone against examples, and against a slow, obvious reference.

mod whole;

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata;
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};
use policies::ServiceId;
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn service(id: u32, names: &[&str], ipv6: bool) -> ServiceRecords {
    ServiceRecords {
        id: ServiceId(id),
        names: names.iter().map(|text| name(text)).collect(),
        ipv4: Some(Ipv4Addr::new(10, 77, 0, u8::try_from(id).unwrap())),
        ipv6: ipv6.then_some(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 7)),
        ttl: 60,
        wake_on_query: id != 9,
        records: Vec::new(),
    }
}

fn data(services: Vec<ServiceRecords>) -> ZoneData {
    ZoneData {
        apex: name("Jit.test."),
        soa: Soa {
            mname: name("ns.jit.test."),
            rname: name("hostmaster.jit.test."),
            serial: 7,
            refresh: 3600,
            retry: 600,
            expire: 86_400,
            minimum: 30,
        },
        name_servers: vec![
            NameServer {
                name: name("ns.jit.test."),
                addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            },
            NameServer { name: name("ns.example.net."), addresses: Vec::new() },
        ],
        ttl: 300,
        services,
        records: Vec::new(),
        wake_all: false,
        templates: Vec::new(),
    }
}

fn zone() -> Zone {
    let services = vec![
        service(1, &["hello.jit.test."], true),
        service(2, &["www.jit.test.", "Web.JIT.test."], false),
        service(3, &["deep.down.below.jit.test."], true),
        service(9, &["asleep.jit.test."], false),
    ];
    Zone::build(data(services)).unwrap()
}

fn ask<'z>(zone: &'z Zone, qname: &str, qtype: RecordType) -> Answer<'z> {
    let qname = LowerName::new(&name(qname));
    zone.answer(&question(&qname, qtype, DNSClass::IN))
}

fn question(name: &LowerName, qtype: RecordType, qclass: DNSClass) -> Question<'_> {
    Question { name, qtype, qclass, dnssec_ok: false, rotation: 0 }
}

fn records(section: &[Placed<'_>]) -> Vec<Record> {
    section.iter().flat_map(|placed| placed.records(false)).collect()
}

#[test]
fn an_address_is_answered_and_wakes() {
    let zone = zone();
    let answer = ask(&zone, "HELLO.jit.TEST.", RecordType::A);
    assert_eq!((answer.rcode, answer.authoritative), (ResponseCode::NoError, true));
    let answers = records(&answer.answers);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].ttl, 60);
    assert_eq!(answers[0].data, RData::A("10.77.0.1".parse().unwrap()));
    assert_eq!(answer.wakes, [ServiceId(1)]);
    assert_eq!(ask(&zone, "web.jit.test.", RecordType::A).wakes, [ServiceId(2)]);
}

#[test]
fn only_who_is_about_to_connect_wakes() {
    let zone = zone();
    use RecordType as T;
    for qtype in [T::A, T::AAAA, T::HTTPS, T::SVCB, T::SRV] {
        assert_eq!(ask(&zone, "www.jit.test.", qtype).wakes, [ServiceId(2)], "{qtype}");
    }
    for qtype in [T::TXT, T::MX, T::NS, T::SOA, T::ANY, T::CNAME, T::DS, T::Unknown(65_280)] {
        assert!(ask(&zone, "www.jit.test.", qtype).wakes.is_empty(), "{qtype}");
    }
    assert!(ask(&zone, "asleep.jit.test.", T::A).wakes.is_empty(), "configured not to");
    for nobody in [
        "jit.test.",
        "ns.jit.test.",
        "below.jit.test.",
        "nobody.jit.test.",
        "hello.jit.test.example.",
    ] {
        let answer = ask(&zone, nobody, T::A);
        assert!(answer.wakes.is_empty(), "{nobody}");
    }
}

#[test]
fn negative_answers_have_the_soa_with_the_negative_ttl() {
    let zone = zone();
    for (qname, qtype, rcode) in [
        ("nobody.jit.test.", RecordType::A, ResponseCode::NXDomain),
        ("x.hello.jit.test.", RecordType::A, ResponseCode::NXDomain),
        ("www.jit.test.", RecordType::AAAA, ResponseCode::NoError),
        ("hello.jit.test.", RecordType::TXT, ResponseCode::NoError),
        // Empty non-terminals exist.
        ("down.below.jit.test.", RecordType::A, ResponseCode::NoError),
        ("below.jit.test.", RecordType::ANY, ResponseCode::NoError),
    ] {
        let answer = ask(&zone, qname, qtype);
        assert_eq!((answer.rcode, answer.authoritative), (rcode, true), "{qname}");
        assert!(answer.answers.is_empty(), "{qname}");
        let authorities = records(&answer.authorities);
        assert_eq!(authorities.len(), 1, "{qname}");
        assert_eq!(authorities[0].record_type(), RecordType::SOA);
        assert_eq!(authorities[0].ttl, 30, "min(SOA TTL, MINIMUM)");
    }
}

#[test]
fn the_apex_has_soa_ns_and_glue() {
    let zone = zone();
    let soa = ask(&zone, "jit.test.", RecordType::SOA);
    assert_eq!((soa.answers.len(), soa.answers[0].rrset.ttl()), (1, 300));
    let ns = ask(&zone, "jit.test.", RecordType::NS);
    assert_eq!((records(&ns.answers).len(), records(&ns.additionals).len()), (2, 2));
    assert_eq!(ask(&zone, "ns.jit.test.", RecordType::AAAA).answers.len(), 1);
    assert_eq!(ask(&zone, "jit.test.", RecordType::ANY).answers.len(), 1);
}

#[test]
fn foreign_names_and_classes_are_refused() {
    let zone = zone();
    for qname in ["example.", ".", "test.", "notjit.test.", "jit.test.example."] {
        let answer = ask(&zone, qname, RecordType::A);
        assert_eq!((answer.rcode, answer.authoritative), (ResponseCode::Refused, false), "{qname}");
        assert!(answer.authorities.is_empty());
    }
    let qname = LowerName::new(&name("hello.jit.test."));
    let chaos = question(&qname, RecordType::A, DNSClass::CH);
    assert_eq!(zone.answer(&chaos).rcode, ResponseCode::Refused);
}

#[test]
fn bad_data_make_no_zone() {
    let alias = "www.jit.test.".parse::<Name>().unwrap();
    let alias = Record::from_rdata(alias.clone(), 60, RData::CNAME(rdata::CNAME(alias)));
    let mixed =
        ZoneData { records: vec![alias], ..data(vec![service(1, &["www.jit.test."], true)]) };
    assert!(matches!(Zone::build(mixed), Err(ZoneError::AliasNotAlone { .. })));
    let outside = Zone::build(data(vec![service(1, &["a.example."], true)]));
    assert!(matches!(outside, Err(ZoneError::OutOfZone { .. })));
    let nobody = ZoneData { name_servers: Vec::new(), ..data(Vec::new()) };
    assert!(matches!(Zone::build(nobody), Err(ZoneError::NoNameServer { .. })));
}

/// Every record of the zone, in a list: the reference looks through all of it for each question.
fn list(data: &ZoneData) -> Vec<(Name, Record)> {
    let zone = Zone::build(data.clone()).unwrap();
    let apex = [RecordType::SOA, RecordType::NS];
    let mut listed: Vec<Record> =
        apex.iter().flat_map(|qtype| records(&ask(&zone, "jit.test.", *qtype).answers)).collect();
    for server in &data.name_servers {
        for qtype in [RecordType::A, RecordType::AAAA] {
            listed.extend(records(&ask(&zone, &server.name.to_ascii(), qtype).answers));
        }
    }
    for service in &data.services {
        for owner in &service.names {
            let v4 = service
                .ipv4
                .map(|a| Record::from_rdata(owner.to_lowercase(), service.ttl, RData::A(a.into())));
            let v6 = service.ipv6.map(|a| {
                Record::from_rdata(owner.to_lowercase(), service.ttl, RData::AAAA(a.into()))
            });
            listed.extend(v4.into_iter().chain(v6));
        }
    }
    listed.into_iter().map(|record| (record.name.to_lowercase(), record)).collect()
}

/// RFC 1034, section 4.3.2, read literally.
fn reference(data: &ZoneData, qname: &Name, qtype: RecordType) -> (ResponseCode, Vec<RData>) {
    let qname = qname.to_lowercase();
    if !data.apex.to_lowercase().zone_of(&qname) {
        return (ResponseCode::Refused, Vec::new());
    }
    let records = list(data);
    if !records.iter().any(|(owner, _)| qname.zone_of(owner)) {
        return (ResponseCode::NXDomain, Vec::new());
    }
    let at_name = records
        .into_iter()
        .filter(|(owner, record)| *owner == qname && record.record_type() == qtype);
    (ResponseCode::NoError, at_name.map(|(_, record)| record.data).collect())
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof!["[aAbB]", "ns", "jit", "test", "[a-c]{1,2}"]
}

fn below_apex(labels: &[String]) -> String {
    labels.iter().map(|label| format!("{label}.")).collect::<String>() + "jit.test."
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_answer_is_the_reference_s(
        owners in proptest::collection::vec(proptest::collection::vec(label(), 1..4), 0..6),
        asked in proptest::collection::vec(label(), 0..4),
        foreign: bool,
        qtype in prop_oneof![Just(RecordType::A), Just(RecordType::AAAA), Just(RecordType::NS), Just(RecordType::SOA), Just(RecordType::TXT)],
    ) {
        let mut names: Vec<Name> = Vec::new();
        for owner in &owners {
            let owner = name(&below_apex(owner));
            let server = owner.to_lowercase() == name("ns.jit.test.");
            if !server && !names.iter().any(|other| other.to_lowercase() == owner.to_lowercase()) {
                names.push(owner);
            }
        }
        let services = names.iter().enumerate().map(|(id, owner)| ServiceRecords {
            names: vec![owner.clone()],
            ..service(u32::try_from(id).unwrap(), &[], id % 2 == 0)
        });
        let data = data(services.collect());
        let zone = Zone::build(data.clone()).unwrap();
        let qname = if foreign { asked.join(".") + ".example." } else { below_apex(&asked) };
        let qname = name(qname.trim_start_matches('.'));
        let (rcode, expected) = reference(&data, &qname, qtype);
        let lower = LowerName::new(&qname);
        let answer = zone.answer(&question(&lower, qtype, DNSClass::IN));
        prop_assert_eq!(answer.rcode, rcode);
        let found: Vec<_> = records(&answer.answers).into_iter().map(|record| record.data).collect();
        prop_assert_eq!(found, expected);
        let negative = rcode != ResponseCode::Refused && answer.answers.is_empty();
        prop_assert_eq!(answer.authorities.len(), usize::from(negative));
        prop_assert!(answer.wakes.is_empty() || names.iter().any(|owner| owner.to_lowercase() == qname.to_lowercase()));
    }
}
