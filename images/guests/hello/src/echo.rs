//! The echo protocol (RFC 862): every octet comes back. A connection may be silent for as long as it likes.

use unikernel::server::{Connection, Next};
use unikernel::smoltcp::socket::tcp::Socket;

/// An echo connection.
#[derive(Debug, Default)]
pub(crate) struct Echo;

impl Connection for Echo {
    fn drive(&mut self, socket: &mut Socket<'static>) -> Next {
        let mut octets = [0; 1024];
        loop {
            let room = (socket.send_capacity() - socket.send_queue()).min(octets.len());
            match socket.recv_slice(&mut octets[..room]) {
                Ok(len) if len > 0 && socket.send_slice(&octets[..len]).is_ok() => {}
                _ => break,
            }
        }
        if socket.may_recv() || socket.can_recv() { Next::Continue } else { Next::Close }
    }

    fn is_idle(&self) -> bool {
        // Whatever has arrived is on its way back, so there is never anything to wait for.
        true
    }
}
