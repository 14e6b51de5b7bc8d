//! Datagrams in batches (recvmmsg(2), sendmmsg(2)): received in one call, answered in the same octets, sent in one call.
//!
//! ```text
//!   socket --receive--> slots: octets, envelope --answer(slot, length)--> outgoing --send--> socket
//! ```
//!
//! An answer leaves from the address at which its question arrived, also on a socket that listens on all addresses: such a
//! socket is told to report it (`IP_PKTINFO`, ip(7)).

mod envelope;
mod listen;
mod system;

use std::io;
use std::os::fd::BorrowedFd;

pub use envelope::Envelope;
pub use listen::{Listener, listen};
use system::Headers;

/// The most datagrams that one call moves. More take longer than they save: the first one waits for the last.
pub const BATCH: usize = 32;
/// The longest datagram that is taken or sent, in octets; what is longer is cut. A multiple of the cache's lines, but an
/// odd one, so that the beginnings of the slots do not all fall into the same set of the cache.
pub const ROOM: usize = 21 * 64;

/// The octets of a datagram.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Slot([u8; ROOM]);

/// Room for a batch, made once.
pub struct Batch {
    slots: Box<[Slot]>,
    /// Lengths of what is in the slots.
    lengths: [usize; BATCH],
    envelopes: Box<[Envelope]>,
    /// Which slots are to be sent, and how much of each.
    outgoing: Vec<(usize, usize)>,
    headers: Headers,
    /// Whether the socket tells where datagrams arrived.
    tells_arrival: bool,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("outgoing", &self.outgoing.len()).finish_non_exhaustive()
    }
}

/// What became of the outgoing datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// The kernel took them.
    pub sent: usize,
    /// It did not: no room, or no way there. They are lost, as on any network.
    pub failed: usize,
}

impl Batch {
    /// An empty batch. `tells_arrival` says whether the socket was told to report where datagrams arrive.
    #[must_use]
    pub fn new(tells_arrival: bool) -> Self {
        Self {
            slots: vec![Slot([0; ROOM]); BATCH].into_boxed_slice(),
            lengths: [0; BATCH],
            envelopes: vec![Envelope::EMPTY; BATCH].into_boxed_slice(),
            outgoing: Vec::with_capacity(BATCH),
            headers: Headers::new(),
            tells_arrival,
        }
    }

    /// Waits for a datagram on a blocking socket and takes all that are there, at most [`BATCH`]; says how many. They are in
    /// the slots from 0 on. A socket that was shut down gives an empty one, from nobody.
    ///
    /// # Errors
    /// What the system says, `Interrupted` among it.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.outgoing.clear();
        let Self { slots, lengths, envelopes, headers, tells_arrival, .. } = self;
        headers.receive(socket, slots, lengths, envelopes, *tells_arrival)
    }

    /// Where a slot's datagram came from.
    ///
    /// # Panics
    /// When there is no such slot.
    #[must_use]
    pub fn envelope(&self, slot: usize) -> &Envelope {
        &self.envelopes[slot]
    }

    /// The datagram in a slot.
    ///
    /// # Panics
    /// When there is no such slot.
    #[must_use]
    pub fn datagram(&self, slot: usize) -> &[u8] {
        &self.slots[slot].0[..self.lengths[slot]]
    }

    /// All the room of a slot, with its datagram at the beginning, and the datagram's length: an answer may be made of it.
    ///
    /// # Panics
    /// When there is no such slot.
    pub fn room(&mut self, slot: usize) -> (&mut [u8; ROOM], usize) {
        (&mut self.slots[slot].0, self.lengths[slot])
    }

    /// Sends the first `length` octets of a slot back with the next [`Batch::send`].
    ///
    /// # Panics
    /// When there is no such slot, or it has no such room.
    pub fn answer(&mut self, slot: usize, length: usize) {
        assert!(slot < BATCH && length <= ROOM, "{length} octets of slot {slot}");
        self.outgoing.push((slot, length));
    }

    /// Sends other octets back to where a slot's datagram came from. Octets that no slot has room for are not sent, and
    /// nor is anything for a slot that does not exist.
    ///
    /// # Panics
    /// When there is no such slot.
    pub fn answer_with(&mut self, slot: usize, octets: &[u8]) {
        if let Some(room) = self.slots[slot].0.get_mut(..octets.len()) {
            room.copy_from_slice(octets);
            self.outgoing.push((slot, octets.len()));
        }
    }

    /// Whether anything is to be sent.
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Sends what is outgoing, without waiting: what the kernel does not take is lost, and what comes after it is not.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> Sent {
        let Self { slots, envelopes, outgoing, headers, .. } = self;
        let sent = headers.send(socket, slots, envelopes, outgoing);
        outgoing.clear();
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    fn pair(listen: &str) -> (UdpSocket, UdpSocket) {
        let server = UdpSocket::bind(listen).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        client.connect(("127.0.0.1", port)).unwrap();
        (server, client)
    }

    #[test]
    fn a_batch_comes_and_goes_back() {
        let (server, client) = pair("127.0.0.1:0");
        for octet in 0..5_u8 {
            client.send(&vec![octet; usize::from(octet) + 1]).unwrap();
        }
        let mut batch = Batch::new(false);
        let mut received = 0;
        while received < 5 {
            for slot in 0..batch.receive(server.as_fd()).unwrap() {
                assert_eq!(batch.envelope(slot).peer(), Some(client.local_addr().unwrap()));
                assert_eq!(batch.datagram(slot), vec![batch.datagram(slot)[0]; received + 1]);
                // In place, with other octets, and not at all.
                let (room, length) = batch.room(slot);
                match room[0] {
                    1 => {
                        room[0] = 9;
                        batch.answer(slot, length);
                    }
                    3 => batch.answer_with(slot, b"other"),
                    _ => {}
                }
                received += 1;
            }
            let sent = batch.outgoing.len();
            assert_eq!(batch.send(server.as_fd()), Sent { sent, failed: 0 });
            assert!(!batch.has_outgoing());
        }
        let mut buffer = [0; 16];
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], [9, 1]);
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"other");
    }

    #[test]
    fn more_than_a_batch_comes_in_several() {
        let (server, client) = pair("127.0.0.1:0");
        let mut rest = BATCH + 5;
        for _ in 0..rest {
            client.send(b"x").unwrap();
        }
        let mut batch = Batch::new(false);
        while rest > 0 {
            let received = batch.receive(server.as_fd()).unwrap();
            assert!((1..=BATCH.min(rest)).contains(&received));
            rest -= received;
        }
    }

    #[test]
    fn an_answer_that_cannot_leave_stops_no_other() {
        let (server, client) = pair("127.0.0.1:0");
        client.send(b"b").unwrap();
        let mut batch = Batch::new(false);
        assert_eq!(batch.receive(server.as_fd()).unwrap(), 1);
        // Nothing can be sent to port 0.
        batch.envelopes[1] = Envelope::to("127.0.0.1:0".parse().unwrap());
        batch.answer_with(1, b"a");
        batch.answer(0, 1);
        batch.answer_with(1, b"c");
        assert_eq!(batch.send(server.as_fd()), Sent { sent: 1, failed: 2 });
        let mut buffer = [0; 16];
        assert_eq!(client.recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], b'b');
    }

    #[test]
    fn an_answer_leaves_from_where_the_question_arrived() {
        let server = UdpSocket::bind("0.0.0.0:0").unwrap();
        setsockopt(&server, sockopt::Ipv4PacketInfo, &true).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        // The kernel would answer from 127.0.0.1, and a connected client would not see it.
        client.connect(("127.0.0.7", server.local_addr().unwrap().port())).unwrap();
        client.send(b"where").unwrap();
        let mut batch = Batch::new(true);
        assert_eq!(batch.receive(server.as_fd()).unwrap(), 1);
        batch.answer(0, 5);
        assert_eq!(batch.send(server.as_fd()), Sent { sent: 1, failed: 0 });
        let mut buffer = [0; 16];
        assert_eq!(client.recv(&mut buffer).unwrap(), 5);
        // The same for an answer that is sent later.
        batch.envelope(0).send(server.as_fd(), b"late").unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn a_long_datagram_is_cut() {
        let (server, client) = pair("127.0.0.1:0");
        client.send(&[7; ROOM + 1]).unwrap();
        let mut batch = Batch::new(false);
        assert_eq!(batch.receive(server.as_fd()).unwrap(), 1);
        assert_eq!(batch.datagram(0).len(), ROOM);
    }

    #[test]
    fn who_waits_is_woken_by_a_shutdown() {
        let (server, _client) = pair("127.0.0.1:0");
        let other = server.try_clone().unwrap();
        let waiting = std::thread::spawn(move || {
            let mut batch = Batch::new(false);
            let received = batch.receive(other.as_fd()).unwrap();
            (received, batch.datagram(0).len(), batch.envelope(0).peer())
        });
        // Whether it waits already or not, this ends it. The socket is not connected, which is an error, and works.
        let _ = rustix::net::shutdown(&server, rustix::net::Shutdown::Read);
        assert_eq!(waiting.join().unwrap(), (1, 0, None));
    }
}
