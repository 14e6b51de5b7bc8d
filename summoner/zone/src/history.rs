//! What a zone was and is: for secondaries that want all of it, or what has changed (RFC 1995).

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use hickory_proto::ProtoError;
use hickory_proto::rr::{RData, Record};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use crate::Zone;

/// The most changes that are remembered, of each zone. All together they are never longer than the zone itself: then the
/// whole zone is the shorter answer.
const REMEMBERED: usize = 64;

/// A record as transfers need it.
#[derive(Debug, Clone)]
pub struct Line {
    /// The record.
    pub record: Record,
    /// It in wire format without compression, names in lower case: what makes it differ from others.
    octets: Box<[u8]>,
}

impl Line {
    fn new(record: &Record) -> Self {
        // A record that cannot be written is not answered with either; it stays one of its own here.
        let octets = canonical(record).unwrap_or_else(|_| record.to_string().into_bytes());
        Self { record: record.clone(), octets: octets.into() }
    }

    /// Its length in octets without compression.
    #[must_use]
    pub fn length(&self) -> usize {
        self.octets.len()
    }
}

fn canonical(record: &Record) -> Result<Vec<u8>, ProtoError> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    let mut encoder = encoder.with_name_encoding(NameEncoding::UncompressedLowercase);
    record.emit(&mut encoder)?;
    drop(encoder);
    Ok(octets)
}

/// A zone's content at one serial.
#[derive(Debug)]
pub struct Version {
    soa: Line,
    /// All records but the SOA, in the order of their octets.
    lines: Vec<Line>,
}

impl Version {
    /// The content of a zone, signatures included.
    #[must_use]
    pub fn of(zone: &Zone) -> Self {
        let soa = Line::new(zone.soa());
        let records = zone.rrsets().flat_map(|rrset| rrset.records.iter().chain(&rrset.signatures));
        let others = records.filter(|record| !matches!(record.data, RData::SOA(_)));
        let mut lines: Vec<_> = others.map(Line::new).collect();
        lines.sort_unstable_by(|a, b| a.octets.cmp(&b.octets));
        Self { soa, lines }
    }

    /// The SOA record.
    #[must_use]
    pub const fn soa(&self) -> &Line {
        &self.soa
    }

    /// All other records.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Version of the content.
    #[must_use]
    pub fn serial(&self) -> u32 {
        serial(&self.soa.record)
    }

    fn length(&self) -> usize {
        self.lines.iter().map(Line::length).sum()
    }

    fn is_same(&self, other: &Self) -> bool {
        let equal = |(a, b): (&Line, &Line)| a.octets == b.octets;
        self.soa.octets == other.soa.octets
            && self.lines.len() == other.lines.len()
            && self.lines.iter().zip(&other.lines).all(equal)
    }
}

/// What makes one version out of another (RFC 1995, section 4).
#[derive(Debug)]
pub struct Difference {
    /// SOA of the older version.
    pub from: Line,
    /// SOA of the newer one.
    pub to: Line,
    /// Records that the newer one has no more.
    pub removed: Vec<Line>,
    /// Records that the older one did not have.
    pub added: Vec<Line>,
}

impl Difference {
    fn between(old: &Version, new: &Version) -> Self {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        let (mut olds, mut news) = (old.lines.as_slice(), new.lines.as_slice());
        // Both are sorted: one walk over both.
        loop {
            let order = match (olds.first(), news.first()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.octets.cmp(&b.octets),
            };
            if order.is_le()
                && let Some((first, rest)) = olds.split_first()
            {
                olds = rest;
                if order.is_lt() {
                    removed.push(first.clone());
                }
            }
            if order.is_ge()
                && let Some((first, rest)) = news.split_first()
            {
                news = rest;
                if order.is_gt() {
                    added.push(first.clone());
                }
            }
        }
        Self { from: old.soa.clone(), to: new.soa.clone(), removed, added }
    }

    /// Its length in octets without compression.
    fn length(&self) -> usize {
        let soas = [&self.from, &self.to];
        soas.into_iter().chain(&self.removed).chain(&self.added).map(Line::length).sum()
    }
}

/// What a secondary lacks.
#[derive(Debug)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// These changes, one after the other.
    Changes(Vec<Arc<Difference>>),
    /// Nobody knows; it needs the whole zone.
    Unknown,
}

/// A zone's content, and how it became what it is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    current: Arc<Version>,
    /// Oldest first; each goes on where the one before ends, the last one ends at `current`.
    differences: VecDeque<Arc<Difference>>,
}

impl History {
    /// The history of a zone that has none.
    #[must_use]
    pub fn new(zone: &Zone) -> Self {
        Self { current: Arc::new(Version::of(zone)), differences: VecDeque::new() }
    }

    /// The zone is this now. A zone whose serial did not grow (RFC 1982) has no past: nobody could ask for it.
    pub fn advance(&mut self, zone: &Zone) {
        let new = Version::of(zone);
        if new.is_same(&self.current) {
            return;
        }
        if is_newer(new.serial(), self.current.serial()) {
            self.differences.push_back(Arc::new(Difference::between(&self.current, &new)));
            let most = new.length();
            let mut length: usize = self.differences.iter().map(|change| change.length()).sum();
            while self.differences.len() > REMEMBERED || length > most {
                let Some(oldest) = self.differences.pop_front() else { break };
                length -= oldest.length();
            }
        } else {
            self.differences.clear();
        }
        self.current = Arc::new(new);
    }

    /// The content now.
    #[must_use]
    pub const fn current(&self) -> &Arc<Version> {
        &self.current
    }

    /// What somebody who has the version `serial` lacks.
    #[must_use]
    pub fn since(&self, serial: u32) -> Missing {
        if !is_newer(self.current.serial(), serial) {
            return Missing::Nothing;
        }
        let later: Vec<_> = self
            .differences
            .iter()
            .skip_while(|change| self::serial(&change.from.record) != serial)
            .cloned()
            .collect();
        if later.is_empty() { Missing::Unknown } else { Missing::Changes(later) }
    }
}

/// Whether a serial comes after another on the circle (RFC 1982, section 3.2).
const fn is_newer(serial: u32, than: u32) -> bool {
    serial != than && serial.wrapping_sub(than) < 1 << 31
}

fn serial(soa: &Record) -> u32 {
    match &soa.data {
        RData::SOA(soa) => soa.serial,
        // A zone is built with its SOA.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::A;
    use proptest::prelude::*;

    use super::*;
    use crate::{NameServer, Soa, ZoneData};

    fn zone(serial: u32, hosts: &BTreeSet<u8>) -> Zone {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let soa = Soa {
            mname: name("ns.jit.test."),
            rname: name("hostmaster.jit.test."),
            serial,
            refresh: 1,
            retry: 1,
            expire: 1,
            minimum: 1,
        };
        let host = |host: &u8| {
            let owner = name(&format!("host-{}.jit.test.", host % 7));
            Record::from_rdata(owner, 60, RData::A(A::new(192, 0, 2, *host)))
        };
        Zone::build(ZoneData {
            apex: name("jit.test."),
            soa,
            name_servers: vec![NameServer { name: name("ns.example."), addresses: Vec::new() }],
            ttl: 60,
            services: Vec::new(),
            records: hosts.iter().map(host).collect(),
            wake_all: false,
            templates: Vec::new(),
        })
        .unwrap()
    }

    fn octets(lines: &[Line]) -> BTreeSet<Box<[u8]>> {
        lines.iter().map(|line| line.octets.clone()).collect()
    }

    proptest! {
        /// Whatever a secondary has, what it is given makes the zone of it.
        #[test]
        fn changes_lead_to_the_zone(
            versions in proptest::collection::vec(
                (0..4u32, proptest::collection::btree_set(any::<u8>(), 0..20)), 2..20)
        ) {
            // Over the circle's seam.
            let mut serial = u32::MAX - 10;
            let mut known: BTreeMap<u32, Version> = BTreeMap::new();
            let mut history = History::new(&zone(serial, &versions[0].1));
            for (step, hosts) in &versions {
                serial = serial.wrapping_add(*step);
                let zone = zone(serial, hosts);
                history.advance(&zone);
                known.insert(serial, Version::of(&zone));
            }
            for (had, version) in &known {
                match history.since(*had) {
                    Missing::Nothing => prop_assert_eq!(*had, serial),
                    Missing::Unknown => prop_assert!(*had != serial),
                    Missing::Changes(changes) => {
                        let mut lines = octets(&version.lines);
                        let mut soa = version.soa.octets.clone();
                        for change in changes {
                            prop_assert_eq!(&soa, &change.from.octets);
                            for gone in octets(&change.removed) {
                                prop_assert!(lines.remove(&gone));
                            }
                            for new in octets(&change.added) {
                                prop_assert!(lines.insert(new));
                            }
                            soa = change.to.octets.clone();
                        }
                        prop_assert_eq!(&soa, &history.current().soa.octets);
                        prop_assert_eq!(lines, octets(&history.current().lines));
                    }
                }
            }
        }
    }

    #[test]
    fn the_past_is_bounded_and_ends_where_the_serial_does_not_grow() {
        let hosts: BTreeSet<u8> = (0..200).collect();
        let mut history = History::new(&zone(1, &hosts));
        let few = |serial: u32| (0..198 + u8::try_from(serial % 2).unwrap()).collect();
        for serial in 2..200 {
            history.advance(&zone(serial, &few(serial)));
        }
        assert!(history.differences.len() <= REMEMBERED);
        let length: usize = history.differences.iter().map(|change| change.length()).sum();
        assert!(length <= history.current().length());
        assert!(matches!(history.since(198), Missing::Changes(changes) if changes.len() == 1));
        assert!(matches!(history.since(2), Missing::Unknown));
        assert!(matches!(history.since(300), Missing::Nothing), "it is ahead of us");
        history.advance(&zone(199, &hosts));
        assert!(matches!(history.since(198), Missing::Unknown), "another zone, the same serial");
    }
}
