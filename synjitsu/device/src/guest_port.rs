//! A guest's port: a pair of sockets that carry one Ethernet frame per message.
//!
//! The meaning is that of a TAP descriptor, so any monitor that can use one can be attached.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, recv,
    sendmsg, socketpair, sockopt,
};

use crate::{DeviceError, NetworkPort, Sent};

/// What each direction can queue, in octets as the kernel counts them: some hundreds of small frames, so that a burst
/// of replayed SYNs fits.
const QUEUE: usize = 1 << 20;

/// The switch's end of a guest's port.
#[derive(Debug)]
pub struct GuestPort {
    socket: OwnedFd,
}

/// Makes a port: the switch's end, and the monitor's, which blocks unless it is told otherwise.
///
/// # Errors
/// When no socket can be made.
pub fn pair() -> Result<(GuestPort, OwnedFd), DeviceError> {
    let failed = |error: Errno| DeviceError::GuestPort(error.into());
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(failed)?;
    for socket in [&ours, &theirs] {
        // Beyond the system's limit for ordinary users only with CAP_NET_ADMIN; what is granted is good enough.
        if sockopt::set_socket_send_buffer_size_force(socket, QUEUE).is_err() {
            sockopt::set_socket_send_buffer_size(socket, QUEUE).map_err(failed)?;
        }
    }
    Ok((GuestPort { socket: ours }, theirs))
}

impl From<OwnedFd> for GuestPort {
    /// The other end as a port too: for a guest that is no monitor's, such as a kernel's network stack.
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl AsFd for GuestPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl NetworkPort for GuestPort {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&self.socket, buffer, RecvFlags::DONTWAIT) {
            // A frame has at least a header, so an empty message is the end, or as bad.
            // A monitor that was killed with frames unread resets.
            Ok((_, 0)) | Err(Errno::CONNRESET) => Err(io::ErrorKind::UnexpectedEof.into()),
            // Longer than the buffer: the rest is lost, and the switch drops what is malformed.
            Ok((read, _)) => Ok(Some(read)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent> {
        let parts = [IoSlice::new(head), IoSlice::new(body)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(&self.socket, &parts, &mut SendAncillaryBuffer::default(), flags) {
            Ok(_) => Ok(Sent::Taken),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => Ok(Sent::Full),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_bounds_and_a_closed_end_is_told() {
        let (mut ours, theirs) = pair().unwrap();
        assert_eq!(ours.transmit(b"head", b"body").unwrap(), Sent::Taken);
        assert_eq!(ours.transmit(b"", b"second").unwrap(), Sent::Taken);
        let mut buffer = [0; 64];
        let (_, length) = recv(&theirs, &mut buffer, RecvFlags::empty()).unwrap();
        assert_eq!(&buffer[..length], b"headbody");
        assert_eq!(ours.receive(&mut buffer).unwrap(), None);
        rustix::net::send(&theirs, b"up", SendFlags::empty()).unwrap();
        assert_eq!(ours.receive(&mut buffer).unwrap(), Some(2));
        drop(theirs);
        assert_eq!(ours.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(ours.transmit(b"x", b"").is_err());
    }

    #[test]
    fn a_full_port_loses_frames_and_does_not_block() {
        let (mut ours, theirs) = pair().unwrap();
        let frame = [0; 60];
        let mut taken = 0;
        while ours.transmit(&frame, b"").unwrap() == Sent::Taken {
            taken += 1;
        }
        // A burst of a few hundred first packets must fit.
        assert!(taken >= 200, "only {taken} frames fit");
        drop(theirs);
    }
}
