//! The two system calls.
#![expect(
    unsafe_code,
    reason = "there are no safe calls that move several datagrams and say how many they moved"
)]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use libc::{c_uint, iovec, mmsghdr, msghdr};

use super::envelope::{ADDRESS, CONTROL, Envelope};
use super::{BATCH, Sent, Slot};

/// What the kernel reads and writes beside the octets. The pointers in it are set before each call, and are not followed
/// after it.
pub(super) struct Headers {
    messages: Box<[mmsghdr]>,
    parts: Box<[iovec]>,
}

impl Headers {
    pub(super) fn new() -> Self {
        let parts = vec![iovec { iov_base: null_mut(), iov_len: 0 }; BATCH];
        Self { messages: vec![EMPTY; BATCH].into_boxed_slice(), parts: parts.into_boxed_slice() }
    }

    /// Waits for the first datagram and takes the others that are there; fills lengths and envelopes.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        slots: &mut [Slot],
        lengths: &mut [usize],
        envelopes: &mut [Envelope],
        tells_arrival: bool,
    ) -> io::Result<usize> {
        let control_length = if tells_arrival { CONTROL } else { 0 };
        let places = slots.iter_mut().zip(envelopes.iter_mut());
        let headers = self.messages.iter_mut().zip(self.parts.iter_mut());
        let mut count: c_uint = 0;
        for ((message, part), (slot, envelope)) in headers.zip(places) {
            *part = iovec { iov_base: slot.0.as_mut_ptr().cast(), iov_len: slot.0.len() };
            // A family that there is not, should the kernel not say who it was.
            envelope.address[0] = 0;
            envelope.address[1] = 0;
            let header = &mut message.msg_hdr;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_name = envelope.address.as_mut_ptr().cast();
            header.msg_namelen = ADDRESS_LENGTH;
            header.msg_control = envelope.control.as_mut_ptr().cast();
            header.msg_controllen = control_length;
            count += 1;
        }
        let (messages, flags) = (self.messages.as_mut_ptr(), libc::MSG_WAITFORONE);
        // SAFETY: the descriptor is open, and `messages` are `count` headers, all initialised. Each points to one part, to
        // ADDRESS octets and to CONTROL octets (or says that there are none), and each part to all octets of a slot: no two
        // share any, they are borrowed mutably until after the call, and for octets all that the kernel writes is a value.
        let result =
            unsafe { libc::recvmmsg(socket.as_raw_fd(), messages, count, flags, null_mut()) };
        let received = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        let places = envelopes.iter_mut().zip(lengths.iter_mut());
        for (message, (envelope, length)) in self.messages.iter().zip(places).take(received) {
            *length = usize::try_from(message.msg_len).unwrap_or(0);
            envelope.address_length = message.msg_hdr.msg_namelen;
            envelope.control_length = message.msg_hdr.msg_controllen;
            if tells_arrival {
                envelope.forget_interface();
            }
        }
        Ok(received)
    }

    /// Sends what `outgoing` lists: slot and length.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        slots: &mut [Slot],
        envelopes: &mut [Envelope],
        outgoing: &[(usize, usize)],
    ) -> Sent {
        let headers = self.messages.iter_mut().zip(self.parts.iter_mut());
        let mut count = 0;
        for ((message, part), &(slot, length)) in headers.zip(outgoing) {
            let (octets, envelope) = (&mut slots[slot].0[..length], &mut envelopes[slot]);
            *part = iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
            address(&mut message.msg_hdr, part, envelope);
            count += 1;
        }
        let mut done = Sent::default();
        while done.sent + done.failed < count {
            let rest = &mut self.messages[done.sent + done.failed..count];
            let length = c_uint::try_from(rest.len()).unwrap_or(c_uint::MAX);
            // SAFETY: the descriptor is open, and `rest` are `length` headers that the loop above has set: each points to one
            // part, to as much of an envelope's address and control octets as the kernel filled, and each part to octets of
            // a slot. They are borrowed until after the call; the kernel only reads them and writes the headers' lengths.
            let result = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), length, libc::MSG_DONTWAIT)
            };
            match usize::try_from(result) {
                Ok(sent) => done.sent += sent,
                Err(_) if is_interrupted() => {}
                // Of the first; those after it may have a better way.
                Err(_) => done.failed += 1,
            }
        }
        done
    }
}

/// Sends one datagram, without waiting.
pub(super) fn send_one(
    socket: BorrowedFd<'_>,
    envelope: &Envelope,
    octets: &[u8],
) -> io::Result<()> {
    let mut envelope = *envelope;
    // The kernel only reads it; the type is shared with receiving.
    let mut part = iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
    let mut message = EMPTY;
    address(&mut message.msg_hdr, &mut part, &mut envelope);
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the descriptor is open, and the header is initialised and points to one part, which has the octets, and to as
    // much of the envelope as is filled. All live until after the call, and the kernel only reads them.
    let result = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message.msg_hdr, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes a header say what is sent and to whom.
const fn address(header: &mut msghdr, part: &mut iovec, envelope: &mut Envelope) {
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_name = envelope.address.as_mut_ptr().cast();
    header.msg_namelen = envelope.address_length;
    header.msg_control = envelope.control.as_mut_ptr().cast();
    header.msg_controllen = envelope.control_length;
    header.msg_flags = 0;
}

fn is_interrupted() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
}

// Twenty-eight octets.
#[expect(clippy::cast_possible_truncation, reason = "it is 28")]
const ADDRESS_LENGTH: u32 = ADDRESS as u32;

// SAFETY: `mmsghdr` consists of integers and raw pointers, for which all bits zero are a value.
const EMPTY: mmsghdr = unsafe { zeroed() };
