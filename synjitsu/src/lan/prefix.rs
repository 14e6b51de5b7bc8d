//! A prefix of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address prefix, as in `192.168.1.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of the first `length` bits of `address`; `None` if it has fewer.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (length <= longest).then(|| Self { address: masked(address, length), length })
    }

    /// Its first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Its length in bits.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.length) == self.address
    }

    /// Its last address, by which IPv4 means everybody; `None` where there is no such (RFC 3021, IPv6).
    pub(super) fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(first) if self.length <= 30 => Some(first | !mask4(self.length)),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }
}

fn mask4(length: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0))
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address & mask4(length)),
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, length: u8) -> Prefix {
        Prefix::new(address.parse().unwrap(), length).unwrap()
    }

    #[test]
    fn it_contains_what_begins_like_it() {
        let house = prefix("192.168.1.77", 24);
        assert_eq!(house.address(), IpAddr::from([192, 168, 1, 0]));
        assert!(house.contains("192.168.1.255".parse().unwrap()));
        assert!(!house.contains("192.168.2.1".parse().unwrap()));
        assert!(!house.contains("::ffff:192.168.1.1".parse().unwrap()));
        assert_eq!(house.broadcast(), Some(Ipv4Addr::new(192, 168, 1, 255)));
        assert!(prefix("0.0.0.0", 0).contains("8.8.8.8".parse().unwrap()));
        assert!(prefix("::", 0).contains("2001:db8::1".parse().unwrap()));
        assert!(prefix("fd00::", 64).contains("fd00::ffff".parse().unwrap()));
        assert!(!prefix("fd00::", 64).contains("fd00:0:0:1::".parse().unwrap()));
        let one = prefix("10.0.0.1", 32);
        assert!(one.contains(one.address()) && one.broadcast().is_none());
        assert!(Prefix::new("10.0.0.1".parse().unwrap(), 33).is_none());
    }
}
