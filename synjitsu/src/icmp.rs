//! ICMP errors in the name of a service: destination unreachable, if it did not come up, and packet too big.

use std::net::IpAddr;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};

use crate::Trigger;
use crate::frame::Packet;

const HOP_LIMIT: u8 = 64;
/// An ICMP error is at most 576 octets long (RFC 1812, section 4.3.2.3): 20 of IP, 8 of ICMP, the rest quoted.
const QUOTED_V4: usize = 576 - 20 - 8;
/// An ICMPv6 error is at most 1280 octets long (RFC 4443, section 2.4 c): 40 of IP, 8 of ICMPv6, the rest quoted.
const QUOTED_V6: usize = 1280 - 40 - 8;

/// A datagram that nobody will take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram<'a> {
    pub(crate) trigger: Trigger,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// The whole IP packet.
    pub(crate) packet: &'a [u8],
}

/// The message to its sender.
pub(crate) fn unreachable(datagram: &Datagram<'_>) -> Vec<u8> {
    // A host that answers but has no such socket, for UDP: that is what resets a client at once. An echo
    // request has no port to be unreachable.
    let port = datagram.trigger == Trigger::Udp;
    let mut packet = Vec::new();
    match (datagram.destination, datagram.source) {
        (IpAddr::V4(service), IpAddr::V4(client)) => {
            let code = if port { DestUnreachableHeader::Port } else { DestUnreachableHeader::Host };
            PacketBuilder::ipv4(service.octets(), client.octets(), HOP_LIMIT)
                .icmpv4(Icmpv4Type::DestinationUnreachable(code))
                .write(&mut packet, start_of(datagram.packet, QUOTED_V4))
        }
        (IpAddr::V6(service), IpAddr::V6(client)) => {
            let code = if port { DestUnreachableCode::Port } else { DestUnreachableCode::Address };
            PacketBuilder::ipv6(service.octets(), client.octets(), HOP_LIMIT)
                .icmpv6(Icmpv6Type::DestinationUnreachable(code))
                .write(&mut packet, start_of(datagram.packet, QUOTED_V6))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            unreachable!("both addresses come from one packet")
        }
    }
    .expect("a quotation is short");
    packet
}

/// The message to the sender of a packet that is longer than `mtu` octets, in the name of whom it was sent to.
pub(crate) fn too_big(packet: &Packet<'_>, mtu: u16) -> Vec<u8> {
    let mut message = Vec::new();
    match (packet.destination, packet.source) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let code = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
            PacketBuilder::ipv4(from.octets(), to.octets(), HOP_LIMIT)
                .icmpv4(Icmpv4Type::DestinationUnreachable(code))
                .write(&mut message, start_of(packet.bytes, QUOTED_V4))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            PacketBuilder::ipv6(from.octets(), to.octets(), HOP_LIMIT)
                .icmpv6(Icmpv6Type::PacketTooBig { mtu: mtu.into() })
                .write(&mut message, start_of(packet.bytes, QUOTED_V6))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            unreachable!("both addresses come from one packet")
        }
    }
    .expect("a quotation is short");
    message
}

fn start_of(packet: &[u8], octets: usize) -> &[u8] {
    packet.get(..octets).unwrap_or(packet)
}
