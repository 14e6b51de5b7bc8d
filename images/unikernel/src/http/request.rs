//! A request's head: from octets to what a service needs to know.

use crate::http::Status;
use crate::server::RECEIVE_BUFFER;

/// The most octets that a request line and its header fields may take: they must fit the receive buffer.
pub const HEAD_MAX: usize = RECEIVE_BUFFER;

/// The most header fields that a request may have.
const FIELDS_MAX: usize = 64;

/// A request, without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The request target, as sent.
    pub target: &'a str,
    /// The request line and the header fields, as sent, with the empty line that ends them.
    pub head: &'a [u8],
    /// Octets of the body that follows.
    pub content_length: u64,
    /// The connection may serve another request after this one.
    pub keep_alive: bool,
    /// The client waits for a word before it sends the body (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
}

/// Why a request is not served: the answer, after which the connection is closed, because where the next
/// request begins is not known for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: Status,
    /// What is wrong, for the client's developer.
    pub reason: &'static str,
}

/// What the octets received so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head<'a> {
    /// The beginning of a head.
    Partial,
    /// A whole head; the body begins after [`Request::head`].
    Whole(Request<'a>),
}

impl<'a> Request<'a> {
    /// Reads the head at the beginning of `octets`.
    ///
    /// # Errors
    /// When it is none, or too long, or says contradictory things about the length of the body.
    pub fn parse(octets: &'a [u8]) -> Result<Head<'a>, Refusal> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        let size = match parsed.parse(octets) {
            Ok(httparse::Status::Complete(size)) if size <= HEAD_MAX => size,
            Ok(httparse::Status::Partial) if octets.len() < HEAD_MAX => return Ok(Head::Partial),
            Ok(_) => {
                return Err(refuse(Status::HeadTooLarge, "the head has more than 3072 octets"));
            }
            Err(httparse::Error::TooManyHeaders) => {
                return Err(refuse(Status::HeadTooLarge, "the head has more than 64 fields"));
            }
            Err(httparse::Error::Version) => {
                return Err(refuse(
                    Status::VersionNotSupported,
                    "the version is not HTTP/1.0 or 1.1",
                ));
            }
            Err(_) => return Err(refuse(Status::BadRequest, "that is not an HTTP request")),
        };
        let current = parsed.version == Some(1);
        let mut request = Self {
            method: parsed.method.unwrap_or_default(),
            target: parsed.path.unwrap_or_default(),
            head: &octets[..size],
            content_length: 0,
            keep_alive: current,
            expects_continue: false,
        };
        request.read_fields(parsed.headers, current)?;
        Ok(Head::Whole(request))
    }

    fn read_fields(
        &mut self,
        fields: &[httparse::Header<'_>],
        current: bool,
    ) -> Result<(), Refusal> {
        let mut hosts = 0;
        let mut content_length = None;
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                let length = decimal(field.value.trim_ascii())
                    .ok_or(refuse(Status::BadRequest, "Content-Length is not a number"))?;
                // RFC 9112, section 6.3: two that differ are an attack or an accident.
                if content_length.replace(length).is_some_and(|before| before != length) {
                    return Err(refuse(Status::BadRequest, "two different Content-Lengths"));
                }
            } else if is("transfer-encoding") {
                return Err(refuse(Status::LengthRequired, "send a body with Content-Length"));
            } else if is("connection") {
                for option in field.value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        self.keep_alive = false;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") && !current {
                        self.keep_alive = true;
                    }
                }
            } else if is("expect") {
                if !field.value.trim_ascii().eq_ignore_ascii_case(b"100-continue") {
                    return Err(refuse(Status::ExpectationFailed, "only 100-continue is known"));
                }
                self.expects_continue = current;
            }
        }
        // RFC 9112, section 3.2.
        if hosts > 1 || (hosts == 0 && current) {
            return Err(refuse(Status::BadRequest, "an HTTP/1.1 request has one Host field"));
        }
        self.content_length = content_length.unwrap_or(0);
        Ok(())
    }

    /// The path of the target, without its query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }
}

const fn refuse(status: Status, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// A number of decimal digits only; a sign, which Rust's own reading allows, is none.
fn decimal(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}
