//! The other side of what is compared with: the same two services by plain sockets, in this namespace or in another one that
//! a pair of devices leads to.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use rustix::net::Shutdown;
use synjitsu_device::{DeviceError, namespace, netlink};

use super::transfer::{CHUNK, read_to_end};

/// Addresses of the pair of devices; their network is used by nothing else in the namespace.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const PREFIX: u8 = 30;
const NEAR_NAME: &str = "near0";
const FAR_NAME: &str = "far0";
/// As that of the uplink.
const MTU: u16 = 1500;

/// Why there is nobody to compare with.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No namespace, or no devices.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No sockets or threads.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The thread in the other namespace is gone.
    #[error("the peer's thread ended before it was ready")]
    Gone,
}

/// Two services by plain sockets. They end when this is dropped.
#[derive(Debug)]
pub struct Peer {
    /// Throws away what it gets.
    pub discard: SocketAddr,
    /// Answers a request for `/bytes/N`.
    pub bytes: SocketAddr,
    listeners: [TcpListener; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Peer {
    /// On loopback.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn on_loopback() -> Result<Self, PeerError> {
        Self::listen(Ipv4Addr::LOCALHOST.into())
    }

    /// In a namespace of its own, at the other end of a pair of devices.
    ///
    /// # Errors
    /// When there is no such device in this kernel, or it cannot listen.
    pub fn across_a_cable() -> Result<Self, PeerError> {
        let (tell, told) = channel();
        let (connect, connected) = channel();
        let beyond = thread::spawn(move || beyond(&tell, &connected));
        if let Ok(place) = told.recv() {
            netlink::make_cable(NEAR_NAME, FAR_NAME, place.as_fd())?;
            netlink::configure(NEAR_NAME, &[(NEAR.into(), PREFIX)], MTU)?;
            // If it has ended meanwhile, joining it says why.
            let _ = connect.send(());
        }
        beyond.join().map_err(|_| PeerError::Gone)?
    }

    fn listen(address: IpAddr) -> Result<Self, PeerError> {
        let failed = |source| PeerError::Listen { address, source };
        let bind = || TcpListener::bind((address, 0)).map_err(failed);
        let (discard, bytes) = (bind()?, bind()?);
        let (of_discard, of_bytes) =
            (discard.try_clone().map_err(failed)?, bytes.try_clone().map_err(failed)?);
        let threads = vec![
            thread::spawn(move || serve(&of_discard, throw_away)),
            thread::spawn(move || serve(&of_bytes, answer)),
        ];
        Ok(Self {
            discard: discard.local_addr().map_err(failed)?,
            bytes: bytes.local_addr().map_err(failed)?,
            listeners: [discard, bytes],
            threads,
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Ends the wait for the next client; fails only if that has ended already.
            let _ = rustix::net::shutdown(listener, Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// In a thread that is in the other namespace from then on: tells where that is, waits until a cable leads to it, listens.
/// The sockets keep the namespace.
fn beyond(tell: &Sender<File>, connected: &Receiver<()>) -> Result<Peer, PeerError> {
    namespace::enter_new()?;
    let failed = |source| PeerError::Listen { address: FAR.into(), source };
    let place = File::open("/proc/thread-self/ns/net").map_err(failed)?;
    // Whoever does not take it any more does not connect either.
    let _ = tell.send(place);
    connected.recv().map_err(|_| PeerError::Gone)?;
    netlink::configure(FAR_NAME, &[(FAR.into(), PREFIX)], MTU)?;
    Peer::listen(FAR.into())
}

/// Serves one client after the other until the listener is shut down.
fn serve(listener: &TcpListener, service: fn(TcpStream) -> io::Result<()>) {
    while let Ok((stream, _)) = listener.accept() {
        // What fails here fails at the client too, which tells.
        let _ = service(stream);
    }
}

fn throw_away(mut stream: TcpStream) -> io::Result<()> {
    read_to_end(&mut stream).map(drop)
}

/// Sends as many octets as the path says.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 1024];
    let length = stream.read(&mut request)?;
    let number = std::str::from_utf8(&request[..length])
        .ok()
        .and_then(|text| text.strip_prefix("GET /bytes/")?.split(' ').next()?.parse().ok());
    let Some(mut left) = number else { return Err(io::ErrorKind::InvalidData.into()) };
    stream.set_nodelay(true)?;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {left}\r\nConnection: close\r\n\r\n")?;
    let chunk = vec![0x5a; CHUNK];
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&chunk[..length])?;
        left -= u64::try_from(length).unwrap_or(left);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{fetch, push};
    use super::*;

    #[test]
    fn what_is_sent_and_asked_for_is_counted() {
        let peer = Peer::on_loopback().unwrap();
        push(peer.discard, 1_000_003).unwrap();
        fetch(peer.bytes, 1_000_003).unwrap();
        fetch(peer.bytes, 0).unwrap();
        assert!(fetch(peer.discard, 1).is_err(), "it answers nothing");
    }
}
