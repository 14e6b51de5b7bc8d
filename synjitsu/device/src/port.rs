//! What the driver reads from and writes to.

use std::io;
use std::os::fd::AsFd;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took it, or it is kept until [`NetworkPort::flush`].
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

    /// Whether the next frame has been read from the kernel already, along with the last one. The descriptor is not
    /// readable because of it: who has received a frame goes on as long as this says so.
    fn has_more(&self) -> bool {
        false
    }

    /// Sends `head` and `body` as one frame, at [`flush`](Self::flush) at the latest.
    ///
    /// # Errors
    /// When the port is broken or closed.
    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent>;

    /// Sends what was kept, if the port keeps frames to send them together; how many were lost since the last time that
    /// this was called, other than by what [`transmit`](Self::transmit) has told.
    fn flush(&mut self) -> u64 {
        0
    }
}
