//! Names for which a service can be made when somebody asks for them.
//!
//! A template stands at a wildcard, `*.pr.example.org.`, and is one only in what it matches: for a name directly below its
//! parent that does not exist, there could be a service. What is answered then does not come from the wildcard, it has no
//! records; so the zone says only which template it is, and whoever asked it makes the service and asks again.
//!
//! Such a name is never said not to exist, and never to have no address: that would be remembered, by a resolver or by one
//! that concludes it from a signed answer (RFC 8198), for longer than it is true.

use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{LowerName, Name};

use crate::answer::is_address_like;
use crate::{Answer, Kind, Node, Question, Zone};

#[cfg(test)]
mod tests;

/// The longest label (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// What a template adds to the zone.
#[derive(Debug, Clone)]
pub struct TemplateRecords {
    /// Its key.
    pub key: Arc<str>,
    /// The wildcard at which it stands, absolute.
    pub pattern: Name,
}

/// A name for which a service could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmade<'z> {
    /// By which template.
    pub template: &'z Arc<str>,
    /// The name.
    pub name: LowerName,
}

impl Zone {
    /// Whether a template stands at a name: then it exists, has no records, and is to be shown (to those who draw conclusions
    /// from what a wildcard has) as if it had addresses.
    #[must_use]
    pub fn is_template(&self, name: &LowerName) -> bool {
        self.nodes.get(name).is_some_and(|node| node.template.is_some())
    }

    /// Answers for a name that matches a template, or is the template's own; `answer` may have aliases in it that led here.
    pub(crate) fn answer_by_template<'z>(
        &'z self,
        node: &'z Node,
        name: &LowerName,
        question: &Question<'_>,
        answer: &mut Answer<'z>,
    ) {
        let Some(template) = &node.template else { return };
        // The wildcard itself, what is deeper, and what no host can be called: nothing can ever be there, but a denial of it
        // could not be told from one of the names beside it.
        if !self.can_be_made(name) {
            *answer = Answer::refused();
            return;
        }
        if !is_address_like(question.qtype) {
            self.negative(Kind::NoData, answer);
            return;
        }
        // Said only if the service cannot be made: not now, and not to be remembered for long (RFC 2308, section 7.1).
        *answer = Answer { rcode: ResponseCode::ServFail, ..Answer::refused() };
        answer.unmade = Some(Unmade { template, name: name.clone() });
    }

    /// Whether a name is one label below an existing name, and that label could be a host's.
    fn can_be_made(&self, name: &LowerName) -> bool {
        let is_child = self.nodes.contains_key(&name.base_name());
        is_child && Name::from(name.clone()).iter().next().is_some_and(is_host_label)
    }
}

/// Letters, digits, and hyphens inside (RFC 952, RFC 1123, section 2.1): safe in a file's name, a command line and a log.
fn is_host_label(label: &[u8]) -> bool {
    let is_inner = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.iter().all(is_inner)
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-')
}
