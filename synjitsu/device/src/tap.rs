//! A TAP device: Ethernet frames to and from the kernel's own network stack, which can be a guest that way.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::{DeviceError, NetworkPort, Sent, tun};

/// A TAP device of this process; it vanishes with the last of its handles.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    /// Makes the device `name`; it is down and has no address yet (see [`netlink`](crate::netlink)).
    ///
    /// # Errors
    /// When TAP devices cannot be made here or now; the message says what to do.
    pub fn create(name: &str) -> Result<Self, DeviceError> {
        Ok(Self { file: tun::open(name, libc::IFF_TAP)? })
    }

    /// Another handle of the same device: it keeps the device when this one is closed.
    ///
    /// # Errors
    /// When the process has too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl NetworkPort for Tap {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.file.read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent> {
        match self.file.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(_) => Ok(Sent::Taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Full),
            Err(error) => Err(error),
        }
    }
}
