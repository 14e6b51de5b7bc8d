//! What the driver reads from and writes to.

use std::io;
use std::os::fd::AsFd;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took it.
    Taken,
    /// The kernel's queue is full; the frame is lost, as on any network.
    Full,
}

/// A way for frames or packets, non-blocking.
pub trait NetworkPort: AsFd {
    /// Reads one frame into `buffer` and returns its length; `None` if there is none now.
    ///
    /// # Errors
    /// When the port is broken or closed; [`io::ErrorKind::UnexpectedEof`] for closed by the other end.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// Sends `head` and `body` as one frame.
    ///
    /// # Errors
    /// When the port is broken or closed.
    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent>;
}
