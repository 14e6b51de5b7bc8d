//! From a zone's content to the messages that carry it.

use std::sync::Arc;

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, Metadata, Query};
use hickory_proto::rr::Record;
use zone::history::{Difference, Line, Version};

use super::super::tsig::{self, Session};

/// Octets of records that are gathered for one message, before compression: a larger one would not be compressed
/// better, as pointers reach no further (RFC 1035, section 4.1.4).
const GATHERED: usize = 16 * 1024;

/// A response of many messages.
#[derive(Debug)]
pub struct Transfer {
    /// Of every message.
    metadata: Metadata,
    /// Of the first one.
    question: Option<Query>,
    edns: Option<Edns>,
    parts: Vec<Part>,
    /// Part and line that come next.
    next: (usize, usize),
    session: Option<Session>,
}

/// What is sent one after the other.
#[derive(Debug)]
enum Part {
    /// The SOA of what the zone is now, at both ends.
    Soa(Arc<Version>),
    Whole(Arc<Version>),
    /// The SOA of the older version, before what it lost.
    From(Arc<Difference>),
    Removed(Arc<Difference>),
    /// The SOA of the newer version, before what it got.
    To(Arc<Difference>),
    Added(Arc<Difference>),
}

impl Part {
    fn lines(&self) -> &[Line] {
        match self {
            Self::Soa(version) => std::slice::from_ref(version.soa()),
            Self::Whole(version) => version.lines(),
            Self::From(difference) => std::slice::from_ref(&difference.from),
            Self::To(difference) => std::slice::from_ref(&difference.to),
            Self::Removed(difference) => &difference.removed,
            Self::Added(difference) => &difference.added,
        }
    }
}

/// What is in a transfer.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing: only the SOA (RFC 1995, section 2).
    Nothing,
    /// The whole zone (RFC 5936, section 2.2; RFC 1995, section 4).
    Whole,
    /// What has changed (RFC 1995, section 4).
    Changes(Vec<Arc<Difference>>),
}

impl Content {
    /// Its word in metrics and logs.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Nothing => "serial",
            Self::Whole => "whole",
            Self::Changes(_) => "changes",
        }
    }
}

impl Transfer {
    /// A transfer of `content` of the zone whose content is `version` now.
    pub(super) fn new(
        metadata: Metadata,
        question: Query,
        edns: Option<Edns>,
        version: &Arc<Version>,
        content: Content,
        session: Option<Session>,
    ) -> Self {
        let soa = || Part::Soa(version.clone());
        let parts = match content {
            Content::Nothing => vec![soa()],
            Content::Whole => vec![soa(), Part::Whole(version.clone()), soa()],
            Content::Changes(changes) => {
                let change = |change: Arc<Difference>| {
                    let (removed, to) = (change.clone(), change.clone());
                    let from = Part::From(change.clone());
                    [from, Part::Removed(removed), Part::To(to), Part::Added(change)]
                };
                let changes = changes.into_iter().flat_map(change);
                [soa()].into_iter().chain(changes).chain([soa()]).collect()
            }
        };
        Self { metadata, question: Some(question), edns, parts, next: (0, 0), session }
    }

    /// The next message; `None` after the last one.
    ///
    /// # Errors
    /// When a record cannot be written. What was sent so far is worth nothing then: the connection has to end, so that
    /// the secondary keeps what it has.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, ProtoError> {
        let answers = self.gather();
        if answers.is_empty() {
            return Ok(None);
        }
        let mut message = Message::new(0, self.metadata.message_type, self.metadata.op_code);
        message.metadata = self.metadata;
        message.queries = self.question.take().into_iter().collect();
        message.answers = answers;
        message.edns = self.edns.take();
        let octets = message.to_vec()?;
        match &mut self.session {
            Some(session) => session.sign(octets, tsig::unix_seconds()).map(Some),
            None => Ok(Some(octets)),
        }
    }

    /// The records of the next message.
    fn gather(&mut self) -> Vec<Record> {
        let (mut records, mut length) = (Vec::new(), 0);
        while let Some(part) = self.parts.get(self.next.0) {
            let Some(line) = part.lines().get(self.next.1) else {
                self.next = (self.next.0 + 1, 0);
                continue;
            };
            if !records.is_empty() && length + line.length() > GATHERED {
                break;
            }
            length += line.length();
            records.push(line.record.clone());
            self.next.1 += 1;
        }
        records
    }
}
