//! Signed zones against a slow, obvious validator.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::dnssec::crypto::Ed25519SigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, NSEC, RRSIG};
use hickory_proto::dnssec::{Algorithm, DigestType, TBS, Verifier};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, CNAME, MX, NS, NULL, TXT};
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::*;
use crate::{Answer, Kind, NameServer, Question, RrSet, Soa, TemplateRecords, Zone, ZoneData};

const DAY: Duration = Duration::from_secs(86_400);
const VALIDITY: Validity = Validity {
    backdate: Duration::from_secs(3600),
    lifetime: DAY.saturating_mul(14),
    refresh: DAY.saturating_mul(7),
};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn key() -> ZoneKey {
    let secret = Ed25519SigningKey::generate_pkcs8().unwrap();
    ZoneKey::new(Arc::new(Ed25519SigningKey::from_pkcs8(&secret).unwrap())).unwrap()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn signing(keys: &[ZoneKey], now: SystemTime) -> Signing<'_> {
    Signing { keys, now, validity: VALIDITY }
}

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(name(owner), 300, data)
}

fn address(owner: &str) -> Record {
    record(owner, RData::A(A::new(192, 0, 2, 7)))
}

fn data(records: Vec<Record>) -> ZoneData {
    ZoneData {
        apex: name("jit.test."),
        soa: Soa {
            mname: name("ns.jit.test."),
            rname: name("hostmaster.jit.test."),
            serial: 7,
            refresh: 3600,
            retry: 600,
            expire: 86_400,
            minimum: 30,
        },
        name_servers: vec![NameServer {
            name: name("ns.jit.test."),
            addresses: vec!["192.0.2.1".parse().unwrap()],
        }],
        ttl: 300,
        services: Vec::new(),
        records,
        wake_all: false,
        templates: Vec::new(),
    }
}

fn unsigned(records: Vec<Record>) -> Zone {
    Zone::build(data(records)).unwrap()
}

/// One of everything: a wildcard, an alias to what it stands for, empty non-terminals, a signed and an unsigned delegation
/// with glue, names in upper case, a type that nobody knows.
fn rich() -> Vec<Record> {
    let ds = DS::new(7, Algorithm::ED25519, DigestType::SHA256, vec![7; 32]);
    vec![
        address("www.jit.test."),
        address("deep.down.below.jit.test."),
        record("*.wild.jit.test.", RData::TXT(TXT::new(vec!["any".to_owned()]))),
        record("alias.jit.test.", RData::CNAME(CNAME(name("that.wild.jit.test.")))),
        record("lost.jit.test.", RData::CNAME(CNAME(name("nobody.jit.test.")))),
        record("signed.jit.test.", RData::NS(NS(name("ns.signed.jit.test.")))),
        record("signed.jit.test.", RData::DNSSEC(DNSSECRData::DS(ds))),
        address("ns.signed.jit.test."),
        record("plain.jit.test.", RData::NS(NS(name("ns.plain.jit.test.")))),
        address("ns.plain.jit.test."),
        address("plain.jit.test."),
        record("mail.jit.test.", RData::MX(MX::new(10, name("WWW.Jit.Test.")))),
        record(
            "odd.jit.test.",
            RData::Unknown { code: RecordType::from(65_280), rdata: NULL::with(vec![1, 65]) },
        ),
    ]
}

fn rrsig(record: &Record) -> &RRSIG {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => rrsig,
        other => panic!("{other} is no RRSIG"),
    }
}

fn nsec(record: &Record) -> &NSEC {
    match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => nsec,
        other => panic!("{other} is no NSEC"),
    }
}

fn verify(key: &DNSKEY, owner: &Name, rrset: &RrSet) {
    let [signature] = rrset.signatures.as_slice() else {
        panic!("{owner} {} has {} signatures", rrset.record_type, rrset.signatures.len());
    };
    assert_eq!(signature.ttl, rrset.ttl());
    let rrsig = rrsig(signature);
    let mut records = rrset.records.clone();
    records.iter_mut().for_each(|record| record.name.clone_from(owner));
    key.verify_rrsig(owner, DNSClass::IN, rrsig, records.iter())
        .unwrap_or_else(|error| panic!("{owner} {}: {error}", rrset.record_type));
    let seconds =
        u32::try_from(now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let input = rrsig.input();
    assert!(input.sig_inception.get() < seconds && seconds < input.sig_expiration.get());
}

/// RFC 4034, section 6.1, read literally.
fn order(first: &Name, second: &Name) -> Ordering {
    let reversed =
        |name: &Name| name.to_lowercase().iter().rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
    reversed(first).cmp(&reversed(second))
}

/// Whether an NSEC record says that a name does not exist.
fn covers(record: &Record, denied: &Name) -> bool {
    let next = nsec(record).next_domain_name();
    let after_owner = order(&record.name, denied) == Ordering::Less;
    let before_next = order(denied, next) == Ordering::Less;
    // The last one leads back to the apex.
    let last = order(&record.name, next) != Ordering::Less;
    after_owner && (before_next || last) && !denied.zone_of(next)
}

/// The longest ancestor of a denied name that an NSEC record shows to exist (RFC 4035, section 5.4).
fn encloser(record: &Record, denied: &Name) -> Name {
    let shared = |other: &Name| {
        let both = denied.iter().rev().zip(other.iter().rev());
        both.take_while(|(a, b)| a == b).count()
    };
    denied.trim_to(shared(&record.name).max(shared(nsec(record).next_domain_name())))
}

fn lacks(record: &Record, qtype: RecordType) -> bool {
    let types: Vec<_> = nsec(record).type_bit_maps().collect();
    assert!(types.contains(&RecordType::NSEC) && types.contains(&RecordType::RRSIG));
    !types.contains(&qtype) && !types.contains(&RecordType::CNAME)
}

/// What a validating resolver does with an answer.
fn validate(zone: &Zone, key: &DNSKEY, asked: &Name, qtype: RecordType) {
    let lower = LowerName::new(asked);
    let answer = zone.answer(&Question {
        name: &lower,
        qtype,
        qclass: DNSClass::IN,
        dnssec_ok: true,
        rotation: 0,
    });
    let context = || format!("{asked} {qtype}: {answer:#?}");
    let proofs: Vec<&Record> = nsecs(&answer);
    let mut last = asked.to_lowercase();
    for placed in &answer.answers {
        let owner = placed.owner.as_ref().unwrap_or(&placed.rrset.owner);
        if qtype != RecordType::RRSIG {
            verify(key, owner, &placed.rrset);
        }
        if let Some(expanded) = &placed.owner {
            assert!(proofs.iter().any(|record| covers(record, expanded)), "{}", context());
        }
        if let Some(RData::CNAME(target)) = placed.rrset.records.first().map(|record| &record.data)
        {
            last = target.0.to_lowercase();
        }
    }
    for placed in &answer.authorities {
        if answer.kind != Kind::Referral || placed.rrset.record_type != RecordType::NS {
            verify(key, &placed.rrset.owner, &placed.rrset);
        }
    }
    let wildcard = |record: &Record| name("*.").append_domain(&encloser(record, &last)).unwrap();
    let shown = match answer.kind {
        Kind::Data => true,
        Kind::NxDomain => {
            let covering = proofs.iter().find(|record| covers(record, &last));
            covering.is_some_and(|record| {
                let wildcard = wildcard(record);
                proofs.iter().any(|other| covers(other, &wildcard))
            })
        }
        Kind::NoData => {
            let at_name = proofs.iter().any(|record| record.name == last && lacks(record, qtype));
            let empty = proofs.iter().any(|record| {
                let next = nsec(record).next_domain_name();
                order(&record.name, &last) == Ordering::Less && last.zone_of(next) && last != *next
            });
            let by_wildcard =
                proofs.iter().find(|record| covers(record, &last)).is_some_and(|record| {
                    let wildcard = wildcard(record);
                    // The wildcard may be an empty non-terminal itself.
                    proofs.iter().any(|other| {
                        other.name == wildcard && lacks(other, qtype)
                            || wildcard.zone_of(nsec(other).next_domain_name())
                    })
                });
            at_name || empty || by_wildcard
        }
        Kind::Referral => {
            let types = |record_type| {
                answer
                    .authorities
                    .iter()
                    .filter(move |placed| placed.rrset.record_type == record_type)
            };
            let servers = types(RecordType::NS).next().expect("a referral has name servers");
            assert!(servers.rrset.signatures.is_empty(), "{}", context());
            types(RecordType::DS).count() == 1
                || proofs.iter().any(|record| {
                    record.name == servers.rrset.owner
                        && lacks(record, RecordType::DS)
                        && !lacks(record, RecordType::NS)
                        && lacks(record, RecordType::SOA)
                })
        }
        Kind::Refused => proofs.is_empty(),
    };
    assert!(shown, "{}", context());
    let without = zone.answer(&Question {
        name: &lower,
        qtype,
        qclass: DNSClass::IN,
        dnssec_ok: false,
        rotation: 0,
    });
    assert!(nsecs(&without).is_empty() || qtype == RecordType::NSEC, "proofs for who did not ask");
}

fn nsecs<'a>(answer: &'a Answer<'_>) -> Vec<&'a Record> {
    let rrsets = answer.authorities.iter().map(|placed| &placed.rrset);
    let rrsets = rrsets.filter(|rrset| rrset.record_type == RecordType::NSEC);
    rrsets.flat_map(|rrset| &rrset.records).collect()
}

const TYPES: [RecordType; 12] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::TXT,
    RecordType::NS,
    RecordType::SOA,
    RecordType::DS,
    RecordType::DNSKEY,
    RecordType::CDS,
    RecordType::CDNSKEY,
    RecordType::NSEC,
    RecordType::MX,
    RecordType::CNAME,
];

#[test]
fn every_answer_of_a_rich_zone_validates() {
    let keys = [key()];
    let zone = unsigned(rich()).sign(&signing(&keys, now()), None).unwrap();
    let asked = [
        "jit.test.",
        "www.jit.test.",
        "nobody.jit.test.",
        "x.www.jit.test.",
        "aaa.jit.test.",
        "zzz.zzz.jit.test.",
        "below.jit.test.",
        "down.below.jit.test.",
        "x.down.below.jit.test.",
        "wild.jit.test.",
        "a.wild.jit.test.",
        "a.b.wild.jit.test.",
        "*.wild.jit.test.",
        "alias.jit.test.",
        "lost.jit.test.",
        "signed.jit.test.",
        "x.signed.jit.test.",
        "ns.signed.jit.test.",
        "plain.jit.test.",
        "x.y.plain.jit.test.",
        "mail.jit.test.",
        "odd.jit.test.",
        "WWW.jit.test.",
        "signed0.jit.test.",
    ];
    for asked in asked {
        for qtype in
            TYPES.into_iter().chain([RecordType::from(65_280), RecordType::ANY, RecordType::RRSIG])
        {
            validate(&zone, keys[0].dnskey(), &name(asked), qtype);
        }
    }
}

/// Who has seen the proof that a name below a template has no TXT record may conclude that it does not exist, but not that
/// it has no address (RFC 8198).
#[test]
fn a_template_is_shown_as_if_it_had_addresses() {
    let keys = [key()];
    let pattern = name("*.pr.jit.test.");
    let template = TemplateRecords { key: "pr".into(), pattern: pattern.clone() };
    let zone = Zone::build(ZoneData { templates: vec![template], ..data(rich()) }).unwrap();
    let zone = zone.sign(&signing(&keys, now()), None).unwrap();
    for asked in ["one.pr.jit.test.", "pr.jit.test.", "two.jit.test.", "prr.jit.test."] {
        validate(&zone, keys[0].dnskey(), &name(asked), RecordType::TXT);
    }
    let shown = zone.rrsets().find(|rrset| rrset.owner == pattern).unwrap();
    let types: Vec<_> = nsec(&shown.records[0]).type_bit_maps().collect();
    use RecordType as T;
    assert_eq!(types, [T::A, T::AAAA, T::RRSIG, T::NSEC]);
}

#[test]
fn only_what_is_the_zone_s_own_is_signed() {
    let keys = [key()];
    let zone = unsigned(rich()).sign(&signing(&keys, now()), None).unwrap();
    let of = |owner: &str, record_type| {
        zone.rrsets().find(|rrset| rrset.owner == name(owner) && rrset.record_type == record_type)
    };
    let glue = ["ns.signed.jit.test.", "ns.plain.jit.test.", "plain.jit.test."];
    for owner in glue {
        assert!(of(owner, RecordType::A).unwrap().signatures.is_empty(), "{owner}");
    }
    for below in ["ns.signed.jit.test.", "ns.plain.jit.test.", "below.jit.test."] {
        assert!(of(below, RecordType::NSEC).is_none(), "{below}");
    }
    let types = |owner: &str| -> Vec<_> {
        nsec(&of(owner, RecordType::NSEC).unwrap().records[0]).type_bit_maps().collect()
    };
    use RecordType as T;
    assert_eq!(types("plain.jit.test."), [T::NS, T::RRSIG, T::NSEC]);
    assert_eq!(types("signed.jit.test."), [T::NS, T::DS, T::RRSIG, T::NSEC]);
    assert_eq!(
        types("jit.test."),
        [T::NS, T::SOA, T::RRSIG, T::NSEC, T::DNSKEY, T::CDS, T::CDNSKEY]
    );
    let ttl = of("jit.test.", T::NSEC).unwrap().ttl();
    assert_eq!(ttl, 30, "the negative TTL");
}

/// The chain visits every name once and comes back.
#[test]
fn the_chain_is_a_circle() {
    let keys = [key()];
    let zone = unsigned(rich()).sign(&signing(&keys, now()), None).unwrap();
    let all = zone.rrsets().filter(|rrset| rrset.record_type == RecordType::NSEC).count();
    let mut at = name("jit.test.");
    for _ in 0..all {
        let record =
            zone.rrsets().find(|rrset| rrset.owner == at && rrset.record_type == RecordType::NSEC);
        let next = nsec(&record.unwrap().records[0]).next_domain_name().clone();
        assert!(order(&at, &next) == Ordering::Less || next == name("jit.test."));
        at = next;
    }
    assert_eq!(at, name("jit.test."));
}

fn signatures(zone: &Zone) -> Vec<(Name, RecordType, Vec<Record>)> {
    let all = zone.rrsets().filter(|rrset| !rrset.signatures.is_empty());
    let mut all: Vec<_> = all
        .map(|rrset| (rrset.owner.clone(), rrset.record_type, rrset.signatures.clone()))
        .collect();
    all.sort_by_key(|(owner, record_type, _)| (owner.to_ascii(), u16::from(*record_type)));
    all
}

#[test]
fn signatures_are_kept_while_they_fit() {
    let keys = [key()];
    let first = unsigned(rich()).sign(&signing(&keys, now()), None).unwrap();
    let later = now() + DAY;
    let same = unsigned(rich()).sign(&signing(&keys, later), Some(&first)).unwrap();
    assert!(signatures(&first) == signatures(&same));

    let more = rich().into_iter().chain([address("new.jit.test.")]).collect();
    let changed = unsigned(more).sign(&signing(&keys, later), Some(&first)).unwrap();
    let known = signatures(&first);
    let new: Vec<_> = signatures(&changed)
        .into_iter()
        .filter(|entry| !known.contains(entry))
        .map(|(owner, record_type, _)| (owner.to_ascii(), record_type))
        .collect();
    let expected = [
        ("mail.jit.test.", RecordType::NSEC),
        ("new.jit.test.", RecordType::A),
        ("new.jit.test.", RecordType::NSEC),
    ];
    assert_eq!(new, expected.map(|(owner, record_type)| (owner.to_owned(), record_type)));

    // Before the refresh, all are kept; after it, none; and none of those of a clock that ran ahead.
    assert_eq!(first.signatures_end(now()), Some(now() + VALIDITY.lifetime));
    let all_new = |at: SystemTime| {
        let again = unsigned(rich()).sign(&signing(&keys, at), Some(&first)).unwrap();
        let kept = first.signatures_will_do(&signing(&keys, at));
        assert_eq!(kept, signatures(&again) == known);
        signatures(&again).iter().all(|entry| !known.contains(entry))
    };
    assert!(!all_new(now() + 7 * DAY - Duration::from_secs(1)));
    assert!(all_new(now() + 7 * DAY));
    assert!(all_new(now() - DAY));
}

#[test]
fn while_keys_change_each_signs_everything() {
    let keys = [key(), key()];
    let one = unsigned(rich()).sign(&signing(&keys[..1], now()), None).unwrap();
    let both = unsigned(rich()).sign(&signing(&keys, now()), Some(&one)).unwrap();
    for rrset in both.rrsets().filter(|rrset| !rrset.signatures.is_empty()) {
        assert_eq!(rrset.signatures.len(), 2);
        for (signature, key) in rrset.signatures.iter().zip(&keys) {
            let rrsig = rrsig(signature);
            assert_eq!(rrsig.input().key_tag, key.tag());
            key.dnskey()
                .verify_rrsig(&rrset.owner, DNSClass::IN, rrsig, rrset.records.iter())
                .unwrap();
        }
    }
    // The old signature of what did not change is kept.
    let find = |zone: &Zone| {
        let www = zone.rrsets().find(|rrset| {
            rrset.owner == name("www.jit.test.") && rrset.record_type == RecordType::A
        });
        www.unwrap().signatures[0].clone()
    };
    assert_eq!(find(&one), find(&both));
    let apex = |record_type| {
        let rrset = both
            .rrsets()
            .find(|rrset| rrset.owner == name("jit.test.") && rrset.record_type == record_type);
        rrset.unwrap().records.len()
    };
    assert_eq!([RecordType::DNSKEY, RecordType::CDS, RecordType::CDNSKEY].map(apex), [2, 2, 2]);
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let none = unsigned(rich()).sign(&signing(&[], now()), None);
    assert!(matches!(none, Err(SignError::NoKey { .. })));
    let keys = [key()];
    let data = NSEC::new(name("a.jit.test."), [RecordType::A]);
    let signed = vec![record("a.jit.test.", RData::DNSSEC(DNSSECRData::NSEC(data)))];
    let error = unsigned(signed).sign(&signing(&keys, now()), None).unwrap_err();
    assert!(error.to_string().contains("NSEC record at a.jit.test."), "{error}");
}

#[test]
fn the_parent_s_record_is_a_digest_of_the_key() {
    let key = key();
    let ds = key.ds(&name("JIT.test.")).unwrap();
    assert_eq!(
        (ds.key_tag(), ds.algorithm(), ds.digest_type()),
        (key.tag(), Algorithm::ED25519, DigestType::SHA256)
    );
    assert!(ds.covers(&name("jit.test."), key.dnskey()).unwrap());
    assert!(!format!("{key:?}").contains("secret"));
    let tbs = TBS::from(&b"octets"[..]);
    key.dnskey().verify(tbs.as_ref(), &key.secret().sign(&tbs).unwrap()).unwrap();
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-c]", 1 => Just("*".to_owned()), 1 => "[a-c]{2}"]
}

fn below_apex(labels: &[String]) -> Name {
    name(&(labels.iter().map(|label| format!("{label}.")).collect::<String>() + "jit.test."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_answer_of_every_zone_validates(
        owners in proptest::collection::vec((proptest::collection::vec(label(), 1..4), 0_u8..6), 0..10),
        asked in proptest::collection::vec((proptest::collection::vec(label(), 0..4), 0..TYPES.len()), 24),
    ) {
        let mut records: Vec<Record> = Vec::new();
        for (owner, what) in &owners {
            let owner = below_apex(owner);
            if records.iter().any(|record| record.name == owner) {
                continue;
            }
            let data = match what {
                0 => RData::NS(NS(name("ns.jit.test."))),
                1 => RData::CNAME(CNAME(name("a.b.jit.test."))),
                2 => RData::TXT(TXT::new(vec!["text".to_owned()])),
                _ => RData::A(A::new(192, 0, 2, 1)),
            };
            // A delegated wildcard has no defined meaning (RFC 4592, section 4.2).
            if *what != 0 || !owner.to_ascii().contains('*') {
                records.push(Record::from_rdata(owner, 300, data));
            }
        }
        let keys = [key()];
        let zone = unsigned(records).sign(&signing(&keys, now()), None).unwrap();
        for (labels, qtype) in &asked {
            validate(&zone, keys[0].dnskey(), &below_apex(labels), TYPES[*qtype]);
        }
        prop_assert_eq!(zone.answer(&Question {
            name: &LowerName::new(&name("example.")), qtype: RecordType::A, qclass: DNSClass::IN, dnssec_ok: true, rotation: 0,
        }).rcode, ResponseCode::Refused);
    }
}
