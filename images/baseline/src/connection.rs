//! One connection: the order of things is that of `unikernel::http`'s connection, the calls are blocking.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use unikernel::http::{Body, HEAD_MAX, Head, Request, Response, Site, pattern};

/// Octets of a long body that are sent or received at once.
const CHUNK: usize = 16 * 1024;

/// Sent to a client that waits for it before it sends its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a client may still send after it was refused, in octets, before the connection is reset.
const UNWANTED_MAX: usize = 1 << 20;

/// Serves the requests of a connection, until it is to be closed.
pub(crate) fn serve(socket: &OwnedFd, site: &impl Site) -> Result<(), Errno> {
    let mut octets = [0; HEAD_MAX];
    let mut received = 0;
    loop {
        match Request::parse(&octets[..received]) {
            Ok(Head::Whole(request)) => {
                let taken = request.head.len();
                let answer = Answer::to(&request, site);
                let keep_alive = answer.keep_alive;
                let early = &octets[taken..received];
                let used = answer.send(socket, early)?;
                if !keep_alive {
                    return if answer.unread_body { close_gently(socket) } else { Ok(()) };
                }
                octets.copy_within(taken + used..received, 0);
                received -= taken + used;
            }
            // A head that does not fit was refused, so there is room.
            Ok(Head::Partial) => match recv(socket, &mut octets[received..], RecvFlags::empty()) {
                Ok((0, _)) => return Ok(()),
                Ok((count, _)) => received += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(refusal) => {
                let response = Response::from(refusal);
                if let Body::Octets(body) = &response.body {
                    let mut whole = response.head(body.len() as u64, false);
                    whole.extend_from_slice(body);
                    send_all(socket, &whole)?;
                }
                return close_gently(socket);
            }
        }
    }
}

/// An answer, as far as it does not depend on the body of its request.
#[derive(Debug)]
struct Answer {
    /// Octets that go first: the head, and a short body.
    first: Vec<u8>,
    rest: Rest,
    keep_alive: bool,
    /// The request has a body that nobody will read.
    unread_body: bool,
}

/// What follows the first octets.
#[derive(Debug)]
enum Rest {
    Nothing,
    /// That many octets of the pattern.
    Pattern(u64),
    /// That many octets of the request's body.
    Echo(u64),
}

impl Answer {
    fn to(request: &Request<'_>, site: &impl Site) -> Self {
        let response = site.respond(request);
        let unread_body = request.content_length > 0 && response.body != Body::Echo;
        let keep_alive = request.keep_alive && !unread_body;
        let length = match &response.body {
            Body::Octets(octets) => octets.len() as u64,
            Body::Pattern(length) => *length,
            Body::Echo => request.content_length,
        };
        let mut first = response.head(length, keep_alive);
        let rest = match response.body {
            // RFC 9110, section 9.3.2: everything but the body.
            _ if request.method == "HEAD" => Rest::Nothing,
            Body::Octets(octets) => {
                first.extend_from_slice(&octets);
                Rest::Nothing
            }
            Body::Pattern(length) => Rest::Pattern(length),
            Body::Echo => {
                if request.expects_continue {
                    first.splice(..0, CONTINUE.iter().copied());
                }
                Rest::Echo(request.content_length)
            }
        };
        Self { first, rest, keep_alive, unread_body }
    }

    /// Sends it; `early` is what was received after the head. How much of that belongs to this request.
    fn send(&self, socket: &OwnedFd, early: &[u8]) -> Result<usize, Errno> {
        send_all(socket, &self.first)?;
        match self.rest {
            Rest::Nothing => Ok(0),
            Rest::Pattern(length) => {
                // Only here: a short answer is one segment, with or without it.
                set_tcp_nodelay(socket, true)?;
                send_pattern(socket, length)?;
                Ok(0)
            }
            Rest::Echo(length) => {
                set_tcp_nodelay(socket, true)?;
                let used = usize::try_from(length).map_or(early.len(), |all| all.min(early.len()));
                send_all(socket, &early[..used])?;
                echo(socket, length - used as u64)?;
                Ok(used)
            }
        }
    }
}

fn send_pattern(socket: &OwnedFd, length: u64) -> Result<(), Errno> {
    let mut octets = [0; CHUNK];
    let mut position = 0;
    while position < length {
        let part = part_of(length - position, &mut octets);
        pattern(position, part);
        send_all(socket, part)?;
        position += part.len() as u64;
    }
    Ok(())
}

fn echo(socket: &OwnedFd, mut left: u64) -> Result<(), Errno> {
    let mut octets = [0; CHUNK];
    while left > 0 {
        let part = part_of(left, &mut octets);
        let count = match recv(socket, &mut *part, RecvFlags::empty()) {
            Ok((0, _)) => return Err(Errno::CONNRESET),
            Ok((count, _)) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        send_all(socket, &part[..count])?;
        left -= count as u64;
    }
    Ok(())
}

/// As much of the buffer as `left` octets need.
fn part_of(left: u64, octets: &mut [u8]) -> &mut [u8] {
    let len = usize::try_from(left).map_or(octets.len(), |left| left.min(octets.len()));
    &mut octets[..len]
}

fn send_all(socket: impl AsFd, mut octets: &[u8]) -> Result<(), Errno> {
    while !octets.is_empty() {
        // Without a signal if the client is gone: the next client is still to be served.
        match send(&socket, octets, SendFlags::NOSIGNAL) {
            Ok(count) => octets = &octets[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lets the client read the answer although it is still sending: closed at once, the connection would be reset
/// and the answer lost (RFC 9112, section 9.6).
fn close_gently(socket: &OwnedFd) -> Result<(), Errno> {
    shutdown(socket, Shutdown::Write)?;
    let mut octets = [0; CHUNK];
    let mut left = UNWANTED_MAX;
    while left > 0 {
        match recv(socket, &mut octets[..], RecvFlags::empty()) {
            Ok((0, _)) => break,
            Ok((count, _)) => left = left.saturating_sub(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
