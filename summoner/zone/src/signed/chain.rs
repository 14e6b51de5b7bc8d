//! The chain of names that exist (RFC 4034, section 4): what is not in it does not exist.

use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};

use super::canonical::CanonicalName;
use crate::{Node, RrSet, Zone};

/// The names that the zone itself has something to say about, in canonical order: not empty non-terminals, not what lies
/// below a delegation (RFC 4035, section 2.3) or a DNAME.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    names: Vec<(CanonicalName, LowerName)>,
}

impl Chain {
    pub(super) fn of(zone: &Zone) -> Self {
        let mut sorted: Vec<(CanonicalName, &LowerName, &Node)> = zone
            .nodes
            .iter()
            .filter(|(_, node)| !node.rrsets.is_empty() || node.template.is_some())
            .map(|(name, node)| (CanonicalName::new(name), name, node))
            .collect();
        sorted.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut names: Vec<(CanonicalName, LowerName)> = Vec::with_capacity(sorted.len());
        // In canonical order all that is below a name follows it at once.
        let mut hidden_below: Option<CanonicalName> = None;
        for (canonical, name, node) in sorted {
            if hidden_below.as_ref().is_some_and(|above| above.is_above(&canonical)) {
                continue;
            }
            let hides = is_cut(zone, name, node) || node.get(RecordType::DNAME).is_some();
            hidden_below = hides.then(|| canonical.clone());
            names.push((canonical, name.clone()));
        }
        Self { names }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &LowerName> {
        self.names.iter().map(|(_, name)| name)
    }

    /// Each name with the one after it; the last one's is the apex.
    pub(super) fn links(&self) -> impl Iterator<Item = (&LowerName, &LowerName)> {
        let next = self.names().skip(1).chain(self.names().take(1));
        self.names().zip(next)
    }

    /// The name itself, or the last one before it: its NSEC record says what there is at the name, or that it does not
    /// exist.
    pub(super) fn at_or_before(&self, name: &Name) -> Option<&LowerName> {
        let wanted = CanonicalName::new(name);
        let after = self.names.partition_point(|(known, _)| *known <= wanted);
        let (_, name) = self.names.get(after.checked_sub(1)?)?;
        Some(name)
    }
}

/// Whether a zone below begins at the name.
pub(super) fn is_cut(zone: &Zone, name: &LowerName, node: &Node) -> bool {
    *name != zone.apex && node.get(RecordType::NS).is_some()
}

/// Whether an RRset is the zone's own, and so signed: of a delegation that is only what says whether the child is signed
/// (RFC 4035, section 2.2).
pub(super) const fn is_own(at_cut: bool, record_type: RecordType) -> bool {
    !at_cut || matches!(record_type, RecordType::DS | RecordType::NSEC)
}

/// The NSEC record of a name.
pub(super) fn nsec(zone: &Zone, name: &LowerName, next: &LowerName, ttl: u32) -> Option<RrSet> {
    let node = zone.nodes.get(name)?;
    let at_cut = is_cut(zone, name, node);
    let types = node.rrsets.iter().map(|rrset| rrset.record_type);
    let types = types.filter(|known| is_own(at_cut, *known) || *known == RecordType::NS);
    // Of a name that a template could make a service for nobody may conclude that it has no address (RFC 8198).
    let makes: &[RecordType] =
        if node.template.is_some() { &[RecordType::A, RecordType::AAAA] } else { &[] };
    let types = types.chain(makes.iter().copied());
    // Every name in the chain has this record, and a signature of it.
    let data = NSEC::new_cover_self(Name::from(next), types);
    let owner = Name::from(name);
    let data = RData::DNSSEC(DNSSECRData::NSEC(data));
    let record = Record::from_rdata(owner.clone(), ttl, data);
    Some(RrSet::new(owner, RecordType::NSEC, vec![record]))
}
