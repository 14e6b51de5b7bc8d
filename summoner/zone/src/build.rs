//! From what is configured to a zone that can be asked.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use policies::ServiceId;

use crate::{Node, RrSet, Service, Zone};

/// What a zone is made of.
#[derive(Debug, Clone)]
pub struct ZoneData {
    /// The zone's top owner name.
    pub apex: Name,
    /// Start of authority.
    pub soa: Soa,
    /// The name servers, at least one.
    pub name_servers: Vec<NameServer>,
    /// TTL of the records at the apex and of the name servers' addresses, in seconds.
    pub ttl: u32,
    /// The services.
    pub services: Vec<ServiceRecords>,
}

/// Start of authority (RFC 1035, section 3.3.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    /// The primary name server.
    pub mname: Name,
    /// The mailbox of who is responsible, its `@` written as a dot.
    pub rname: Name,
    /// Version of the zone's content.
    pub serial: u32,
    /// Seconds after which a secondary asks again.
    pub refresh: i32,
    /// Seconds after which it tries again when that failed.
    pub retry: i32,
    /// Seconds after which it stops answering when nobody is there.
    pub expire: i32,
    /// Upper bound of the negative TTL, in seconds (RFC 2308, section 4).
    pub minimum: u32,
}

/// A name server of the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its name.
    pub name: Name,
    /// Its addresses; only for names in the zone.
    pub addresses: Vec<IpAddr>,
}

/// What a service adds to the zone.
#[derive(Debug, Clone)]
pub struct ServiceRecords {
    /// The service.
    pub id: ServiceId,
    /// Its names, absolute.
    pub names: Vec<Name>,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// TTL of its records, in seconds.
    pub ttl: u32,
    /// Whether a query for its names is a reason to boot it.
    pub wake_on_query: bool,
}

/// Why the data make no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// A name is not in the zone.
    #[error(
        "the name {name} is not in the zone {apex}; names of services and addresses of name servers belong below it"
    )]
    OutOfZone {
        /// The name.
        name: String,
        /// The zone.
        apex: String,
    },
    /// Two services have one name.
    #[error("the name {name} is given to two services; give each its own")]
    Twice {
        /// The name.
        name: String,
    },
    /// A zone without name servers.
    #[error("the zone {apex} has no name server; name at least one")]
    NoNameServer {
        /// The zone.
        apex: String,
    },
}

impl Zone {
    /// Builds a zone.
    ///
    /// # Errors
    /// When a name is out of the zone or given twice, or there is no name server.
    pub fn build(data: ZoneData) -> Result<Self, ZoneError> {
        let mut builder =
            Builder { apex: LowerName::new(&data.apex), name: data.apex, nodes: HashMap::new() };
        if data.name_servers.is_empty() {
            return Err(ZoneError::NoNameServer { apex: builder.name.to_string() });
        }
        let negative = builder.apex_records(&data.soa, &data.name_servers, data.ttl)?;
        for service in &data.services {
            builder.service(service)?;
        }
        builder.empty_non_terminals();
        Ok(Self { apex: builder.apex, negative, nodes: builder.nodes })
    }
}

struct Builder {
    apex: LowerName,
    name: Name,
    nodes: HashMap<LowerName, Node>,
}

impl Builder {
    /// SOA, NS and glue. Returns the SOA as it stands in a negative answer.
    fn apex_records(
        &mut self,
        soa: &Soa,
        servers: &[NameServer],
        ttl: u32,
    ) -> Result<Record, ZoneError> {
        let apex = self.name.clone();
        let rdata = RData::SOA(SOA::new(
            soa.mname.clone(),
            soa.rname.clone(),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum,
        ));
        let negative = Record::from_rdata(apex.clone(), ttl.min(soa.minimum), rdata.clone());
        self.add(
            &apex,
            RecordType::SOA,
            vec![Record::from_rdata(apex.clone(), ttl, rdata)],
            Vec::new(),
        )?;
        let (mut records, mut glue) = (Vec::new(), Vec::new());
        for server in servers {
            records.push(Record::from_rdata(apex.clone(), ttl, RData::NS(NS(server.name.clone()))));
            for (record_type, addresses) in by_type(&server.name, &server.addresses, ttl) {
                glue.extend(addresses.iter().cloned());
                self.add(&server.name, record_type, addresses, Vec::new())?;
            }
        }
        self.add(&apex, RecordType::NS, records, glue)?;
        Ok(negative)
    }

    fn service(&mut self, service: &ServiceRecords) -> Result<(), ZoneError> {
        for name in &service.names {
            let addresses: Vec<IpAddr> = service
                .ipv4
                .map(IpAddr::V4)
                .into_iter()
                .chain(service.ipv6.map(IpAddr::V6))
                .collect();
            let node = self.node(name)?;
            if node.service.is_some() {
                return Err(ZoneError::Twice { name: name.to_string() });
            }
            node.service = Some(Service { id: service.id, wake_on_query: service.wake_on_query });
            for (record_type, records) in by_type(name, &addresses, service.ttl) {
                self.add(name, record_type, records, Vec::new())?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: &Name,
        record_type: RecordType,
        records: Vec<Record>,
        glue: Vec<Record>,
    ) -> Result<(), ZoneError> {
        let rrsets = &mut self.node(name)?.rrsets;
        match rrsets.iter_mut().find(|rrset| rrset.record_type == record_type) {
            Some(rrset) => rrset.records.extend(records),
            None => rrsets.push(RrSet { record_type, records, glue }),
        }
        Ok(())
    }

    fn node(&mut self, name: &Name) -> Result<&mut Node, ZoneError> {
        let key = LowerName::new(name);
        if !self.apex.zone_of(&key) {
            return Err(ZoneError::OutOfZone {
                name: name.to_string(),
                apex: self.name.to_string(),
            });
        }
        Ok(self.nodes.entry(key).or_default())
    }

    /// Every name between the apex and a name that exists, exists too: it has no data, but is no NXDOMAIN
    /// (RFC 8020).
    fn empty_non_terminals(&mut self) {
        let names: Vec<LowerName> = self.nodes.keys().cloned().collect();
        for name in names {
            let mut parent = name.base_name();
            while self.apex.zone_of(&parent) && parent != self.apex {
                let above = parent.base_name();
                self.nodes.entry(parent).or_default();
                parent = above;
            }
        }
    }
}

/// Addresses as RRsets, owner names in lower case.
fn by_type(name: &Name, addresses: &[IpAddr], ttl: u32) -> Vec<(RecordType, Vec<Record>)> {
    let owner = name.to_lowercase();
    let record = |address: &IpAddr| {
        let rdata = match *address {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        Record::from_rdata(owner.clone(), ttl, rdata)
    };
    let (v4, v6): (Vec<_>, Vec<_>) =
        addresses.iter().map(record).partition(|r| r.record_type() == RecordType::A);
    [(RecordType::A, v4), (RecordType::AAAA, v6)]
        .into_iter()
        .filter(|(_, records)| !records.is_empty())
        .collect()
}
