//! Where a datagram came from, so that an answer finds the way back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::BorrowedFd;

use super::system;

/// Octets that a peer's address takes: those of `sockaddr_in6`, the longest that a UDP socket gives.
pub(super) const ADDRESS: usize = size_of::<libc::sockaddr_in6>();
/// Octets that the report of the arrival's address takes: a header and an `in6_pktinfo`, rounded up to the next header.
pub(super) const CONTROL: usize = 40;

/// A peer, and at which of our addresses its datagram arrived, as the kernel told it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Envelope {
    pub(super) control: [u8; CONTROL],
    pub(super) address: [u8; ADDRESS],
    pub(super) address_length: u32,
    pub(super) control_length: usize,
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl Envelope {
    /// From nobody.
    pub(super) const EMPTY: Self =
        Self { control: [0; CONTROL], address: [0; ADDRESS], address_length: 0, control_length: 0 };

    /// Who sent the datagram. `None` if the kernel did not say, which is so after a shutdown only.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        // The layout of `sockaddr_in` and `sockaddr_in6`: family in the host's order, port in the network's.
        let [f0, f1, p0, p1, rest @ ..] = &self.address;
        let (family, port) = (u16::from_ne_bytes([*f0, *f1]), u16::from_be_bytes([*p0, *p1]));
        if i32::from(family) == libc::AF_INET {
            let (ip, _) = rest.split_first_chunk::<4>()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(*ip), port).into())
        } else if i32::from(family) == libc::AF_INET6 {
            let (flow, rest) = rest.split_first_chunk::<4>()?;
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let (scope, _) = rest.split_first_chunk::<4>()?;
            let (flow, scope) = (u32::from_be_bytes(*flow), u32::from_ne_bytes(*scope));
            let ip = Ipv6Addr::from(*ip);
            // A socket for both families shows IPv4 as a part of IPv6: whoever it is, he is the same on every socket.
            match ip.to_ipv4_mapped() {
                Some(ip) => Some(SocketAddrV4::new(ip, port).into()),
                None => Some(SocketAddrV6::new(ip, port, flow, scope).into()),
            }
        } else {
            None
        }
    }

    /// Sends octets there, now or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&self, socket: BorrowedFd<'_>, octets: &[u8]) -> io::Result<()> {
        system::send_one(socket, self, octets)
    }

    /// An envelope to a peer, from whatever address the kernel chooses.
    #[cfg(test)]
    pub(super) fn to(peer: SocketAddr) -> Self {
        let mut envelope = Self::EMPTY;
        let SocketAddr::V4(peer) = peer else { return envelope };
        let family = u16::try_from(libc::AF_INET).unwrap().to_ne_bytes();
        envelope.address[..2].copy_from_slice(&family);
        envelope.address[2..4].copy_from_slice(&peer.port().to_be_bytes());
        envelope.address[4..8].copy_from_slice(&peer.ip().octets());
        envelope.address_length = 16;
        envelope
    }

    /// Forgets by which interface the datagram came, unless the address means nothing without: the answer takes the way
    /// that the routes say.
    pub(super) fn forget_interface(&mut self) {
        // cmsghdr: its length (eight octets), level and type (four each); then what it carries.
        let (header, body) = self.control.split_at_mut(16);
        let level = header.get(8..12).and_then(|octets| octets.try_into().ok());
        match level.map(i32::from_ne_bytes) {
            // in_pktinfo: interface, address to answer from, address of the header.
            Some(libc::IPPROTO_IP) => body[..4].fill(0),
            // in6_pktinfo: address, interface.
            Some(libc::IPPROTO_IPV6) => {
                let is_link_local = body[0] == 0xfe && body[1] & 0xc0 == 0x80;
                if !is_link_local {
                    body[16..20].fill(0);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::super::{Batch, listen};

    #[test]
    fn peers_of_both_families_are_read() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let server = UdpSocket::bind(address).unwrap();
            let client = UdpSocket::bind(address).unwrap();
            client.send_to(b"x", server.local_addr().unwrap()).unwrap();
            let mut batch = Batch::new(false);
            assert_eq!(batch.receive(server.as_fd()).unwrap(), 1);
            assert_eq!(batch.envelope(0).peer(), Some(client.local_addr().unwrap()));
        }
    }

    #[test]
    fn ipv4_is_ipv4_on_a_socket_for_both() {
        let listener = listen("[::]:0".parse().unwrap(), 1).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(("127.0.0.7", listener.address.port())).unwrap();
        client.send(b"x").unwrap();
        let mut batch = Batch::new(listener.tells_arrival);
        let server = &listener.sockets[0];
        assert_eq!(batch.receive(server.as_fd()).unwrap(), 1);
        assert_eq!(batch.envelope(0).peer(), Some(client.local_addr().unwrap()));
        batch.answer(0, 1);
        assert_eq!(batch.send(server.as_fd()).sent, 1);
        assert_eq!(client.recv(&mut [0; 4]).unwrap(), 1);
    }
}
