//! Messages of neighbour discovery (RFC 4861), as whole IPv6 packets.

use std::net::Ipv6Addr;

use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{Icmpv6Slice, Icmpv6Type, IpNumber, IpSlice, PacketBuilder};

use super::Mac;

/// Whoever is on the link (RFC 4291, section 2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Valid only if no router has touched it (RFC 4861, section 7.1).
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const LISTENER_QUERY: u8 = 130;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// In an advertisement's second word.
const SOLICITED: u8 = 0x40;

/// An ICMPv6 message as far as a segment is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// Somebody asks where `target` is.
    Solicitation { source: Ipv6Addr, target: Ipv6Addr, mac: Option<Mac> },
    /// Somebody says where `target` is.
    Advertisement { target: Ipv6Addr, mac: Option<Mac>, solicited: bool },
    /// A router or switch asks who listens to which group.
    ListenerQuery,
    /// Between others, or between routers and hosts: routers, redirects, reports.
    OtherLinkBusiness,
    /// Anything else: the guest's.
    NotOurs,
}

/// Looks whether an IPv6 packet is about the segment itself; `None` if it is, but is not valid (RFC 4861, section 7.1).
pub(super) fn parse(packet: &[u8]) -> Option<Message> {
    let ip = IpSlice::from_slice(packet).ok()?;
    let header = ip.ipv6()?.header();
    let payload = ip.payload();
    if payload.ip_number != IpNumber::IPV6_ICMP || payload.fragmented {
        return Some(Message::NotOurs);
    }
    let icmp = Icmpv6Slice::from_slice(payload.payload).ok()?;
    let kind = icmp.type_u8();
    // 130 to 132 and 143: groups; 133 to 137: neighbours and routers.
    if !matches!(kind, 130..=137 | 143) {
        return Some(Message::NotOurs);
    }
    if !icmp.is_checksum_valid(header.source(), header.destination()) || icmp.code_u8() != 0 {
        return None;
    }
    if kind == LISTENER_QUERY {
        return Some(Message::ListenerQuery);
    }
    let body = payload.payload;
    if !matches!(kind, SOLICITATION | ADVERTISEMENT) {
        return Some(Message::OtherLinkBusiness);
    }
    let target: [u8; 16] = body.get(8..24)?.try_into().ok()?;
    let target = Ipv6Addr::from(target);
    if header.hop_limit() != HOP_LIMIT || target.is_multicast() {
        return None;
    }
    let options = body.get(24..)?;
    if kind == ADVERTISEMENT {
        let solicited = body.get(4)? & SOLICITED != 0;
        // Valid: an answer to one is sent to one.
        if solicited && header.destination_addr().is_multicast() {
            return None;
        }
        let mac = link_layer_address(options, TARGET_LINK_LAYER_ADDRESS)?;
        return Some(Message::Advertisement { target, mac, solicited });
    }
    let source = header.source_addr();
    let mac = link_layer_address(options, SOURCE_LINK_LAYER_ADDRESS)?;
    if source.is_unspecified()
        && (mac.is_some() || header.destination_addr() != solicited_node(target))
    {
        return None;
    }
    Some(Message::Solicitation { source, target, mac })
}

/// The link-layer address in a message's options; `None` in place of `Some(None)` if an option has no length (RFC
/// 4861, section 4.6: the message is to be dropped).
fn link_layer_address(mut options: &[u8], kind: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let [option, units, ..] = options {
        let length = usize::from(*units) * 8;
        if length == 0 {
            return None;
        }
        let (this, rest) = options.split_at_checked(length)?;
        if *option == kind
            && let Some(mac) = this.get(2..8)
        {
            found = mac.try_into().ok();
        }
        options = rest;
    }
    Some(found)
}

/// The group that is asked when `address` is looked for (RFC 4291, section 2.7.1).
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const GROUP: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(GROUP | (address.to_bits() & 0xff_ffff))
}

/// The link-layer address of a group (RFC 2464, section 7).
pub(super) const fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Asks where `target` is: everybody whom it may concern, or `to`. `source` unspecified: asks whether anybody has it
/// (RFC 4862, section 5.4.2).
pub(super) fn solicitation(
    mac: Mac,
    source: Ipv6Addr,
    target: Ipv6Addr,
    to: Option<Ipv6Addr>,
) -> Vec<u8> {
    let mut payload = target.octets().to_vec();
    if !source.is_unspecified() {
        payload.extend([SOURCE_LINK_LAYER_ADDRESS, 1]);
        payload.extend(mac);
    }
    let to = to.unwrap_or_else(|| solicited_node(target));
    build(source, to, Icmpv6Type::NeighborSolicitation, &payload)
}

/// Says that `target` is at `mac`: in answer to `to`, or to everybody.
pub(super) fn advertisement(
    mac: Mac,
    target: Ipv6Addr,
    to: Option<Ipv6Addr>,
    r#override: bool,
) -> Vec<u8> {
    let kind = Icmpv6Type::NeighborAdvertisement(NeighborAdvertisementHeader {
        router: false,
        solicited: to.is_some(),
        r#override,
    });
    let mut payload = target.octets().to_vec();
    payload.extend([TARGET_LINK_LAYER_ADDRESS, 1]);
    payload.extend(mac);
    build(target, to.unwrap_or(ALL_NODES), kind, &payload)
}

fn build(source: Ipv6Addr, to: Ipv6Addr, kind: Icmpv6Type, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(80);
    PacketBuilder::ipv6(source.octets(), to.octets(), HOP_LIMIT)
        .icmpv6(kind)
        .write(&mut packet, payload)
        .expect("a message of neighbour discovery is short");
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 9];
    const ONE: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x12, 0x3456);
    const TWO: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    #[test]
    fn what_is_built_is_understood() {
        let asked = parse(&solicitation(MAC, TWO, ONE, None));
        let solicitation_of = |source, mac| Message::Solicitation { source, target: ONE, mac };
        assert_eq!(asked, Some(solicitation_of(TWO, Some(MAC))));
        let probe = parse(&solicitation(MAC, Ipv6Addr::UNSPECIFIED, ONE, None));
        assert_eq!(probe, Some(solicitation_of(Ipv6Addr::UNSPECIFIED, None)));
        let told = parse(&advertisement(MAC, ONE, Some(TWO), true));
        let advertisement_of =
            |solicited| Message::Advertisement { target: ONE, mac: Some(MAC), solicited };
        assert_eq!(told, Some(advertisement_of(true)));
        assert_eq!(parse(&advertisement(MAC, ONE, None, true)), Some(advertisement_of(false)));
        assert_eq!(solicited_node(ONE), "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
        assert_eq!(group_mac(solicited_node(ONE)), [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    }

    #[test]
    fn what_is_not_valid_is_nothing() {
        let good = solicitation(MAC, TWO, ONE, None);
        let mut routed = good.clone();
        routed[7] = 254;
        assert_eq!(parse(&routed), None, "the hop limit");
        let mut damaged = good.clone();
        damaged[60] ^= 1;
        assert_eq!(parse(&damaged), None, "the checksum");
        assert_eq!(
            link_layer_address(&[1, 0, 0, 0, 0, 0, 0, 0], 1),
            None,
            "an option of no length"
        );
        assert_eq!(link_layer_address(&[1, 2, 0, 0, 0, 0, 0, 0], 1), None, "one that is cut");
        for length in 0..good.len() {
            assert!(!matches!(parse(&good[..length]), Some(Message::Solicitation { .. })));
        }
    }
}
