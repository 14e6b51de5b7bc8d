//! What the kernel knows about a TCP connection, for the demo, the tests and the load generator.
#![expect(unsafe_code, reason = "there is no safe call for TCP_INFO and SIOCOUTQ")]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};

/// How many segments the kernel sent again on this connection, SYNs included (`tcpi_total_retrans`).
///
/// # Errors
/// When `socket` is no TCP socket.
pub fn total_retransmissions(socket: impl AsFd) -> io::Result<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length =
        libc::socklen_t::try_from(size_of::<libc::tcp_info>()).map_err(io::Error::other)?;
    let descriptor = socket.as_fd().as_raw_fd();
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: the descriptor is open for the length of the borrow; the kernel writes at most `length` octets, the size
    // of the buffer, through the first pointer, and one `socklen_t` through the second.
    let result = unsafe {
        libc::getsockopt(descriptor, level, name, info.as_mut_ptr().cast(), &raw mut length)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the memory was zeroed, and every field of `tcp_info` is an integer, for which all bits zero are a value;
    // what the kernel wrote are values too.
    Ok(unsafe { info.assume_init() }.tcpi_total_retrans)
}

/// How many octets were written to this connection and not acknowledged by its peer yet (`SIOCOUTQ`, tcp(7)); a FIN
/// counts as one.
///
/// # Errors
/// When `socket` is no TCP socket.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u32> {
    let mut octets: libc::c_int = 0;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the length of the borrow; SIOCOUTQ, which has the number of TIOCOUTQ, writes
    // one `int` through the pointer, and `octets` is one.
    let result = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &raw mut octets) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // The kernel counts from zero.
    Ok(u32::try_from(octets).unwrap_or(0))
}
