//! EDNS(0) (RFC 6891): what a client offers, and what we answer.

use std::time::Duration;

use hickory_proto::op::Edns;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption, NSIDPayload};

use super::Arrival;
use super::cookies::Option24;

/// The largest UDP payload that we send or take, in octets: it fits every path without fragments (DNS Flag Day 2020).
const PAYLOAD: u16 = 1232;
/// What everybody can take (RFC 1035, section 4.2.1; RFC 6891, section 6.2.3).
const LEAST_PAYLOAD: u16 = 512;
/// The code of the option that explains an error (RFC 8914, section 2).
const EXPLANATION: u16 = 15;

/// Why a query is not answered as asked: INFO-CODEs of RFC 8914, section 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Explanation {
    /// The client may not ask this.
    Prohibited,
    /// No zone of ours has the name.
    NotAuthoritative,
    /// The operation is not one of ours.
    NotSupported,
}

impl Explanation {
    const fn code(self) -> u16 {
        match self {
            Self::Prohibited => 18,
            Self::NotAuthoritative => 20,
            Self::NotSupported => 21,
        }
    }
}

/// What a padded response's length is a multiple of (RFC 8467, section 4.1).
const BLOCK: usize = 468;
/// Octets of an option before its data: code and length.
const OPTION_HEADER: usize = 4;

/// The OPT record for an answer to a query with `asked`.
pub(super) fn answer_to(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    edns.set_version(0);
    edns.set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

/// Adds what depends on how the query came: how long its connection may be silent, if the client asks (RFC 7828,
/// section 3.3.1).
pub(super) fn tell_about_connection(edns: &mut Edns, asked: &Edns, arrival: &Arrival) {
    if let (Some(idle), Some(_)) = (arrival.idle, asked.option(EdnsCode::Keepalive)) {
        let tenths = idle.as_millis() / Duration::from_millis(100).as_millis();
        let tenths = u16::try_from(tenths).unwrap_or(u16::MAX);
        let option = EdnsOption::Unknown(EdnsCode::Keepalive.into(), tenths.to_be_bytes().into());
        edns.options_mut().insert(option);
    }
}

/// Whether a response has to be padded: its query was, and nobody on the way can read it (RFC 7830, section 4).
pub(super) fn is_to_be_padded(asked: Option<&Edns>, arrival: &Arrival) -> bool {
    arrival.transport.is_encrypted()
        && asked.is_some_and(|asked| asked.option(EdnsCode::Padding).is_some())
}

/// Adds padding to a response of `length` octets without it, so that its length says little (RFC 8467, section 4.1).
pub(super) fn pad(edns: &mut Edns, length: usize) {
    let unpadded = length + OPTION_HEADER;
    let padding = unpadded.next_multiple_of(BLOCK) - unpadded;
    let option = EdnsOption::Unknown(EdnsCode::Padding.into(), vec![0; padding]);
    edns.options_mut().insert(option);
}

/// The data of a query's COOKIE option: of the first one, if there are several.
pub(super) fn cookie(asked: &Edns) -> Option<&[u8]> {
    match asked.option(EdnsCode::Cookie)? {
        EdnsOption::Unknown(_, data) => Some(data),
        _ => None,
    }
}

/// Answers a COOKIE option.
pub(super) fn put_cookie(edns: &mut Edns, cookie: &Option24) {
    edns.options_mut().insert(EdnsOption::Unknown(EdnsCode::Cookie.into(), cookie.to_vec()));
}

/// Answers an NSID option (RFC 5001), if there is one in `asked`.
pub(super) fn put_identity(edns: &mut Edns, asked: &Edns, identity: &str) {
    if asked.option(EdnsCode::NSID).is_some()
        && let Ok(payload) = NSIDPayload::new(identity)
    {
        edns.options_mut().insert(EdnsOption::NSID(payload));
    }
}

/// Says why (RFC 8914).
pub(super) fn explain(edns: &mut Edns, why: Explanation) {
    let code = why.code().to_be_bytes().to_vec();
    edns.options_mut().insert(EdnsOption::Unknown(EXPLANATION, code));
}

/// How many octets a datagram to a client with this OPT record may have.
pub(super) fn limit(asked: Option<&Edns>) -> usize {
    limit_of(asked.map(Edns::max_payload))
}

/// How many octets a datagram to a client that offers this payload may have.
pub(super) fn limit_of(payload: Option<u16>) -> usize {
    usize::from(payload.unwrap_or(LEAST_PAYLOAD).clamp(LEAST_PAYLOAD, PAYLOAD))
}

/// Whether we speak the version asked for: there is only 0.
pub(super) fn is_known(asked: &Edns) -> bool {
    asked.version() == 0
}
