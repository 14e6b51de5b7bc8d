//! The guest's own addresses, as the command line gives them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::iface::Interface;
use smoltcp::wire::{IpCidr, Ipv4Cidr, Ipv6Cidr};

use crate::command_line::CommandLine;

/// The addresses of the guest's interface and of its gateways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addressing {
    /// `--ipv4=ADDRESS/LENGTH`.
    pub ipv4: Option<Ipv4Cidr>,
    /// `--ipv4-gateway=ADDRESS`.
    pub ipv4_gateway: Option<Ipv4Addr>,
    /// `--ipv6=ADDRESS/LENGTH`.
    pub ipv6: Option<Ipv6Cidr>,
    /// `--ipv6-gateway=ADDRESS`.
    pub ipv6_gateway: Option<Ipv6Addr>,
}

/// A flag whose value cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressingError<'a> {
    flag: &'static str,
    value: &'a str,
    wanted: &'static str,
}

impl fmt::Display for AddressingError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flag, value, wanted } = self;
        write!(f, "--{flag}={value}: wanted {wanted}")
    }
}

impl Addressing {
    /// Reads the four flags; each may be absent.
    ///
    /// # Errors
    /// When a value is no unicast address of its family, or its prefix length does not exist.
    pub fn from_flags(command_line: CommandLine<'_>) -> Result<Self, AddressingError<'_>> {
        let flag = |flag: &'static str, wanted: &'static str| {
            let value = command_line.value(flag)?;
            Some((value, AddressingError { flag, value, wanted }))
        };
        let mut addressing = Self::default();
        if let Some((value, error)) =
            flag("ipv4", "a unicast address with its prefix length, like 10.0.0.2/24")
        {
            let (address, length) = prefix(value, 32).ok_or(error)?;
            let address = address.parse().ok().filter(is_unicast_v4).ok_or(error)?;
            addressing.ipv4 = Some(Ipv4Cidr::new(address, length));
        }
        if let Some((value, error)) = flag("ipv4-gateway", "a unicast address, like 10.0.0.1") {
            let gateway = value.parse().ok().filter(is_unicast_v4).ok_or(error)?;
            addressing.ipv4_gateway = Some(gateway);
        }
        if let Some((value, error)) =
            flag("ipv6", "a unicast address with its prefix length, like fd00::2/64")
        {
            let (address, length) = prefix(value, 128).ok_or(error)?;
            let address = address.parse().ok().filter(is_unicast_v6).ok_or(error)?;
            addressing.ipv6 = Some(Ipv6Cidr::new(address, length));
        }
        if let Some((value, error)) = flag("ipv6-gateway", "a unicast address, like fd00::1") {
            let gateway = value.parse().ok().filter(is_unicast_v6).ok_or(error)?;
            addressing.ipv6_gateway = Some(gateway);
        }
        Ok(addressing)
    }

    /// The interface's own addresses, with their prefix lengths.
    pub fn cidrs(&self) -> impl Iterator<Item = IpCidr> + use<> {
        [self.ipv4.map(IpCidr::Ipv4), self.ipv6.map(IpCidr::Ipv6)].into_iter().flatten()
    }

    /// The neighbour by which a packet to `destination` leaves: itself when it is on the link.
    #[must_use]
    pub fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        match destination {
            IpAddr::V4(address) if self.ipv4?.contains_addr(&address) => Some(destination),
            IpAddr::V4(_) => self.ipv4_gateway.map(IpAddr::V4),
            IpAddr::V6(address) if self.ipv6?.contains_addr(&address) => Some(destination),
            IpAddr::V6(_) => self.ipv6_gateway.map(IpAddr::V6),
        }
    }

    /// Gives an interface these addresses and gateways.
    pub(crate) fn apply(&self, interface: &mut Interface) {
        interface.update_ip_addrs(|addresses| {
            addresses.clear();
            for cidr in self.cidrs() {
                addresses
                    .push(cidr)
                    .expect("the interface has room for one address of each family");
            }
        });
        let routes = interface.routes_mut();
        const ROOM: &str = "the interface has room for one route of each family";
        if let Some(gateway) = self.ipv4_gateway {
            routes.add_default_ipv4_route(gateway).expect(ROOM);
        }
        if let Some(gateway) = self.ipv6_gateway {
            routes.add_default_ipv6_route(gateway).expect(ROOM);
        }
    }
}

fn prefix(text: &str, max: u8) -> Option<(&str, u8)> {
    let (address, length) = text.split_once('/')?;
    let length = length.parse().ok().filter(|length| *length <= max)?;
    Some((address, length))
}

fn is_unicast_v4(address: &Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
}

fn is_unicast_v6(address: &Ipv6Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast())
}
