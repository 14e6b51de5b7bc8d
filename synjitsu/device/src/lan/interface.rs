//! What the system knows about an interface.

use std::net::IpAddr;
use std::path::Path;

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use synjitsu::lan::Mac;

use super::LanError;
use crate::DeviceError;
use crate::netlink::Route;

/// An Ethernet interface, as of the look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) mac: Mac,
    pub(super) mtu: u32,
    /// Whether frames go through it: it is set up, and the cable is in.
    pub(super) running: bool,
    /// The host's own addresses on it.
    pub(super) addresses: Vec<IpAddr>,
}

impl Interface {
    /// Looks for an Ethernet interface that has its frames for itself.
    pub(super) fn look_up(name: &str) -> Result<Self, LanError> {
        let all = pnet_datalink::interfaces();
        let Some(found) = all.iter().find(|interface| interface.name == name) else {
            let others = all.iter().filter(|interface| !interface.is_loopback());
            let others: Vec<_> = others.map(|interface| format!("`{}`", interface.name)).collect();
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            return Err(LanError::NoInterface { name: name.to_owned(), others });
        };
        let failed = |source: DeviceError| LanError::LookUp { name: name.to_owned(), source };
        let link = Route::open().map_err(failed)?.link(name).map_err(failed)?;
        let kind = link.header.link_layer_type;
        let mac = found.mac.filter(|_| kind == LinkLayerType::Ether);
        let Some(mac) = mac else {
            return Err(LanError::NotEthernet { name: name.to_owned(), kind: kind.to_string() });
        };
        if let Some(kind) = port_of(&link) {
            return Err(LanError::Port { name: name.to_owned(), kind });
        }
        let mtu = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        Ok(Self {
            index: found.index,
            mac: mac.octets(),
            mtu: mtu.unwrap_or(1500),
            running: link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            addresses: found.ips.iter().map(|net| net.ip()).collect(),
        })
    }

    /// The routers that the host itself uses through this interface.
    pub(super) fn gateways(&self) -> Result<Vec<IpAddr>, DeviceError> {
        Route::open()?.default_gateways(self.index)
    }
}

/// What takes this interface's frames before anybody else: a bridge, for example.
fn port_of(link: &LinkMessage) -> Option<String> {
    let mut infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let kind = infos.find_map(|infos| {
        infos.iter().find_map(|info| match info {
            LinkInfo::PortKind(kind) => Some(kind.to_string()),
            _ => None,
        })
    })?;
    // A VRF only chooses the routes.
    (kind != "vrf").then_some(kind)
}

/// Whether an access point is on the other side, which takes frames of one link-layer address only.
pub(super) fn is_wireless(name: &str) -> bool {
    let folder = Path::new("/sys/class/net").join(name);
    folder.join("phy80211").exists() || folder.join("wireless").exists()
}
