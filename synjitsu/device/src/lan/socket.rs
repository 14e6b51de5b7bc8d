//! A packet socket on an interface (packet(7)).
#![expect(unsafe_code, reason = "there are no safe calls for packet sockets and their options")]

use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_int, c_void, sock_filter, sock_fprog, sockaddr_ll, socklen_t};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, recv,
    sendmsg, socket_with, sockopt,
};
use synjitsu::lan::{Mac, offload};

/// What the kernel may keep for us, in octets as it counts them: some dozens of the largest frames.
const QUEUE: usize = 4 << 20;
// Kinds of membership: PACKET_MR_MULTICAST, PACKET_MR_ALLMULTI, PACKET_MR_UNICAST of linux/if_packet.h.
const GROUP: u16 = 0;
const ALL_GROUPS: u16 = 2;
const STATION: u16 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct PacketSocket {
    descriptor: OwnedFd,
    index: c_int,
}

/// What came out of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Nothing now.
    Nothing,
    /// A header of [`offload::HEADER`] octets, and a frame: so many octets.
    Frame(usize),
    /// A frame that cannot be had: too long, or merged in a way that the kernel cannot say.
    Unreadable,
    /// The interface went down.
    Down,
}

/// A step of setting it up that failed.
pub(super) type Failed = (&'static str, io::Error);

impl PacketSocket {
    /// Opens one on the interface of this index; it hears what `filter` passes, and nothing before.
    pub(super) fn open(index: u32, filter: &[sock_filter]) -> Result<Self, Failed> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Without a protocol it hears nothing until it is bound.
        let descriptor = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)
            .map_err(|error| ("socket", error.into()))?;
        let index = c_int::try_from(index).map_err(|error| ("index", io::Error::other(error)))?;
        let this = Self { descriptor, index };
        // Frames say what the sender left to its card, and are not refused for it.
        this.set_packet(libc::PACKET_VNET_HDR, &1_i32)
            .map_err(|error| ("PACKET_VNET_HDR", error))?;
        match this.set_packet(libc::PACKET_IGNORE_OUTGOING, &1_i32) {
            // Before Linux 4.20; the filter drops them too, only later.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
            result => result.map_err(|error| ("PACKET_IGNORE_OUTGOING", error))?,
        }
        // Beyond the system's limit for ordinary users only with CAP_NET_ADMIN; what is granted is good enough.
        if sockopt::set_socket_recv_buffer_size_force(&this.descriptor, QUEUE).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&this.descriptor, QUEUE);
        }
        this.set_filter(filter)?;
        this.bind().map_err(|error| ("bind", error))?;
        Ok(this)
    }

    /// Replaces the filter, without a moment in between.
    pub(super) fn set_filter(&self, filter: &[sock_filter]) -> Result<(), Failed> {
        let length = filter
            .len()
            .try_into()
            .map_err(|_| ("filter", io::Error::from(io::ErrorKind::InvalidInput)))?;
        // The kernel only reads it, though the type does not say so.
        let program = sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
            .map_err(|error| ("SO_ATTACH_FILTER", error))
    }

    /// Has the card take frames for another link-layer address too, or for a group. It ends with the socket.
    pub(super) fn join(&self, mac: Mac) -> Result<(), Failed> {
        let kind = if mac[0] & 1 == 1 { GROUP } else { STATION };
        self.membership(libc::PACKET_ADD_MEMBERSHIP, kind, mac)
            .map_err(|error| ("PACKET_ADD_MEMBERSHIP", error))
    }

    /// Takes back what [`join`](Self::join) did for a group.
    pub(super) fn leave(&self, mac: Mac) -> Result<(), Failed> {
        self.membership(libc::PACKET_DROP_MEMBERSHIP, GROUP, mac)
            .map_err(|error| ("PACKET_DROP_MEMBERSHIP", error))
    }

    /// Has the card take the frames for all groups.
    pub(super) fn join_all_groups(&self) -> Result<(), Failed> {
        self.membership(libc::PACKET_ADD_MEMBERSHIP, ALL_GROUPS, [0; 6])
            .map_err(|error| ("PACKET_MR_ALLMULTI", error))
    }

    fn membership(&self, what: c_int, kind: u16, mac: Mac) -> io::Result<()> {
        let [a, b, c, d, e, f] = mac;
        let request = libc::packet_mreq {
            mr_ifindex: self.index,
            mr_type: kind,
            mr_alen: 6,
            mr_address: [a, b, c, d, e, f, 0, 0],
        };
        self.set_packet(what, &request)
    }

    fn bind(&self) -> io::Result<()> {
        // SAFETY: `sockaddr_ll` consists of integers, for which all bits zero are a value.
        let mut address: sockaddr_ll = unsafe { zeroed() };
        let all = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?;
        address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        address.sll_protocol = all.to_be();
        address.sll_ifindex = self.index;
        let length = socklen_t::try_from(size_of::<sockaddr_ll>()).map_err(io::Error::other)?;
        let pointer = (&raw const address).cast();
        // SAFETY: the descriptor is open, and the kernel reads `length` octets through the pointer, the size of the
        // initialised `address`, which lives until after the call.
        let result = unsafe { libc::bind(self.descriptor.as_raw_fd(), pointer, length) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn set_packet<T>(&self, name: c_int, value: &T) -> io::Result<()> {
        self.set(libc::SOL_PACKET, name, value)
    }

    /// Sets an option whose value is a `T`.
    fn set<T>(&self, level: c_int, name: c_int, value: &T) -> io::Result<()> {
        let length = socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
        let pointer: *const c_void = std::ptr::from_ref(value).cast();
        let descriptor = self.descriptor.as_raw_fd();
        // SAFETY: the descriptor is open, and the kernel reads `length` octets through the pointer: the size of the
        // initialised value. What a filter's value points to lives until after the call, and has the length it says.
        let result = unsafe { libc::setsockopt(descriptor, level, name, pointer, length) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next frame with its header.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let room = buffer.len();
        // TRUNC: the length of the frame, also if it is longer than the buffer.
        match recv(&self.descriptor, buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok((_, length)) if length > room => Ok(Received::Unreadable),
            Ok((_, length)) => Ok(Received::Frame(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(Errno::INVAL) => Ok(Received::Unreadable),
            Err(Errno::NETDOWN) => Ok(Received::Down),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends one frame; false if the kernel did not take it: its queue is full, or the interface down.
    pub(super) fn transmit(&self, parts: [&[u8]; 3]) -> bool {
        // Nothing is left to the card.
        let header = [0; offload::HEADER];
        let [first, second, third] = parts.map(IoSlice::new);
        let parts = [IoSlice::new(&header), first, second, third];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(&self.descriptor, &parts, &mut SendAncillaryBuffer::default(), flags).is_ok()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
