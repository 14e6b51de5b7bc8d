//! A TCP server: ports that are listened on, connections that are driven, and the one loop that does it.
//!
//! There is no fixed backlog. A listening socket of the stack turns into the connection that it receives,
//! so after *every* frame the server puts a new listener in its place: two hundred SYNs in one burst are two
//! hundred connections. What bounds them is memory. When that is used up, connections that are only being
//! remembered (TIME-WAIT) or wait for a request are given up, the longest idle first; when none such is
//! left, new ones are refused by the stack until one ends.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};

use crate::boot::{Guest, NetPort};
use crate::heap;
use crate::net::{Addressing, Stack};

/// Octets of a narrow connection's receive buffer: two full segments, so that a client may have one under way.
pub(crate) const RECEIVE_BUFFER: usize = 3 * 1024;

/// Octets of a narrow connection's send buffer.
const SEND_BUFFER: usize = 8 * 1024;

/// Octets of a wide connection's buffers: what is under way in one round trip, which is at best one exit of the guest. As
/// much as a window without scaling tells (RFC 7323, section 2.2), so that nobody needs to agree on a scale. Memory that
/// a connection does not fill is never touched.
const WIDE_BUFFER: usize = 0xffff;

/// The most connections that are wide.
const WIDE_MAX: u64 = 16;

/// The part of the heap that wide connections may take.
const WIDE_PART: u64 = 4;

/// Octets of heap that one connection is reckoned with: its buffers, its socket, and a small handler.
const CONNECTION_COST: u64 =
    (RECEIVE_BUFFER + SEND_BUFFER + size_of::<SocketStorage<'_>>() + size_of::<Held>() + 256)
        as u64;

/// What a wide one takes beyond that.
const WIDE_COST: u64 = (2 * WIDE_BUFFER - RECEIVE_BUFFER - SEND_BUFFER) as u64;

/// Octets of heap that connections leave to everything else.
const RESERVE: u64 = 256 * 1024;

/// The most connections, however large the heap is: the stack looks at each of them for each frame.
const CONNECTIONS_MAX: usize = 4096;

/// Sockets that are kept when they are not needed; their memory is warm.
const SPARE: usize = 8;

/// How long the peer may take to acknowledge what was sent.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// How long a closed connection may take to end.
const CLOSING: Duration = Duration::from_secs(10);

/// How long nothing must happen before the guest is taken to be idle for the first time.
const QUIET: Duration = Duration::from_millis(20);

/// What to do with a connection next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Keep it.
    Continue,
    /// Send what is buffered, then close it.
    Close,
}

/// One connection's side of a protocol.
pub trait Connection {
    /// Does what can be done with what has arrived and what there is room for. Called after each change.
    fn drive(&mut self, socket: &mut Socket<'static>) -> Next;

    /// Whether nothing is under way, so that the connection may be given up when memory is short.
    fn is_idle(&self) -> bool {
        false
    }

    /// How long nothing may happen before the connection is ended; `None` for as long as the peer likes.
    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// Makes the handler of a new connection.
type Open = Box<dyn FnMut() -> Box<dyn Connection>>;

struct Port {
    number: u16,
    open: Open,
    listener: Option<SocketHandle>,
}

struct Held {
    handle: SocketHandle,
    connection: Box<dyn Connection>,
    /// Since the guest's entry: when something last happened on it.
    active_at: Duration,
    /// What it looked like then.
    seen: (State, usize, usize),
    closing: bool,
}

/// The server.
#[expect(missing_debug_implementations, reason = "smoltcp's interface has none")]
pub struct Server {
    guest: &'static Guest,
    stack: Stack,
    ports: Vec<Port>,
    connections: Vec<Held>,
    spare: Vec<Socket<'static>>,
    limit: usize,
    /// How many wide sockets there may still be.
    wide_left: u64,
    when_quiet: Option<Box<dyn FnOnce()>>,
}

impl Server {
    /// A server at these addresses on `port`, with as many connections as the heap has room for.
    #[must_use]
    pub fn new(guest: &'static Guest, port: NetPort, addressing: &Addressing) -> Self {
        let room = guest.heap_size().saturating_sub(RESERVE);
        let wide = (room / WIDE_PART / WIDE_COST).min(WIDE_MAX);
        let room = (room - wide * WIDE_COST) / CONNECTION_COST;
        let limit = usize::try_from(room).map_or(CONNECTIONS_MAX, |room| room.min(CONNECTIONS_MAX));
        Self {
            guest,
            // The tables are made in full, because a table that grows needs the room of two.
            stack: Stack::new(guest, port, addressing, limit + 1),
            ports: Vec::new(),
            connections: Vec::with_capacity(limit + 1),
            spare: Vec::new(),
            limit,
            wide_left: wide,
            when_quiet: None,
        }
    }

    /// Listens on a TCP port; `open` makes the handler of each connection.
    pub fn listen<C: Connection + 'static>(
        &mut self,
        port: u16,
        mut open: impl FnMut() -> C + 'static,
    ) {
        let open: Open = Box::new(move || Box::new(open()));
        self.ports.push(Port { number: port, open, listener: None });
        self.top_up();
    }

    /// What to do once when nothing is to be done for the first time; for what would delay the first
    /// answer, as console output does.
    pub fn when_quiet(&mut self, what: impl FnOnce() + 'static) {
        self.when_quiet = Some(Box::new(what));
    }

    /// Serves until the host asks the guest to shut down and the connections under way have ended.
    pub fn run(mut self) {
        self.serve_until(None);
    }

    /// Serves until `end` (time since the guest's entry) or the end of [`Server::run`]; whether it was the
    /// former.
    pub fn serve_until(&mut self, end: Option<Duration>) -> bool {
        let mut shutting_down = false;
        loop {
            while self.stack.receive() {
                if self.stack.is_batched() {
                    // The answers leave together in any case; only the next SYN must find a listener.
                    self.top_up_unless(shutting_down);
                } else {
                    // One frame at a time, each answered before the next is asked for: that there is none is known
                    // only after leaving the guest once more, and the answer should not wait for it.
                    self.serve(shutting_down);
                }
            }
            self.serve(shutting_down);
            if shutting_down && self.connections.is_empty() {
                return false;
            }
            let now = self.guest.clock.now();
            if end.is_some_and(|end| end <= now) {
                return true;
            }
            let quiet = self.when_quiet.as_ref().map(|_| now + QUIET);
            let wake = [end, self.impatience(), quiet].into_iter().flatten().min();
            let ready = self.stack.sleep(wake);
            if ready.shutdown && !shutting_down {
                shutting_down = true;
                self.stop_listening();
            }
            if quiet.is_some_and(|quiet| ready.devices == 0 && self.guest.clock.now() >= quiet)
                && let Some(what) = self.when_quiet.take()
            {
                what();
            }
        }
    }

    /// Everything that can be done without new input.
    fn serve(&mut self, shutting_down: bool) {
        self.top_up_unless(shutting_down);
        self.drive(shutting_down);
        self.stack.send();
    }

    /// Drives every connection, and forgets those that have ended.
    fn drive(&mut self, shutting_down: bool) {
        let now = self.guest.clock.now();
        let sockets = &mut self.stack.sockets;
        let (spare, wide_left) = (&mut self.spare, &mut self.wide_left);
        self.connections.retain_mut(|held| {
            let socket = sockets.get_mut::<Socket<'static>>(held.handle);
            held.drive(socket, now, shutting_down);
            let remembered_only = shutting_down && socket.state() == State::TimeWait;
            // Without a peer: closed and the peer told, or reset before it was established (then the stack
            // makes it a listener again, which the port has by now).
            let ended = socket.remote_endpoint().is_none() || remembered_only;
            if ended {
                retire(sockets, held.handle, spare, wide_left);
            }
            !ended
        });
    }

    /// When the first connection's patience ends.
    fn impatience(&self) -> Option<Duration> {
        self.connections.iter().filter_map(Held::deadline).min()
    }

    fn top_up_unless(&mut self, shutting_down: bool) {
        if !shutting_down {
            self.top_up();
        }
    }

    /// Sees that each port has a listening socket.
    fn top_up(&mut self) {
        for index in 0..self.ports.len() {
            if let Some(handle) = self.ports[index].listener {
                let socket = self.stack.sockets.get::<Socket<'static>>(handle);
                if socket.is_listening() {
                    continue;
                }
                // It has received a SYN. (Reset in this state, it would have become a listener again.)
                let port = &mut self.ports[index];
                port.listener = None;
                self.connections.push(Held {
                    handle,
                    connection: (port.open)(),
                    active_at: self.guest.clock.now(),
                    seen: look(socket),
                    closing: false,
                });
            }
            self.ports[index].listener = self.new_listener(self.ports[index].number);
        }
    }

    fn new_listener(&mut self, port: u16) -> Option<SocketHandle> {
        if self.is_full() {
            self.give_up_one();
        }
        if self.is_full() {
            return None;
        }
        let mut socket = self.new_socket().or_else(|| {
            // The reckoning left out what others take from the heap; one more goes, then.
            self.give_up_one();
            self.new_socket()
        })?;
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(UNACKNOWLEDGED.into()));
        socket.listen(port).ok()?;
        Some(self.stack.sockets.add(socket))
    }

    /// Whether one more listener would be more than the heap was reckoned for. Each port has one, and the stack's table has room
    /// for no socket more: a table that grew would ask for memory that is not there.
    fn is_full(&self) -> bool {
        self.connections.len() + self.ports.len() > self.limit
    }

    /// A socket that nobody uses: one that somebody used, because its memory is warm, or a new one, wide as long as there
    /// may be wide ones.
    fn new_socket(&mut self) -> Option<Socket<'static>> {
        let warm = self.spare.iter().rposition(is_wide).or(self.spare.len().checked_sub(1));
        if let Some(warm) = warm {
            return Some(self.spare.remove(warm));
        }
        let new = |receive, send| {
            let buffer = |len| heap::zeroed(len).map(SocketBuffer::new);
            Some(Socket::new(buffer(receive)?, buffer(send)?))
        };
        if let Some(left) = self.wide_left.checked_sub(1)
            && let Some(socket) = new(WIDE_BUFFER, WIDE_BUFFER)
        {
            self.wide_left = left;
            return Some(socket);
        }
        new(RECEIVE_BUFFER, SEND_BUFFER)
    }

    /// Ends the connection that is missed least.
    fn give_up_one(&mut self) {
        let sockets = &mut self.stack.sockets;
        let rank = |held: &Held| match sockets.get::<Socket<'static>>(held.handle).state() {
            State::TimeWait => Some(0),
            _ if held.closing || held.connection.is_idle() => Some(1),
            _ => None,
        };
        let least = self
            .connections
            .iter()
            .enumerate()
            .filter_map(|(index, held)| Some(((rank(held)?, held.active_at), index)))
            .min();
        let Some((_, index)) = least else { return };
        let held = self.connections.swap_remove(index);
        let socket = sockets.get_mut::<Socket<'static>>(held.handle);
        if socket.state() == State::TimeWait {
            retire(sockets, held.handle, &mut self.spare, &mut self.wide_left);
            return;
        }
        // The peer is told; the socket must live until that is sent.
        socket.abort();
        self.stack.send();
        retire(&mut self.stack.sockets, held.handle, &mut self.spare, &mut self.wide_left);
    }

    fn stop_listening(&mut self) {
        for port in &mut self.ports {
            if let Some(handle) = port.listener.take() {
                self.stack.sockets.remove(handle);
            }
        }
    }
}

impl Held {
    fn drive(&mut self, socket: &mut Socket<'static>, now: Duration, shutting_down: bool) {
        if socket.state() == State::SynReceived {
            // Nothing to drive yet; to a handler it would look like a connection that the peer has closed.
        } else if self.closing {
            // What still comes is not wanted, but unread it would close the window and keep the peer.
            while socket.recv(|octets| (octets.len(), octets.len())).is_ok_and(|len| len > 0) {}
        } else {
            let next = self.connection.drive(socket);
            if next == Next::Close || (shutting_down && self.connection.is_idle()) {
                socket.close();
                self.closing = true;
            }
        }
        let seen = look(socket);
        if seen != self.seen {
            (self.seen, self.active_at) = (seen, now);
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            if self.closing {
                socket.abort();
            } else {
                socket.close();
                (self.closing, self.active_at) = (true, now);
            }
        }
    }

    fn deadline(&self) -> Option<Duration> {
        // The stack itself ends TIME-WAIT.
        if self.seen.0 == State::TimeWait {
            return None;
        }
        let patience = if self.closing { Some(CLOSING) } else { self.connection.patience() };
        patience.map(|patience| self.active_at + patience)
    }
}

/// Takes a socket out of use, and keeps it for the next connection if there are not enough of those.
fn retire(
    sockets: &mut SocketSet<'static>,
    handle: SocketHandle,
    spare: &mut Vec<Socket<'static>>,
    wide_left: &mut u64,
) {
    let smoltcp::socket::Socket::Tcp(mut socket) = sockets.remove(handle);
    if spare.len() < SPARE {
        socket.abort();
        spare.push(socket);
    } else if is_wide(&socket) {
        *wide_left += 1;
    }
}

fn is_wide(socket: &Socket<'static>) -> bool {
    socket.recv_capacity() == WIDE_BUFFER
}

/// What a connection looks like; if that changes, something happened on it.
fn look(socket: &Socket<'static>) -> (State, usize, usize) {
    (socket.state(), socket.recv_queue(), socket.send_queue())
}
