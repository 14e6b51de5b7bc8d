//! Frames of one guest, received in one system call.

use std::array::from_fn;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg};

use super::ports::MOST;
use crate::{GuestPort, NetworkPort};

/// The longest frame that is read whole; longer ones are cut, and dropped by the switch.
pub(super) const LONGEST_FRAME: usize = 64 * 1024;
/// From one frame's room to the next: not a power of two, or all frames would compete for the same lines of the
/// processor's cache.
const STRIDE: usize = LONGEST_FRAME + 1024;

/// Room for as many frames as are read from one port at a time; memory that no frame has filled is never touched.
pub(super) struct Incoming {
    headers: MultiHeaders<()>,
    octets: Vec<u8>,
    lengths: Vec<usize>,
}

/// What came from a guest.
#[derive(Debug)]
pub(super) struct Came {
    /// Why no more will come, if that is known.
    pub(super) end: Option<io::Error>,
    /// Whether there were as many frames as were asked for.
    pub(super) is_full: bool,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(MOST, None),
            octets: vec![0; MOST * STRIDE],
            lengths: Vec::with_capacity(MOST),
        }
    }

    /// Receives up to `most` frames.
    pub(super) fn receive(&mut self, port: &mut GuestPort, most: usize) -> Came {
        self.lengths.clear();
        if most == 1 {
            return self.receive_one(port);
        }
        let mut free = self.octets.chunks_mut(STRIDE);
        let mut rooms: [_; MOST] = from_fn(|_| {
            let room = free.next().expect("there is room for as many");
            [IoSliceMut::new(&mut room[..LONGEST_FRAME])]
        });
        let rooms = rooms.iter_mut().take(most);
        let descriptor = port.as_fd().as_raw_fd();
        let result = recvmmsg(descriptor, &mut self.headers, rooms, MsgFlags::MSG_DONTWAIT, None);
        let mut end = None;
        match result {
            Ok(messages) => self.lengths.extend(messages.map(|message| message.bytes)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // A monitor that was killed with frames unread resets.
            Err(Errno::ECONNRESET) => end = Some(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => end = Some(error.into()),
        }
        // A frame has at least a header, so an empty message is the end, or as bad.
        if let Some(place) = self.lengths.iter().position(|length| *length == 0) {
            self.lengths.truncate(place);
            end = Some(io::ErrorKind::UnexpectedEof.into());
        }
        Came { end, is_full: self.lengths.len() == most }
    }

    /// Without the ceremony: mostly there is no more than one.
    fn receive_one(&mut self, port: &mut GuestPort) -> Came {
        let received = port.receive(&mut self.octets[..LONGEST_FRAME]);
        let is_full = matches!(received, Ok(Some(_)));
        let end = match received {
            Ok(length) => {
                self.lengths.extend(length);
                None
            }
            Err(error) => Some(error),
        };
        Came { end, is_full }
    }

    /// The frames that were received last.
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let rooms = self.octets.chunks(STRIDE);
        rooms.zip(&self.lengths).map(|(room, length)| &room[..*length])
    }
}
