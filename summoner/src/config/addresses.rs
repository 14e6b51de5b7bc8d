//! Automatic addresses: stable, so that caches and bookmarks stay right.
//!
//! A service's place in the prefix follows from a hash of its key; a place that is taken leads to the next. What is
//! remembered from before comes first, so that a new service never moves an old one.

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::checked::{AddressChoice, Config, Network, Service};

/// The addresses of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assigned {
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
}

/// Why a service has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no address is left in {prefix} for the service `{service}`; widen it")]
pub struct AddressError {
    prefix: String,
    service: String,
}

/// Services more than this, in an IPv6 prefix: only the lower bits are used, so that addresses stay short.
const IPV6_PLACES: u128 = 1 << 32;

/// Gives every service its addresses: fixed ones, then remembered ones that still fit, then by hash.
///
/// # Errors
/// When the prefix is full.
pub fn assign(
    config: &Config,
    remembered: &BTreeMap<String, Assigned>,
) -> Result<BTreeMap<String, Assigned>, AddressError> {
    let pool = pool4(&config.network);
    let choices4: Vec<_> = config
        .services
        .values()
        .map(|service| {
            let choice = map(service.ipv4, |address| u128::from(address.to_bits()));
            (service.key.as_str(), choice)
        })
        .collect();
    let old4 = |key: &str| {
        let address = remembered.get(key)?.ipv4.filter(|address| pool.contains(address))?;
        Some(u128::from(address.to_bits()))
    };
    let ipv4 = Places::ipv4(&config.network)
        .assign(&choices4, old4)
        .map_err(|service| full4(&config.network, service))?;

    let mut ipv6 = BTreeMap::new();
    if let Some(net6) = config.network.ipv6 {
        let choices6: Vec<_> = config
            .services
            .values()
            .map(|service| (service.key.as_str(), map(service.ipv6, Ipv6Addr::to_bits)))
            .collect();
        let old6 = |key: &str| {
            Some(remembered.get(key)?.ipv6.filter(|address| is_usable6(&net6, *address))?.to_bits())
        };
        ipv6 = Places::ipv6(&net6)
            .assign(&choices6, old6)
            .map_err(|service| AddressError { prefix: net6.to_string(), service })?;
    }
    Ok(config
        .services
        .keys()
        .map(|key| {
            // The arithmetic was done in 128 bits; IPv4 addresses fit 32 by construction.
            let v4 = ipv4
                .get(key.as_str())
                .and_then(|bits| u32::try_from(*bits).ok())
                .map(Ipv4Addr::from_bits);
            let v6 = ipv6.get(key.as_str()).copied().map(Ipv6Addr::from_bits);
            (key.clone(), Assigned { ipv4: v4, ipv6: v6 })
        })
        .collect())
}

/// Gives one more service its addresses, beside those that are `taken`: by hash, so that it gets the same ones whenever they
/// are free.
///
/// # Errors
/// When the prefix is full.
pub fn assign_one(
    network: &Network,
    service: &Service,
    taken: impl Iterator<Item = Assigned> + Clone,
) -> Result<Assigned, AddressError> {
    let mut assigned = Assigned::default();
    if service.ipv4 == AddressChoice::Auto {
        let taken4 = taken.clone().filter_map(|taken| taken.ipv4);
        let taken4 = taken4.map(|address| u128::from(address.to_bits())).collect();
        let place = Places::ipv4(network).free(&service.key, &taken4);
        let bits = place.and_then(|place| u32::try_from(place).ok());
        let full = || full4(network, service.key.clone());
        assigned.ipv4 = Some(bits.map(Ipv4Addr::from_bits).ok_or_else(full)?);
    }
    if let (AddressChoice::Auto, Some(net)) = (service.ipv6, network.ipv6) {
        let taken6 = taken.filter_map(|taken| taken.ipv6).map(Ipv6Addr::to_bits).collect();
        let place = Places::ipv6(&net).free(&service.key, &taken6);
        let full = || AddressError { prefix: net.to_string(), service: service.key.clone() };
        assigned.ipv6 = Some(place.map(Ipv6Addr::from_bits).ok_or_else(full)?);
    }
    Ok(assigned)
}

fn full4(network: &Network, service: String) -> AddressError {
    let prefix = match &network.pool {
        Some(pool) => format!("{}-{}", pool.start(), pool.end()),
        None => network.ipv4.to_string(),
    };
    AddressError { prefix, service }
}

/// The addresses that may be given automatically: those of the pool, or all that are usable.
fn pool4(network: &Network) -> RangeInclusive<Ipv4Addr> {
    network.pool.clone().unwrap_or_else(|| {
        // The network's own address and the gateway's come first, the broadcast address last.
        let first = network.ipv4.network().to_bits().saturating_add(2);
        let last = network.ipv4.broadcast().to_bits().saturating_sub(1);
        Ipv4Addr::from_bits(first)..=Ipv4Addr::from_bits(last)
    })
}

/// Whether a service may have `address`: in the prefix, and neither the network's, the gateway's nor the broadcast
/// address.
#[must_use]
pub fn is_usable4(net: &Ipv4Net, address: Ipv4Addr) -> bool {
    let offset = address.to_bits().wrapping_sub(net.network().to_bits());
    net.contains(&address) && offset >= 2 && address != net.broadcast()
}

/// Whether a service may have `address`: in the prefix, and neither the subnet routers' (RFC 4291, section 2.6.1) nor
/// the gateway's.
#[must_use]
pub fn is_usable6(net: &Ipv6Net, address: Ipv6Addr) -> bool {
    net.contains(&address) && address.to_bits().wrapping_sub(net.network().to_bits()) >= 2
}

fn map<A, B>(choice: AddressChoice<A>, bits: impl Fn(A) -> B) -> AddressChoice<B> {
    match choice {
        AddressChoice::Auto => AddressChoice::Auto,
        AddressChoice::None => AddressChoice::None,
        AddressChoice::Fixed(address) => AddressChoice::Fixed(bits(address)),
    }
}

/// Addresses in a row.
struct Places {
    first: u128,
    count: u128,
}

impl Places {
    fn ipv4(network: &Network) -> Self {
        let pool = pool4(network);
        let (first, last) = (pool.start().to_bits(), pool.end().to_bits());
        let count = (u128::from(last) + 1).saturating_sub(u128::from(first));
        Self { first: u128::from(first), count }
    }

    fn ipv6(net: &Ipv6Net) -> Self {
        let places = 1_u128
            .checked_shl(128 - u32::from(net.prefix_len()))
            .unwrap_or(IPV6_PLACES)
            .min(IPV6_PLACES);
        Self { first: net.network().to_bits() + 2, count: places.saturating_sub(2) }
    }

    fn assign<'a>(
        &self,
        choices: &[(&'a str, AddressChoice<u128>)],
        remembered: impl Fn(&str) -> Option<u128>,
    ) -> Result<BTreeMap<&'a str, u128>, String> {
        let mut given = BTreeMap::new();
        let mut taken = HashSet::new();
        for (key, choice) in choices {
            if let AddressChoice::Fixed(address) = choice {
                given.insert(*key, *address);
                taken.insert(*address);
            }
        }
        let automatic =
            || choices.iter().filter(|(_, choice)| matches!(choice, AddressChoice::Auto));
        for (key, _) in automatic() {
            if let Some(address) = remembered(key)
                && taken.insert(address)
            {
                given.insert(*key, address);
            }
        }
        for (key, _) in automatic() {
            if !given.contains_key(key) {
                let address = self.free(key, &taken).ok_or_else(|| (*key).to_owned())?;
                given.insert(*key, address);
                taken.insert(address);
            }
        }
        Ok(given)
    }

    /// The place that the key's hash says, or the next free one.
    fn free(&self, key: &str, taken: &HashSet<u128>) -> Option<u128> {
        let start = u128::from(hash(key)).checked_rem(self.count)?;
        // One more try than there are addresses taken is enough.
        let tries =
            self.count.min(u128::try_from(taken.len()).unwrap_or(u128::MAX).saturating_add(1));
        (0..tries)
            .map(|step| self.first + (start + step) % self.count)
            .find(|address| !taken.contains(address))
    }
}

/// FNV-1a with 64 bits: the same on every machine and in every version, which a `Hasher` of the library need not be.
fn hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}
