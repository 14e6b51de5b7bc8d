//! ARP (RFC 826) and neighbour discovery (RFC 4861) of guests.
//!
//! A guest believes that it is on an Ethernet on which every other address is a neighbour: whichever it asks
//! for, the answer is the gateway's link-layer address. Its own address is never answered, or the guest would
//! find it taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::{NeighborAdvertisementHeader, TYPE_NEIGHBOR_SOLICITATION};
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacketSlice, EtherType, Icmpv6Type, PacketBuilder,
};

use crate::ServicePort;
use crate::frame::{Icmp, Packet};

/// Neighbour messages are valid only if no router has touched them (RFC 4861, section 7.1).
const HOP_LIMIT: u8 = 255;
const OPTION_TARGET_LINK_LAYER_ADDRESS: u8 = 2;

/// Why a guest's neighbour message gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    Malformed,
    /// It comes from an address that is not the guest's.
    Spoofed,
    /// It is not a question, or a question that must not be answered.
    NotAsked,
}

/// The ARP packet (without link-layer header) that answers the guest's one.
pub(crate) fn answer_arp(
    port: &ServicePort,
    gateway_mac: [u8; 6],
    payload: &[u8],
) -> Result<[u8; 28], Unanswered> {
    let arp = ArpPacketSlice::from_slice(payload).map_err(|_| Unanswered::Malformed)?;
    let request = arp.to_packet().try_eth_ipv4().map_err(|_| Unanswered::Malformed)?;
    let sender = Ipv4Addr::from(request.sender_ipv4);
    // Unspecified: a probe whether somebody has the address already (RFC 5227).
    if !sender.is_unspecified() && port.ipv4 != Some(sender) {
        return Err(Unanswered::Spoofed);
    }
    let target = Ipv4Addr::from(request.target_ipv4);
    if request.operation != ArpOperation::REQUEST || port.ipv4 == Some(target) {
        return Err(Unanswered::NotAsked);
    }
    let reply = ArpEthIpv4Packet {
        operation: ArpOperation::REPLY,
        sender_mac: gateway_mac,
        sender_ipv4: request.target_ipv4,
        target_mac: request.sender_mac,
        target_ipv4: request.sender_ipv4,
    };
    Ok(reply.to_bytes())
}

/// The IPv6 packet that answers the guest's neighbour solicitation.
pub(crate) fn answer_solicitation(
    port: &ServicePort,
    gateway_mac: [u8; 6],
    packet: &Packet<'_>,
    icmp: &Icmp<'_>,
) -> Result<Vec<u8>, Unanswered> {
    if icmp.kind != TYPE_NEIGHBOR_SOLICITATION {
        return Err(Unanswered::NotAsked);
    }
    let IpAddr::V6(source) = packet.source else { return Err(Unanswered::Malformed) };
    let target: [u8; 16] = icmp
        .rest
        .get(4..20)
        .and_then(|target| target.try_into().ok())
        .ok_or(Unanswered::Malformed)?;
    let target = Ipv6Addr::from(target);
    if packet.hop_limit != HOP_LIMIT || target.is_multicast() {
        return Err(Unanswered::Malformed);
    }
    // Unspecified: the guest asks whether somebody has its address already (RFC 4862, section 5.4).
    if source.is_unspecified() || port.ipv6 == Some(target) {
        return Err(Unanswered::NotAsked);
    }
    if port.ipv6 != Some(source) && !source.is_unicast_link_local() {
        return Err(Unanswered::Spoofed);
    }
    let advertisement =
        NeighborAdvertisementHeader { router: true, solicited: true, r#override: true };
    let mut payload = [0; 24];
    payload[..16].copy_from_slice(&target.octets());
    payload[16..18].copy_from_slice(&[OPTION_TARGET_LINK_LAYER_ADDRESS, 1]);
    payload[18..].copy_from_slice(&gateway_mac);
    let mut reply = Vec::new();
    PacketBuilder::ipv6(target.octets(), source.octets(), HOP_LIMIT)
        .icmpv6(Icmpv6Type::NeighborAdvertisement(advertisement))
        .write(&mut reply, &payload)
        .expect("an advertisement is short");
    Ok(reply)
}

/// The EtherType of an IP packet, by its version.
pub(crate) fn ether_type(packet: &[u8]) -> EtherType {
    let v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    if v6 { EtherType::IPV6 } else { EtherType::IPV4 }
}

/// The link-layer header of everything that a guest receives.
pub(crate) fn ethernet_header(to: [u8; 6], from: [u8; 6], ether_type: EtherType) -> [u8; 14] {
    let mut header = [0; 14];
    header[..6].copy_from_slice(&to);
    header[6..12].copy_from_slice(&from);
    header[12..].copy_from_slice(&ether_type.0.to_be_bytes());
    header
}
