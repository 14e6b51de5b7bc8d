//! From the parts of a response to its octets, within what the client takes.
//!
//! Names are compressed against the question as if it had been asked in lower case, and the question is then written as
//! it was asked: so the octets after it do not depend on the case, and an owner name that is the question's has its case,
//! which resolvers use as a cookie (draft-vixie-dnsext-dns0x20).

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, Metadata, Query};
use hickory_proto::rr::{Name, Record};

use super::edns;

/// Length of the header: where the question begins (RFC 1035, section 4.1.1).
const HEADER: usize = 12;

/// A response that is not written yet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) metadata: Metadata,
    /// As it was asked.
    pub(super) question: Option<Query>,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
    pub(super) edns: Option<Edns>,
    /// Whether the client cannot do without the additional section: it has the addresses of a referral (RFC 9471).
    pub(super) needs_additionals: bool,
    /// Whether its length must not tell what it is.
    pub(super) padded: bool,
}

impl Draft {
    /// A response without records.
    pub(super) const fn empty(metadata: Metadata, question: Option<Query>) -> Self {
        Self {
            metadata,
            question,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            edns: None,
            needs_additionals: false,
            padded: false,
        }
    }

    /// What the header of a response says of its three sections if nothing is left out.
    pub(super) fn counts(&self, is_extended: bool) -> [u8; 6] {
        let additionals = self.additionals.len() + usize::from(is_extended);
        let count = |records: usize| u16::try_from(records).unwrap_or(u16::MAX).to_be_bytes();
        let [a0, a1] = count(self.answers.len());
        let [n0, n1] = count(self.authorities.len());
        let [r0, r1] = count(additionals);
        [a0, a1, n0, n1, r0, r1]
    }

    /// Writes it in at most `limit` octets. What does not fit is left out: first the additional section, and if that is not
    /// enough, everything, with the TC bit: the client asks again by TCP (RFC 2181, section 9).
    pub(super) fn write(self, limit: usize) -> Result<Vec<u8>, ProtoError> {
        let asked = self.question.as_ref().map(|question| question.name().clone());
        let mut message = Message::new(0, self.metadata.message_type, self.metadata.op_code);
        message.metadata = self.metadata;
        if let Some(mut question) = self.question {
            question.set_name(question.name().to_lowercase());
            message.add_query(question);
        }
        message.answers = self.answers;
        message.authorities = self.authorities;
        message.additionals = self.additionals;
        message.edns = self.edns;
        let mut octets = message.to_vec()?;
        if octets.len() > limit && !self.needs_additionals && !message.additionals.is_empty() {
            message.additionals.clear();
            octets = message.to_vec()?;
        }
        if octets.len() > limit {
            octets = message.truncate().to_vec()?;
        }
        if let (true, Some(edns)) = (self.padded, &mut message.edns) {
            edns::pad(edns, octets.len());
            let padded = message.to_vec()?;
            // What fits only without is better than nothing.
            octets = if padded.len() <= limit { padded } else { octets };
        }
        if let Some(name) = asked {
            write_name_at(&mut octets, HEADER, &name);
        }
        Ok(octets)
    }
}

/// Puts a name's labels over those of the same name in another case.
fn write_name_at(octets: &mut [u8], mut at: usize, name: &Name) {
    for label in name.iter() {
        // The octet before a label is its length.
        if let Some(place) = octets.get_mut(at + 1..at + 1 + label.len()) {
            place.copy_from_slice(label);
        }
        at += 1 + label.len();
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::{A, TXT};
    use hickory_proto::rr::{RData, RecordType};

    use super::*;

    fn draft(asked: &str, answers: usize, additionals: usize) -> Draft {
        let name = Name::from_ascii(asked).unwrap();
        let owner = name.to_lowercase();
        let record = |_| Record::from_rdata(owner.clone(), 60, RData::A(A::new(192, 0, 2, 1)));
        let metadata = Metadata::new(7, MessageType::Response, OpCode::Query);
        let mut draft = Draft::empty(metadata, Some(Query::query(name.clone(), RecordType::A)));
        draft.answers = (0..answers).map(record).collect();
        draft.additionals = (0..additionals).map(record).collect();
        draft
    }

    #[test]
    fn the_case_of_the_question_changes_nothing_else() {
        let lower = draft("www.jit.test.", 2, 1).write(512).unwrap();
        let mixed = draft("wWw.Jit.TEST.", 2, 1).write(512).unwrap();
        let differing = lower.iter().zip(&mixed).filter(|(a, b)| a != b).count();
        assert_eq!((lower.len(), differing), (mixed.len(), 6));
        let message = Message::from_vec(&mixed).unwrap();
        assert_eq!(message.answers[1].name.to_ascii(), "wWw.Jit.TEST.");
        assert_eq!(message.queries[0].name().to_ascii(), "wWw.Jit.TEST.");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let whole = draft("www.jit.test.", 2, 1).write(512).unwrap();
        let cut = draft("www.jit.test.", 2, 1).write(whole.len() - 1).unwrap();
        let message = Message::from_vec(&cut).unwrap();
        assert_eq!((message.answers.len(), message.additionals.len()), (2, 0));
        assert!(!message.metadata.truncation, "additional records are not needed");
        for (needs_additionals, limit) in [(true, whole.len() - 1), (false, cut.len() - 1)] {
            let mut draft = draft("www.jit.test.", 2, 1);
            draft.needs_additionals = needs_additionals;
            let message = Message::from_vec(&draft.write(limit).unwrap()).unwrap();
            assert_eq!(message.all_sections().count(), 0);
            assert!(message.metadata.truncation);
        }
        let mut large = draft("www.jit.test.", 0, 0);
        let name = Name::from_ascii("www.jit.test.").unwrap();
        let text = RData::TXT(TXT::new(vec!["x".repeat(255)]));
        large.answers = vec![Record::from_rdata(name, 1, text); 10];
        assert!(large.write(1232).unwrap().len() <= 512);
    }
}
