//! The reverse zones of the services' prefixes: which name an address has (RFC 1035, section 3.5; RFC 3596, section 2.5).
//!
//! Names are cut at octets and nibbles, prefixes anywhere: a prefix between two cuts is as many zones as it has parts at the
//! next cut, so that nothing is served that is not ours.

use std::net::IpAddr;

use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use ipnet::IpNet;
use zone::{NameServer, ServiceRecords, ZoneData};

use crate::config::Config;

/// The reverse zones with a PTR for each address of `services`.
pub(super) fn zones(config: &Config, services: &[ServiceRecords]) -> Vec<ZoneData> {
    let prefixes = std::iter::once(IpNet::from(config.network.ipv4))
        .chain(config.network.ipv6.map(IpNet::from));
    let pointers: Vec<Record> = services.iter().flat_map(pointers).collect();
    let zone = |apex: Name| {
        let key = LowerName::new(&apex);
        let own = pointers.iter().filter(|record| key.zone_of(&LowerName::new(&record.name)));
        let (authority, records) = authority(config, &apex);
        ZoneData {
            records: records.into_iter().chain(own.cloned()).collect(),
            name_servers: authority,
            apex,
            ..config.zone.zone_data()
        }
    };
    prefixes.flat_map(parts).filter_map(|part| apex(&part)).map(zone).collect()
}

/// The PTR records of a service: its addresses' names are its first one.
fn pointers(service: &ServiceRecords) -> Vec<Record> {
    let addresses = service.ipv4.map(IpAddr::V4).into_iter().chain(service.ipv6.map(IpAddr::V6));
    let pointer = |address| {
        let owner = apex(&IpNet::from(address))?;
        let name = service.names.first()?.clone();
        Some(Record::from_rdata(owner, service.ttl, RData::PTR(PTR(name))))
    };
    addresses.filter_map(pointer).collect()
}

/// The name servers and SOA of the main zone, for `apex`: those that are configured, or those of the zone's file.
fn authority(config: &Config, apex: &Name) -> (Vec<NameServer>, Vec<Record>) {
    let main = LowerName::new(&config.zone.apex);
    let of_main = config.zone.records.iter().filter(|record| {
        LowerName::new(&record.name) == main
            && matches!(record.record_type(), RecordType::SOA | RecordType::NS)
    });
    let renamed = of_main.cloned().map(|mut record| {
        record.name.clone_from(apex);
        record
    });
    let servers = config.zone.name_servers.iter();
    // Their addresses belong to the main zone.
    let servers =
        servers.map(|server| NameServer { name: server.name.clone(), addresses: Vec::new() });
    (servers.collect(), renamed.collect())
}

/// The prefixes at the next cut: octets for IPv4, nibbles for IPv6. At most 128.
fn parts(prefix: IpNet) -> Vec<IpNet> {
    let unit = if prefix.addr().is_ipv4() { 8 } else { 4 };
    let cut = prefix.prefix_len().next_multiple_of(unit);
    // A cut is never longer than an address.
    prefix.trunc().subnets(cut).map(Iterator::collect).unwrap_or_default()
}

/// The name of a prefix that is at a cut.
fn apex(prefix: &IpNet) -> Option<Name> {
    let (mut labels, top) = match prefix.addr() {
        IpAddr::V4(address) => {
            let octets = address.octets().map(|octet| octet.to_string());
            (
                octets.into_iter().take(usize::from(prefix.prefix_len() / 8)).collect::<Vec<_>>(),
                "in-addr",
            )
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 0xf]);
            let nibbles = nibbles.map(|nibble| format!("{nibble:x}"));
            (nibbles.take(usize::from(prefix.prefix_len() / 4)).collect(), "ip6")
        }
    };
    labels.reverse();
    labels.extend([top.to_owned(), "arpa".to_owned()]);
    // A name of digits always fits.
    let mut name = Name::from_labels(labels.iter().map(String::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apexes(prefix: &str) -> Vec<String> {
        let parts = parts(prefix.parse().unwrap());
        parts.iter().map(|part| apex(part).unwrap().to_string()).collect()
    }

    #[test]
    fn a_prefix_is_cut_where_names_are() {
        assert_eq!(apexes("10.77.0.0/16"), ["77.10.in-addr.arpa."]);
        assert_eq!(apexes("0.0.0.0/0"), ["in-addr.arpa."]);
        assert_eq!(
            apexes("192.0.2.0/22"),
            [
                "0.0.192.in-addr.arpa.",
                "1.0.192.in-addr.arpa.",
                "2.0.192.in-addr.arpa.",
                "3.0.192.in-addr.arpa."
            ]
        );
        assert_eq!(apexes("192.0.2.8/31"), ["8.2.0.192.in-addr.arpa.", "9.2.0.192.in-addr.arpa."]);
        assert_eq!(apexes("192.0.2.0/25").len(), 128);
        assert_eq!(apexes("fd77:6a69:7400::/48"), ["0.0.4.7.9.6.a.6.7.7.d.f.ip6.arpa."]);
        assert_eq!(apexes("fd00::/7").len(), 2);
        assert_eq!(apexes("2001:db8::1/128").len(), 1);
    }
}
