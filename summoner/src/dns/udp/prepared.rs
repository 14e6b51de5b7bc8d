//! Answers that are ready: the responder's own octets of the last time, for names that exist.
//!
//! ```text
//!   response = | header | question, as asked | answers, authorities, additionals, OPT record |
//!                id, RD       from the query    the same for all queries with one [`Key`], in any case: see `render`
//!                are the query's
//! ```
//!
//! Nothing is worked out here: what is remembered was made by the responder for a query with the same key, and whom it
//! concerns is noted by the responder, each time. It is remembered as long as the same is published, and, where several
//! records take turns, as long as it is the same record's. Only answers for names that exist are remembered, of a closed set
//! of types, so nobody can fill the table with names that he invents; and it has a bound besides.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use policies::response_rate::ResponseClass;

use super::super::cookies::Option24;
use super::super::uses::Uses;
use super::super::wire::HEADER;
use super::super::{Published, Reply, labels};
use super::counts::Labels;
use super::plain::{COOKIE, OPT_FIXED, OPTION_FIXED, Plain, RECURSION_DESIRED};

/// The most octets that are remembered by a worker, overheads among them: some fifty thousand answers.
const BOUND: usize = 16 << 20;
/// What an answer takes beside its octets and its key, about.
const OVERHEAD: usize = 200;
/// Octets of a COOKIE option in an answer.
const COOKIE_OPTION: usize = OPTION_FIXED + size_of::<Option24>();
/// The length of its data, in one octet.
#[expect(clippy::cast_possible_truncation, reason = "it is 24")]
const COOKIE_DATA: u8 = size_of::<Option24>() as u8;
/// TC, in the third octet of the header.
const TRUNCATED: u8 = 0x02;

/// What a worker remembers.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    answers: HashMap<Box<[u8]>, Answer>,
    octets: usize,
    /// Whose answers they are. Weak: a worker that nobody asks anything must not keep an old zone.
    published: Weak<Published>,
}

/// A response that was given once.
#[derive(Debug)]
pub(super) struct Answer {
    /// The header's third and fourth octet, but for what is copied from the query.
    flags: [u8; 2],
    /// How many records each section has.
    counts: [u8; 6],
    /// All after the question, without options in the OPT record.
    rest: Box<[u8]>,
    /// When it is of use, if records take turns.
    turn: Option<u32>,
    pub(super) class: ResponseClass,
    /// For metrics: its type and result code.
    pub(super) labels: Labels,
    /// Whom it concerns.
    pub(super) uses: Uses,
}

impl Prepared {
    /// Forgets all that is not of what is published now.
    pub(super) fn follow(&mut self, published: &Arc<Published>) {
        if !std::ptr::eq(self.published.as_ptr(), Arc::as_ptr(published)) {
            self.clear();
            self.published = Arc::downgrade(published);
        }
    }

    /// The answer to a query, if it is here, fits, and it is its turn.
    pub(super) fn get(&self, query: &Plain, turn: u32) -> Option<&Answer> {
        let answer = self.answers.get(query.key.octets())?;
        (answer.turn.is_none_or(|own| own == turn)).then_some(answer)
    }

    /// Remembers a reply to `query`, if the responder says that it is of use again.
    pub(super) fn learn(&mut self, query: &Plain, reply: &Reply) {
        let Some(recipe) = &reply.recipe else { return };
        let Some((header, _)) = reply.message.split_first_chunk::<HEADER>() else { return };
        let Some(rest) = reply.message.get(query.end..) else { return };
        let Some(rest) = without_options(rest, query.is_extended()) else { return };
        let [_, _, first, second, _, _, counts @ ..] = *header;
        let key: Box<[u8]> = query.key.octets().into();
        let size = rest.len() + key.len() + OVERHEAD;
        if self.octets + size > BOUND {
            self.clear();
        }
        let rcode = hickory_proto::op::ResponseCode::from(0, second & 0xf);
        let answer = Answer {
            flags: [first & !RECURSION_DESIRED, second],
            counts,
            rest: rest.into(),
            turn: recipe.turn,
            class: reply.class,
            labels: (labels::qtype(query.qtype), labels::rcode(rcode)),
            uses: recipe.uses.clone(),
        };
        debug_assert_eq!(first & TRUNCATED, 0, "a truncated response has no recipe");
        if self.answers.insert(key, answer).is_none() {
            self.octets += size;
        }
    }

    /// How many answers there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    fn clear(&mut self) {
        self.answers.clear();
        self.octets = 0;
    }
}

impl Answer {
    /// Makes the response of its query, in place; `None` if it does not fit, and then the query is as it was.
    pub(super) fn write(
        &self,
        query: &mut [u8],
        end: usize,
        limit: usize,
        cookie: Option<&Option24>,
    ) -> Option<usize> {
        let option = if cookie.is_some() { COOKIE_OPTION } else { 0 };
        let length = end + self.rest.len() + option;
        if length > limit.min(query.len()) {
            return None;
        }
        let (question, rest) = query.split_at_mut(end);
        rest[..self.rest.len()].copy_from_slice(&self.rest);
        question[2] = question[2] & RECURSION_DESIRED | self.flags[0];
        question[3] = self.flags[1];
        question[6..HEADER].copy_from_slice(&self.counts);
        if let Some(cookie) = cookie {
            let (before, after) = rest.split_at_mut(self.rest.len());
            // The OPT record is the last one, and its data begin here.
            let data_length = before.last_chunk_mut::<2>()?;
            *data_length = u16::try_from(option).ok()?.to_be_bytes();
            let (code, data_length) = (COOKIE.to_be_bytes(), [0, COOKIE_DATA]);
            after[..2].copy_from_slice(&code);
            after[2..OPTION_FIXED].copy_from_slice(&data_length);
            after[OPTION_FIXED..option].copy_from_slice(cookie);
        }
        Some(length)
    }
}

/// The rest of a response without the options of its OPT record, which is its last.
fn without_options(rest: &[u8], is_extended: bool) -> Option<Vec<u8>> {
    let mut rest = rest.to_vec();
    if !is_extended {
        return Some(rest);
    }
    for option in [0, COOKIE_OPTION] {
        let at = rest.len().checked_sub(OPT_FIXED + option)?;
        // The root, OPT, and at the end how long the data are.
        let is_opt = rest[at..].starts_with(&[0, 0, 41]);
        let length = rest.get(at + OPT_FIXED - 2..at + OPT_FIXED)?;
        if is_opt && length == u16::try_from(option).ok()?.to_be_bytes() {
            rest.truncate(at + OPT_FIXED);
            rest[at + OPT_FIXED - 2..].fill(0);
            return Some(rest);
        }
    }
    None
}
