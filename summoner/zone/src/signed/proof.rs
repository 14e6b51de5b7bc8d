//! Proofs in answers (RFC 4035, section 3.1.3).
//!
//! The record before a name in the chain says everything about it: if it is the name's own, which types there are; else
//! that the name does not exist, or, if the next name is below, that it has nothing. So each proof is that record for the
//! name, and for the wildcard that could have stood for it.

use std::borrow::Cow;

use hickory_proto::rr::{LowerName, Name, RecordType};

use crate::answer::wildcard_of;
use crate::{Answer, Kind, Placed, RrSet, Zone};

impl Zone {
    /// Adds what proves the answer; `name` is where the aliases in it have led to.
    pub(crate) fn prove<'z>(&'z self, name: &LowerName, answer: &mut Answer<'z>) {
        if self.chain.is_none() {
            return;
        }
        // A name that a wildcard stands for has none of its own.
        let expanded: Vec<Name> =
            answer.answers.iter().filter_map(|placed| placed.owner.clone()).collect();
        for owner in &expanded {
            self.add_proof(owner, answer);
        }
        match answer.kind {
            Kind::Data | Kind::Refused => {}
            Kind::NxDomain | Kind::NoData => {
                self.add_proof(name, answer);
                if !self.nodes.contains_key(name)
                    && let Some(wildcard) = wildcard_of(self.closest_encloser(name))
                {
                    self.add_proof(&wildcard, answer);
                }
            }
            // With DS records the child is signed; else it has to be proved that it is not (RFC 4035, section 3.1.4).
            Kind::Referral => {
                let of_type = |placed: &Placed<'_>, wanted| placed.rrset.record_type == wanted;
                let mut authorities = answer.authorities.iter();
                if !authorities.any(|placed| of_type(placed, RecordType::DS)) {
                    let mut authorities = answer.authorities.iter();
                    let cut = authorities.find(|placed| of_type(placed, RecordType::NS));
                    if let Some(cut) = cut.map(|placed| placed.rrset.owner.clone()) {
                        self.add_proof(&cut, answer);
                    }
                }
            }
        }
    }

    /// The signatures of a name, for who asks for them: those of one RRset are a full answer, as with ANY (RFC 8482).
    pub(crate) fn some_signatures(rrsets: &[RrSet]) -> Option<RrSet> {
        let signed = rrsets.iter().find(|rrset| !rrset.signatures.is_empty())?;
        Some(RrSet::new(signed.owner.clone(), RecordType::RRSIG, signed.signatures.clone()))
    }

    fn add_proof<'z>(&'z self, name: &Name, answer: &mut Answer<'z>) {
        let owner = self.chain.as_ref().and_then(|chain| chain.at_or_before(name));
        let node = owner.and_then(|owner| self.nodes.get(owner));
        let Some(nsec) = node.and_then(|node| node.get(RecordType::NSEC)) else { return };
        let known = |placed: &Placed<'_>| {
            placed.rrset.record_type == RecordType::NSEC && placed.rrset.owner == nsec.owner
        };
        if !answer.authorities.iter().any(known) {
            let rrset = Cow::Borrowed(nsec);
            answer.authorities.push(Placed { rrset, owner: None, rotation: 0 });
        }
    }
}
