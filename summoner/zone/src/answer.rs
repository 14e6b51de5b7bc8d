//! From a question to an answer (RFC 1034, section 4.3.2, with the wildcards of RFC 4592 and the redirections of RFC 6672).

use std::borrow::Cow;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};
use policies::ServiceId;

use crate::redirect::{Above, alias};
use crate::{Node, RrSet, Unmade, Zone};

/// CNAMEs and DNAMEs that are followed in one answer; a longer chain is left to the resolver.
const LONGEST_CHAIN: usize = 8;

/// What is asked (RFC 1034, section 3.7.1).
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// QNAME; compared without case.
    pub name: &'q LowerName,
    /// QTYPE.
    pub qtype: RecordType,
    /// QCLASS.
    pub qclass: DNSClass,
    /// Whether signatures and proofs are wanted (the DO bit of RFC 3225).
    pub dnssec_ok: bool,
    /// Which of several records comes first: this many are moved to the end, modulo their number. Questions with the same
    /// value for A and for AAAA lead to the same service.
    pub rotation: u32,
}

/// What kind of answer it is (RFC 2308, section 2; RFC 9499, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The name has what was asked for, or an alias that leads out of the zone.
    Data,
    /// The name exists, but not the type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The name belongs to a zone below this one.
    Referral,
    /// Not ours.
    Refused,
}

/// What is answered, and whom it concerns.
#[derive(Debug, Clone)]
pub struct Answer<'z> {
    /// The result.
    pub rcode: ResponseCode,
    /// What it is.
    pub kind: Kind,
    /// Whether we own the data (the AA bit).
    pub authoritative: bool,
    /// The RRset asked for, after the aliases that led to it; empty for a negative answer.
    pub answers: Vec<Placed<'z>>,
    /// The SOA, if the answer is negative (RFC 2308); the name servers, if it is a referral; proofs.
    pub authorities: Vec<Placed<'z>>,
    /// Addresses of names in the answer.
    pub additionals: Vec<Placed<'z>>,
    /// The services that the question is a reason to boot: the name is theirs and somebody wants to connect.
    pub wakes: Vec<ServiceId>,
    /// Whether another [rotation](Question::rotation) may lead to another answer, or wake others.
    pub rotates: bool,
    /// The longest existing ancestor of a name that does not exist (RFC 4592, section 3.3.1), also if a wildcard made
    /// the answer.
    pub closest_encloser: Option<&'z LowerName>,
    /// The name for which a service could be made. The rest of the answer is for when it cannot: ask again if it was.
    pub unmade: Option<Unmade<'z>>,
}

/// An RRset in an answer.
#[derive(Debug, Clone)]
pub struct Placed<'z> {
    /// The records.
    pub rrset: Cow<'z, RrSet>,
    /// Whose they are in this answer, if not the RRset's own: the name that a wildcard was expanded to.
    pub owner: Option<Name>,
    /// How many records are moved to the end.
    pub rotation: usize,
}

impl<'z> Placed<'z> {
    const fn as_stored(rrset: &'z RrSet) -> Self {
        Self { rrset: Cow::Borrowed(rrset), owner: None, rotation: 0 }
    }

    /// The records as they stand in a message, with their signatures if `dnssec_ok`.
    pub fn records(&self, dnssec_ok: bool) -> impl Iterator<Item = Record> {
        let (moved, first) = self.rrset.records.split_at(self.rotation);
        let signatures = if dnssec_ok { self.rrset.signatures.as_slice() } else { &[] };
        first.iter().chain(moved).chain(signatures).cloned().map(|mut record| {
            if let Some(owner) = &self.owner {
                record.name.clone_from(owner);
            }
            record
        })
    }
}

impl Zone {
    /// Answers a question.
    #[must_use]
    pub fn answer(&self, question: &Question<'_>) -> Answer<'_> {
        // There is nothing of another class here, not even CHAOS.
        if question.qclass != DNSClass::IN || !self.apex.zone_of(question.name) {
            return Answer::refused();
        }
        let mut answer = Answer { authoritative: true, ..Answer::refused() };
        let mut name = Cow::Borrowed(question.name);
        for _ in 0..LONGEST_CHAIN {
            match self.answer_at(&name, question, &mut answer) {
                Some(target) if self.apex.zone_of(&target) => name = Cow::Owned(target),
                _ => break,
            }
        }
        if question.dnssec_ok {
            self.prove(&name, &mut answer);
        }
        answer
    }

    /// Adds what is known of `name`; returns where an alias leads.
    fn answer_at<'z>(
        &'z self,
        name: &LowerName,
        question: &Question<'_>,
        answer: &mut Answer<'z>,
    ) -> Option<LowerName> {
        match self.above(name, question.qtype) {
            Some(Above::Cut(cut, servers)) => {
                self.refer(cut, servers, question, answer);
                return None;
            }
            Some(Above::Redirection(rrset)) => return redirect(rrset, name, question, answer),
            None => {}
        }
        if let Some(node) = self.nodes.get(name).filter(|node| node.template.is_none()) {
            return self.answer_from(node, None, question, answer);
        }
        let encloser = self.closest_encloser(name);
        answer.closest_encloser = Some(encloser);
        match wildcard_of(encloser).and_then(|wildcard| self.nodes.get(&wildcard)) {
            Some(node) if node.template.is_some() => {
                self.answer_by_template(node, name, question, answer);
                None
            }
            Some(node) => self.answer_from(node, Some(name), question, answer),
            None => {
                self.negative(Kind::NxDomain, answer);
                None
            }
        }
    }

    /// Adds what a node has; `expanded` is the name for which it stands as a wildcard.
    fn answer_from<'z>(
        &'z self,
        node: &'z Node,
        expanded: Option<&LowerName>,
        question: &Question<'_>,
        answer: &mut Answer<'z>,
    ) -> Option<LowerName> {
        let found = match question.qtype {
            // One RRset is a full answer to ANY, and no use for amplification (RFC 8482, section 4.1).
            RecordType::ANY => node.rrsets.first(),
            qtype => node.get(qtype).or_else(|| node.get(RecordType::CNAME)),
        };
        let rotation = question.rotation as usize;
        if is_address_like(question.qtype) {
            self.wake(node, rotation, answer);
        }
        if question.qtype == RecordType::RRSIG
            && let Some(signatures) = Self::some_signatures(&node.rrsets)
        {
            answer.kind = Kind::Data;
            answer.rcode = ResponseCode::NoError;
            let owner = expanded.map(|name| Name::from(name.clone()));
            answer.answers.push(Placed { rrset: Cow::Owned(signatures), owner, rotation: 0 });
            return None;
        }
        let Some(rrset) = found else {
            self.negative(Kind::NoData, answer);
            return None;
        };
        answer.kind = Kind::Data;
        answer.rcode = ResponseCode::NoError;
        if answer.has(expanded.map_or(&rrset.owner, |name| name), rrset.record_type) {
            // Aliases that lead to each other: what they say has been said.
            return None;
        }
        answer.rotates |= rrset.records.len() > 1;
        answer.answers.push(Placed {
            rrset: Cow::Borrowed(rrset),
            owner: expanded.map(|name| Name::from(name.clone())),
            rotation: rotation % rrset.records.len().max(1),
        });
        if rrset.record_type == RecordType::CNAME && question.qtype != RecordType::CNAME {
            let alias = rrset.records.first().and_then(|record| match &record.data {
                RData::CNAME(target) => Some(LowerName::new(&target.0)),
                _ => None,
            });
            return alias.filter(|_| question.qtype != RecordType::ANY);
        }
        self.add_addresses(rrset, expanded, answer);
        None
    }

    /// Whom a question for an address of this node wakes.
    fn wake(&self, node: &Node, rotation: usize, answer: &mut Answer<'_>) {
        let count = node.services.len();
        if count == 0 {
            return;
        }
        answer.rotates |= count > 1;
        let chosen = if self.wake_all { count } else { 1 };
        let rotated = node.services.iter().cycle().skip(rotation % count).take(chosen);
        let woken = rotated.filter(|service| service.wake_on_query).map(|service| service.id);
        for id in woken {
            if !answer.wakes.contains(&id) {
                answer.wakes.push(id);
            }
        }
    }

    /// The addresses of the names that an RRset mentions, as far as we have them (RFC 1034, section 4.3.2, step 6).
    fn add_addresses<'z>(
        &'z self,
        rrset: &RrSet,
        expanded: Option<&LowerName>,
        answer: &mut Answer<'z>,
    ) {
        for target in rrset.records.iter().filter_map(|record| mentioned(&record.data)) {
            // The root as the target of a service binding is the binding's own name (RFC 9460, section 2.5.2).
            let own = target.is_root() && is_binding(rrset.record_type);
            let target = if own { &rrset.owner } else { target };
            let Some(node) = self.nodes.get(&LowerName::new(target)) else { continue };
            for record_type in [RecordType::A, RecordType::AAAA] {
                let Some(addresses) = node.get(record_type) else { continue };
                let known = |placed: &Placed<'_>| {
                    placed.rrset.owner == addresses.owner && placed.rrset.record_type == record_type
                };
                if !answer.additionals.iter().any(known) && !answer.answers.iter().any(known) {
                    let owner = expanded.filter(|_| own).map(|name| Name::from(name.clone()));
                    answer.additionals.push(Placed { owner, ..Placed::as_stored(addresses) });
                }
            }
        }
    }

    fn refer<'z>(
        &'z self,
        cut: &'z Node,
        servers: &'z RrSet,
        question: &Question<'_>,
        answer: &mut Answer<'z>,
    ) {
        answer.kind = Kind::Referral;
        answer.rcode = ResponseCode::NoError;
        // What an alias of ours said before is ours.
        answer.authoritative = !answer.answers.is_empty();
        answer.authorities.push(Placed::as_stored(servers));
        // Without signatures a DS is nothing that anybody could trust.
        if question.dnssec_ok && self.chain.is_some() {
            answer.authorities.extend(cut.get(RecordType::DS).map(Placed::as_stored));
        }
        self.add_addresses(servers, None, answer);
    }

    pub(crate) fn negative<'z>(&'z self, kind: Kind, answer: &mut Answer<'z>) {
        answer.kind = kind;
        answer.rcode =
            if kind == Kind::NxDomain { ResponseCode::NXDomain } else { ResponseCode::NoError };
        answer.authorities.push(Placed::as_stored(&self.negative));
    }

    pub(crate) fn closest_encloser(&self, name: &LowerName) -> &LowerName {
        let mut ancestor = name.base_name();
        loop {
            match self.nodes.get_key_value(&ancestor) {
                Some((encloser, _)) => return encloser,
                // The apex exists, and every name that is looked up here is below it.
                None if ancestor.is_root() => return &self.apex,
                None => ancestor = ancestor.base_name(),
            }
        }
    }
}

impl Answer<'_> {
    /// Whether the answer section has the RRset already.
    fn has(&self, owner: &Name, record_type: RecordType) -> bool {
        self.answers.iter().any(|placed| {
            placed.rrset.record_type == record_type
                && placed.owner.as_ref().unwrap_or(&placed.rrset.owner) == owner
        })
    }

    pub(crate) const fn refused() -> Self {
        Self {
            rcode: ResponseCode::Refused,
            kind: Kind::Refused,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            wakes: Vec::new(),
            rotates: false,
            closest_encloser: None,
            unmade: None,
        }
    }
}

/// Adds the redirection above a name and the alias that follows from it (RFC 6672, section 3.1); returns where it leads.
fn redirect<'z>(
    rrset: &'z RrSet,
    name: &LowerName,
    question: &Question<'_>,
    answer: &mut Answer<'z>,
) -> Option<LowerName> {
    answer.kind = Kind::Data;
    answer.rcode = ResponseCode::NoError;
    // A redirection into itself is used again, and stays one RRset.
    if !answer.has(&rrset.owner, rrset.record_type) {
        answer.answers.push(Placed::as_stored(rrset));
    }
    let Some((alias, target)) = alias(rrset, name) else {
        answer.rcode = ResponseCode::YXDomain;
        return None;
    };
    if answer.has(&alias.owner, RecordType::CNAME) {
        return None;
    }
    answer.answers.push(Placed { rrset: Cow::Owned(alias), owner: None, rotation: 0 });
    // To a question for an alias, this one is the answer.
    (question.qtype != RecordType::CNAME).then_some(target)
}

/// The source of synthesis below a name (RFC 4592, section 3.3.1).
pub(crate) fn wildcard_of(encloser: &LowerName) -> Option<LowerName> {
    // A name so long that no label fits has nothing below it, a wildcard neither.
    Name::from(encloser.clone()).prepend_label("*").ok().map(|name| LowerName::new(&name))
}

/// The name whose addresses somebody who gets this record will need.
const fn mentioned(data: &RData) -> Option<&Name> {
    match data {
        RData::NS(server) => Some(&server.0),
        RData::MX(exchange) => Some(&exchange.exchange),
        RData::SRV(service) => Some(&service.target),
        RData::HTTPS(binding) => Some(&binding.0.target_name),
        RData::SVCB(binding) => Some(&binding.target_name),
        _ => None,
    }
}

const fn is_binding(record_type: RecordType) -> bool {
    matches!(record_type, RecordType::SVCB | RecordType::HTTPS)
}

/// The types that are asked for by somebody who is about to connect.
///
/// A service without an IPv6 address is woken by AAAA as well: clients ask for both at once.
pub(crate) const fn is_address_like(qtype: RecordType) -> bool {
    matches!(
        qtype,
        RecordType::A | RecordType::AAAA | RecordType::HTTPS | RecordType::SVCB | RecordType::SRV
    )
}
