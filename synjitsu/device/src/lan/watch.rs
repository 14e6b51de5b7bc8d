//! Hears from the kernel when interfaces, addresses and routes change (rtnetlink(7)).

use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkFlags;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// Longer than any message that the kernel sends here.
const LONGEST: usize = 32 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Heard {
    /// Something; it is time to look.
    pub(super) anything: bool,
    /// The interface was down for a moment at least, however it is now.
    pub(super) down: bool,
}

impl Watch {
    pub(super) fn new() -> std::io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: vec![0; LONGEST] })
    }

    /// What was heard since the last call, about the interface of this index.
    pub(super) fn listen(&mut self, index: u32) -> Heard {
        let mut heard = Heard::default();
        loop {
            match recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    heard.anything = true;
                    heard.down |= tells_of_down(&self.buffer[..length], index);
                }
                Err(Errno::INTR) => {}
                // More happened than the kernel could keep: perhaps that too.
                Err(Errno::NOBUFS) => heard = Heard { anything: true, down: true },
                Err(_) => return heard,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn tells_of_down(mut messages: &[u8], index: u32) -> bool {
    while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(messages) {
        let is_down = match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                let running = LinkFlags::Up | LinkFlags::LowerUp;
                link.header.index == index && !link.header.flags.contains(running)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                link.header.index == index
            }
            _ => false,
        };
        if is_down {
            return true;
        }
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        let Some(rest) = messages.get(length.saturating_add(3) & !3..) else { break };
        if length == 0 {
            break;
        }
        messages = rest;
    }
    false
}
