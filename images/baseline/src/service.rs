//! The listening socket.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use hello::{HelloSite, Host};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, write};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, bind, getsockname, listen, socket_with,
};
use rustix::stdio::{stdin, stdout};

use crate::connection;

/// How many connections may wait; the standard library's choice.
const BACKLOG: i32 = 128;

/// A system call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What was tried, after "cannot".
    pub what: &'static str,
    /// Why it failed.
    pub error: Errno,
}

/// The service, listening.
#[derive(Debug)]
pub struct Service<H> {
    listener: Listener,
    site: HelloSite<H>,
}

#[derive(Debug)]
enum Listener {
    Own(OwnedFd),
    StandardInput,
}

impl<H: Host> Service<H> {
    /// Listens on a free port of 127.0.0.1, and writes its number to the standard output, as a line.
    ///
    /// # Errors
    /// When there is no such socket, or nobody reads the number.
    pub fn listen(host: H) -> Result<Self, Failure> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(failed("make a socket"))?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
            .map_err(failed("bind to 127.0.0.1"))?;
        listen(&socket, BACKLOG).map_err(failed("listen"))?;
        let address = own_address(socket.as_fd())?;
        let service = Self::new(host, Listener::Own(socket), address.ip());
        let line = format!("{}\n", address.port());
        // One call: a pipe takes so few octets whole.
        write(stdout(), line.as_bytes()).map_err(failed("say the port's number"))?;
        Ok(service)
    }

    /// Listens on the standard input.
    ///
    /// # Errors
    /// When that is no socket with an IP address. (Whether it listens is known when it is asked for a connection.)
    pub fn inherit(host: H) -> Result<Self, Failure> {
        let address = own_address(stdin())?;
        Ok(Self::new(host, Listener::StandardInput, address.ip()))
    }

    fn new(host: H, listener: Listener, address: IpAddr) -> Self {
        let site = HelloSite::new(host, "hello", vec![address]);
        site.set_listening();
        Self { listener, site }
    }

    /// Serves one connection after the other.
    ///
    /// # Errors
    /// When no connection can be had any more.
    pub fn run(&self) -> Result<Infallible, Failure> {
        let listener = match &self.listener {
            Listener::Own(socket) => socket.as_fd(),
            Listener::StandardInput => stdin(),
        };
        loop {
            match accept_with(listener, SocketFlags::CLOEXEC) {
                // What goes wrong on a connection is between it and its client.
                Ok(socket) => drop(connection::serve(&socket, &self.site)),
                // The client was gone before its turn (accept(2)).
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                Err(error) => return Err(Failure { what: "accept a connection", error }),
            }
        }
    }
}

fn own_address(socket: BorrowedFd<'_>) -> Result<SocketAddr, Failure> {
    let address = getsockname(socket).map_err(failed("ask a socket for its address"))?;
    SocketAddr::try_from(address).map_err(failed("use a socket without an IP address"))
}

fn failed(what: &'static str) -> impl Fn(Errno) -> Failure {
    move |error| Failure { what, error }
}
