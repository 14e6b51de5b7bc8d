use hickory_proto::rr::{DNSClass, RecordType};
use policies::ServiceId;

use super::*;
use crate::{NameServer, ServiceRecords, Soa, Zone, ZoneData, ZoneError};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn template(pattern: &str) -> TemplateRecords {
    TemplateRecords { key: Arc::from("pr"), pattern: name(pattern) }
}

fn data(services: &[&str], templates: Vec<TemplateRecords>) -> ZoneData {
    let service = |owner: &&str| ServiceRecords {
        id: ServiceId(7),
        names: vec![name(owner)],
        ipv4: Some([10, 77, 0, 7].into()),
        ipv6: None,
        ttl: 60,
        wake_on_query: true,
        records: Vec::new(),
    };
    ZoneData {
        apex: name("jit.test."),
        soa: Soa {
            mname: name("ns.jit.test."),
            rname: name("hostmaster.jit.test."),
            serial: 1,
            refresh: 1,
            retry: 1,
            expire: 1,
            minimum: 1,
        },
        name_servers: vec![NameServer { name: name("ns.jit.test."), addresses: Vec::new() }],
        ttl: 60,
        services: services.iter().map(service).collect(),
        records: Vec::new(),
        wake_all: false,
        templates,
    }
}

fn ask<'z>(zone: &'z Zone, owner: &str, qtype: RecordType) -> Answer<'z> {
    ask_for(zone, &name(owner), qtype)
}

fn ask_for<'z>(zone: &'z Zone, owner: &Name, qtype: RecordType) -> Answer<'z> {
    let owner = LowerName::new(owner);
    let question =
        Question { name: &owner, qtype, qclass: DNSClass::IN, dnssec_ok: false, rotation: 0 };
    zone.answer(&question)
}

#[test]
fn a_name_that_could_be_is_neither_denied_nor_answered() {
    let zone = Zone::build(data(&[], vec![template("*.pr.jit.test.")])).unwrap();
    for qtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS] {
        let answer = ask(&zone, "Feature-7.PR.jit.test.", qtype);
        let unmade = answer.unmade.expect("a service could be made");
        assert_eq!((&**unmade.template, answer.rcode), ("pr", ResponseCode::ServFail));
        assert_eq!(unmade.name, LowerName::new(&name("feature-7.pr.jit.test.")));
        assert!(answer.answers.is_empty() && answer.authorities.is_empty());
        assert!(answer.wakes.is_empty(), "there is nobody to wake");
    }
    for qtype in [RecordType::TXT, RecordType::NS, RecordType::DS, RecordType::ANY] {
        let answer = ask(&zone, "feature-7.pr.jit.test.", qtype);
        assert_eq!((answer.rcode, answer.kind), (ResponseCode::NoError, Kind::NoData), "{qtype}");
        assert!(answer.unmade.is_none() && answer.authorities.len() == 1);
    }
    // The template's parent is an empty non-terminal.
    let parent = ask(&zone, "pr.jit.test.", RecordType::A);
    assert_eq!((parent.rcode, parent.kind), (ResponseCode::NoError, Kind::NoData));
    assert!(zone.is_template(&LowerName::new(&name("*.pr.jit.test."))));
    assert!(!zone.is_template(&LowerName::new(&name("pr.jit.test."))));
}

#[test]
fn what_no_service_can_be_called_is_refused() {
    let zone = Zone::build(data(&[], vec![template("*.pr.jit.test.")])).unwrap();
    let parent = name("pr.jit.test.");
    let labels: [&[u8]; 7] = [b"*", b"-a", b"a-", b"_a", b"a b", b"a.b", b"\xff"];
    let children = labels.map(|label| parent.prepend_label(label).unwrap());
    for owner in children.into_iter().chain([name("a.b.pr.jit.test.")]) {
        for qtype in [RecordType::A, RecordType::TXT] {
            let answer = ask_for(&zone, &owner, qtype);
            assert_eq!(
                (answer.rcode, answer.kind),
                (ResponseCode::Refused, Kind::Refused),
                "{owner}"
            );
            assert!(answer.unmade.is_none());
        }
    }
}

#[test]
fn what_is_there_comes_first() {
    let services = ["made.pr.jit.test.", "x.fixed.pr.jit.test."];
    let zone = Zone::build(data(&services, vec![template("*.pr.jit.test.")])).unwrap();
    let made = ask(&zone, "made.pr.jit.test.", RecordType::A);
    assert_eq!((made.kind, made.wakes.as_slice()), (Kind::Data, [ServiceId(7)].as_slice()));
    assert!(made.unmade.is_none());
    // Names that exist, and what is below them, are none of the template's (RFC 4592, section 2.2.1).
    assert_eq!(ask(&zone, "fixed.pr.jit.test.", RecordType::A).kind, Kind::NoData);
    assert_eq!(ask(&zone, "below.made.pr.jit.test.", RecordType::A).kind, Kind::NxDomain);
    assert_eq!(ask(&zone, "elsewhere.jit.test.", RecordType::A).kind, Kind::NxDomain);
    assert!(ask(&zone, "other.pr.jit.test.", RecordType::A).unmade.is_some());
}

#[test]
fn the_whole_zone_can_be_a_template() {
    let zone = Zone::build(data(&["www.jit.test."], vec![template("*.jit.test.")])).unwrap();
    assert!(ask(&zone, "any.jit.test.", RecordType::A).unmade.is_some());
    assert_eq!(ask(&zone, "www.jit.test.", RecordType::A).kind, Kind::Data);
    assert_eq!(ask(&zone, "jit.test.", RecordType::A).kind, Kind::NoData);
    assert_eq!(ask(&zone, "a.b.jit.test.", RecordType::A).kind, Kind::Refused);
}

#[test]
fn a_template_needs_a_wildcard_for_itself() {
    for (services, templates) in [
        (vec![], vec![template("pr.jit.test.")]),
        (vec!["*.pr.jit.test."], vec![template("*.pr.jit.test.")]),
        (vec![], vec![template("*.pr.jit.test."), template("*.PR.jit.test.")]),
    ] {
        let built = Zone::build(data(&services, templates));
        assert!(matches!(built, Err(ZoneError::TemplateNotAlone { .. })), "{built:?}");
    }
    let outside = Zone::build(data(&[], vec![template("*.example.")]));
    assert!(matches!(outside, Err(ZoneError::OutOfZone { .. })));
}
