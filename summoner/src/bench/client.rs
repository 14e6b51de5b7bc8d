//! One request, as a user feels it: query, answer, SYN, SYN-ACK, request, first byte, last byte.
//!
//! Blocking sockets and no runtime: the fewest system calls there can be between the stamps. Every length counts from
//! the *intended* start, so that a generator that is late makes its figures worse and not better.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use policies::Instant;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use synjitsu_device::tcp_info;

use super::failure::Failure;
use super::page::{self, Progress};
use super::random::Random;
use crate::clock::now;
use crate::resolve::{self, ResolveError};

/// What is asked: made once, used for many requests.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The name, as reports show it.
    pub name: String,
    query: Vec<u8>,
    request: Vec<u8>,
    port: u16,
    expected: Option<String>,
}

/// How to ask, the same for all names of a run.
#[derive(Debug, Clone)]
pub struct Manner {
    /// The service's TCP port.
    pub port: u16,
    /// The page's path.
    pub path: String,
    /// Whether to ask for an IPv6 address (AAAA) and not for an IPv4 one (A).
    pub ipv6: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { port: 80, path: "/".to_owned(), ipv6: false }
    }
}

impl Ask {
    /// A request for `name`; a page without `expected` in it is a failure.
    ///
    /// # Errors
    /// When the name cannot be written as a query.
    pub fn new(
        name: &Name,
        manner: &Manner,
        expected: Option<String>,
    ) -> Result<Self, ResolveError> {
        let qtype = if manner.ipv6 { RecordType::AAAA } else { RecordType::A };
        let host = name.to_ascii();
        let host = host.trim_end_matches('.');
        let request =
            format!("GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", manner.path);
        Ok(Self {
            name: host.to_owned(),
            query: resolve::encode(name, qtype)?,
            request: request.into_bytes(),
            port: manner.port,
            expected,
        })
    }
}

/// What happened when, each counted from the intended start; ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    /// The client began.
    pub started: Duration,
    /// It had the answer to its query; `started` if it asked none.
    pub answered: Duration,
    /// The handshake was over: its SYN was answered.
    pub connected: Duration,
    /// The first octet of the page had come.
    pub first_byte: Duration,
    /// The last octet of the page had come.
    pub last_byte: Duration,
}

/// A request and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Its stamps, or why there are none.
    pub result: Result<Stamps, Failure>,
    /// How often the kernel sent the SYN again (`tcpi_total_retrans` right after the handshake, or at its failure).
    pub syn_retransmissions: u32,
    /// The address that was connected to.
    pub address: Option<IpAddr>,
}

/// A client: one for each thread.
#[derive(Debug)]
pub struct Client {
    resolver: UdpSocket,
    ids: Random,
    patience: Duration,
    buffer: Vec<u8>,
}

impl Client {
    /// A client that asks `server`, and gives up on each step after `patience`.
    ///
    /// # Errors
    /// When there is no socket for it.
    pub fn new(server: SocketAddr, patience: Duration, seed: u64) -> io::Result<Self> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let resolver = UdpSocket::bind((any, 0))?;
        resolver.connect(server)?;
        resolver.set_read_timeout(Some(patience))?;
        Ok(Self { resolver, ids: Random::new(seed), patience, buffer: vec![0; 64 << 10] })
    }

    /// One request with its query.
    pub fn request(&mut self, ask: &Ask, intended: Instant) -> Outcome {
        let started = now().saturating_since(intended);
        match self.resolve(ask) {
            Ok(address) => {
                let answered = now().saturating_since(intended);
                self.fetch(
                    ask,
                    address,
                    Stamps { started, answered, ..Stamps::default() },
                    intended,
                )
            }
            Err(failure) => Outcome { result: Err(failure), syn_retransmissions: 0, address: None },
        }
    }

    /// One request without a query: a bare SYN.
    pub fn request_at(&mut self, ask: &Ask, address: IpAddr, intended: Instant) -> Outcome {
        let started = now().saturating_since(intended);
        self.fetch(
            ask,
            address,
            Stamps { started, answered: started, ..Stamps::default() },
            intended,
        )
    }

    /// Only the query: its length from the intended start.
    ///
    /// # Errors
    /// When no address came.
    pub fn query(&mut self, ask: &Ask, intended: Instant) -> Result<Duration, Failure> {
        self.resolve(ask)?;
        Ok(now().saturating_since(intended))
    }

    /// Sends the query and does not wait for the answer.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn send_query(&mut self, ask: &Ask) -> Result<u16, Failure> {
        let id = u16::try_from(self.ids.bits() >> 48).unwrap_or(0);
        let mut query = [0; 512];
        let query = query.get_mut(..ask.query.len()).ok_or(Failure::Local)?;
        query.copy_from_slice(&ask.query);
        query[..2].copy_from_slice(&id.to_be_bytes());
        self.resolver.send(query).map_err(|error| Failure::of_query(&error))?;
        Ok(id)
    }

    fn resolve(&mut self, ask: &Ask) -> Result<IpAddr, Failure> {
        let id = self.send_query(ask)?;
        let deadline = now() + self.patience;
        loop {
            let length =
                self.resolver.recv(&mut self.buffer).map_err(|error| Failure::of_query(&error))?;
            // What is not the answer to this query may be the late one to another.
            match Message::from_vec(&self.buffer[..length]) {
                Ok(answer) if answer.metadata.id == id => return address_of(&answer),
                _ if now() > deadline => return Err(Failure::DnsTimeout),
                _ => {}
            }
        }
    }

    fn fetch(
        &mut self,
        ask: &Ask,
        address: IpAddr,
        mut stamps: Stamps,
        intended: Instant,
    ) -> Outcome {
        let mut outcome =
            Outcome { result: Err(Failure::Local), syn_retransmissions: 0, address: Some(address) };
        let Ok(socket) = self.socket(address) else { return outcome };
        let connected = rustix::net::connect(&socket, &SocketAddr::new(address, ask.port));
        stamps.connected = now().saturating_since(intended);
        outcome.syn_retransmissions = tcp_info::total_retransmissions(&socket).unwrap_or(0);
        outcome.result = match connected {
            Ok(()) => self.exchange(ask, TcpStream::from(socket), stamps, intended),
            Err(error) => Err(Failure::of_connect(&error.into())),
        };
        outcome
    }

    /// A blocking socket whose `connect` has a time limit: the limit on sending counts for it (`socket(7)`).
    fn socket(&self, address: IpAddr) -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(self.patience))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(self.patience))?;
        Ok(socket)
    }

    fn exchange(
        &mut self,
        ask: &Ask,
        mut stream: TcpStream,
        mut stamps: Stamps,
        intended: Instant,
    ) -> Result<Stamps, Failure> {
        stream.write_all(&ask.request).map_err(|_| Failure::WriteFailed)?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = stream
                .read(&mut self.buffer[filled..])
                .map_err(|error| Failure::of_read(&error))?;
            stamps.last_byte = now().saturating_since(intended);
            if filled == 0 {
                stamps.first_byte = stamps.last_byte;
            }
            filled += read;
            if let Progress::Whole(start, end) = page::progress(&self.buffer[..filled], read == 0)?
            {
                let body = &self.buffer[start..end];
                let found = ask.expected.as_ref().is_none_or(|expected| contains(body, expected));
                return if found { Ok(stamps) } else { Err(Failure::WrongPage) };
            }
        }
    }
}

fn address_of(answer: &Message) -> Result<IpAddr, Failure> {
    if answer.metadata.response_code != ResponseCode::NoError {
        return Err(Failure::DnsNoAddress);
    }
    let mut addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    addresses.next().ok_or(Failure::DnsNoAddress)
}

fn contains(octets: &[u8], text: &str) -> bool {
    text.is_empty() || octets.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests;
