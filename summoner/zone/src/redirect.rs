//! What stands above a name and takes all that is below with it: zone cuts and DNAMEs (RFC 6672).

use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::{Node, RrSet, Zone, wire};

/// What is above a name.
pub(crate) enum Above<'z> {
    /// The name belongs to another zone: the cut, and its name servers.
    Cut(&'z Node, &'z RrSet),
    /// The name stands for one in another tree: the DNAME.
    Redirection(&'z RrSet),
}

impl Zone {
    /// The topmost cut at or above a name but for the apex, or DNAME above it. The DS records of a cut are ours (RFC 4035,
    /// section 3.1.4.1).
    pub(crate) fn above(&self, name: &LowerName, qtype: RecordType) -> Option<Above<'_>> {
        if !self.has_cuts {
            return None;
        }
        let mut topmost = None;
        let mut ancestor = name.clone();
        loop {
            let (is_self, is_apex) = (ancestor == *name, ancestor == self.apex);
            if let Some(node) = self.nodes.get(&ancestor) {
                let own_ds = is_self && qtype == RecordType::DS;
                let servers = node.get(RecordType::NS).filter(|_| !is_apex && !own_ds);
                let redirection = node.get(RecordType::DNAME).filter(|_| !is_self);
                topmost = servers
                    .map(|servers| Above::Cut(node, servers))
                    .or_else(|| redirection.map(Above::Redirection))
                    .or(topmost);
            }
            if is_apex {
                return topmost;
            }
            ancestor = ancestor.base_name();
        }
    }
}

/// The alias that a DNAME makes of a name below it, and where that leads: its target in the place of its owner (RFC 6672,
/// section 2.2). Nothing if that is longer than names may be.
pub(crate) fn alias(rrset: &RrSet, name: &LowerName) -> Option<(RrSet, LowerName)> {
    let target = rrset.records.first().and_then(target)?;
    let name = Name::from(name.clone());
    let below = name.iter().count().saturating_sub(rrset.owner.iter().count());
    let mut target = Name::from_labels(name.iter().take(below).chain(target.iter())).ok()?;
    target.set_fqdn(true);
    let data = RData::CNAME(CNAME(target.clone()));
    let alias = Record::from_rdata(name.clone(), rrset.ttl(), data);
    Some((RrSet::new(name, RecordType::CNAME, vec![alias]), LowerName::new(&target)))
}

/// The target of a DNAME, whose data hickory keeps as octets.
fn target(record: &Record) -> Option<Name> {
    let octets = wire::data(record);
    Name::read(&mut BinDecoder::new(&octets)).ok()
}
