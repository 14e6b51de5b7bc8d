//! From what is configured to a zone that can be asked.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use policies::ServiceId;

use crate::{Node, RrSet, Service, TemplateRecords, Zone};

/// What a zone is made of.
#[derive(Debug, Clone)]
pub struct ZoneData {
    /// The zone's top owner name.
    pub apex: Name,
    /// Start of authority, unless `records` has one.
    pub soa: Soa,
    /// The name servers; at least one, or one in `records`.
    pub name_servers: Vec<NameServer>,
    /// TTL of the records at the apex and of the name servers' addresses, in seconds.
    pub ttl: u32,
    /// The services.
    pub services: Vec<ServiceRecords>,
    /// All other records, absolute: of a zone file, of an administrator's choice.
    pub records: Vec<Record>,
    /// Of several services behind one name: whether a question wakes all of them, or the one that is named first.
    pub wake_all: bool,
    /// The templates.
    pub templates: Vec<TemplateRecords>,
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
    /// Its other records, at its names or below them.
    pub records: Vec<Record>,
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
    /// An alias has other records.
    #[error(
        "{name} has a CNAME and other records; an alias can have nothing else (RFC 1034, section 3.6.2)"
    )]
    AliasNotAlone {
        /// The name.
        name: String,
    },
    /// Something below a name that stands for another tree.
    #[error(
        "{below} is below {name}, which has a DNAME; nothing can be below that (RFC 6672, section 2.4)"
    )]
    BelowRedirection {
        /// The name with the DNAME.
        name: String,
        /// A name below it.
        below: String,
    },
    /// A record of which a name can have only one.
    #[error("{name} has more than one {record_type}; remove all but one")]
    NotSingle {
        /// The name.
        name: String,
        /// The type.
        record_type: RecordType,
    },
    /// An SOA that is not at the apex.
    #[error("{name} has an SOA; only the zone's apex {apex} has one (RFC 1034, section 4.2.1)")]
    SecondAuthority {
        /// The name.
        name: String,
        /// The zone.
        apex: String,
    },
    /// A template has records, or another template beside it.
    #[error(
        "the template at {name} needs a wildcard for itself; remove the records there, or the other template"
    )]
    TemplateNotAlone {
        /// The wildcard.
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
    /// When a name is out of the zone, records do not go together, or there is no name server.
    pub fn build(data: ZoneData) -> Result<Self, ZoneError> {
        let mut builder =
            Builder { apex: LowerName::new(&data.apex), name: data.apex, nodes: HashMap::new() };
        let own_soa = data.records.iter().any(|record| record.record_type() == RecordType::SOA);
        if !own_soa {
            builder.soa(&data.soa, data.ttl)?;
        }
        builder.name_servers(&data.name_servers, data.ttl)?;
        for service in data.services {
            builder.service(service)?;
        }
        for record in data.records {
            builder.add(record)?;
        }
        for template in data.templates {
            builder.template(template)?;
        }
        builder.check_single()?;
        builder.check_redirections()?;
        let negative = builder.negative()?;
        builder.empty_non_terminals();
        let Builder { apex, nodes, .. } = builder;
        let redirects = |(name, node): (&LowerName, &Node)| {
            let is_cut = *name != apex && node.get(RecordType::NS).is_some();
            is_cut || node.get(RecordType::DNAME).is_some()
        };
        let has_cuts = nodes.iter().any(redirects);
        Ok(Self { apex, negative, nodes, has_cuts, wake_all: data.wake_all, chain: None })
    }
}

struct Builder {
    apex: LowerName,
    name: Name,
    nodes: HashMap<LowerName, Node>,
}

impl Builder {
    fn soa(&mut self, soa: &Soa, ttl: u32) -> Result<(), ZoneError> {
        let rdata = RData::SOA(SOA::new(
            soa.mname.clone(),
            soa.rname.clone(),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum,
        ));
        self.add(Record::from_rdata(self.name.to_lowercase(), ttl, rdata))
    }

    /// NS and glue.
    fn name_servers(&mut self, servers: &[NameServer], ttl: u32) -> Result<(), ZoneError> {
        for server in servers {
            let name = RData::NS(NS(server.name.clone()));
            self.add(Record::from_rdata(self.name.to_lowercase(), ttl, name))?;
            for address in &server.addresses {
                self.add(address_record(&server.name, *address, ttl))?;
            }
        }
        Ok(())
    }

    /// The SOA as it stands in a negative answer: with the TTL of RFC 2308, section 3.
    fn negative(&self) -> Result<RrSet, ZoneError> {
        let apex = self.nodes.get(&self.apex);
        if apex.and_then(|node| node.get(RecordType::NS)).is_none() {
            return Err(ZoneError::NoNameServer { apex: self.name.to_string() });
        }
        let mut negative = match apex.and_then(|node| node.get(RecordType::SOA)) {
            Some(soa) => soa.clone(),
            // The only SOA that was given is elsewhere, which is an error of its own.
            None => RrSet::new(self.name.to_lowercase(), RecordType::SOA, Vec::new()),
        };
        for record in &mut negative.records {
            if let RData::SOA(soa) = &record.data {
                record.ttl = record.ttl.min(soa.minimum);
            }
        }
        Ok(negative)
    }

    fn service(&mut self, service: ServiceRecords) -> Result<(), ZoneError> {
        let of_service = Service { id: service.id, wake_on_query: service.wake_on_query };
        let addresses = service.ipv4.map(IpAddr::V4).into_iter();
        let addresses = addresses.chain(service.ipv6.map(IpAddr::V6));
        let own = addresses.flat_map(|address| {
            service.names.iter().map(move |name| address_record(name, address, service.ttl))
        });
        let own: Vec<Record> = own.chain(service.records).collect();
        let owners = own.iter().map(|record| &record.name).chain(&service.names);
        for name in owners.cloned().collect::<Vec<_>>() {
            let services = &mut self.node(&name)?.services;
            if !services.iter().any(|known| known.id == of_service.id) {
                services.push(of_service);
            }
        }
        own.into_iter().try_for_each(|record| self.add(record))
    }

    fn add(&mut self, mut record: Record) -> Result<(), ZoneError> {
        record.name = record.name.to_lowercase();
        let (owner, record_type) = (record.name.clone(), record.record_type());
        let rrsets = &mut self.node(&owner)?.rrsets;
        match rrsets.iter_mut().find(|rrset| rrset.record_type == record_type) {
            Some(rrset) => rrset.add(record),
            None => rrsets.push(RrSet::new(owner, record_type, vec![record])),
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

    /// To be called when all records are there.
    fn template(&mut self, template: TemplateRecords) -> Result<(), ZoneError> {
        let node = self.node(&template.pattern)?;
        if !template.pattern.is_wildcard() || !node.rrsets.is_empty() || node.template.is_some() {
            return Err(ZoneError::TemplateNotAlone { name: template.pattern.to_string() });
        }
        node.template = Some(template.key);
        Ok(())
    }

    /// An alias is alone at its name; of an SOA, an alias or a redirection there is one.
    fn check_single(&self) -> Result<(), ZoneError> {
        for (name, node) in &self.nodes {
            let single = [RecordType::CNAME, RecordType::DNAME, RecordType::SOA];
            for rrset in node.rrsets.iter().filter(|rrset| single.contains(&rrset.record_type)) {
                let (name, record_type) = (name.to_string(), rrset.record_type);
                if record_type == RecordType::CNAME && node.rrsets.len() > 1 {
                    return Err(ZoneError::AliasNotAlone { name });
                }
                if rrset.records.len() > 1 {
                    return Err(ZoneError::NotSingle { name, record_type });
                }
                if record_type == RecordType::SOA && rrset.owner != self.name {
                    return Err(ZoneError::SecondAuthority { name, apex: self.name.to_string() });
                }
            }
        }
        Ok(())
    }

    /// Nothing is below a DNAME, not even a service: nobody could ask for it.
    fn check_redirections(&self) -> Result<(), ZoneError> {
        let redirections =
            self.nodes.iter().filter(|(_, node)| node.get(RecordType::DNAME).is_some());
        for (name, _) in redirections {
            if let Some(below) = self.nodes.keys().find(|key| *key != name && name.zone_of(key)) {
                return Err(ZoneError::BelowRedirection {
                    name: name.to_string(),
                    below: below.to_string(),
                });
            }
        }
        Ok(())
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

fn address_record(owner: &Name, address: IpAddr, ttl: u32) -> Record {
    let rdata = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(owner.to_lowercase(), ttl, rdata)
}
