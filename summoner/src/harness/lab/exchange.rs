//! Octets both ways over one connection, and every one of them compared.
//!
//! ```text
//!   client                                    server
//!     | -- up, down, seed ---------------------> |
//!     | -- up octets of a pattern, FIN --------> |   compared
//!     | <------- down octets of another pattern- |   at the same time
//!     | <------- what it found, FIN ------------ |
//! ```

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use synjitsu_device::tcp_info;

use super::pattern::{CHUNK, Pattern, compare, expect_end, number, octets, write_pattern};

/// The longest silence on a connection before either side gives up.
pub const PATIENCE: Duration = Duration::from_secs(300);
pub(super) const HEADER: usize = 24;
pub(super) const TRAILER: usize = 16;
/// Makes the pattern of one direction another one than that of the other.
pub(super) const DOWNWARDS: u64 = 0xd0d0_d0d0_d0d0_d0d0;
/// In place of a position: everything was as it should be.
pub(super) const ALL_RIGHT: u64 = u64::MAX;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Octets to the server.
    pub up: u64,
    /// Octets from it.
    pub down: u64,
    /// Which patterns.
    pub seed: u64,
}

/// Why an exchange is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection.
    #[error("the connection failed: {what} after {octets} octets")]
    Connection {
        /// Who was doing what.
        what: &'static str,
        /// How far it had come.
        octets: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Other octets came than were sent.
    #[error("octet {position} {direction} is not the one that was sent")]
    Different {
        /// Upwards or downwards.
        direction: &'static str,
        /// The first wrong one, from zero.
        position: u64,
    },
    /// Fewer or more octets came than were sent.
    #[error("{came} octets came {direction}, and {sent} were sent")]
    Length {
        /// Upwards or downwards.
        direction: &'static str,
        /// How many came.
        came: u64,
        /// How many were sent.
        sent: u64,
    },
}

/// A client in the middle of an exchange.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    exchange: Exchange,
    /// Octets of the pattern that are written already.
    written: u64,
    header_is_written: bool,
}

impl Exchange {
    /// Connects, in the calling thread's namespace, and does it all.
    ///
    /// # Errors
    /// When anything is not as it should be.
    pub fn run(self, to: SocketAddr) -> Result<(), ExchangeError> {
        self.connect(to)?.finish().map(drop)
    }

    /// Connects, in the calling thread's namespace; returns when the connection is open.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn connect(self, to: SocketAddr) -> Result<Client, ExchangeError> {
        let failed =
            |source| ExchangeError::Connection { what: "the client connecting", octets: 0, source };
        let stream = TcpStream::connect(to).map_err(failed)?;
        set_patience(&stream).map_err(failed)?;
        Ok(Client { stream, exchange: self, written: 0, header_is_written: false })
    }

    fn header(self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        for (place, number) in header.chunks_exact_mut(8).zip([self.up, self.down, self.seed]) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        header
    }

    pub(super) fn from_header(header: [u8; HEADER]) -> Self {
        let [up, down, seed] = std::array::from_fn(|index| number(&header[8 * index..]));
        Self { up, down, seed }
    }
}

impl Client {
    /// Writes the first `octets` of what it has to send, at most all of it.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn write_early(&mut self, octets: u64) -> Result<(), ExchangeError> {
        let early = octets.min(self.exchange.up);
        let stream = &self.stream;
        write_header(stream, self.exchange, &mut self.header_is_written)?;
        self.written = write_pattern(stream, self.exchange.seed, self.written, early)?;
        Ok(())
    }

    /// Writes as much as the kernel takes without waiting: more than a peer that does not read ever acknowledges.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn write_until_full(&mut self) -> Result<u64, ExchangeError> {
        let at = |octets| {
            move |source| ExchangeError::Connection {
                what: "the client filling its window",
                octets,
                source,
            }
        };
        write_header(&self.stream, self.exchange, &mut self.header_is_written)?;
        let pattern = Pattern { seed: self.exchange.seed };
        let mut chunk = vec![0; CHUNK];
        self.stream.set_nonblocking(true).map_err(at(self.written))?;
        while self.written < self.exchange.up {
            let left = usize::try_from(self.exchange.up - self.written).unwrap_or(usize::MAX);
            let part = &mut chunk[..left.min(CHUNK)];
            pattern.fill(self.written, part);
            match (&self.stream).write(part) {
                Ok(written) => self.written += octets(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(at(self.written)(error)),
            }
        }
        self.stream.set_nonblocking(false).map_err(at(self.written))?;
        Ok(self.written)
    }

    /// Writes everything and a FIN.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn write_all(&mut self) -> Result<(), ExchangeError> {
        self.write_early(self.exchange.up)?;
        self.stream.shutdown(Shutdown::Write).map_err(|source| ExchangeError::Connection {
            what: "the client ending its direction",
            octets: self.written,
            source,
        })
    }

    /// Waits until the peer has acknowledged all that was written, or does not acknowledge more.
    ///
    /// # Errors
    /// When the connection breaks, or nothing is acknowledged for ever.
    pub fn wait_until_acknowledged(&self) -> Result<(), ExchangeError> {
        let failed = |source| ExchangeError::Connection {
            what: "the client waiting to be acknowledged",
            octets: self.written,
            source,
        };
        let begun = Instant::now();
        while tcp_info::unacknowledged(&self.stream).map_err(failed)? > 0 {
            if let Some(error) = self.stream.take_error().map_err(failed)? {
                return Err(failed(error));
            }
            if begun.elapsed() > PATIENCE {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Waits until something has come from the server.
    ///
    /// # Errors
    /// When the connection breaks, or nothing comes.
    pub fn wait_for_first_byte(&self) -> Result<(), ExchangeError> {
        let failed = |source| ExchangeError::Connection {
            what: "the client waiting for the first byte",
            octets: 0,
            source,
        };
        match self.stream.peek(&mut [0]).map_err(failed)? {
            0 => Err(failed(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    /// The connection.
    #[must_use]
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Does what is left, both ways at once, and says how many segments were sent again for it.
    ///
    /// # Errors
    /// When anything is not as it should be.
    pub fn finish(mut self) -> Result<u32, ExchangeError> {
        let stream = self.stream.try_clone().map_err(|source| ExchangeError::Connection {
            what: "the client beginning",
            octets: 0,
            source,
        })?;
        let exchange = self.exchange;
        thread::scope(|scope| {
            let reader = scope.spawn(move || read_answer(&stream, exchange));
            let written = self.write_all();
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // What the reader found is why the writer failed, if both did.
            read.and(written)
        })?;
        tcp_info::total_retransmissions(&self.stream).map_err(|source| ExchangeError::Connection {
            what: "the client looking back",
            octets: exchange.down,
            source,
        })
    }
}

/// Connects to a server that sends everything back (RFC 862), in the calling thread's namespace, and compares; how many
/// segments were sent again for it.
///
/// # Errors
/// When anything is not as it should be.
pub fn echo(to: SocketAddr, octets: u64, seed: u64) -> Result<u32, ExchangeError> {
    let exchange = Exchange { up: octets, down: octets, seed };
    let mut client = Client { header_is_written: true, ..exchange.connect(to)? };
    let failed =
        |source| ExchangeError::Connection { what: "the client of an echo", octets, source };
    let stream = client.stream.try_clone().map_err(failed)?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            compare(&stream, seed, octets, "the client reading its echo", "downwards")?;
            expect_end(&stream, octets, "downwards").map_err(failed)?
        });
        let written = client.write_all();
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(written)
    })?;
    tcp_info::total_retransmissions(&client.stream).map_err(failed)
}

fn write_header(
    mut stream: &TcpStream,
    exchange: Exchange,
    is_written: &mut bool,
) -> Result<(), ExchangeError> {
    if !*is_written {
        stream.write_all(&exchange.header()).map_err(|source| ExchangeError::Connection {
            what: "the client saying what it wants",
            octets: 0,
            source,
        })?;
        *is_written = true;
    }
    Ok(())
}

/// The client's side of what comes from the server.
fn read_answer(mut stream: &TcpStream, exchange: Exchange) -> Result<(), ExchangeError> {
    let direction = "downwards";
    compare(stream, exchange.seed ^ DOWNWARDS, exchange.down, "the client reading", direction)?;
    let mut trailer = [0; TRAILER];
    let failed = |source| ExchangeError::Connection {
        what: "the client reading what the server found",
        octets: exchange.down,
        source,
    };
    stream.read_exact(&mut trailer).map_err(failed)?;
    let (came, position) = (number(&trailer), number(&trailer[8..]));
    let direction = "upwards";
    if position != ALL_RIGHT {
        return Err(ExchangeError::Different { direction, position });
    }
    if came != exchange.up {
        return Err(ExchangeError::Length { direction, came, sent: exchange.up });
    }
    expect_end(stream, exchange.down, "downwards").map_err(failed)?
}

pub(super) fn set_patience(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::server::{Problems, serve};
    use super::*;

    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, &Problems::default()));
        address
    }

    #[test]
    fn an_exchange_over_loopback_succeeds() {
        let server = server();
        for (up, down) in [(0, 0), (1, 1 << 20), (1 << 20, 0), (300_001, 299_999)] {
            Exchange { up, down, seed: 9 }.run(server).unwrap();
        }
    }

    #[test]
    fn a_wrong_octet_is_found_on_both_sides() {
        let server = server();
        // The server is told another seed than the one that the client goes by.
        let told = Exchange { up: 5000, down: 0, seed: 1 };
        let mut client = Exchange { seed: 2, ..told }.connect(server).unwrap();
        (&client.stream).write_all(&told.header()).unwrap();
        client.header_is_written = true;
        let error = client.finish().unwrap_err();
        assert!(matches!(error, ExchangeError::Different { direction: "upwards", .. }), "{error}");
        let told = Exchange { up: 0, down: 5000, seed: 1 };
        let mut client = Exchange { seed: 2, ..told }.connect(server).unwrap();
        (&client.stream).write_all(&told.header()).unwrap();
        client.header_is_written = true;
        let error = client.finish().unwrap_err();
        assert!(
            matches!(error, ExchangeError::Different { direction: "downwards", .. }),
            "{error}"
        );
    }

    #[test]
    fn a_missing_octet_is_found() {
        let told = Exchange { up: 5000, down: 0, seed: 1 };
        let mut client = told.connect(server()).unwrap();
        client.write_early(4999).unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        let error = read_answer(&client.stream, told).unwrap_err();
        assert!(matches!(error, ExchangeError::Length { came: 4999, .. }), "{error}");
    }
}
