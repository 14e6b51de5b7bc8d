//! A service that was started and tells when it listens.

use std::io::{self, ErrorKind, PipeReader, Read, pipe};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::client::{PATIENCE, exchange};
use super::{BaselineError, Sample};

/// The longest line that tells a port: five digits and the line's end.
const LINE_MAX: usize = 6;

/// A process. Killed and waited for when dropped.
#[derive(Debug)]
pub(super) struct Started(pub(super) Child);

impl Drop for Started {
    fn drop(&mut self) {
        // Errors mean that it has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A service that was started.
#[derive(Debug)]
pub(super) struct Launched {
    program: String,
    started: Instant,
    process: Started,
    said: PipeReader,
}

impl Launched {
    /// Starts a command that writes the number of its port to its standard output; the time runs from here.
    pub(super) fn start(mut command: Command) -> Result<Self, BaselineError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (said, says) =
            pipe().map_err(|source| BaselineError::Prepare { what: "make a pipe", source })?;
        command.stdout(says);
        let started = Instant::now();
        // The command, and with it our copy of the pipe's other end, is gone before the pipe is read: it ends when
        // the process ends.
        let spawned = { command }.spawn();
        match spawned {
            Ok(child) => Ok(Self { program, started, process: Started(child), said }),
            Err(source) => Err(BaselineError::Start { program, source }),
        }
    }

    /// Waits until the service listens, and asks it for its page.
    pub(super) fn sample(&mut self) -> Result<Sample, BaselineError> {
        let port = self.port()?;
        let ready = self.started.elapsed();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let exchange = exchange(address, self.started)
            .map_err(|source| BaselineError::Exchange { program: self.program.clone(), source })?;
        Ok(Sample {
            ready,
            connected: exchange.connected,
            first_byte: exchange.first_byte,
            last_byte: exchange.last_byte,
        })
    }

    /// The process, for its other streams.
    pub(super) fn process(&mut self) -> &mut Started {
        &mut self.process
    }

    /// Waits for the process to end by itself; whether it has.
    pub(super) fn has_ended_within(&mut self, timeout: Duration) -> bool {
        let child = &mut self.process.0;
        // Not waited for so far, its number is still its own.
        if let Ok(None) = child.try_wait()
            && let Ok(process) = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        {
            return is_ready_within(&process, timeout).unwrap_or(false);
        }
        true
    }

    fn port(&mut self) -> Result<u16, BaselineError> {
        let mut octets = [0; LINE_MAX];
        let mut len = 0;
        while len < octets.len() && !octets[..len].ends_with(b"\n") {
            match self.hear(&mut octets[len..]) {
                Ok(0) => return Err(self.ended_early()),
                Ok(count) => len += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    let (program, seconds) = (self.program.clone(), PATIENCE.as_secs());
                    return Err(BaselineError::NotReady { program, seconds });
                }
                Err(source) => {
                    let program = self.program.clone();
                    return Err(BaselineError::Unreadable { program, source });
                }
            }
        }
        let line = String::from_utf8_lossy(&octets[..len]);
        line.strip_suffix('\n').and_then(|number| number.parse().ok()).ok_or_else(|| {
            BaselineError::NotAPort { program: self.program.clone(), line: line.into_owned() }
        })
    }

    /// Reads from the pipe, within the patience.
    fn hear(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        if !is_ready_within(&self.said, PATIENCE)? {
            return Err(ErrorKind::TimedOut.into());
        }
        self.said.read(octets)
    }

    fn ended_early(&mut self) -> BaselineError {
        let program = self.program.clone();
        // It has closed its standard output; if not because it has ended, it is ended now.
        let _ = self.process.0.kill();
        match self.process.0.wait() {
            Ok(status) => BaselineError::EndedEarly { program, status },
            Err(source) => BaselineError::Unreadable { program, source },
        }
    }
}

/// Waits until there is something to read or to accept; whether that came before the timeout.
pub(super) fn is_ready_within(
    descriptor: &impl rustix::fd::AsFd,
    timeout: Duration,
) -> io::Result<bool> {
    let timeout = Timespec::try_from(timeout).map_err(|_| ErrorKind::InvalidInput)?;
    Ok(poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&timeout))? > 0)
}
