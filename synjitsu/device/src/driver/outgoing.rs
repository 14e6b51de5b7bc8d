//! Frames on their way to guests, gathered while a burst is handled and sent in as few system calls as there are guests.
//!
//! They are copied here, because the buffer that they lie in is needed for the next frame. Of one guest they keep their
//! order; nothing stays here while the thread waits.

use std::array::from_fn;
use std::io::IoSlice;
use std::ops::Range;

use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use super::ports::Attached;
use crate::{GuestPort, NetworkPort, Sent};

/// When so many octets are gathered they are sent, in the middle of a burst too: they are still in the processor's cache.
const MOST_OCTETS: usize = 192 * 1024;
/// Frames in one system call.
const AT_ONCE: usize = 64;

/// Frames, and in whose place each goes.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    octets: Vec<u8>,
    frames: Vec<(usize, Range<usize>)>,
}

/// Frames that were not taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Untaken {
    /// There was no room for them.
    pub(super) full: u64,
    /// The other end is gone.
    pub(super) gone: u64,
}

impl Outgoing {
    /// Adds a frame in two parts for the guest in `place`.
    pub(super) fn push(&mut self, place: usize, head: &[u8], body: &[u8]) {
        let start = self.octets.len();
        self.octets.extend_from_slice(head);
        self.octets.extend_from_slice(body);
        self.frames.push((place, start..self.octets.len()));
    }

    /// Whether it is time to send them.
    pub(super) const fn is_full(&self) -> bool {
        self.octets.len() >= MOST_OCTETS
    }

    /// Sends all frames to those who are in the places.
    pub(super) fn flush(&mut self, places: &mut [Option<Attached>]) -> Untaken {
        let mut untaken = Untaken::default();
        // Mostly they are all for one guest. The sort is stable.
        if !self.frames.is_sorted_by_key(|(place, _)| *place) {
            self.frames.sort_by_key(|(place, _)| *place);
        }
        for of_place in self.frames.chunk_by(|(one, _), (other, _)| one == other) {
            let attached = places.get_mut(of_place[0].0).and_then(Option::as_mut);
            let Some(Attached { port, .. }) = attached else {
                untaken.gone += of_place.len() as u64;
                continue;
            };
            for some in of_place.chunks(AT_ONCE) {
                let taken = send(port, &self.octets, some);
                let left = (some.len() - taken.count) as u64;
                if taken.is_broken {
                    untaken.gone += left;
                } else {
                    untaken.full += left;
                }
            }
        }
        self.frames.clear();
        self.octets.clear();
        untaken
    }
}

struct Taken {
    count: usize,
    is_broken: bool,
}

fn send(port: &mut GuestPort, octets: &[u8], frames: &[(usize, Range<usize>)]) -> Taken {
    if let [(_, range)] = frames {
        let sent = port.transmit(&octets[range.clone()], &[]);
        return Taken {
            count: usize::from(matches!(sent, Ok(Sent::Taken))),
            is_broken: sent.is_err(),
        };
    }
    let mut parts = [[IoSlice::new(&[])]; AT_ONCE];
    for (part, (_, range)) in parts.iter_mut().zip(frames) {
        *part = [IoSlice::new(&octets[range.clone()])];
    }
    let mut controls: [_; AT_ONCE] = from_fn(|_| SendAncillaryBuffer::default());
    let mut pairs = parts.iter().zip(&mut controls);
    let mut messages: [_; AT_ONCE] = from_fn(|_| {
        let (part, control) = pairs.next().expect("there are as many of each");
        MMsgHdr::new(part, control)
    });
    let mut count = 0;
    while count < frames.len() {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmmsg(&*port, &mut messages[count..frames.len()], flags) {
            Ok(taken) => count += taken,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::NOBUFS) => return Taken { count, is_broken: false },
            Err(_) => return Taken { count, is_broken: true },
        }
    }
    Taken { count, is_broken: false }
}
