//! Frames between the guest's memory and its port, many in one system call.
#![expect(unsafe_code, reason = "recvmmsg(2) has no safe form without an allocation for each call")]

use std::array::from_fn;
use std::io::IoSlice;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

/// Frames that are sent or received in one system call.
pub(crate) const AT_ONCE: usize = 32;

/// Room for as many frames as go in one system call, each as long as the longest. What was never used was never touched.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    octets: Vec<u8>,
    /// The longest frame, in octets.
    longest: usize,
    lengths: [usize; AT_ONCE],
    /// How many rooms, from the first on, may have something in them.
    used: usize,
}

impl Frames {
    /// Room for frames of at most `longest` octets.
    pub(crate) fn new(longest: usize) -> Self {
        Self { octets: vec![0; longest * AT_ONCE], longest, lengths: [0; AT_ONCE], used: 0 }
    }

    /// Makes them as long as the next instance has them.
    pub(crate) fn set_longest(&mut self, longest: usize) {
        self.longest = longest;
        self.octets.resize(longest * AT_ONCE, 0);
    }

    /// Forgets every frame.
    pub(crate) fn clean(&mut self) {
        self.octets[..self.used * self.longest].fill(0);
        self.used = 0;
    }

    /// Room for a frame that is handled alone.
    pub(crate) fn single(&mut self) -> &mut [u8] {
        let longest = self.longest;
        self.room(0, longest)
    }

    /// The room of the frame `index`, which is to have `length` octets, or as many as the longest.
    pub(crate) fn room(&mut self, index: usize, length: usize) -> &mut [u8] {
        let length = length.min(self.longest);
        self.lengths[index] = length;
        self.used = self.used.max(index + 1);
        &mut self.octets[index * self.longest..][..length]
    }

    /// The frame `index`.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.octets[index * self.longest..][..self.lengths[index]]
    }

    /// Sends the first `count` frames. What a full port does not take is lost, as on any network.
    pub(crate) fn send(&self, port: BorrowedFd<'_>, count: usize) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if count == 1 {
            let _ = rustix::net::send(port, self.get(0), flags);
            return;
        }
        let parts: [_; AT_ONCE] =
            from_fn(|index| [IoSlice::new(if index < count { self.get(index) } else { &[] })]);
        let mut controls: [_; AT_ONCE] = from_fn(|_| SendAncillaryBuffer::default());
        let mut pairs = parts.iter().zip(&mut controls);
        let mut messages: [_; AT_ONCE] = from_fn(|_| {
            let (part, control) = pairs.next().expect("there are as many of each");
            MMsgHdr::new(part, control)
        });
        let mut sent = 0;
        while sent < count {
            match sendmmsg(port, &mut messages[sent..count], flags) {
                Ok(taken) => sent += taken,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Receives as many frames as there are, at most as many as `rooms` tells lengths; how many it was. What has no room is
    /// cut.
    pub(crate) fn receive(
        &mut self,
        port: BorrowedFd<'_>,
        rooms: impl Iterator<Item = usize>,
    ) -> usize {
        let used = self.used;
        let mut count = 0;
        for (index, length) in rooms.take(AT_ONCE).enumerate() {
            self.room(index, length);
            count = index + 1;
        }
        let base = self.octets.as_mut_ptr();
        let mut parts: [libc::iovec; AT_ONCE] = from_fn(|index| libc::iovec {
            iov_base: base.wrapping_add(index * self.longest).cast(),
            iov_len: self.lengths[index],
        });
        let mut messages: [libc::mmsghdr; AT_ONCE] = from_fn(|index| {
            // SAFETY: a message header is made of numbers and pointers, and zero is a value of all of them.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = &raw mut parts[index];
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        // At most 32.
        let most = libc::c_uint::try_from(count).unwrap_or(0);
        // SAFETY: the descriptor is open. The first `most` headers are initialised, each with one part, which lies within
        // `octets`: `room` has just made a slice of each. Nothing else refers to any of these during the call. No timeout is given.
        let received = unsafe {
            libc::recvmmsg(
                port.as_raw_fd(),
                messages.as_mut_ptr(),
                most,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        // Negative for an error: nothing is there, or nothing comes any more, which the next poll tells apart.
        let received = usize::try_from(received).unwrap_or(0).min(count);
        for (length, message) in self.lengths.iter_mut().zip(&messages[..received]) {
            // It is at most what there was room for.
            *length = (message.msg_len as usize).min(*length);
        }
        // An empty message is the end of what comes.
        let frames = self.lengths[..received].iter().take_while(|length| **length > 0).count();
        // Rooms that no frame came to stay untouched.
        self.used = used.max(received);
        frames
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, send, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    #[test]
    fn frames_go_together_and_keep_their_bounds() {
        let (ours, theirs) = pair();
        let mut frames = Frames::new(100);
        for index in 0..AT_ONCE {
            frames.room(index, index + 1).fill(u8::try_from(index).unwrap());
        }
        frames.send(ours.as_fd(), AT_ONCE);
        let mut buffer = [0; 200];
        for index in 0..AT_ONCE {
            let (_, length) = recv(&theirs, &mut buffer, RecvFlags::empty()).unwrap();
            assert_eq!(buffer[..length], vec![u8::try_from(index).unwrap(); index + 1]);
        }
        assert_eq!(frames.receive(ours.as_fd(), [100; 3].into_iter()), 0);
        for length in [1, 60, 100, 150] {
            send(&theirs, &buffer[..length], SendFlags::empty()).unwrap();
        }
        assert_eq!(frames.receive(ours.as_fd(), [100, 50, 999].into_iter()), 3);
        let lengths: Vec<_> = (0..3).map(|index| frames.get(index).len()).collect();
        assert_eq!(lengths, [1, 50, 100], "the second was cut");
        assert_eq!(frames.receive(ours.as_fd(), [120; 40].into_iter()), 1);
        assert_eq!(frames.get(0).len(), 100, "no frame is longer than the longest");
        drop(theirs);
        assert_eq!(frames.receive(ours.as_fd(), [100; 40].into_iter()), 0);
        frames.send(ours.as_fd(), 2);
    }

    #[test]
    fn nothing_is_left_when_it_is_clean() {
        let (ours, theirs) = pair();
        let mut frames = Frames::new(64);
        frames.room(2, 64).fill(7);
        send(&theirs, &[9; 64], SendFlags::empty()).unwrap();
        assert_eq!(frames.receive(ours.as_fd(), [64; 4].into_iter()), 1);
        frames.single().fill(8);
        frames.clean();
        assert!(frames.octets.iter().all(|octet| *octet == 0));
    }
}
