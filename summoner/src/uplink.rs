//! The way to the clients: the device that the configuration asks for, and what it tells.

use std::net::IpAddr;

use synjitsu::Command;
use synjitsu::lan::{LanEvent, Mac, Prefix};
use synjitsu_device::lan::{LanError, LanHandle, LanPort, LanReport, LanSettings, ServicesMac};
use synjitsu_device::{BulkTun, DeviceError, DriverCommand, DriverHandle, GuestPort, netlink};
use tracing::{info, warn};

use crate::clock;
use crate::config::Network;
use crate::deploy;
use crate::engine::InstanceId;
use crate::orchestrator::PacketPath;

/// The orchestrator's end of the packet path.
pub(crate) struct Path {
    /// The switch.
    pub(crate) driver: DriverHandle,
    /// The segment that the services are on, if they are on one.
    pub(crate) lan: Option<LanHandle>,
}

impl PacketPath for Path {
    fn command(&self, command: Command) {
        self.driver.send(DriverCommand::Switch(command));
        // After the switch: nobody is to be told of an address whose packets it would not take.
        if let Some(lan) = &self.lan {
            lan.observe(&command);
        }
    }

    fn open(&self, instance: InstanceId, port: GuestPort) {
        let InstanceId { service, generation } = instance;
        self.driver.send(DriverCommand::Open { service, generation, port });
    }
}

/// A TUN device with the gateways' addresses, to which the host routes the services' prefixes.
pub(crate) fn open_tun(network: &Network, interface: &str) -> Result<BulkTun, DeviceError> {
    let tun = BulkTun::create(interface)?;
    let (gateway4, gateway6) = deploy::gateways(network);
    let mut addresses = vec![(IpAddr::V4(gateway4), network.ipv4.prefix_len())];
    if let (Some(gateway), Some(net)) = (gateway6, network.ipv6) {
        addresses.push((IpAddr::V6(gateway), net.prefix_len()));
    }
    netlink::configure(interface, &addresses, network.mtu)?;
    Ok(tun)
}

/// A port on the segment of an interface; nothing of the host's is changed.
pub(crate) fn open_lan(
    network: &Network,
    interface: &str,
    mac: ServicesMac,
    gateways: Option<Vec<IpAddr>>,
) -> Result<(LanPort, LanHandle), LanError> {
    let four = Prefix::new(IpAddr::V4(network.ipv4.network()), network.ipv4.prefix_len());
    let six = network.ipv6.and_then(|net| Prefix::new(IpAddr::V6(net.network()), net.prefix_len()));
    let settings = LanSettings {
        interface: interface.to_owned(),
        mac,
        on_link: four.into_iter().chain(six).collect(),
        gateways,
        mtu: network.mtu,
    };
    let name = interface.to_owned();
    let (port, handle) = LanPort::open(settings, clock::now, move |report| log(&name, &report))?;
    info!(interface, mac = %show(port.mac()), "attached to the segment");
    Ok((port, handle))
}

fn log(interface: &str, report: &LanReport) {
    match report {
        LanReport::Segment(LanEvent::Announced { address }) => {
            info!(interface, %address, "announced on the segment");
        }
        LanReport::Segment(LanEvent::Conflict { address, by, lost: true }) => {
            warn!(interface, %address, by = %show(*by), "another station has this address already; it is not used until that one is gone");
        }
        LanReport::Segment(LanEvent::Conflict { address, by, lost: false }) => {
            warn!(interface, %address, by = %show(*by), "another station claims this address; it was told that it is taken");
        }
        LanReport::HostHasIt { address } => {
            warn!(interface, %address, "the host has this address itself; give the service another one");
        }
        LanReport::LinkUp => info!(interface, "the link is up"),
        LanReport::LinkDown => warn!(interface, "the link is down"),
        LanReport::Trouble(error) => {
            warn!(interface, error = %crate::report(error), "the segment cannot be reached as it should be");
        }
    }
}

fn show(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
