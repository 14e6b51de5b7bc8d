//! Who may wake at all: prefixes that are denied, and exceptions from them.
//!
//! Whoever no prefix says anything about may. Of several prefixes that an address is in, the longest says it, as in a
//! routing table; so `deny` the whole internet and `allow` a network, or `deny` a network and `allow` a host in it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A prefix of IPv4 or IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    family: Family,
    /// In bits, counted in the family's own addresses.
    length: u8,
    /// The first address; an IPv4 one is in the lower 32 bits.
    first: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The family and the bits of an address. One that is an IPv4 address in IPv6's clothes is an IPv4 address.
    fn of(address: IpAddr) -> (Self, u128) {
        match address.to_canonical() {
            IpAddr::V4(address) => (Self::V4, u128::from(address.to_bits())),
            IpAddr::V6(address) => (Self::V6, address.to_bits()),
        }
    }

    /// The first address of the prefix of `length` bits that `address` is in.
    fn first(self, address: u128, length: u8) -> u128 {
        let host_bits = u32::from(self.bits().saturating_sub(length));
        // All 128 bits of an IPv6 address may be the host's: more than can be shifted by.
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        address & mask
    }
}

impl Prefix {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (family, bits) = Family::of(address);
        family == self.family && family.first(bits, self.length) == self.first
    }
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixError;

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address, or a prefix with its host bits zero, such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
        )
    }
}

impl std::error::Error for PrefixError {}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `192.0.2.0/24`, `2001:db8::/32`, or an address, which is a prefix of one.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError)?;
        let (family, first) = Family::of(address);
        let written = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        let length = match length {
            None => family.bits(),
            Some(length) if length.bytes().all(|octet| octet.is_ascii_digit()) => {
                let length: u8 = length.parse().map_err(|_| PrefixError)?;
                // `::ffff:192.0.2.0/120` is 192.0.2.0/24.
                length.checked_sub(written.bits() - family.bits()).ok_or(PrefixError)?
            }
            Some(_) => return Err(PrefixError),
        };
        if length > family.bits() || family.first(first, length) != first {
            return Err(PrefixError);
        }
        Ok(Self { family, length, first })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.family, u32::try_from(self.first)) {
            (Family::V4, Ok(bits)) => write!(f, "{}/{}", Ipv4Addr::from_bits(bits), self.length),
            _ => write!(f, "{}/{}", Ipv6Addr::from_bits(self.first), self.length),
        }
    }
}

/// What a prefix says about the addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// They may wake.
    Allowed,
    /// They may not.
    Denied,
}

/// Why prefixes make no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessError {
    /// A prefix is both allowed and denied.
    Both(Prefix),
    /// An allowed prefix is in no denied one, so that allowing it says nothing: its author meant something else.
    NotDenied(Prefix),
}

/// Who may wake; the empty list lets everybody.
///
/// ```
/// use policies::access::{Access, AccessList};
///
/// let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
/// let list = AccessList::new(&prefixes(&["10.0.0.0/8", "::/0"]), &prefixes(&["10.1.0.0/16"])).unwrap();
/// assert_eq!(list.access("192.0.2.1".parse().unwrap()), Access::Allowed);
/// assert_eq!(list.access("10.0.0.1".parse().unwrap()), Access::Denied);
/// assert_eq!(list.access("10.1.0.1".parse().unwrap()), Access::Allowed);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessList {
    v4: Rules,
    v6: Rules,
}

impl AccessList {
    /// A list that denies and allows these prefixes.
    ///
    /// # Errors
    /// When a prefix is in both, or an allowed one is in no denied one.
    pub fn new(deny: &[Prefix], allow: &[Prefix]) -> Result<Self, AccessError> {
        let mut list = Self::default();
        for prefix in deny {
            list.rules_mut(prefix.family).insert(prefix, Access::Denied);
        }
        let denied = list.clone();
        for prefix in allow {
            let rules = denied.rules(prefix.family);
            match rules.find(prefix.family, prefix.first, prefix.length) {
                Some((length, _)) if length == prefix.length => {
                    return Err(AccessError::Both(*prefix));
                }
                Some(_) => list.rules_mut(prefix.family).insert(prefix, Access::Allowed),
                None => return Err(AccessError::NotDenied(*prefix)),
            }
        }
        Ok(list)
    }

    /// Whether an address may wake.
    #[must_use]
    pub fn access(&self, address: IpAddr) -> Access {
        let (family, bits) = Family::of(address);
        let found = self.rules(family).find(family, bits, family.bits());
        found.map_or(Access::Allowed, |(_, access)| access)
    }

    /// Whether everybody may.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.by_prefix.is_empty() && self.v6.by_prefix.is_empty()
    }

    const fn rules(&self, family: Family) -> &Rules {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    const fn rules_mut(&mut self, family: Family) -> &mut Rules {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// The prefixes of a family. A look-up takes as many steps as there are lengths, however many prefixes there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rules {
    /// Each length once, the longest first.
    lengths: Vec<u8>,
    by_prefix: BTreeMap<(u8, u128), Access>,
}

impl Rules {
    fn insert(&mut self, prefix: &Prefix, access: Access) {
        self.by_prefix.insert((prefix.length, prefix.first), access);
        if let Err(place) = self.lengths.binary_search_by(|known| prefix.length.cmp(known)) {
            self.lengths.insert(place, prefix.length);
        }
    }

    /// What the longest prefix of at most `longest` bits that `address` is in says, and how long it is.
    fn find(&self, family: Family, address: u128, longest: u8) -> Option<(u8, Access)> {
        self.lengths.iter().filter(|length| **length <= longest).find_map(|length| {
            let access = self.by_prefix.get(&(*length, family.first(address, *length)))?;
            Some((*length, *access))
        })
    }
}
