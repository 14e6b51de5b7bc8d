//! What the daemon and a monitor say to each other, over a `SOCK_SEQPACKET` pair: one message each, never cut.
//!
//! The daemon has a monitor forked by a [zygote](crate::zygote), or starts one with its end of the pair as standard input.
//!
//! ```text
//!   daemon                                 monitor
//!   (fork ---------------------------->    to a zygote, with the monitor's end of a new pair)
//!            <------------- ShellReady     a VM and its vCPU
//!   Prepare, image ------------------>
//!            <--------------- Prepared     image, page tables, registers; behind its filter from now on
//!   Boot, port (, snapshot) --------->     the guest runs
//!            <------------------ Ready     at its first poll; (Captured, if it was asked for)
//!   Recycle ------------------------->     the guest is at rest in a poll, and is put back to its snapshot
//!            <----------------- Parked
//!   Boot, port ---------------------->     and so on
//!            <------------------ Ended     and the process with it
//! ```
//!
//! A closed socket ends either side.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use images::Plan;
use policies::Instant;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

pub use crate::ending::Ending;

/// The longest message, in octets. A plan of 64 devices and 32 segments with the longest command line fits.
pub const MAX_MESSAGE: usize = 32 * 1024;

/// The most console text in one report, in octets.
pub const MAX_CONSOLE: usize = 4096;

/// The most descriptors beside a request: with [`Request::Boot`], the guest's port and a snapshot.
pub const MAX_DESCRIPTORS: usize = 2;

/// The one octet of a request to a zygote.
const FORK: u8 = b'f';

/// What the daemon asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Put the image, whose bytes are beside, into memory. Everything that needs no instance.
    Prepare(PrepareRequest),
    /// Run an instance of it. The guest's port is beside, then what [`Start`] names.
    Boot(BootRequest),
    /// Ask the guest to shut down.
    Shutdown,
    /// Put the guest back to the snapshot it was started from, to be booted again for the same service.
    Recycle,
    /// Write the guest's memory and registers into the memory file beside, and end.
    Suspend,
}

/// An image and the memory that it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareRequest {
    /// The checked load plan of the image beside.
    pub plan: Plan,
    /// Guest memory in octets, a multiple of 2 MiB.
    pub memory: u64,
}

/// An instance of the image that was prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRequest {
    /// Where it starts.
    pub start: Start,
    /// The command line, without a NUL.
    pub command_line: String,
    /// The link-layer address of the guest's network device.
    pub mac: [u8; 6],
    /// Its largest IP packet, in octets.
    pub mtu: u16,
    /// The instance's generation.
    pub generation: u64,
    /// Random octets that no other boot was given.
    pub entropy: [u8; 32],
}

/// Where an instance starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// At the image's entry point.
    Image,
    /// There, and at its first poll its state goes into the memory file beside: its snapshot.
    ImageAndCapture,
    /// Where the snapshot was made whose file is beside. Not to be said to a parked shell, whose guest is there already.
    Snapshot {
        /// Where it begins in the file, in octets.
        offset: u64,
    },
    /// Where the recycled guest stands.
    Parked,
}

/// What a monitor reports. Stamps are on `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The VM is made and waits for an image.
    ShellReady {
        /// The operating system's number of the process.
        process: u32,
    },
    /// The image is in guest memory, and the shell waits for an instance.
    Prepared,
    /// The guest waits for input for the first time since it was booted.
    Ready(Stamps),
    /// The state at the first poll is in the memory file that came with the request, this many octets.
    Captured {
        /// Octets.
        length: u64,
    },
    /// The guest is back at its snapshot, and the shell waits for the next instance.
    Parked,
    /// The guest wrote to its console; at most [`MAX_CONSOLE`] octets.
    Console(Vec<u8>),
    /// The guest is over, and the process with it.
    Ended(Ending),
}

/// When a boot came how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    /// The instance's memory is complete.
    pub loaded: Instant,
    /// The guest's first instruction was next.
    pub entered: Instant,
    /// It waited for input.
    pub ready: Instant,
}

/// Sends a request and the descriptors that go with it.
///
/// # Errors
/// When the socket is full (if non-blocking) or closed, or the message too long.
pub fn send_request(
    socket: BorrowedFd<'_>,
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let octets = encode(request)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(&octets)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a request and its descriptors; `None` when the daemon is gone.
///
/// # Errors
/// When the socket fails or the message is none; [`io::ErrorKind::WouldBlock`] when `flags` say not to wait and there is
/// none yet.
pub fn recv_request(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> io::Result<Option<(Request, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let parts = &mut [IoSliceMut::new(buffer)];
        match recvmsg(socket, parts, &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let descriptors = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if message.bytes == 0 {
        return Ok(None);
    }
    if message.flags.contains(ReturnFlags::TRUNC) || message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a request was cut"));
    }
    Ok(Some((decode(&buffer[..message.bytes])?, descriptors)))
}

/// Asks a zygote to fork a monitor, whose control socket is `socket`.
///
/// # Errors
/// When the zygote's socket is full or closed.
pub fn send_fork(zygote: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [socket];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no room for the descriptor"));
    }
    sendmsg(zygote, &[IoSlice::new(&[FORK])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`send_fork`] has sent; `None` when the daemon is gone.
pub(crate) fn recv_fork(zygote: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut buffer = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let parts = &mut [IoSliceMut::new(&mut buffer)];
        match recvmsg(zygote, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let socket = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match (message.bytes, socket) {
        (0, None) => Ok(None),
        (_, Some(socket)) => Ok(Some(socket)),
        (_, None) => Err(io::Error::new(io::ErrorKind::InvalidData, "no socket for a monitor")),
    }
}

/// Sends a report.
///
/// # Errors
/// When the socket is closed, or full and `flags` say not to wait.
pub(crate) fn send_report(
    socket: BorrowedFd<'_>,
    report: &Report,
    flags: SendFlags,
) -> io::Result<()> {
    let octets = encode(report)?;
    loop {
        match rustix::net::send(socket, &octets, flags | SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives a report; `None` when the monitor is gone. `buffer` should have [`MAX_MESSAGE`] octets.
///
/// # Errors
/// When the socket fails or has nothing (if non-blocking), or the message is none.
pub fn recv_report(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Report>> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Ok(None),
            Ok((length, _)) => return decode(&buffer[..length]).map(Some),
            // Told once, before what is left to read, when the monitor ended with a request unread: its last reports,
            // the ending above all, are still there.
            Err(Errno::CONNRESET | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes a message.
///
/// # Errors
/// When it is longer than [`MAX_MESSAGE`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let octets = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if octets.len() > MAX_MESSAGE {
        let text = format!("a message of {} octets is longer than {MAX_MESSAGE}", octets.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(octets)
}

/// Reads a message; whatever the octets are, the result is a message or an error.
///
/// # Errors
/// When they are no message, or more than one.
pub fn decode<'a, T: Deserialize<'a>>(octets: &'a [u8]) -> io::Result<T> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    match postcard::take_from_bytes(octets) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(invalid(format!("{} octets follow the message", rest.len()))),
        Err(error) => Err(invalid(format!("not a message: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    fn prepare() -> Request {
        let plan = images::plan(images::builtin::HELLO).unwrap();
        Request::Prepare(PrepareRequest { plan, memory: 8 << 20 })
    }

    fn boot() -> Request {
        Request::Boot(BootRequest {
            start: Start::Snapshot { offset: 4096 },
            command_line: "x".repeat(8191),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            generation: u64::MAX,
            entropy: [7; 32],
        })
    }

    #[test]
    fn a_boot_request_arrives_with_its_descriptors() {
        let (ours, theirs) = pair();
        let (a, b) = pair();
        send_request(ours.as_fd(), &boot(), &[a.as_fd(), b.as_fd()]).unwrap();
        let mut buffer = vec![0; MAX_MESSAGE];
        let (request, descriptors) =
            recv_request(theirs.as_fd(), &mut buffer, RecvFlags::empty()).unwrap().unwrap();
        assert_eq!(request, boot());
        assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
        drop(ours);
        assert!(recv_request(theirs.as_fd(), &mut buffer, RecvFlags::empty()).unwrap().is_none());
    }

    #[test]
    fn reports_arrive_until_the_end() {
        let (ours, theirs) = pair();
        let report = Report::Ended(Ending::Halted { status: 3, cookie: vec![1; 512] });
        send_report(ours.as_fd(), &report, SendFlags::empty()).unwrap();
        let mut buffer = vec![0; MAX_MESSAGE];
        assert_eq!(recv_report(theirs.as_fd(), &mut buffer).unwrap(), Some(report));
        drop(ours);
        assert_eq!(recv_report(theirs.as_fd(), &mut buffer).unwrap(), None);
    }

    #[test]
    fn the_last_report_arrives_although_a_request_was_not_read() {
        let (ours, theirs) = pair();
        let report = Report::Ended(Ending::Halted { status: 0, cookie: Vec::new() });
        send_request(theirs.as_fd(), &Request::Shutdown, &[]).unwrap();
        send_report(ours.as_fd(), &report, SendFlags::empty()).unwrap();
        drop(ours);
        let mut buffer = vec![0; MAX_MESSAGE];
        assert_eq!(recv_report(theirs.as_fd(), &mut buffer).unwrap(), Some(report));
        assert_eq!(recv_report(theirs.as_fd(), &mut buffer).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_octets_are_a_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (decode::<Request>(&octets), decode::<Report>(&octets));
        }

        #[test]
        fn a_changed_message_is_a_message_or_an_error(at: usize, octet: u8) {
            for message in [boot(), prepare()] {
                let mut octets = encode(&message).unwrap();
                let index = at % octets.len();
                octets[index] = octet;
                let _ = decode::<Request>(&octets);
            }
        }
    }
}
