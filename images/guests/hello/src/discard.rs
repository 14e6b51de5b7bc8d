//! The discard protocol (RFC 863): every octet is thrown away. A connection may be silent for as long as it likes.

use unikernel::server::{Connection, Next};
use unikernel::smoltcp::socket::tcp::Socket;

/// A discard connection.
#[derive(Debug, Default)]
pub(crate) struct Discard;

impl Connection for Discard {
    fn drive(&mut self, socket: &mut Socket<'static>) -> Next {
        // Twice at most: what lies around the end of the buffer is in two pieces.
        while socket.recv(|octets| (octets.len(), octets.len())).is_ok_and(|len| len > 0) {}
        if socket.may_recv() { Next::Continue } else { Next::Close }
    }

    fn is_idle(&self) -> bool {
        // Nobody waits for an answer.
        true
    }
}
