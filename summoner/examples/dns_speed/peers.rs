//! The servers that are no programs of their own.

use std::collections::HashMap;
use std::error::Error;
use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use policies::ServiceId;
use summoner::config::AnswerMode;
use summoner::dns::{
    self, Published, Responder, ServiceEntry, ServiceSignal, Sockets, Streams, Transfers,
};
use summoner::metrics::Metrics;
use synjitsu_device::datagrams;
use tokio::sync::mpsc;
use zone::{NameServer, ServiceRecords, Soa, Zone, ZoneData, Zones};

use crate::zone_data::{APEX, names};

/// Serves until it is killed; says `ready` when it does.
pub(crate) fn serve(kind: &str, address: SocketAddr, threads: usize) -> Result<(), Box<dyn Error>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    match kind {
        "summoner" => runtime.block_on(summoner(address, threads)),
        "hickory" => runtime.block_on(hickory(address, threads)),
        "echo" => echo(address, threads),
        other => Err(format!("no server is called {other}").into()),
    }
}

/// Ours, as in the daemon: the names are those of services, which are awake.
async fn summoner(address: SocketAddr, threads: usize) -> Result<(), Box<dyn Error>> {
    let mut services = HashMap::new();
    let mut records = Vec::new();
    for (number, name, ipv4, ipv6) in names() {
        let signal = ServiceSignal::new();
        signal.set_awake(true);
        let key = name.to_string();
        let entry = ServiceEntry { signal, answer: AnswerMode::Now, wake_on_refresh: true, key };
        services.insert(ServiceId(number), entry);
        records.push(ServiceRecords {
            id: ServiceId(number),
            names: vec![name],
            ipv4: Some(ipv4),
            ipv6: Some(ipv6),
            ttl: 60,
            wake_on_query: true,
            records: Vec::new(),
        });
    }
    let ns = Name::from_ascii(format!("ns.{APEX}"))?;
    let zone = Zone::build(ZoneData {
        apex: Name::from_ascii(APEX)?,
        soa: Soa {
            mname: ns.clone(),
            rname: Name::from_ascii(format!("hostmaster.{APEX}"))?,
            serial: 1,
            refresh: 3600,
            retry: 600,
            expire: 86_400,
            minimum: 30,
        },
        name_servers: vec![NameServer { name: ns, addresses: vec![address.ip()] }],
        ttl: 60,
        services: records,
        templates: Vec::new(),
        records: Vec::new(),
        wake_all: false,
    })?;
    let zones = Zones::new([Arc::new(zone)]);
    let transfers = Transfers::default();
    let published = Published { zones, transfers, services, access: Arc::default() };
    let (wakes, _queries) = mpsc::channel(1);
    let settings = Arc::new(dns::Settings::default());
    let metrics = Arc::new(Metrics::new());
    let published = Arc::new(ArcSwap::from_pointee(published));
    let responder = Responder::new(published, wakes, metrics, settings);
    let streams = Streams {
        tcp: vec![TcpListener::bind(address)?],
        tls: Vec::new(),
        https: Vec::new(),
        https_path: String::new(),
        identity: None,
        connections: 1,
        prefix_connections: 1,
        idle: Duration::from_secs(1),
    };
    streams.tcp.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
    let sockets = Sockets { udp: vec![datagrams::listen(address, threads)?], streams };
    println!("ready");
    Ok(dns::serve_apart(responder, sockets, pending()).await?)
}

/// Hickory's server with its own catalog and its own zone.
async fn hickory(address: SocketAddr, threads: usize) -> Result<(), Box<dyn Error>> {
    let (apex, ns) = (Name::from_ascii(APEX)?, Name::from_ascii(format!("ns.{APEX}"))?);
    let mut zone: InMemoryZoneHandler =
        InMemoryZoneHandler::empty(apex.clone(), ZoneType::Primary, AxfrPolicy::Deny, None);
    let soa = SOA::new(ns.clone(), apex.clone(), 1, 3600, 600, 86_400, 30);
    zone.upsert_mut(Record::from_rdata(apex.clone(), 60, RData::SOA(soa)), 1);
    zone.upsert_mut(Record::from_rdata(apex.clone(), 60, RData::NS(NS(ns))), 1);
    for (_, name, ipv4, ipv6) in names() {
        zone.upsert_mut(Record::from_rdata(name.clone(), 60, RData::A(A(ipv4))), 1);
        zone.upsert_mut(Record::from_rdata(name, 60, RData::AAAA(AAAA(ipv6))), 1);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::new(&apex), vec![Arc::new(zone)]);
    let mut server = Server::new(catalog);
    for socket in datagrams::listen(address, threads)?.sockets {
        socket.set_nonblocking(true)?;
        server.register_socket(tokio::net::UdpSocket::from_std(socket)?);
    }
    println!("ready");
    Ok(server.block_until_done().await?)
}

/// Sends back what it receives, as an answer: a datagram a call, as most servers do.
fn echo(address: SocketAddr, threads: usize) -> Result<(), Box<dyn Error>> {
    let sockets = datagrams::listen(address, threads)?.sockets;
    println!("ready");
    std::thread::scope(|scope| {
        for socket in &sockets {
            scope.spawn(move || {
                let mut buffer = [0; 1500];
                loop {
                    let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                    buffer[2] |= 0x80;
                    // One that is lost is asked for again.
                    let _ = socket.send_to(&buffer[..length], from);
                }
            });
        }
    });
    Ok(())
}
