//! The TUN device: the way to the clients, in bare IP packets.
//!
//! It is not persistent: it and its addresses and routes vanish with the process, also after `kill -9`.
#![expect(unsafe_code, reason = "there is no safe call for TUNSETIFF")]

use std::ffi::c_char;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::{DeviceError, NetworkPort, Sent};

/// A TUN device of this process.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

impl Tun {
    /// Makes the device `name`; it is down and has no address yet (see [`netlink`](crate::netlink)).
    ///
    /// # Errors
    /// When TUN devices cannot be made here or now; the message says what to do.
    pub fn create(name: &str) -> Result<Self, DeviceError> {
        Ok(Self { file: open(name, libc::IFF_TUN)? })
    }
}

/// Makes a device of the given kind.
pub(crate) fn open(name: &str, kind: i32) -> Result<File, DeviceError> {
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(DeviceError::OpenTun)?;
    let request = request(name, kind)?;
    // SAFETY: the descriptor is open, TUNSETIFF reads and writes one `ifreq` through the pointer, and `request`
    // is one, initialised, and lives until after the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    if result < 0 {
        let source = io::Error::last_os_error();
        let reason = match source.raw_os_error() {
            Some(libc::EPERM) => "run as root, or with CAP_NET_ADMIN in the network namespace",
            Some(libc::EBUSY) => {
                "another process has a device of that name; choose another `network.interface`"
            }
            _ => "check the kernel's TUN support",
        };
        return Err(DeviceError::MakeTun { name: name.to_owned(), reason, source });
    }
    Ok(file)
}

fn request(name: &str, kind: i32) -> Result<libc::ifreq, DeviceError> {
    let bad = || DeviceError::Name(name.to_owned());
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(bad());
    }
    let mut ifr_name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    for (place, octet) in ifr_name.iter_mut().zip(name.bytes()) {
        *place = c_char::from_ne_bytes([octet]);
    }
    // No packet information: what is read and written begins with the frame's or packet's own header.
    let flags = i16::try_from(kind | libc::IFF_NO_PI).map_err(|_| bad())?;
    Ok(libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } })
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl NetworkPort for Tun {
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
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock) => Ok(Sent::Full),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_device_can_have_are_refused() {
        for bad in ["", "sixteen-octets-x", "nul\0"] {
            assert!(
                matches!(Tun::create(bad), Err(DeviceError::Name(_) | DeviceError::OpenTun(_))),
                "{bad:?}"
            );
            assert!(request(bad, libc::IFF_TUN).is_err(), "{bad:?}");
        }
        assert!(request("fifteen-octets-", libc::IFF_TUN).is_ok());
    }
}
