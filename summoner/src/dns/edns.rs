//! EDNS(0) (RFC 6891): what a client offers, and what we answer.

use hickory_proto::op::Edns;

/// The largest UDP payload that we send or take, in octets: it fits every path without fragments (DNS Flag Day 2020).
const PAYLOAD: u16 = 1232;
/// What everybody can take (RFC 1035, section 4.2.1; RFC 6891, section 6.2.3).
const LEAST_PAYLOAD: u16 = 512;

/// The OPT record for an answer to a query with `asked`.
pub(super) fn answer_to(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    edns.set_version(0);
    edns.set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

/// How many octets a datagram to a client with this OPT record may have.
pub(super) fn limit(asked: Option<&Edns>) -> usize {
    let payload = asked.map_or(LEAST_PAYLOAD, Edns::max_payload);
    usize::from(payload.clamp(LEAST_PAYLOAD, PAYLOAD))
}

/// Whether we speak the version asked for: there is only 0.
pub(super) fn is_known(asked: &Edns) -> bool {
    asked.version() == 0
}
