//! DNS over UDP: each query is read, answered and sent in one go.
//!
//! hickory's own loop hands a query to a task and its answer to another, so that whatever the query woke runs before the
//! answer has left. Here the answer leaves first. Reading, encoding and truncation are hickory's all the same.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::{FutureExt, StreamExt};
use hickory_proto::op::{Header, HeaderCounts, MessageType, Metadata, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::net::{BufDnsStreamHandle, NetError};
use hickory_server::server::{
    Request, RequestHandler, ResponseHandle, ResponseHandler, ResponseInfo,
};
use hickory_server::zone_handler::MessageResponse;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::Handler;

/// The longest query that is read; longer ones are cut and then refused as malformed.
const LONGEST: usize = 4096;
/// Queries that are answered before others get their turn on this thread.
const BURST: usize = 32;

/// Answers on a socket until the task is dropped.
pub(super) async fn serve(handler: Arc<Handler>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = [0; LONGEST];
    // Answers that wait for a guest to be ready.
    let mut waiting = JoinSet::new();
    loop {
        for _ in 0..BURST {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, source)) => {
                    if is_answerable(source) {
                        let query = buffer[..length].to_vec();
                        let answering = answer(handler.clone(), socket.clone(), query, source);
                        try_now(Box::pin(answering), &mut waiting).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Of an earlier answer that could not be delivered; the socket is as good as before.
                Err(error) => debug!(%error, "a UDP socket reports"),
            }
        }
        while waiting.try_join_next().is_some() {}
        if let Err(error) = socket.readable().await {
            warn!(%error, "a UDP socket cannot be waited for");
            return;
        }
    }
}

/// Lets an answer be made at once, or in a task of its own if it has to wait.
async fn try_now<F>(mut answering: Pin<Box<F>>, waiting: &mut JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let polled = std::future::poll_fn(|context| Poll::Ready(answering.as_mut().poll(context)));
    if polled.await.is_pending() {
        waiting.spawn(answering);
    }
}

/// Whether an answer can be sent there: not to port 0, and not to everybody.
fn is_answerable(source: SocketAddr) -> bool {
    let to_many = match source.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    source.port() != 0 && !to_many
}

async fn answer(handler: Arc<Handler>, socket: Arc<UdpSocket>, query: Vec<u8>, source: SocketAddr) {
    let out = Direct { socket, source };
    // Fewer octets than a header cannot be answered: there is no id to answer to.
    let Ok(header) = Header::read(&mut BinDecoder::new(&query)) else { return };
    if header.metadata.message_type == MessageType::Response {
        // An answer to an answer could go on for ever.
        return;
    }
    match Request::from_bytes(query, source, Protocol::Udp) {
        Ok(request) => {
            handler.handle_request::<_, TokioTime>(&request, out).await;
        }
        Err(error) => out.refuse_malformed(&header, &error),
    }
}

/// Sends an answer as soon as it is made.
#[derive(Clone)]
struct Direct {
    socket: Arc<UdpSocket>,
    source: SocketAddr,
}

impl Direct {
    /// A header that says that the rest of the query cannot be read (RFC 1035, section 4.1.1).
    fn refuse_malformed(&self, header: &Header, error: &dyn std::error::Error) {
        debug!(%error, source = %self.source, "a query that cannot be read");
        let mut metadata = Metadata::response_from_request(&header.metadata);
        metadata.response_code = ResponseCode::FormErr;
        let refusal = Header { metadata, counts: HeaderCounts::default() };
        let mut octets = Vec::new();
        // A header always fits; whether the answer arrives is not for UDP to say.
        if refusal.emit(&mut BinEncoder::new(&mut octets)).is_ok() {
            let _ = self.socket.try_send_to(&octets, self.source);
        }
    }
}

#[async_trait::async_trait]
impl ResponseHandler for Direct {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let (stream, mut encoded) = BufDnsStreamHandle::new(self.source);
        let info =
            ResponseHandle::new(self.source, stream, Protocol::Udp).send_response(response).await?;
        if let Some(Some(message)) = encoded.next().now_or_never() {
            // A full socket loses it, as any network may: the client asks again.
            self.socket.try_send_to(message.bytes(), self.source)?;
        }
        Ok(info)
    }
}
