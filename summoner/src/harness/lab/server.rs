//! The server's side of an exchange.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::exchange::{ALL_RIGHT, DOWNWARDS, Exchange, ExchangeError, HEADER, set_patience};
use super::pattern::{compare, expect_end, write_pattern};

/// What went wrong with connections, as the server saw it: the client only sees them end.
#[derive(Debug, Clone, Default)]
pub(super) struct Problems(Arc<Mutex<Vec<String>>>);

impl Problems {
    fn add(&self, error: &ExchangeError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(crate::report(error));
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves every client that comes to the listener, until that is shut down.
pub(super) fn serve(listener: &TcpListener, problems: &Problems) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let problems = problems.clone();
        thread::spawn(move || {
            if let Err(error) = serve_one(&stream) {
                problems.add(&error);
            }
        });
    }
}

fn serve_one(mut stream: &TcpStream) -> Result<(), ExchangeError> {
    let failed = |what, octets| move |source| ExchangeError::Connection { what, octets, source };
    set_patience(stream).map_err(failed("the server beginning", 0))?;
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).map_err(failed("the server reading what is wanted", 0))?;
    let Exchange { up, down, seed } = Exchange::from_header(header);
    let (read, written) = thread::scope(|scope| {
        let writer = scope.spawn(move || write_pattern(stream, seed ^ DOWNWARDS, 0, down));
        let read = compare(stream, seed, up, "the server reading", "upwards").and_then(|()| {
            expect_end(stream, up, "upwards").map_err(failed("the server reading the end", up))?
        });
        (read, writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    written?;
    let (came, position) = match read {
        Ok(()) => (up, ALL_RIGHT),
        Err(ExchangeError::Different { position, .. }) => (position, position),
        Err(ExchangeError::Length { came, .. }) => (came, ALL_RIGHT),
        Err(error @ ExchangeError::Connection { .. }) => return Err(error),
    };
    let found = [came.to_be_bytes(), position.to_be_bytes()].concat();
    stream.write_all(&found).map_err(failed("the server saying what it found", down))
}
