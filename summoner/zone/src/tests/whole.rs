//! The whole algorithm against a reference that looks through a list of records: aliases, redirections, cuts, wildcards.

use super::*;

/// An answer as far as it is compared: rcode, AA, and the answer section as owner, type and text, in order of their text.
type Said = (ResponseCode, bool, Vec<String>);

fn line(owner: &Name, record: &Record) -> String {
    let mut record = record.clone();
    record.name = owner.clone();
    master::print(&record).to_ascii_lowercase()
}

/// RFC 1034, section 4.3.2, with RFC 4592 and RFC 6672, read literally.
fn reference(records: &[Record], apex: &Name, qname: &Name, qtype: RecordType) -> Said {
    let at = |name: &Name, record_type| -> Vec<&Record> {
        records.iter().filter(|r| r.name == *name && r.record_type() == record_type).collect()
    };
    let exists = |name: &Name| records.iter().any(|record| name.zone_of(&record.name));
    let (mut name, mut said, mut aa) = (qname.clone(), Vec::new(), true);
    let mut seen: Vec<Name> = Vec::new();
    let mut rcode = ResponseCode::NoError;
    'name: for _ in 0..8 {
        if !apex.zone_of(&name) {
            break;
        }
        let mut ancestors = vec![name.clone()];
        while let Some(last) = ancestors.last().filter(|last| *last != apex).cloned() {
            ancestors.push(last.base_name());
        }
        for ancestor in ancestors.iter().rev() {
            let own_ds = *ancestor == name && qtype == RecordType::DS;
            if ancestor != apex && !own_ds && !at(ancestor, RecordType::NS).is_empty() {
                aa = !said.is_empty();
                break 'name;
            }
            let Some(dname) =
                at(ancestor, RecordType::DNAME).first().copied().filter(|_| *ancestor != name)
            else {
                continue;
            };
            said.push(line(ancestor, dname));
            let text = master::print(dname);
            let target = name_of(text.rsplit(' ').next().unwrap());
            let below = name.iter().count() - ancestor.iter().count();
            let labels = name.iter().take(below).chain(target.iter());
            let Ok(mut next) = Name::from_labels(labels) else {
                rcode = ResponseCode::YXDomain;
                break 'name;
            };
            next.set_fqdn(true);
            let alias = RData::CNAME(rdata::CNAME(next.clone()));
            if seen.contains(&name) {
                break 'name;
            }
            seen.push(name.clone());
            said.push(line(&name, &Record::from_rdata(name.clone(), dname.ttl, alias)));
            if qtype == RecordType::CNAME {
                break 'name;
            }
            name = next;
            continue 'name;
        }
        let mut source = name.clone();
        if !exists(&name) {
            let encloser = ancestors.iter().find(|ancestor| exists(ancestor)).unwrap();
            source = encloser.prepend_label("*").unwrap();
            if !exists(&source) {
                rcode = ResponseCode::NXDomain;
                break;
            }
        }
        let found = at(&source, qtype);
        said.extend(found.iter().map(|record| line(&name, record)));
        let alias = at(&source, RecordType::CNAME).first().copied();
        match alias.filter(|_| found.is_empty()) {
            Some(alias) if !seen.contains(&name) => {
                said.push(line(&name, alias));
                seen.push(name.clone());
                let RData::CNAME(target) = &alias.data else { unreachable!() };
                name = target.0.to_lowercase();
            }
            _ => break,
        }
    }
    // An RRset is in a message once, whatever leads to it again.
    said.sort();
    said.dedup();
    (rcode, aa, said)
}

fn name_of(text: &str) -> Name {
    name(&text.to_ascii_lowercase())
}

fn owner() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![3 => "[ab]", 1 => Just("*".to_owned())], 1..4)
        .prop_map(|labels| below_apex(&labels))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn answers_are_the_reference_s(
        given in proptest::collection::vec((owner(), 0..8_usize, owner()), 0..10),
        asked in proptest::collection::vec((owner(), 0..6_usize), 1..12),
    ) {
        let base = data(Vec::new());
        let apex = base.apex.to_lowercase();
        let mut records: Vec<Record> = Vec::new();
        let builds = |records: &[Record]| Zone::build(ZoneData { records: records.to_vec(), ..base.clone() });
        for (owner, kind, target) in &given {
            let data = match kind {
                0 | 1 => format!("A 192.0.2.{kind}"),
                2 | 3 => format!("TXT {kind}"),
                4 | 5 => format!("CNAME {target}"),
                6 => format!("NS {target}"),
                _ => format!("DNAME {target}"),
            };
            let record = master::parse_record(&data, &apex, Some(&name_of(owner)), 60).unwrap();
            // What makes no zone is left out.
            records.push(record);
            if builds(&records).is_err() {
                records.pop();
            }
        }
        let zone = builds(&records).unwrap();
        let all: Vec<Record> = zone.rrsets().flat_map(|rrset| rrset.records.clone()).collect();
        use RecordType as T;
        for (qname, qtype) in &asked {
            let (qname, qtype) = (name_of(qname), [T::A, T::TXT, T::CNAME, T::NS, T::DNAME, T::DS][*qtype]);
            let lower = LowerName::new(&qname);
            let answer = zone.answer(&question(&lower, qtype, DNSClass::IN));
            let mut said: Vec<String> = super::records(&answer.answers).iter().map(|record| line(&record.name, record)).collect();
            said.sort();
            let expected = reference(&all, &apex, &qname, qtype);
            prop_assert_eq!((answer.rcode, answer.authoritative, said), expected, "{} {}", qname, qtype);
        }
    }
}
