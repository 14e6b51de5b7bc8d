//! From a question to an answer.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, LowerName, Record, RecordType};
use policies::ServiceId;

use crate::{Node, Zone};

/// What is asked (RFC 1034, section 3.7.1).
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// QNAME; compared without case.
    pub name: &'q LowerName,
    /// QTYPE.
    pub qtype: RecordType,
    /// QCLASS.
    pub qclass: DNSClass,
}

/// What is answered, and whom it concerns.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'z> {
    /// The result.
    pub rcode: ResponseCode,
    /// Whether we own the data.
    pub authoritative: bool,
    /// The RRset asked for; empty for a negative answer. Owner names are in lower case.
    pub answers: &'z [Record],
    /// The SOA, if the answer is negative (RFC 2308).
    pub authorities: &'z [Record],
    /// Addresses of names in the answer.
    pub additionals: &'z [Record],
    /// The service that the name belongs to.
    pub service: Option<ServiceId>,
    /// Whether the question is a reason to boot the service: the name exists and somebody wants to connect.
    pub wake: bool,
}

impl Zone {
    /// Answers a question.
    #[must_use]
    pub fn answer(&self, question: &Question<'_>) -> Answer<'_> {
        // There is nothing of another class here, not even CHAOS.
        if question.qclass != DNSClass::IN || !self.apex.zone_of(question.name) {
            return Answer::empty(ResponseCode::Refused);
        }
        match self.nodes.get(question.name) {
            Some(node) => self.answer_from(node, question.qtype),
            None => self.negative(ResponseCode::NXDomain),
        }
    }

    fn answer_from<'z>(&'z self, node: &'z Node, qtype: RecordType) -> Answer<'z> {
        let found = match qtype {
            // One RRset is a full answer to ANY, and no use for amplification (RFC 8482, section 4.1).
            RecordType::ANY => node.rrsets.first(),
            qtype => node.rrsets.iter().find(|rrset| rrset.record_type == qtype),
        };
        let answer = match found {
            Some(rrset) => Answer {
                answers: &rrset.records,
                additionals: &rrset.glue,
                authoritative: true,
                ..Answer::empty(ResponseCode::NoError)
            },
            // NODATA.
            None => self.negative(ResponseCode::NoError),
        };
        Answer {
            service: node.service.map(|service| service.id),
            wake: node.service.is_some_and(|service| service.wake_on_query)
                && is_address_like(qtype),
            ..answer
        }
    }

    const fn negative(&self, rcode: ResponseCode) -> Answer<'_> {
        Answer {
            authorities: std::slice::from_ref(&self.negative),
            authoritative: true,
            ..Answer::empty(rcode)
        }
    }
}

impl Answer<'_> {
    const fn empty(rcode: ResponseCode) -> Self {
        Self {
            rcode,
            authoritative: false,
            answers: &[],
            authorities: &[],
            additionals: &[],
            service: None,
            wake: false,
        }
    }
}

/// The types that are asked for by somebody who is about to connect.
///
/// A service without an IPv6 address is woken by AAAA as well: clients ask for both at once.
const fn is_address_like(qtype: RecordType) -> bool {
    matches!(
        qtype,
        RecordType::A | RecordType::AAAA | RecordType::HTTPS | RecordType::SVCB | RecordType::SRV
    )
}
