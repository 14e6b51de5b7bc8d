//! The client: connects, sends the request, reads the response and looks at it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

/// What is sent to the service. Clients that measure something to be compared with the baselines send the same.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: hello.jit.test\r\nConnection: close\r\n\r\n";

/// Is in every page of the service.
const MARK: &[u8] = b"<h1>Hello from ";

/// The most octets that a response may have; the service's have less than 2 KiB.
const RESPONSE_MAX: usize = 16 * 1024;

/// How long the service may be silent. Only a service that is stopped or stuck ever is for long.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// The service's address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or was silent for too long.
    #[error("the connection failed after {received} octets of the response")]
    Connection {
        /// What had arrived by then.
        received: usize,
        /// Why.
        source: io::Error,
    },
    /// The service closed the connection too early.
    #[error("the response ends after {received} octets, before it is complete")]
    Truncated {
        /// What had arrived by then.
        received: usize,
    },
    /// The response is not the service's page.
    #[error("the response is not the page that was asked for, but {beginning:?}")]
    Unexpected {
        /// How it begins.
        beginning: String,
    },
}

/// When what was had, each since the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    pub(super) connected: Duration,
    pub(super) first_byte: Duration,
    pub(super) last_byte: Duration,
}

/// Asks the service at `address` for its page.
pub(super) fn exchange(address: SocketAddr, started: Instant) -> Result<Exchange, ExchangeError> {
    let mut stream =
        TcpStream::connect(address).map_err(|source| ExchangeError::Connect { address, source })?;
    let connected = started.elapsed();
    let failed = |received| move |source| ExchangeError::Connection { received, source };
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed(0))?;
    stream.write_all(REQUEST).map_err(failed(0))?;
    let mut octets = [0; RESPONSE_MAX];
    let mut received = 0;
    let mut first_byte = None;
    while !is_complete(&octets[..received])? {
        match stream.read(&mut octets[received..]) {
            Ok(0) => return Err(ExchangeError::Truncated { received }),
            Ok(count) => {
                first_byte.get_or_insert_with(|| started.elapsed());
                received += count;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(received)(error)),
        }
    }
    let last_byte = started.elapsed();
    let response = &octets[..received];
    if !response.windows(MARK.len()).any(|window| window == MARK) {
        return Err(unexpected(response));
    }
    // Both ends forget the connection at once: thousands of them in TIME-WAIT would use up the ports.
    set_socket_linger(&stream, Some(Duration::ZERO))
        .map_err(|error| failed(received)(error.into()))?;
    Ok(Exchange { connected, first_byte: first_byte.unwrap_or(last_byte), last_byte })
}

/// Whether a response has arrived whole.
fn is_complete(response: &[u8]) -> Result<bool, ExchangeError> {
    const STATUS: &[u8] = b"HTTP/1.1 200 ";
    const END: &[u8] = b"\r\n\r\n";
    if !response.starts_with(&STATUS[..STATUS.len().min(response.len())]) {
        return Err(unexpected(response));
    }
    let Some(end) = response.windows(END.len()).position(|window| window == END) else {
        return if response.len() < RESPONSE_MAX { Ok(false) } else { Err(unexpected(response)) };
    };
    let (head, body) = (&response[..end], &response[end + END.len()..]);
    let length = content_length(head).ok_or_else(|| unexpected(response))?;
    // What does not fit or is too long is not the page.
    if length > RESPONSE_MAX - (end + END.len()) || body.len() > length {
        return Err(unexpected(response));
    }
    Ok(body.len() == length)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let (_, value) = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

fn unexpected(response: &[u8]) -> ExchangeError {
    let beginning = &response[..response.len().min(80)];
    ExchangeError::Unexpected { beginning: String::from_utf8_lossy(beginning).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_with_the_last_octet_of_its_body() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: close\r\n\r\nhello";
        for len in 0..whole.len() {
            assert!(!is_complete(&whole[..len]).unwrap(), "{len}");
        }
        assert!(is_complete(whole).unwrap());
    }

    #[test]
    fn what_is_not_the_page_is_refused() {
        for response in [
            &b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..],
            b"SSH-2.0-",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        ] {
            let result = is_complete(response);
            assert!(matches!(result, Err(ExchangeError::Unexpected { .. })), "{result:?}");
        }
        assert!(is_complete(&[b"HTTP/1.1 200 ", &[b'a'; RESPONSE_MAX][..]].concat()).is_err());
    }
}
