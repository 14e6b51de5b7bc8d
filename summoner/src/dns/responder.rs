//! From a query's octets to a response's: checks what the protocol asks for, asks the zones, says whom the question wakes.
//! Pure but for counting: nothing here waits, and whoever sends the response wakes afterwards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use hickory_proto::op::{
    Edns, Header, HeaderCounts, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::{DNSClass, LowerName, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use policies::budget::Credibility;
use policies::refresh::Refreshes;
use policies::response_rate::ResponseClass;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;
use zone::{Answer, Kind, Placed, Question};

use super::cookies::{Cookies, Malformed};
use super::edns::Explanation;
use super::render::Draft;
use super::screen::screen;
use super::transfer::{Transfer, Transfers};
use super::tsig::Session;
use super::uses::{self, Aftermath, Recipe, Uses};
use super::wire::HEADER;
use super::{
    Arrival, DnsMetrics, Later, Published, QueryWake, Settings, Transport, chaos, edns, labels,
};
use crate::clock;
use crate::templates::Request;

/// The longest message that a connection carries (RFC 1035, section 4.2.2).
const LONGEST: usize = 65_535;

/// Answers queries from what is published.
#[derive(Clone)]
pub struct Responder {
    published: Arc<ArcSwap<Published>>,
    pub(super) wakes: mpsc::Sender<QueryWake>,
    metrics: Arc<dyn DnsMetrics>,
    /// Shared: the queries of one network come by any socket. Locked for services only that have `wake_on_refresh = false`.
    pub(super) refreshes: Arc<Mutex<Refreshes>>,
    settings: Arc<Settings>,
    cookies: Option<Arc<Cookies>>,
    /// Where services are made; none for what is answered when that is over.
    pub(super) makers: Option<mpsc::Sender<Request>>,
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}

/// What is to be done about a query.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing: it was none, or nobody could use an answer.
    Silence,
    /// Send this.
    Send(Reply),
    /// Send this when the guest is ready, or after the cap. It has been woken.
    Wait {
        /// What to send.
        reply: Reply,
        /// Told when the guest is ready; dropped if it will not be.
        ready: oneshot::Receiver<()>,
        /// The longest wait.
        cap: Duration,
    },
    /// Send all of these, one after the other; only to a query that came by TCP or TLS.
    Transfer(Transfer),
    /// A service is being made for the name: what to do is known when it is.
    Later(Later),
}

/// A response, and what it leads to.
#[derive(Debug)]
pub struct Reply {
    /// Its octets.
    pub message: Vec<u8>,
    /// Its kind, for its rate.
    pub class: ResponseClass,
    /// Whether it goes to whom it is meant for, however it came.
    pub credibility: Credibility,
    /// What is to be done when it has left.
    pub(super) after: Aftermath,
    /// What it takes to use it again, if it is of use for other queries.
    pub(super) recipe: Option<Recipe>,
}

impl Reply {
    /// One that concerns no service.
    pub(super) const fn of(
        message: Vec<u8>,
        rcode: ResponseCode,
        credibility: Credibility,
    ) -> Self {
        let class = match rcode {
            ResponseCode::NoError => ResponseClass::Answer,
            ResponseCode::NXDomain => ResponseClass::NxDomain,
            ResponseCode::Refused => ResponseClass::Refused,
            _ => ResponseClass::Error,
        };
        Self::again(message, class, credibility)
    }

    /// One whose octets are known, and what it leads to is noted already.
    pub(super) const fn again(
        message: Vec<u8>,
        class: ResponseClass,
        credibility: Credibility,
    ) -> Self {
        Self { message, class, credibility, after: Aftermath::NOTHING, recipe: None }
    }
}

impl Responder {
    /// A responder that answers from `published` and sends wakes to `wakes`.
    #[must_use]
    pub fn new(
        published: Arc<ArcSwap<Published>>,
        wakes: mpsc::Sender<QueryWake>,
        metrics: Arc<dyn DnsMetrics>,
        settings: Arc<Settings>,
    ) -> Self {
        let cookies = settings.cookies.as_ref().map(|secrets| Arc::new(secrets.cookies()));
        let refreshes = Arc::default();
        Self { published, wakes, metrics, settings, cookies, refreshes, makers: None }
    }

    /// Where drivers count.
    pub(super) fn metrics(&self) -> &dyn DnsMetrics {
        &*self.metrics
    }

    /// What is published now.
    pub(super) fn published(&self) -> Guard<Arc<Published>> {
        self.published.load()
    }

    /// Answers a query.
    #[must_use]
    pub fn respond(&self, query: &[u8], arrival: &Arrival) -> Outcome {
        // Fewer octets than a header cannot be answered: there is no id to answer to.
        let Ok(header) = Header::read(&mut BinDecoder::new(query)) else { return Outcome::Silence };
        if header.metadata.message_type == MessageType::Response {
            // An answer to an answer could go on for ever.
            return Outcome::Silence;
        }
        let unreadable = |error: &dyn std::fmt::Display| {
            debug!(%error, source = %arrival.source, "a query that cannot be read");
            let rcode = match header.metadata.op_code {
                OpCode::Query => ResponseCode::FormErr,
                // Nobody asks for it to be read.
                _ => ResponseCode::NotImp,
            };
            self.metrics.query("none", labels::rcode(rcode));
            bare(&header.metadata, rcode, arrival)
        };
        if let Err(malformed) = screen(query) {
            return unreadable(&malformed);
        }
        match Message::from_vec(query) {
            Ok(message) => match self.respond_signed(query, &message, arrival) {
                Outcome::Later(later) => Outcome::Later(later.with(query)),
                outcome => outcome,
            },
            Err(error) => unreadable(&error),
        }
    }

    /// What makes and knows cookies, if anything does.
    pub(super) fn cookies(&self) -> Option<Arc<Cookies>> {
        self.cookies.clone()
    }

    /// What every driver goes by.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers a query that could be read. A transfer takes the session of who has signed.
    pub(super) fn respond_to(
        &self,
        query: &Message,
        arrival: &Arrival,
        session: &mut Option<Session>,
    ) -> Outcome {
        let (asked, checked) = self.asked(query, arrival);
        let outcome = match checked.and_then(|()| question_of(&asked)) {
            Ok(Some(question)) if Transfers::are_asked(question) => {
                self.transfer(&asked, question, session)
            }
            Ok(Some(question)) if question.query_class() == DNSClass::CH => {
                self.answer_chaos(&asked, question)
            }
            Ok(Some(question)) => self.answer(&asked, question),
            // Only for a cookie.
            Ok(None) => {
                write(Draft::empty(metadata(query, ResponseCode::NoError, false), None), &asked)
            }
            Err(rcode) => refuse(&asked, rcode),
        };
        let (qtype, rcode) = (query.queries.first().map(Query::query_type), rcode_of(&outcome));
        if !matches!(outcome, Outcome::Later(_)) {
            self.metrics.query(qtype.map_or("none", labels::qtype), labels::rcode(rcode));
        }
        outcome
    }

    /// A query with what its OPT record says of its source, and the OPT record to answer with; and whether that could be read.
    fn asked<'q>(
        &self,
        query: &'q Message,
        arrival: &Arrival,
    ) -> (Asked<'q>, Result<(), ResponseCode>) {
        let mut asked = Asked { query, arrival: *arrival, edns: None };
        let Some(offered) = &query.edns else { return (asked, Ok(())) };
        let mut edns = edns::answer_to(offered);
        let mut checked = Ok(());
        if let (Some(cookies), Some(cookie)) = (&self.cookies, edns::cookie(offered)) {
            match cookies.check(clock::unix_seconds(), arrival.source.ip(), cookie) {
                Ok(cookie) => {
                    asked.arrival.proven |= cookie.proven;
                    edns::put_cookie(&mut edns, &cookie.answer);
                }
                Err(Malformed) => checked = Err(ResponseCode::FormErr),
            }
        }
        if let Some(identity) = &self.settings.identity {
            edns::put_identity(&mut edns, offered, identity);
        }
        asked.edns = Some(edns);
        (asked, checked)
    }

    fn answer_chaos(&self, asked: &Asked<'_>, question: &Query) -> Outcome {
        let Some(record) = chaos::answer(question, &self.settings) else {
            return refuse(asked, ResponseCode::Refused);
        };
        let metadata = metadata(asked.query, ResponseCode::NoError, true);
        let draft =
            Draft { answers: vec![record], ..Draft::empty(metadata, Some(question.clone())) };
        write(draft, asked)
    }

    fn answer(&self, asked: &Asked<'_>, query: &Query) -> Outcome {
        let published = self.published.load();
        let name = LowerName::new(query.name());
        let dnssec_ok = asked.query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        let arrival = &asked.arrival;
        let question = Question {
            name: &name,
            qtype: query.query_type(),
            qclass: query.query_class(),
            dnssec_ok,
            rotation: uses::turn(arrival.received_at),
        };
        let Some(zone) = published.zones.find(&name, question.qtype) else {
            return refuse(asked, ResponseCode::Refused);
        };
        let answer = zone.answer(&question);
        if let Some(unmade) = &answer.unmade
            && let Some(outcome) = self.make(unmade, asked, &published)
        {
            return outcome;
        }
        let uses = Uses::of(&answer, question.qtype);
        let mut after = Aftermath::default();
        let ready = self.note(&published, &uses, arrival, &mut after);
        let draft = draft(asked.query, query, &answer, dnssec_ok);
        let whole = draft.counts(asked.edns.is_some());
        match write(draft, asked) {
            Outcome::Send(reply) => {
                let is_whole = reply.message.get(6..HEADER) == Some(&whole[..]);
                let turn = answer.rotates.then_some(question.rotation);
                let recipe =
                    (is_whole && uses::is_of_use(&answer)).then_some(Recipe { uses, turn });
                let reply = Reply { class: class_of(answer.kind), after, recipe, ..reply };
                match ready {
                    Some((ready, cap)) => Outcome::Wait { reply, ready, cap },
                    None => Outcome::Send(reply),
                }
            }
            other => other,
        }
    }
}

/// A query, and what its OPT record adds.
#[derive(Debug)]
pub(super) struct Asked<'q> {
    pub(super) query: &'q Message,
    pub(super) arrival: Arrival,
    /// The OPT record to answer with, if there was one.
    pub(super) edns: Option<Edns>,
}

/// The one question that can be answered, `None` if only a cookie is asked for, or why there is none.
fn question_of<'q>(asked: &Asked<'q>) -> Result<Option<&'q Query>, ResponseCode> {
    let query = asked.query;
    if query.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if query.edns.as_ref().is_some_and(|edns| !edns::is_known(edns)) {
        return Err(ResponseCode::BADVERS);
    }
    let question = match query.queries.as_slice() {
        [question] => question,
        // RFC 7873, section 5.4.
        [] if asked.edns.as_ref().and_then(edns::cookie).is_some() => return Ok(None),
        // More than one question has no defined answer (RFC 9619).
        _ => return Err(ResponseCode::FormErr),
    };
    match question.query_type() {
        // Meta types other than ANY are not questions about a name; transfers go their own way.
        RecordType::OPT | RecordType::TSIG => Err(ResponseCode::FormErr),
        _ => Ok(Some(question)),
    }
}

fn draft(query: &Message, asked: &Query, answer: &Answer<'_>, dnssec_ok: bool) -> Draft {
    let section = |placed: &[Placed<'_>]| {
        placed.iter().flat_map(|placed| placed.records(dnssec_ok)).collect::<Vec<_>>()
    };
    Draft {
        metadata: metadata(query, answer.rcode, answer.authoritative),
        question: Some(asked.clone()),
        answers: section(&answer.answers),
        authorities: section(&answer.authorities),
        additionals: section(&answer.additionals),
        edns: None,
        padded: false,
        needs_additionals: answer.kind == Kind::Referral,
    }
}

pub(super) fn metadata(query: &Message, rcode: ResponseCode, authoritative: bool) -> Metadata {
    let mut metadata = Metadata::response_from_request(&query.metadata);
    metadata.response_code = rcode;
    metadata.authoritative = authoritative;
    metadata.recursion_available = false;
    // It is for those who validate, which we do not (RFC 4035, section 3.1.6).
    metadata.checking_disabled = false;
    metadata
}

pub(super) fn refuse(asked: &Asked<'_>, rcode: ResponseCode) -> Outcome {
    // Several questions are not repeated: nobody knows what an answer to them would look like.
    let question = match asked.query.queries.as_slice() {
        [question] => Some(question.clone()),
        _ => None,
    };
    write(Draft::empty(metadata(asked.query, rcode, false), question), asked)
}

/// How many octets a response may have.
pub(super) fn limit(query: &Message, arrival: &Arrival) -> usize {
    match arrival.transport {
        Transport::Udp => edns::limit(query.edns.as_ref()),
        Transport::Tcp | Transport::Tls | Transport::Https => LONGEST,
    }
}

pub(super) fn write(mut draft: Draft, asked: &Asked<'_>) -> Outcome {
    let Asked { query, arrival, edns } = asked;
    let rcode = draft.metadata.response_code;
    draft.edns = edns.clone().map(|mut edns| {
        edns.set_rcode_high(rcode.high());
        if let Some(asked) = &query.edns {
            edns::tell_about_connection(&mut edns, asked, arrival);
        }
        if let Some(why) = explanation(rcode, query) {
            edns::explain(&mut edns, why);
        }
        edns
    });
    draft.padded = edns::is_to_be_padded(query.edns.as_ref(), arrival);
    match draft.write(limit(query, arrival)) {
        Ok(message) => Outcome::Send(Reply::of(message, rcode, arrival.credibility())),
        Err(error) => {
            debug!(%error, "a response cannot be written");
            bare(&query.metadata, ResponseCode::ServFail, arrival)
        }
    }
}

const fn class_of(kind: Kind) -> ResponseClass {
    match kind {
        Kind::Data => ResponseClass::Answer,
        Kind::NoData => ResponseClass::NoData,
        Kind::NxDomain => ResponseClass::NxDomain,
        Kind::Referral => ResponseClass::Referral,
        Kind::Refused => ResponseClass::Refused,
    }
}

/// What a client may want to know about a result code.
fn explanation(rcode: ResponseCode, query: &Message) -> Option<Explanation> {
    let qtype = query.queries.first().map(Query::query_type);
    match rcode {
        ResponseCode::Refused => match qtype {
            Some(RecordType::AXFR | RecordType::IXFR) => Some(Explanation::Prohibited),
            _ => Some(Explanation::NotAuthoritative),
        },
        ResponseCode::NotImp => Some(Explanation::NotSupported),
        _ => None,
    }
}

/// A header that says what went wrong and nothing else.
fn bare(query: &Metadata, rcode: ResponseCode, arrival: &Arrival) -> Outcome {
    let mut metadata = Metadata::response_from_request(query);
    metadata.response_code = rcode;
    let header = Header { metadata, counts: HeaderCounts::default() };
    let mut octets = Vec::new();
    match header.emit(&mut BinEncoder::new(&mut octets)) {
        Ok(()) => Outcome::Send(Reply::of(octets, rcode, arrival.credibility())),
        // Twelve octets always fit.
        Err(_) => Outcome::Silence,
    }
}

/// The result code of a response, but for what its OPT record adds, which is BADVERS.
fn rcode_of(outcome: &Outcome) -> ResponseCode {
    match outcome {
        Outcome::Send(reply) | Outcome::Wait { reply, .. } => {
            let low = reply.message.get(3).map_or(0, |octet| octet & 0xf);
            ResponseCode::from(0, low)
        }
        Outcome::Silence | Outcome::Transfer(_) | Outcome::Later(_) => ResponseCode::NoError,
    }
}
