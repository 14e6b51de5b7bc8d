//! Several sockets on one address, so that several threads receive from it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, RcvBuf, ReusePort};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket,
};

/// What may wait in a socket, in octets, if the system allows as much: some thousand queries, a few milliseconds' worth of
/// answering. More would only make those wait that are answered too late.
const WAITING: usize = 1 << 20;

/// Sockets that share an address; the kernel gives all datagrams of a peer to the same one (`SO_REUSEPORT`, socket(7)).
#[derive(Debug)]
pub struct Listener {
    /// Where they listen.
    pub address: SocketAddr,
    /// As many as were asked for, blocking.
    pub sockets: Vec<UdpSocket>,
    /// Whether they report at which address a datagram arrived: if they listen on all.
    pub tells_arrival: bool,
}

/// Makes `count` sockets on `address`; the kernel chooses the port if it is 0.
///
/// # Errors
/// `AddrInUse` if anybody else listens there, and what else the system says.
pub fn listen(address: SocketAddr, count: usize) -> io::Result<Listener> {
    // Sockets that share a port share it with those of another daemon, too. So the first one is alone: it shows that nobody
    // else is there, and is gone before the others come.
    let address = UdpSocket::bind(address)?.local_addr()?;
    let tells_arrival = address.ip().is_unspecified();
    let sockets = (0..count).map(|_| open(address, tells_arrival)).collect::<io::Result<_>>()?;
    Ok(Listener { address, sockets, tells_arrival })
}

fn open(address: SocketAddr, tells_arrival: bool) -> io::Result<UdpSocket> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let opened = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&opened, ReusePort, &true)?;
    setsockopt(&opened, RcvBuf, &WAITING)?;
    match address.ip() {
        IpAddr::V4(_) => setsockopt(&opened, Ipv4PacketInfo, &tells_arrival)?,
        IpAddr::V6(_) => setsockopt(&opened, Ipv6RecvPacketInfo, &tells_arrival)?,
    }
    bind(opened.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_share_an_address_with_each_other_only() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(listener.sockets.len(), 3);
        for socket in &listener.sockets {
            assert_eq!(socket.local_addr().unwrap(), listener.address);
        }
        let taken = listen(listener.address, 1).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn who_listens_on_all_addresses_is_told_which() {
        for (address, tells) in [("0.0.0.0:0", true), ("127.0.0.1:0", false), ("[::]:0", true)] {
            let listener = listen(address.parse().unwrap(), 1).unwrap();
            assert_eq!(listener.tells_arrival, tells, "{address}");
        }
    }
}
