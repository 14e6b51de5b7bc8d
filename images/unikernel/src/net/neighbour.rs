//! Learning neighbours from the frames they send.
//!
//! To answer a first packet the guest needs the link-layer address of its next hop. Asking for it costs a
//! round trip in every cold start; yet the packet's own frame says it: whoever brought a packet from an
//! address is the way back to it. The stack takes neighbours from ARP (RFC 826) and neighbour discovery
//! (RFC 4861) only, so the hint is put to it in that form: as the answer to the question that it would ask
//! next. That trusts a frame exactly as much as the unauthenticated answer would be trusted.

use core::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv6Packet, Ipv6Repr,
    NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

use crate::net::Addressing;

/// Octets of the longest hint: Ethernet, IPv6, neighbour advertisement with one option.
const HINT: usize = 14 + 40 + 24 + 8;

/// Makes hints for the stack, each neighbour's once until another takes its place.
#[derive(Debug)]
pub(crate) struct Neighbours {
    mac: EthernetAddress,
    addressing: Addressing,
    /// The neighbour that was hinted at last, of each family.
    last: [Option<(IpAddr, EthernetAddress)>; 2],
    hint: [u8; HINT],
}

impl Neighbours {
    pub(crate) fn new(mac: [u8; 6], addressing: Addressing) -> Self {
        Self { mac: EthernetAddress(mac), addressing, last: [None; 2], hint: [0; HINT] }
    }

    /// All neighbours are news again.
    pub(crate) const fn forget(&mut self) {
        self.last = [None; 2];
    }

    /// A frame that tells the stack who sent `frame`, if that is news.
    pub(crate) fn hint(&mut self, frame: &[u8]) -> Option<&[u8]> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        let sender = ethernet.src_addr();
        // What is sent to everybody was not brought here by the router, whatever its source.
        if ethernet.dst_addr() != self.mac || !sender.is_unicast() {
            return None;
        }
        let source: IpAddr = match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                Ipv4Packet::new_checked(ethernet.payload()).ok()?.src_addr().into()
            }
            EthernetProtocol::Ipv6 => {
                Ipv6Packet::new_checked(ethernet.payload()).ok()?.src_addr().into()
            }
            _ => return None,
        };
        if !is_routable(source) {
            return None;
        }
        let hop = self.addressing.next_hop(source)?;
        let last = &mut self.last[usize::from(hop.is_ipv6())];
        if *last == Some((hop, sender)) {
            return None;
        }
        *last = Some((hop, sender));
        let len = match hop {
            IpAddr::V4(hop) => {
                let arp = ArpRepr::EthernetIpv4 {
                    operation: ArpOperation::Reply,
                    source_hardware_addr: sender,
                    source_protocol_addr: hop,
                    target_hardware_addr: self.mac,
                    target_protocol_addr: self.addressing.ipv4?.address(),
                };
                let payload = self.ethernet(sender, EthernetProtocol::Arp);
                arp.emit(&mut ArpPacket::new_unchecked(&mut *payload));
                14 + arp.buffer_len()
            }
            IpAddr::V6(hop) => {
                let own = self.addressing.ipv6?.address();
                let advert = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
                    flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
                    target_addr: hop,
                    lladdr: Some(RawHardwareAddress::from(sender)),
                });
                let ip = Ipv6Repr {
                    src_addr: hop,
                    dst_addr: own,
                    next_header: IpProtocol::Icmpv6,
                    payload_len: advert.buffer_len(),
                    hop_limit: 255,
                };
                let payload = self.ethernet(sender, EthernetProtocol::Ipv6);
                let mut packet = Ipv6Packet::new_unchecked(&mut *payload);
                ip.emit(&mut packet);
                let mut icmp = Icmpv6Packet::new_unchecked(packet.payload_mut());
                advert.emit(&hop, &own, &mut icmp, &ChecksumCapabilities::default());
                14 + ip.buffer_len() + advert.buffer_len()
            }
        };
        self.hint.get(..len)
    }

    /// Writes the hint's Ethernet header and gives what follows it.
    fn ethernet(&mut self, sender: EthernetAddress, ethertype: EthernetProtocol) -> &mut [u8] {
        let header = EthernetRepr { src_addr: sender, dst_addr: self.mac, ethertype };
        header.emit(&mut EthernetFrame::new_unchecked(&mut self.hint[..]));
        &mut self.hint[14..]
    }
}

/// Whether a packet from that address may have come through a router.
fn is_routable(source: IpAddr) -> bool {
    let on_link_only = match source {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(on_link_only || source.is_unspecified() || source.is_multicast() || source.is_loopback())
}
