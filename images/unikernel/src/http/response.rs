//! A response: its head, and a body that needs no more memory than its description.

use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::http::Refusal;

/// The statuses that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "RFC 9110, section 15, has the meanings")]
pub enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    LengthRequired,
    ContentTooLarge,
    ExpectationFailed,
    HeadTooLarge,
    VersionNotSupported,
}

impl Status {
    /// The status code and its phrase.
    #[must_use]
    pub const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::LengthRequired => "411 Length Required",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::ExpectationFailed => "417 Expectation Failed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// A response's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// These octets.
    Octets(Vec<u8>),
    /// That many octets of the [`pattern`].
    Pattern(u64),
    /// The body of the request, as it comes in.
    Echo,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: Status,
    /// The media type of its body.
    pub content_type: &'static str,
    /// For [`Status::MethodNotAllowed`]: the methods that are.
    pub allow: Option<&'static str>,
    /// Its body.
    pub body: Body,
}

impl Response {
    /// A successful response.
    #[must_use]
    pub const fn ok(content_type: &'static str, body: Body) -> Self {
        Self { status: Status::Ok, content_type, allow: None, body }
    }

    /// A successful response of plain text.
    #[must_use]
    pub const fn text(body: Vec<u8>) -> Self {
        Self::ok(TEXT, Body::Octets(body))
    }

    /// A response that says what is wrong.
    #[must_use]
    pub fn error(status: Status, reason: &str) -> Self {
        let mut text = Vec::with_capacity(reason.len() + 1);
        text.extend_from_slice(reason.as_bytes());
        text.push(b'\n');
        Self { status, content_type: TEXT, allow: None, body: Body::Octets(text) }
    }

    /// The response to a method other than those in `allow`.
    #[must_use]
    pub fn not_allowed(allow: &'static str) -> Self {
        let response = Self::error(Status::MethodNotAllowed, "this method is not served here");
        Self { allow: Some(allow), ..response }
    }

    /// The head, for a body of `length` octets.
    #[must_use]
    pub fn head(&self, length: u64, keep_alive: bool) -> Vec<u8> {
        let mut head = Text(Vec::with_capacity(192));
        // Writing to a vector does not fail.
        let _ = write!(
            head,
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n",
            self.status.line(),
            self.content_type,
        );
        if let Some(allow) = self.allow {
            let _ = write!(head, "Allow: {allow}\r\n");
        }
        // Said both ways: an HTTP/1.0 client must be told that the connection stays.
        let option = if keep_alive { "keep-alive" } else { "close" };
        let _ = write!(head, "Connection: {option}\r\n\r\n");
        head.0
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::error(refusal.status, refusal.reason)
    }
}

/// The media type of plain text.
const TEXT: &str = "text/plain; charset=utf-8";

struct Text(Vec<u8>);

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// The pattern repeats after this many octets; a prime, so that a lost or doubled segment shows.
const PERIOD: usize = 251;

/// A number of whole periods that is worth a copy.
const TABLE: [u8; PERIOD * 8] = {
    let mut table = [0; PERIOD * 8];
    let mut index = 0;
    while index < table.len() {
        #[expect(clippy::cast_possible_truncation, reason = "below 251")]
        {
            table[index] = (index % PERIOD) as u8;
        }
        index += 1;
    }
    table
};

/// Fills `octets` with the pattern from `position` on: the octet at position *i* is *i* modulo 251.
pub fn pattern(position: u64, octets: &mut [u8]) {
    #[expect(clippy::cast_possible_truncation, reason = "below 251")]
    let mut start = (position % PERIOD as u64) as usize;
    for part in octets.chunks_mut(TABLE.len() - PERIOD) {
        part.copy_from_slice(&TABLE[start..start + part.len()]);
        start = (start + part.len()) % PERIOD;
    }
}
