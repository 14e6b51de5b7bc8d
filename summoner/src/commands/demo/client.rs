//! The demo's client: a kernel TCP connection and one HTTP request, with the times that a user would feel.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use synjitsu_device::tcp_info;

/// The largest page that is read, in octets.
const LARGEST: u64 = 1 << 20;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("cannot {what} {address}")]
    Io { what: &'static str, address: SocketAddr, source: io::Error },
    #[error("{address} did not answer with an HTTP page but with {start:?}")]
    NotHttp { address: SocketAddr, start: String },
}

/// A page and how it came.
#[derive(Debug)]
pub(super) struct Page {
    /// From the start to the end of the handshake.
    pub(super) connected: Duration,
    /// From the start to the first octet of the answer.
    pub(super) first_byte: Duration,
    /// Segments that the kernel had to send again (`tcpi_total_retrans`); the SYN counts.
    pub(super) retransmissions: u32,
    /// What the guest sent, without the headers.
    pub(super) body: String,
}

/// Fetches a page over a new connection.
pub(super) fn get(address: Ipv4Addr, path: &str, patience: Duration) -> Result<Page, FetchError> {
    let address = SocketAddr::from((address, 80));
    let failed = |what| move |source| FetchError::Io { what, address, source };
    let start = Instant::now();
    let mut stream =
        TcpStream::connect_timeout(&address, patience).map_err(failed("connect to"))?;
    let connected = start.elapsed();
    stream.set_read_timeout(Some(patience)).map_err(failed("set up the connection to"))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: hello.jit.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed("send the request to"))?;
    let mut answer = vec![0];
    stream.read_exact(&mut answer).map_err(failed("read the answer of"))?;
    let first_byte = start.elapsed();
    (&mut stream).take(LARGEST).read_to_end(&mut answer).map_err(failed("read the answer of"))?;
    let retransmissions =
        tcp_info::total_retransmissions(&stream).map_err(failed("ask the kernel about"))?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => {
            Ok(Page { connected, first_byte, retransmissions, body: body.to_owned() })
        }
        _ => Err(FetchError::NotHttp { address, start: answer.chars().take(80).collect() }),
    }
}
