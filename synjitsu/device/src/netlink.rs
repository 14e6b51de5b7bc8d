//! Addresses and links, by the kernel's routing socket (`rtnetlink(7)`), in the calling thread's network namespace.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::DeviceError;

/// Packets that wait in a device until they are read: at 100,000 of them a second a busy processor may be away for 40 ms.
const QUEUE: u32 = 4096;

/// Gives the device `name` its addresses, each with the length of its prefix, and its MTU, and sets it up.
///
/// The kernel adds the routes to the prefixes by itself.
///
/// # Errors
/// When there is no such device, or the kernel refuses.
pub fn configure(name: &str, addresses: &[(IpAddr, u8)], mtu: u16) -> Result<(), DeviceError> {
    let mut route = Route::open()?;
    let index = route.index_of(name)?;
    let attributes = vec![LinkAttribute::Mtu(u32::from(mtu)), LinkAttribute::TxQueueLen(QUEUE)];
    route.set_link(index, attributes, &format!("set the MTU of {name} to {mtu} and set it up"))?;
    for &(address, prefix_len) in addresses {
        route.add_address(name, index, address, prefix_len)?;
    }
    Ok(())
}

/// Sets the device `name` up or down.
///
/// # Errors
/// When there is no such device, or the kernel refuses.
pub fn set_up(name: &str, up: bool) -> Result<(), DeviceError> {
    let mut route = Route::open()?;
    let mut message = LinkMessage::default();
    message.header.index = route.index_of(name)?;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message.header.change_mask = LinkFlags::Up;
    let what = format!("set {name} {}", if up { "up" } else { "down" });
    route.ask(RouteNetlinkMessage::SetLink(message), NLM_F_ACK, &what).map(drop)
}

/// Sends what goes to a prefix through the device `name`, straight, without a router.
///
/// # Errors
/// When there is no such device, or the kernel refuses.
pub fn add_route(name: &str, to: IpAddr, prefix_len: u8) -> Result<(), DeviceError> {
    let mut route = Route::open()?;
    let index = route.index_of(name)?;
    route.add_route(name, index, to, prefix_len)
}

/// Gives the device `name` a link-layer address.
///
/// # Errors
/// When there is no such device, or the kernel refuses.
pub fn set_link_layer_address(name: &str, address: [u8; 6]) -> Result<(), DeviceError> {
    let mut route = Route::open()?;
    let index = route.index_of(name)?;
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Address(address.to_vec()));
    let what = format!("give {name} a link-layer address");
    route.ask(RouteNetlinkMessage::SetLink(message), NLM_F_ACK, &what).map(drop)
}

/// Sets the loopback device up: in a new namespace it is down.
///
/// # Errors
/// When the kernel refuses.
pub fn loopback_up() -> Result<(), DeviceError> {
    let mut route = Route::open()?;
    let index = route.index_of("lo")?;
    route.set_link(index, Vec::new(), "set lo up")
}

/// Makes a pair of devices that are joined as by a cable (`veth(4)`): `name` in this namespace, `peer` in another one, which
/// is named by a descriptor (`/proc/thread-self/ns/net` of whoever is in it). Both are down and have no address.
///
/// # Errors
/// When the kernel cannot, or refuses.
pub fn make_cable(name: &str, peer: &str, namespace: BorrowedFd<'_>) -> Result<(), DeviceError> {
    let mut other = LinkMessage::default();
    other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
    other.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
    ]));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let what = format!("make the devices {name} and {peer}");
    Route::open()?.ask(RouteNetlinkMessage::NewLink(message), flags, &what).map(drop)
}

/// A conversation with the kernel.
pub(crate) struct Route {
    socket: Socket,
    sequence: u32,
    /// What came and was not looked at yet.
    unread: Vec<u8>,
}

impl Route {
    pub(crate) fn open() -> Result<Self, DeviceError> {
        let failed =
            |source| DeviceError::Netlink { what: "open a routing socket".to_owned(), source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        Ok(Self { socket, sequence: 0, unread: Vec::new() })
    }

    fn index_of(&mut self, name: &str) -> Result<u32, DeviceError> {
        self.link(name).map(|link| link.header.index)
    }

    /// All that the kernel says about a device.
    pub(crate) fn link(&mut self, name: &str) -> Result<LinkMessage, DeviceError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let what = format!("look up the device {name}");
        let answer = self.ask(RouteNetlinkMessage::GetLink(message), 0, &what).map_err(
            |error| match error {
                DeviceError::Netlink { source, .. }
                    if source.raw_os_error() == Some(libc::ENODEV) =>
                {
                    DeviceError::NoDevice(name.to_owned())
                }
                other => other,
            },
        )?;
        match answer {
            Some(RouteNetlinkMessage::NewLink(link)) => Ok(link),
            other => Err(DeviceError::Answer { what, found: format!("{other:?}") }),
        }
    }

    fn set_link(
        &mut self,
        index: u32,
        attributes: Vec<LinkAttribute>,
        what: &str,
    ) -> Result<(), DeviceError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = attributes;
        self.ask(RouteNetlinkMessage::SetLink(message), NLM_F_ACK, what).map(drop)
    }

    fn add_address(
        &mut self,
        name: &str,
        index: u32,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), DeviceError> {
        let family = family(address, prefix_len)?;
        let mut message = AddressMessage::default();
        message.header.family = family;
        message.header.prefix_len = prefix_len;
        message.header.index = index;
        // Nobody else is on this link: without duplicate detection the address can be used at once.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        message.attributes.push(AddressAttribute::Address(address));
        message.attributes.push(AddressAttribute::Local(address));
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let what = format!("give {name} the address {address}/{prefix_len}");
        self.ask(RouteNetlinkMessage::NewAddress(message), flags, &what).map(drop)
    }

    /// The routers that packets to anywhere go to through the device of this index: the best of each family first.
    pub(crate) fn default_gateways(&mut self, index: u32) -> Result<Vec<IpAddr>, DeviceError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            self.send(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP, "list the routes")?;
            while let Some(answer) = self.receive("list the routes")? {
                if let RouteNetlinkMessage::NewRoute(route) = answer {
                    found.extend(default_gateway(&route, index));
                }
            }
        }
        // A lower metric is a better route.
        found.sort_by_key(|(metric, _)| *metric);
        Ok(found.into_iter().map(|(_, gateway)| gateway).collect())
    }

    fn add_route(
        &mut self,
        name: &str,
        index: u32,
        to: IpAddr,
        prefix_len: u8,
    ) -> Result<(), DeviceError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(to, prefix_len)?;
        message.header.destination_prefix_length = prefix_len;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Destination(to.into()));
        message.attributes.push(RouteAttribute::Oif(index));
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let what = format!("route {to}/{prefix_len} through {name}");
        self.ask(RouteNetlinkMessage::NewRoute(message), flags, &what).map(drop)
    }

    /// Sends a request and returns its answer; `None` for a mere "done".
    pub(crate) fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
        what: &str,
    ) -> Result<Option<RouteNetlinkMessage>, DeviceError> {
        self.send(request, flags, what)?;
        self.receive(what)
    }

    fn send(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
        what: &str,
    ) -> Result<(), DeviceError> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        let sent = self.socket.send(&octets, 0);
        sent.map(drop).map_err(|source| DeviceError::Netlink { what: what.to_owned(), source })
    }

    /// The next answer to the last request; `None` for "done".
    fn receive(&mut self, what: &str) -> Result<Option<RouteNetlinkMessage>, DeviceError> {
        let failed = |source| DeviceError::Netlink { what: what.to_owned(), source };
        loop {
            if self.unread.is_empty() {
                let (octets, _) = self.socket.recv_from_full().map_err(failed)?;
                self.unread = octets;
            }
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.unread).map_err(
                |error| DeviceError::Answer { what: what.to_owned(), found: error.to_string() },
            )?;
            // Each message begins at a multiple of four octets (netlink(7)).
            let length = usize::try_from(answer.header.length).unwrap_or(usize::MAX);
            let next = length.saturating_add(3) & !3;
            self.unread = self.unread.split_off(next.clamp(4, self.unread.len()));
            if answer.header.sequence_number != self.sequence {
                // The late acknowledgement of an earlier request.
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(inner) => Ok(Some(inner)),
                NetlinkPayload::Error(error) => match error.code {
                    None => Ok(None),
                    Some(code) => {
                        Err(failed(io::Error::from_raw_os_error(code.get().saturating_abs())))
                    }
                },
                NetlinkPayload::Done(_) => Ok(None),
                other => {
                    Err(DeviceError::Answer { what: what.to_owned(), found: format!("{other:?}") })
                }
            };
        }
    }
}

/// The router of a default route through the device of this index, with the route's metric.
fn default_gateway(route: &RouteMessage, index: u32) -> Option<(u32, IpAddr)> {
    let header = &route.header;
    if header.destination_prefix_length != 0 || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut gateway, mut through, mut metric) = (None, None, 0);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
                gateway = Some(IpAddr::V4(*address));
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => {
                gateway = Some(IpAddr::V6(*address));
            }
            RouteAttribute::Oif(index) => through = Some(*index),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    gateway.filter(|_| through == Some(index)).map(|gateway| (metric, gateway))
}

/// The family of an address whose prefix is not longer than it is.
const fn family(address: IpAddr, prefix_len: u8) -> Result<AddressFamily, DeviceError> {
    let (family, longest) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    if prefix_len > longest {
        return Err(DeviceError::Prefix { address, prefix_len });
    }
    Ok(family)
}
