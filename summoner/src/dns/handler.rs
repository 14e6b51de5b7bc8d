//! From a request to a response: checks what the protocol asks for, asks the zone, wakes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use policies::Instant;
use policies::budget::Credibility;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;
use zone::{Answer, Question};

use super::{DnsMetrics, Published, QueryWake, ServiceEntry, edns};
use crate::config::AnswerMode;

/// Answers requests from what is published.
#[derive(Clone)]
pub struct Handler {
    published: Arc<ArcSwap<Published>>,
    wakes: mpsc::Sender<QueryWake>,
    metrics: Arc<dyn DnsMetrics>,
    clock: fn() -> Instant,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").finish_non_exhaustive()
    }
}

/// What goes back: everything but the question.
struct Reply {
    rcode: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    /// Whose name it was, to stamp the answer.
    service: Option<ServiceEntry>,
    /// Whom it wakes, once the answer has left.
    wake: Option<QueryWake>,
}

impl Reply {
    const fn error(rcode: ResponseCode) -> Self {
        Self {
            rcode,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            service: None,
            wake: None,
        }
    }
}

impl Handler {
    /// A handler that answers from `published` and sends wakes to `wakes`.
    #[must_use]
    pub fn new(
        published: Arc<ArcSwap<Published>>,
        wakes: mpsc::Sender<QueryWake>,
        metrics: Arc<dyn DnsMetrics>,
        clock: fn() -> Instant,
    ) -> Self {
        Self { published, wakes, metrics, clock }
    }

    async fn reply_to(&self, request: &Request, received_at: Instant) -> Reply {
        if request.metadata.message_type != MessageType::Query {
            return Reply::error(ResponseCode::FormErr);
        }
        if request.metadata.op_code != OpCode::Query {
            return Reply::error(ResponseCode::NotImp);
        }
        // More than one question has no defined answer (RFC 9619).
        let Ok(info) = request.request_info() else { return Reply::error(ResponseCode::FormErr) };
        if request.edns.as_ref().is_some_and(|edns| !edns::is_known(edns)) {
            return Reply::error(ResponseCode::BADVERS);
        }
        match info.query.query_type() {
            // Zone transfers and meta types other than ANY are not questions about a name.
            RecordType::AXFR | RecordType::IXFR => return Reply::error(ResponseCode::Refused),
            RecordType::OPT => return Reply::error(ResponseCode::FormErr),
            _ => {}
        }
        let published = self.published.load();
        let question = Question {
            name: info.query.name(),
            qtype: info.query.query_type(),
            qclass: info.query.query_class(),
        };
        let answer = published.zone.answer(&question);
        let service = answer.service.and_then(|id| published.services.get(&id)).cloned();
        let (wake, ready) = self.note(&answer, service.as_ref(), &question, request, received_at);
        let reply = Reply {
            rcode: answer.rcode,
            authoritative: answer.authoritative,
            answers: echoed(answer.answers, request),
            authorities: answer.authorities.to_vec(),
            additionals: answer.additionals.to_vec(),
            service,
            wake,
        };
        // The published zone may be replaced while the answer waits.
        drop(published);
        if let Some((ready, cap)) = ready {
            // Ready, not to be ready, or too late: it is answered in any case.
            let _ = tokio::time::timeout(cap, ready).await;
        }
        reply
    }

    /// Notes a question that is a sign of use. If the service is not awake: the wake that is to be sent after the answer,
    /// or, if the answer is to wait, for what and how long, the wake being sent.
    fn note(
        &self,
        answer: &Answer<'_>,
        service: Option<&ServiceEntry>,
        question: &Question<'_>,
        request: &Request,
        received_at: Instant,
    ) -> (Option<QueryWake>, Option<(oneshot::Receiver<()>, std::time::Duration)>) {
        let (Some(id), Some(service), true) = (answer.service, service, answer.wake) else {
            return (None, None);
        };
        if service.signal.note_query(received_at) {
            return (None, None);
        }
        let wake = |ready| QueryWake {
            service: id,
            received_at,
            qtype: question.qtype,
            source: request.src().ip(),
            credibility: credibility(request.protocol()),
            ready,
        };
        match service.answer {
            AnswerMode::Now => (Some(wake(None)), None),
            AnswerMode::Ready { cap } => {
                let (sender, receiver) = oneshot::channel();
                self.wake(wake(Some(sender)));
                (None, Some((receiver, cap)))
            }
        }
    }

    fn wake(&self, wake: QueryWake) {
        if self.wakes.try_send(wake).is_err() {
            // Full: thousands of wakes wait. The client's packet will wake it.
            self.metrics.wake_dropped();
        }
    }

    async fn respond<R: ResponseHandler>(
        &self,
        request: &Request,
        reply: &Reply,
        mut response_handle: R,
    ) -> Option<ResponseInfo> {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.rcode;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = false;
        let opt: Option<Edns> = request.edns.as_ref().map(|asked| {
            let mut opt = edns::answer_to(asked);
            opt.set_rcode_high(reply.rcode.high());
            opt
        });
        let response = MessageResponseBuilder::new(&request.queries, opt.as_ref()).build(
            metadata,
            &reply.answers,
            &reply.authorities,
            &[],
            &reply.additionals,
        );
        match response_handle.send_response(response).await {
            Ok(info) => Some(info),
            Err(error) => {
                debug!(%error, "an answer could not be sent");
                None
            }
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        response_handle: R,
    ) -> ResponseInfo {
        let received_at = (self.clock)();
        let mut reply = self.reply_to(request, received_at).await;
        let sent = self.respond(request, &reply, response_handle).await;
        // After the answer: the boot must not take the processor that the client needs to read it.
        if let Some(wake) = reply.wake.take() {
            self.wake(wake);
        }
        if let Some(service) = &reply.service {
            service.signal.note_answer((self.clock)());
        }
        let qtype =
            request.request_info().map_or("none", |info| qtype_label(info.query.query_type()));
        self.metrics.query(qtype, rcode_label(reply.rcode));
        sent.unwrap_or_else(|| {
            let metadata = Metadata::response_from_request(&request.metadata);
            ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
        })
    }
}

/// A datagram may come from anybody; whoever asks over a connection has been answered there.
const fn credibility(protocol: Protocol) -> Credibility {
    if matches!(protocol, Protocol::Udp) { Credibility::Forgeable } else { Credibility::Proven }
}

/// The records with the owner name as it was asked, its case kept: resolvers use it as a cookie
/// (draft-vixie-dnsext-dns0x20).
fn echoed(records: &[Record], request: &Request) -> Vec<Record> {
    let mut records = records.to_vec();
    if let Ok(info) = request.request_info() {
        let name = info.query.original().name();
        for record in &mut records {
            record.name.clone_from(name);
        }
    }
    records
}

/// A closed set of labels: the types that matter here, and one word for the rest.
const fn qtype_label(qtype: RecordType) -> &'static str {
    match qtype {
        RecordType::A => "A",
        RecordType::AAAA => "AAAA",
        RecordType::ANY => "ANY",
        RecordType::CAA => "CAA",
        RecordType::CNAME => "CNAME",
        RecordType::DNSKEY => "DNSKEY",
        RecordType::DS => "DS",
        RecordType::HTTPS => "HTTPS",
        RecordType::MX => "MX",
        RecordType::NS => "NS",
        RecordType::PTR => "PTR",
        RecordType::SOA => "SOA",
        RecordType::SRV => "SRV",
        RecordType::SVCB => "SVCB",
        RecordType::TXT => "TXT",
        _ => "other",
    }
}

const fn rcode_label(rcode: ResponseCode) -> &'static str {
    match rcode {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::BADVERS => "BADVERS",
        _ => "other",
    }
}
