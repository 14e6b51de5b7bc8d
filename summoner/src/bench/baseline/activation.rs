//! A service that is started by its first connection.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use super::client::{PATIENCE, exchange};
use super::launch::{Started, is_ready_within};
use super::program::Program;
use super::{BaselineError, Sample};

pub(super) fn sample(service: &Program) -> Result<Sample, BaselineError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(|source| BaselineError::Prepare { what: "listen on 127.0.0.1", source })?;
    let address = listener
        .local_addr()
        .map_err(|source| BaselineError::Prepare { what: "ask for a socket's address", source })?;
    let mut command = service.command();
    command.arg("inherit");
    let armed = Barrier::new(2);
    thread::scope(|scope| {
        let activator = scope.spawn(|| {
            armed.wait();
            activate(listener, command)
        });
        armed.wait();
        let started = Instant::now();
        let exchanged = exchange(address, started);
        let activated = activator.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // First the starter's side: it has the cause, where the client has only a connection that was reset.
        let (process, executed) = activated
            .map_err(|source| BaselineError::Start { program: service.to_string(), source })?;
        let exchange = exchanged
            .map_err(|source| BaselineError::Exchange { program: service.to_string(), source })?;
        drop(process);
        Ok(Sample {
            ready: executed.saturating_duration_since(started),
            connected: exchange.connected,
            first_byte: exchange.first_byte,
            last_byte: exchange.last_byte,
        })
    })
}

/// Waits for a connection and starts the program; the process and when it was started.
///
/// The socket is no longer open here when this returns: if the process ends, its clients are told.
fn activate(listener: TcpListener, mut command: Command) -> io::Result<(Started, Instant)> {
    while !match is_ready_within(&listener, PATIENCE) {
        Err(error) if error.kind() == ErrorKind::Interrupted => false,
        ready => ready?.then_some(true).ok_or(ErrorKind::TimedOut)?,
    } {}
    let child = command.stdin(OwnedFd::from(listener)).spawn()?;
    Ok((Started(child), Instant::now()))
}
