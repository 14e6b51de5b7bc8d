//! One HTTP connection: requests in, responses out, in order.
//!
//! A connection holds no memory besides its socket's two buffers, because a thousand slow clients must not
//! cost more than a thousand sockets: a head is read where it lies in the receive buffer, and an answer is
//! begun only when there is room for it in the send buffer.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;

use smoltcp::socket::tcp::Socket;

use crate::http::request::{HEAD_MAX, Head, Request};
use crate::http::response::{Body, Response, pattern};
use crate::server::{Connection, Next};

/// How long a client may be silent between two requests, or within one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Octets of the send buffer that must be free before a request is answered: enough for the head of the
/// response and a body as long as the head of the request.
const ROOM: usize = HEAD_MAX + 1024;

/// Sent to a client that waits for it before it sends its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What answers requests.
pub trait Site {
    /// The response to a request. A body of [`Body::Echo`] has the request's length; any other leaves the
    /// request's body unread, and then the connection is closed after the response.
    fn respond(&self, request: &Request<'_>) -> Response;
}

impl<S: Site + ?Sized> Site for Rc<S> {
    fn respond(&self, request: &Request<'_>) -> Response {
        (**self).respond(request)
    }
}

/// A connection to a [`Site`].
#[derive(Debug)]
pub struct Http<S> {
    site: S,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waiting for a head to be whole; the octets of it that were looked at already.
    Head { seen: usize },
    /// Sending a response.
    Answer(Answer),
}

/// A response that is being sent.
#[derive(Debug)]
struct Answer {
    /// Octets that go first: the head, and a short body.
    first: Vec<u8>,
    /// How many of them are sent.
    sent: usize,
    rest: Rest,
    keep_alive: bool,
}

/// What follows the first octets.
#[derive(Debug)]
enum Rest {
    /// The pattern from `position` to `end`.
    Pattern { position: u64, end: u64 },
    /// That many octets of the request's body.
    Echo { left: u64 },
}

impl<S: Site> Http<S> {
    /// A connection that has just been opened.
    pub const fn new(site: S) -> Self {
        Self { site, state: State::Head { seen: 0 } }
    }
}

impl<S: Site> Connection for Http<S> {
    fn drive(&mut self, socket: &mut Socket<'static>) -> Next {
        loop {
            match &mut self.state {
                State::Head { seen } => {
                    let Some(answer) = read_head(&self.site, socket, seen) else { break };
                    self.state = State::Answer(answer);
                }
                State::Answer(answer) => {
                    if !answer.send(socket) {
                        break;
                    }
                    let keep_alive = answer.keep_alive;
                    self.state = State::Head { seen: 0 };
                    if !keep_alive {
                        return Next::Close;
                    }
                }
            }
        }
        let waits_for_client = match &self.state {
            // A whole request may still wait for room for its answer.
            State::Head { seen } => *seen == socket.recv_queue(),
            State::Answer(answer) => answer.waits_for_client(),
        };
        // The client has closed its side: what it has asked for is still sent, but nothing more will come.
        let closed = !socket.may_recv() || (socket.recv_queue() == 0 && !is_open(socket));
        if closed && waits_for_client { Next::Close } else { Next::Continue }
    }

    fn is_idle(&self) -> bool {
        matches!(self.state, State::Head { seen: 0 })
    }

    fn patience(&self) -> Option<Duration> {
        Some(PATIENCE)
    }
}

/// Whether the client may still send.
fn is_open(socket: &Socket<'static>) -> bool {
    use smoltcp::socket::tcp::State;
    matches!(socket.state(), State::Established | State::FinWait1 | State::FinWait2)
}

/// Looks for a whole head in the receive buffer, takes it out, and begins the answer.
fn read_head(site: &impl Site, socket: &mut Socket<'static>, seen: &mut usize) -> Option<Answer> {
    let received = socket.recv_queue();
    // Nothing new: a head is not read again and again because of what happens on other connections.
    if received == *seen || socket.send_capacity() - socket.send_queue() < ROOM {
        return None;
    }
    // Where it lies, if that is in one piece.
    let octets = socket.peek(HEAD_MAX).unwrap_or_default();
    let begun = if octets.len() == received.min(HEAD_MAX) {
        begin(site, octets)
    } else {
        begin_with_pieces(site, socket)
    };
    let Some((answer, head)) = begun else {
        *seen = received;
        return None;
    };
    skip(socket, head);
    Some(answer)
}

/// The answer to the head at the beginning of `octets`, if it is whole, and how long that is.
fn begin(site: &impl Site, octets: &[u8]) -> Option<(Answer, usize)> {
    match Request::parse(octets) {
        Ok(Head::Partial) => None,
        Ok(Head::Whole(request)) => Some((Answer::to(&request, site), request.head.len())),
        Err(refusal) => Some((Answer::refusing(refusal.into()), 0)),
    }
}

/// The same with a head that lies around the end of the receive buffer. Apart, because it needs much stack, which is memory
/// that most guests never touch.
#[inline(never)]
fn begin_with_pieces(site: &impl Site, socket: &mut Socket<'static>) -> Option<(Answer, usize)> {
    let mut octets = [0; HEAD_MAX];
    let len = socket.peek_slice(&mut octets).unwrap_or(0);
    begin(site, &octets[..len])
}

/// Drops octets from the beginning of the receive buffer.
fn skip(socket: &mut Socket<'static>, mut octets: usize) {
    while octets > 0 {
        match socket.recv(|part| (part.len().min(octets), part.len().min(octets))) {
            Ok(len) if len > 0 => octets -= len,
            _ => return,
        }
    }
}

impl Answer {
    fn to(request: &Request<'_>, site: &impl Site) -> Self {
        let response = site.respond(request);
        let echo = response.body == Body::Echo;
        let unread_body = request.content_length > 0 && !echo;
        let keep_alive = request.keep_alive && !unread_body;
        let length = match &response.body {
            Body::Octets(octets) => octets.len() as u64,
            Body::Pattern(length) => *length,
            Body::Echo => request.content_length,
        };
        let mut first = response.head(length, keep_alive);
        let mut rest = Rest::Pattern { position: 0, end: 0 };
        match response.body {
            // RFC 9110, section 9.3.2: everything but the body.
            _ if request.method == "HEAD" => {}
            Body::Octets(octets) => first.extend_from_slice(&octets),
            Body::Pattern(length) => rest = Rest::Pattern { position: 0, end: length },
            Body::Echo => {
                rest = Rest::Echo { left: request.content_length };
                if request.expects_continue {
                    first.splice(..0, CONTINUE.iter().copied());
                }
            }
        }
        Self { first, sent: 0, rest, keep_alive }
    }

    fn refusing(response: Response) -> Self {
        let mut first = Vec::new();
        if let Body::Octets(octets) = &response.body {
            first = response.head(octets.len() as u64, false);
            first.extend_from_slice(octets);
        }
        Self { first, sent: 0, rest: Rest::Pattern { position: 0, end: 0 }, keep_alive: false }
    }

    /// Sends what there is room for; whether the answer is complete.
    fn send(&mut self, socket: &mut Socket<'static>) -> bool {
        while self.sent < self.first.len() {
            match socket.send_slice(&self.first[self.sent..]) {
                Ok(taken) if taken > 0 => self.sent += taken,
                _ => return false,
            }
        }
        self.first = Vec::new();
        self.sent = 0;
        match &mut self.rest {
            Rest::Pattern { position, end } => send_pattern(socket, position, *end),
            Rest::Echo { left } => send_echo(socket, left),
        }
    }

    /// Whether it cannot go on without more of the request.
    fn waits_for_client(&self) -> bool {
        self.first.is_empty() && matches!(self.rest, Rest::Echo { left } if left > 0)
    }
}

fn send_pattern(socket: &mut Socket<'static>, position: &mut u64, end: u64) -> bool {
    while *position < end {
        let sent = socket.send(|room| {
            let left = usize::try_from(end - *position).unwrap_or(usize::MAX);
            let len = room.len().min(left);
            pattern(*position, &mut room[..len]);
            (len, len)
        });
        match sent {
            Ok(len) if len > 0 => *position += len as u64,
            _ => return false,
        }
    }
    true
}

fn send_echo(socket: &mut Socket<'static>, left: &mut u64) -> bool {
    // From the receive buffer to the send buffer by way of a small one on the stack.
    let mut octets = [0; 1024];
    while *left > 0 {
        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        let room = (socket.send_capacity() - socket.send_queue()).min(octets.len()).min(most);
        let received = socket.recv_slice(&mut octets[..room]).unwrap_or(0);
        // There is room for all of it, by the line before the last.
        let sent = socket.send_slice(&octets[..received]).unwrap_or(0);
        if sent == 0 {
            return false;
        }
        *left -= sent as u64;
    }
    true
}
