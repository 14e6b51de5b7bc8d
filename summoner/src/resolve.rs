//! A stub resolver's one question: for the `query` command, the demo and the tests.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RecordType};

/// The payload that we can take in one datagram, in octets (the size that DNS Flag Day 2020 recommends).
const PAYLOAD: u16 = 1232;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The question cannot be written.
    #[error("cannot write a query for {name}")]
    Query {
        /// The name asked for.
        name: String,
        /// What is wrong with it.
        source: hickory_proto::ProtoError,
    },
    /// The server cannot be reached.
    #[error("cannot ask {server}; does a DNS server listen there?")]
    Exchange {
        /// The server.
        server: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A query as it goes over the wire. Its first two octets are the id, chosen at random.
///
/// # Errors
/// When the name cannot be written.
pub fn encode(name: &Name, qtype: RecordType) -> Result<Vec<u8>, ResolveError> {
    let mut query = Message::query();
    query.metadata.recursion_desired = false;
    query.add_query(Query::query(name.clone(), qtype));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    query.set_edns(edns);
    query.to_vec().map_err(|source| ResolveError::Query { name: name.to_string(), source })
}

/// Asks `server` once over UDP, and if the answer does not fit, or the server wants to know who asks, over TCP (RFC 7766,
/// section 5); each time waiting at most `patience`.
///
/// Datagrams that are not an answer to this question are passed over.
///
/// # Errors
/// When the server cannot be reached or does not answer in time.
pub fn ask(
    server: SocketAddr,
    name: &Name,
    qtype: RecordType,
    patience: Duration,
) -> Result<Message, ResolveError> {
    let answer = ask_by_udp(server, name, qtype, patience)?;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let octets = encode(name, qtype)?;
    exchange_by_tcp(server, &octets, patience)
        .map_err(|source| ResolveError::Exchange { server, source })
}

/// Asks `server` once over UDP, and takes what comes, truncated or not.
///
/// # Errors
/// When the server cannot be reached or does not answer in time.
pub fn ask_by_udp(
    server: SocketAddr,
    name: &Name,
    qtype: RecordType,
    patience: Duration,
) -> Result<Message, ResolveError> {
    let octets = encode(name, qtype)?;
    exchange(server, &octets, patience).map_err(|source| ResolveError::Exchange { server, source })
}

fn exchange_by_tcp(server: SocketAddr, query: &[u8], patience: Duration) -> io::Result<Message> {
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Message::from_vec(&answer).map_err(io::Error::other)
}

fn exchange(server: SocketAddr, query: &[u8], patience: Duration) -> io::Result<Message> {
    let any: SocketAddr =
        if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(query)?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer)?;
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if query.starts_with(&answer.metadata.id.to_be_bytes()) => {
                return Ok(answer);
            }
            Ok(_) | Err(_) => {}
        }
    }
}
