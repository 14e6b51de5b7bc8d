//! The network device by hypercalls, one for each frame: what every host of this interface has.

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use hvt_abi::hypercall::CallResult;

use crate::hypercall::{net_read, net_write};

/// How long to wait before a frame that the host had no room for is offered again.
const RETRY_AFTER: Duration = Duration::from_micros(200);

/// A buffer each way.
#[derive(Debug)]
pub(crate) struct Calls {
    received: Box<[u8]>,
    sender: Sender,
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Sender {
    handle: u64,
    frame: Box<[u8]>,
    /// Octets of a frame in `frame` that the host had no room for.
    unsent: usize,
}

impl Calls {
    pub(crate) fn new(handle: u64, longest: usize) -> Self {
        let frame = vec![0; longest].into_boxed_slice();
        Self { received: frame.clone(), sender: Sender { handle, frame, unsent: 0 } }
    }

    /// When to try again, if a frame could not be sent. The host has no way to say that there is room.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        (self.sender.unsent > 0).then_some(RETRY_AFTER)
    }

    /// Asks for a frame; its length.
    pub(crate) fn receive(&mut self) -> Option<usize> {
        net_read(self.sender.handle, &mut self.received).ok()
    }

    /// The octets of the frame that was received last, and what sends the answer.
    pub(crate) fn open_frame(&mut self, len: usize) -> (&[u8], &mut Sender) {
        (&self.received[..len], &mut self.sender)
    }

    /// What sends frames.
    pub(crate) const fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }
}

impl Sender {
    /// Whether the next frame can be taken: the last one is gone, possibly just now.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.unsent > 0 {
            self.offer(self.unsent);
        }
        self.unsent == 0
    }

    /// Lets `write` make a frame of `len` octets, and sends it.
    pub(crate) fn send<R>(&mut self, len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let result = write(&mut self.frame[..len]);
        self.offer(len);
        result
    }

    fn offer(&mut self, len: usize) {
        // What the host refuses for good is lost, as on any wire.
        let again = net_write(self.handle, &self.frame[..len]) == CallResult::Again;
        self.unsent = if again { len } else { 0 };
    }
}
