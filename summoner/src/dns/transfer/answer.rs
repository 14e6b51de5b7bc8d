//! A question for a transfer, and who gets what.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, LowerName, RData, RecordType};
use tracing::{info, warn};
use zone::history::Missing;

use super::Transfers;
use super::messages::{Content, Transfer};
use crate::dns::Transport;
use crate::dns::responder::{Asked, metadata};
use crate::dns::tsig::Session;

/// What a question for a transfer leads to.
#[derive(Debug)]
pub(in crate::dns) enum Reaction {
    /// This is sent, over a connection.
    Stream(Transfer),
    /// This is sent, by UDP.
    Message(Vec<u8>),
    /// It is not answered, for this reason.
    Refuse(ResponseCode),
}

impl Transfers {
    /// Whether a query is for a transfer.
    pub(in crate::dns) fn are_asked(question: &Query) -> bool {
        matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR)
    }

    /// Answers a question for a transfer; the second value is a metric's label.
    ///
    /// By UDP there is no AXFR (RFC 5936, section 4.2), and an IXFR has the SOA only, which says whether it is worth a
    /// connection (RFC 1995, section 2). HTTPS carries one message only.
    pub(in crate::dns) fn answer(
        &self,
        asked: &Asked<'_>,
        question: &Query,
        session: &mut Option<Session>,
    ) -> (Reaction, &'static str) {
        let Asked { query, arrival, edns } = asked;
        let source = arrival.source.ip();
        let refuse = |rcode| (Reaction::Refuse(rcode), "refused");
        let by_datagram = match arrival.transport {
            Transport::Tcp | Transport::Tls => false,
            Transport::Udp if question.query_type() == RecordType::IXFR => true,
            Transport::Udp | Transport::Https => return refuse(ResponseCode::Refused),
        };
        let key = session.as_ref().map(Session::key);
        if !self.permission.covers(source, key) || question.query_class() != DNSClass::IN {
            info!(zone = %question.name(), %source, signed = key.is_some(), "a transfer was refused");
            return refuse(ResponseCode::Refused);
        }
        let Some(history) = self.histories.get(&LowerName::new(question.name())) else {
            return refuse(ResponseCode::NotAuth);
        };
        let version = history.current();
        let content = match question.query_type() {
            RecordType::IXFR => {
                let Some(serial) = serial_of(query) else { return refuse(ResponseCode::FormErr) };
                match history.since(serial) {
                    Missing::Nothing => Content::Nothing,
                    Missing::Changes(_) | Missing::Unknown if by_datagram => Content::Nothing,
                    Missing::Changes(changes) => Content::Changes(changes),
                    Missing::Unknown => Content::Whole,
                }
            }
            _ => Content::Whole,
        };
        let result = content.label();
        info!(zone = %question.name(), serial = version.serial(), %source, content = result, "a transfer");
        let metadata = metadata(query, ResponseCode::NoError, true);
        let signer = if by_datagram { None } else { session.take() };
        let mut transfer =
            Transfer::new(metadata, question.clone(), edns.clone(), version, content, signer);
        if !by_datagram {
            return (Reaction::Stream(transfer), result);
        }
        match transfer.next_message() {
            Ok(Some(message)) => (Reaction::Message(message), result),
            Ok(None) => refuse(ResponseCode::ServFail),
            Err(error) => {
                warn!(zone = %question.name(), %error, "a SOA record cannot be written");
                refuse(ResponseCode::ServFail)
            }
        }
    }
}

/// The version that a secondary has: it is in the authority section (RFC 1995, section 3).
fn serial_of(query: &Message) -> Option<u32> {
    query.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}
