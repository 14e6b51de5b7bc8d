//! A look at a query's outline before hickory reads it: what no client sends is not read at all.
//!
//! A query (opcode QUERY) has one question, whose name is not compressed, because there is nothing before it; no records but an
//! OPT record (RFC 6891) and a TSIG record (RFC 8945), and the client's own SOA if it asks for an incremental transfer (RFC 1995,
//! section 3); and nothing behind them. NSD and Knot ask for the same. So whoever sends megabytes of records, counts
//! that promise them, or names that point into each other costs no more than this look.

use super::wire::{HEADER, QUESTION_FIXED, RECORD_FIXED, after_name, number};

/// The longest name on the wire, with its last octet (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 255;
/// The longest label.
const LONGEST_LABEL: usize = 63;
/// What is before the data of an EDNS option: its code and its length (RFC 6891, section 6.1.2).
const OPTION_FIXED: usize = 4;

const OPT: u16 = 41;
const TSIG: u16 = 250;
const IXFR: u16 = 251;

/// Why a message is no query that could be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it ends too early")]
    TooShort,
    #[error("it has octets behind its last record")]
    TooLong,
    #[error("it has more than one question")]
    Questions,
    #[error("the name asked for is not one")]
    Name,
    #[error("it has records that no query has")]
    Records,
    #[error("the options of its OPT record do not fill it")]
    Options,
}

/// Looks at the outline of `query`.
pub(super) fn screen(query: &[u8]) -> Result<(), Malformed> {
    let count = |at| number(query, at).ok_or(Malformed::TooShort);
    let (questions, answers, authorities, additionals) =
        (count(4)?, count(6)?, count(8)?, count(10)?);
    let mut at = HEADER;
    let mut qtype = None;
    match questions {
        // Only to get a cookie (RFC 7873, section 5.4); whether it is, is seen later.
        0 => {}
        1 => {
            let fixed = after_plain_name(query, at)?;
            qtype = Some(number(query, fixed).ok_or(Malformed::TooShort)?);
            at = fixed + QUESTION_FIXED;
        }
        _ => return Err(Malformed::Questions),
    }
    let own = u16::from(qtype == Some(IXFR));
    // An OPT record, a TSIG record.
    if answers > 0 || authorities > own || additionals > 2 {
        return Err(Malformed::Records);
    }
    for _ in 0..authorities {
        at = record(query, at)?.1;
    }
    for _ in 0..additionals {
        let (fixed, end) = record(query, at)?;
        match number(query, fixed) {
            Some(OPT) => options(query.get(fixed + RECORD_FIXED..end).unwrap_or_default())?,
            Some(TSIG) => {}
            _ => return Err(Malformed::Records),
        }
        at = end;
    }
    match at.cmp(&query.len()) {
        std::cmp::Ordering::Less => Err(Malformed::TooLong),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Malformed::TooShort),
    }
}

/// Where a name without pointers ends.
fn after_plain_name(query: &[u8], start: usize) -> Result<usize, Malformed> {
    let mut at = start;
    loop {
        let length = usize::from(*query.get(at).ok_or(Malformed::TooShort)?);
        at += 1 + length;
        if length > LONGEST_LABEL || at - start > LONGEST_NAME {
            return Err(Malformed::Name);
        }
        if length == 0 {
            return Ok(at);
        }
    }
}

/// Where the fixed part of a record begins, and where the record ends.
fn record(query: &[u8], at: usize) -> Result<(usize, usize), Malformed> {
    let fixed = after_name(query, at).ok_or(Malformed::TooShort)?;
    let length = number(query, fixed + RECORD_FIXED - 2).ok_or(Malformed::TooShort)?;
    let end = fixed + RECORD_FIXED + usize::from(length);
    if end > query.len() { Err(Malformed::TooShort) } else { Ok((fixed, end)) }
}

/// Whether options fill an OPT record's data.
fn options(data: &[u8]) -> Result<(), Malformed> {
    let mut at = 0;
    while at < data.len() {
        let length = number(data, at + 2).ok_or(Malformed::Options)?;
        at += OPTION_FIXED + usize::from(length);
    }
    if at == data.len() { Ok(()) } else { Err(Malformed::Options) }
}
