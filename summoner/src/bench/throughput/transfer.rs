//! One transfer, from the client's side.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long nothing may happen before a transfer is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Octets that are handed to the kernel at once, and asked of it.
pub(super) const CHUNK: usize = 128 * 1024;

/// Why a transfer has no rate.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The connection could not be made, or broke.
    #[error("cannot {what} {address}")]
    Connection {
        /// What was tried.
        what: &'static str,
        /// Whom with.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The other side said something that it should not.
    #[error("{address} sent {found} octets, not {wanted}")]
    Length {
        /// Who.
        address: SocketAddr,
        /// How many came.
        found: u64,
        /// How many should have.
        wanted: u64,
    },
    /// The answer has no head.
    #[error("{address} did not answer with a page")]
    NoPage {
        /// Who.
        address: SocketAddr,
    },
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends so many octets to a discard service (RFC 863); how long it took until the last one had arrived, which the service
/// says by closing its side.
///
/// # Errors
/// When the connection fails, or the service answers.
pub fn push(address: SocketAddr, octets: u64) -> Result<Duration, TransferError> {
    let failed = |what| move |source| TransferError::Connection { what, address, source };
    let mut stream = connect(address).map_err(failed("connect to"))?;
    let chunk = vec![0x5a; CHUNK];
    let begun = Instant::now();
    let mut left = octets;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&chunk[..length]).map_err(failed("write to"))?;
        left -= u64::try_from(length).unwrap_or(left);
    }
    stream.shutdown(Shutdown::Write).map_err(failed("end the connection to"))?;
    let found = read_to_end(&mut stream).map_err(failed("read from"))?;
    let took = begun.elapsed();
    if found == 0 { Ok(took) } else { Err(TransferError::Length { address, found, wanted: 0 }) }
}

/// Asks a web service for `/bytes/N`; how long it took from the request to the last octet.
///
/// # Errors
/// When the connection fails, or something else comes.
pub fn fetch(address: SocketAddr, octets: u64) -> Result<Duration, TransferError> {
    let failed = |what| move |source| TransferError::Connection { what, address, source };
    let mut stream = connect(address).map_err(failed("connect to"))?;
    let request =
        format!("GET /bytes/{octets} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).map_err(failed("write to"))?;
    let body = skip_head(&mut stream).map_err(failed("read from"))?;
    let body = body.ok_or(TransferError::NoPage { address })?;
    let found = body + read_to_end(&mut stream).map_err(failed("read from"))?;
    let took = begun.elapsed();
    if found == octets {
        Ok(took)
    } else {
        Err(TransferError::Length { address, found, wanted: octets })
    }
}

/// Reads until the head's end; how many octets of the body came with it, or `None` when there is no head.
fn skip_head(stream: &mut TcpStream) -> io::Result<Option<u64>> {
    const END: &[u8] = b"\r\n\r\n";
    const LONGEST: usize = 4096;
    let mut head = Vec::new();
    let mut part = [0; LONGEST];
    while head.len() < LONGEST {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&part[..length]);
        if let Some(place) = head.windows(END.len()).position(|window| window == END) {
            let is_good = head.starts_with(b"HTTP/1.1 200 ");
            let body = u64::try_from(head.len() - place - END.len()).unwrap_or(0);
            return Ok(is_good.then_some(body));
        }
    }
    Ok(None)
}

/// Reads until the other side closes; how many octets came.
pub(super) fn read_to_end(stream: &mut impl Read) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut found = 0;
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(found),
            Ok(length) => found += u64::try_from(length).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
