//! DNS over HTTPS (RFC 8484): a query in a request, by HTTP/2 or HTTP/1.1 as TLS has agreed on.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use hickory_proto::op::Message;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::End;
use super::connection::Peer;
use super::places::Place;
use crate::clock;
use crate::dns::{Arrival, Reply, Responder, Transport};

/// The media type of a message (RFC 8484, section 6).
const MESSAGE: HeaderValue = HeaderValue::from_static("application/dns-message");
/// The longest query, in octets, and so the longest body.
const LONGEST_QUERY: usize = 4096;
/// Memory for a request's head, in octets: its URI has a query in base64.
const HEAD_U32: u32 = 16 * 1024;
const HEAD: usize = HEAD_U32 as usize;
/// Requests at once on an HTTP/2 connection.
const STREAMS: u32 = 64;

/// Answers until the client goes or is silent.
pub(super) async fn answer_all(
    responder: &Responder,
    stream: TlsStream<TcpStream>,
    peer: Peer,
    place: &Arc<Place>,
    path: &Arc<str>,
) -> End {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let under_way = Arc::new(AtomicUsize::new(0));
    let client = Client {
        responder: responder.clone(),
        path: path.clone(),
        place: place.clone(),
        under_way: under_way.clone(),
        source: peer.source,
        idle: peer.idle,
    };
    let service = service_fn(move |request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(client.serve(request).await) }
    });
    let stream = TokioIo::new(stream);
    let watch = Watch { place, under_way: &under_way, idle: peer.idle };
    if is_http2 {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_U32)
            .initial_stream_window_size(HEAD_U32)
            .max_send_buf_size(HEAD)
            .serve_connection(stream, service);
        let connection = pin!(connection);
        watch.over(connection, |connection| connection.graceful_shutdown()).await
    } else {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(peer.idle)
            .max_buf_size(HEAD)
            .serve_connection(stream, service);
        let connection = pin!(connection);
        watch.over(connection, |connection| connection.graceful_shutdown()).await
    }
}

/// Ends a connection on which nothing is asked.
struct Watch<'a> {
    place: &'a Place,
    under_way: &'a AtomicUsize,
    idle: Duration,
}

impl Watch<'_> {
    async fn over<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        shut_down: impl Fn(Pin<&mut C>),
    ) -> End {
        let mut leaving = false;
        let mut look = clock::now() + self.idle;
        loop {
            tokio::select! {
                ended = &mut connection => {
                    return match ended {
                        _ if leaving => End::Idle,
                        Ok(()) => End::Client,
                        Err(_) => End::Broken,
                    };
                }
                () = sleep_until(clock::tokio_instant(look)) => {
                    let now = clock::now();
                    let silent_since = self.place.last_use().unwrap_or(now);
                    let is_silent = self.under_way.load(Ordering::Relaxed) == 0
                        && now.saturating_since(silent_since) >= self.idle;
                    if leaving {
                        // It has not even taken the news that it should go.
                        return End::Idle;
                    }
                    if is_silent {
                        leaving = true;
                        shut_down(connection.as_mut());
                    }
                    look = if is_silent { now } else { silent_since.max(now) } + self.idle;
                }
            }
        }
    }
}

/// Who asks on a connection.
#[derive(Clone)]
struct Client {
    responder: Responder,
    path: Arc<str>,
    place: Arc<Place>,
    /// Requests that are not answered yet.
    under_way: Arc<AtomicUsize>,
    source: SocketAddr,
    idle: Duration,
}

impl Client {
    async fn serve(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let _under_way = UnderWay::begin(&self.under_way);
        self.place.touch(clock::now());
        let query = match timeout(self.idle, query_of(request, &self.path)).await {
            Ok(Ok(query)) => query,
            Ok(Err(status)) => return plain(status),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT),
        };
        let arrival = Arrival::now(self.source, Transport::Https);
        let Some(reply) = self.responder.respond(&query, &arrival).settle().await else {
            return plain(StatusCode::BAD_REQUEST);
        };
        self.place.touch(clock::now());
        let response = response(&reply);
        self.responder.sent(reply);
        response
    }
}

/// One request that is under way.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The query that a request carries, or the status of its refusal.
async fn query_of<B>(request: Request<B>, path: &str) -> Result<Vec<u8>, StatusCode>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.uri().path() != path {
        return Err(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::GET | Method::HEAD => {
            let parameters = request.uri().query().unwrap_or_default().split('&');
            let query = parameters.filter_map(|parameter| parameter.strip_prefix("dns=")).next();
            let query = query.ok_or(StatusCode::BAD_REQUEST)?.trim_end_matches('=');
            if BASE64URL_NOPAD.decode_len(query.len()).unwrap_or(0) > LONGEST_QUERY {
                return Err(StatusCode::URI_TOO_LONG);
            }
            BASE64URL_NOPAD.decode(query.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)
        }
        Method::POST => {
            if request.headers().get(CONTENT_TYPE) != Some(&MESSAGE) {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let body = Limited::new(request.into_body(), LONGEST_QUERY).collect().await;
            // Longer than any query, or broken off: there is nobody to tell the difference.
            body.map(|body| body.to_bytes().into()).map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn response(reply: &Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(&reply.message)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, MESSAGE);
    let lifetime = lifetime(&reply.message);
    // Digits are a valid value.
    if let Ok(value) = HeaderValue::from_str(&format!("max-age={lifetime}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    response
}

/// How long a cache may keep a response, in seconds: as long as its shortest-lived record (RFC 8484, section 5.1).
fn lifetime(message: &[u8]) -> u32 {
    let Ok(message) = Message::from_vec(message) else { return 0 };
    let records = message.answers.iter().chain(&message.authorities);
    records.map(|record| record.ttl).min().unwrap_or(0)
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn query(method: &str, uri: &str, kind: &str, body: &[u8]) -> Result<Vec<u8>, u16> {
        let request = Request::builder().method(method).uri(uri).header(CONTENT_TYPE, kind);
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        query_of(request, "/dns-query").await.map_err(|status| status.as_u16())
    }

    #[tokio::test]
    async fn queries_are_taken_from_requests() {
        const KIND: &str = "application/dns-message";
        assert_eq!(query("GET", "/dns-query?a=b&dns=AAEB", "", b"").await, Ok(vec![0, 1, 1]));
        assert_eq!(query("GET", "/dns-query?dns=AAE=", "", b"").await, Ok(vec![0, 1]));
        assert_eq!(query("GET", "/dns-query?dns=A!", "", b"").await, Err(400));
        assert_eq!(query("GET", "/dns-query", "", b"").await, Err(400));
        let long = format!("/dns-query?dns={}", "A".repeat(8000));
        assert_eq!(query("GET", &long, "", b"").await, Err(414));
        assert_eq!(query("POST", "/dns-query", KIND, b"query").await, Ok(b"query".to_vec()));
        assert_eq!(query("POST", "/dns-query", "text/plain", b"query").await, Err(415));
        assert_eq!(query("POST", "/dns-query", KIND, &[0; 5000]).await, Err(413));
        assert_eq!(query("POST", "/", KIND, b"query").await, Err(404));
        assert_eq!(query("PUT", "/dns-query", KIND, b"query").await, Err(405));
    }
}
