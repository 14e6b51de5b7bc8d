//! One parse of what came in, as a borrowed view.
//!
//! Only what the switch decides by is taken out; whatever is wrong deeper in a packet is the guest's or the
//! client's business. Nothing here allocates.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Slice, Icmpv6Slice, IpNumber, IpSlice, Ipv4HeaderSlice, Ipv6HeaderSlice, TcpSlice,
    UdpSlice,
};

use crate::flow::FlowKey;
use crate::seq::SeqNumber;

/// A packet that is not well-formed as far as the switch looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// An IP packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    /// The packet as long as its header says, without padding of the link layer.
    pub(crate) bytes: &'a [u8],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hop_limit: u8,
    /// Where the transport header begins in `bytes`.
    pub(crate) header: usize,
    pub(crate) transport: Transport<'a>,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Transport<'a> {
    Tcp(Segment),
    Udp,
    EchoRequest,
    /// Any other ICMP message.
    Icmp(Icmp<'a>),
    /// A part of something; what it is can be told of the first part only, so of none.
    Fragment,
    Other,
}

/// An ICMP or ICMPv6 message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Icmp<'a> {
    pub(crate) kind: u8,
    /// What follows type, code and checksum.
    pub(crate) rest: &'a [u8],
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

/// What the switch looks at in a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: SeqNumber,
    /// The acknowledgment, if the ACK bit is set.
    pub(crate) ack: Option<SeqNumber>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    /// The window as it is sent.
    pub(crate) window: u16,
    /// Octets of data.
    pub(crate) payload: u32,
}

impl Segment {
    /// Whether this asks for a new connection and nothing else.
    pub(crate) const fn is_first_syn(&self) -> bool {
        self.syn && self.ack.is_none() && !self.rst && !self.fin
    }

    /// SEG.LEN: the sequence numbers that the segment takes (RFC 9293, section 3.4).
    pub(crate) const fn len(&self) -> u32 {
        self.payload.wrapping_add(self.syn as u32).wrapping_add(self.fin as u32)
    }

    /// The sequence number after the segment.
    pub(crate) const fn end(&self) -> SeqNumber {
        self.seq.after(self.len())
    }
}

impl<'a> Packet<'a> {
    /// Takes an IP packet apart; octets after its end are left out.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        // `IpSlice` lends its parts for its own life only, so the packet is cut to length before and the
        // payload found by its distance from the end.
        let bytes = cut_to_length(bytes)?;
        let ip = IpSlice::from_slice(bytes).map_err(|_| Malformed)?;
        let payload_length = ip.payload().payload.len();
        let start = bytes.len().checked_sub(payload_length).ok_or(Malformed)?;
        let payload = bytes.get(start..).ok_or(Malformed)?;
        let transport = if ip.is_fragmenting_payload() {
            Transport::Fragment
        } else {
            parse_transport(ip.payload_ip_number(), payload, ip.ipv4().is_some())?
        };
        let hop_limit = match &ip {
            IpSlice::Ipv4(ip) => ip.header().ttl(),
            IpSlice::Ipv6(ip) => ip.header().hop_limit(),
        };
        Ok(Self {
            bytes,
            source: ip.source_addr(),
            destination: ip.destination_addr(),
            hop_limit,
            header: start,
            transport,
        })
    }

    /// The TCP segment that it carries, if it does.
    pub(crate) fn tcp(&self) -> Option<TcpSlice<'a>> {
        let segment = self.bytes.get(self.header..)?;
        TcpSlice::from_slice(segment).ok().filter(|_| matches!(self.transport, Transport::Tcp(_)))
    }

    /// The data of the TCP segment that it carries.
    pub(crate) fn tcp_payload(&self) -> &'a [u8] {
        let Transport::Tcp(segment) = &self.transport else { return &[] };
        let length = usize::try_from(segment.payload).unwrap_or(usize::MAX);
        let start = self.bytes.len().saturating_sub(length);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Whether this is a TCP segment with the right checksum.
    pub(crate) fn has_tcp_checksum(&self) -> bool {
        let Some(tcp) = self.tcp() else { return false };
        let expected = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                tcp.calc_checksum_ipv4(source.octets(), destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                tcp.calc_checksum_ipv6(source.octets(), destination.octets())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        expected == Ok(tcp.checksum())
    }
}

/// The packet without what follows it. A jumbogram (RFC 2675, payload length zero) is refused.
fn cut_to_length(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let field = |at: usize| {
        let field = bytes.get(at..at + 2).and_then(|field| field.try_into().ok());
        field.map(u16::from_be_bytes).map(usize::from).ok_or(Malformed)
    };
    let length = match bytes.first().ok_or(Malformed)? >> 4 {
        4 => field(2)?,
        6 => field(4)?.checked_add(40).ok_or(Malformed)?,
        _ => return Err(Malformed),
    };
    bytes.get(..length).ok_or(Malformed)
}

fn parse_transport(
    protocol: IpNumber,
    payload: &[u8],
    v4: bool,
) -> Result<Transport<'_>, Malformed> {
    Ok(match protocol {
        IpNumber::TCP => {
            let tcp = TcpSlice::from_slice(payload).map_err(|_| Malformed)?;
            Transport::Tcp(Segment {
                source_port: tcp.source_port(),
                destination_port: tcp.destination_port(),
                seq: SeqNumber(tcp.sequence_number()),
                ack: tcp.ack().then(|| SeqNumber(tcp.acknowledgment_number())),
                syn: tcp.syn(),
                fin: tcp.fin(),
                rst: tcp.rst(),
                window: tcp.window_size(),
                payload: u32::try_from(tcp.payload().len()).map_err(|_| Malformed)?,
            })
        }
        IpNumber::UDP => {
            UdpSlice::from_slice(payload).map_err(|_| Malformed)?;
            Transport::Udp
        }
        IpNumber::ICMP if v4 => {
            let icmp = Icmpv4Slice::from_slice(payload).map_err(|_| Malformed)?;
            parse_icmp(icmp.type_u8(), payload, Version::V4)
        }
        IpNumber::IPV6_ICMP if !v4 => {
            let icmp = Icmpv6Slice::from_slice(payload).map_err(|_| Malformed)?;
            parse_icmp(icmp.type_u8(), payload, Version::V6)
        }
        _ => Transport::Other,
    })
}

fn parse_icmp(kind: u8, message: &[u8], version: Version) -> Transport<'_> {
    let echo_request = match version {
        Version::V4 => etherparse::icmpv4::TYPE_ECHO_REQUEST,
        Version::V6 => etherparse::icmpv6::TYPE_ECHO_REQUEST,
    };
    if kind == echo_request {
        return Transport::EchoRequest;
    }
    Transport::Icmp(Icmp { kind, rest: message.get(4..).unwrap_or_default(), version })
}

impl Icmp<'_> {
    /// Whether this is a message of the neighbour or group machinery of IPv6, which never leaves a link.
    pub(crate) fn is_link_business(&self) -> bool {
        match self.version {
            Version::V4 => false,
            // RFC 2710 and 3810 (groups), RFC 4861 (neighbours).
            Version::V6 => matches!(self.kind, 130..=132 | 133..=137 | 143),
        }
    }

    /// The TCP flow that a destination unreachable message is about, seen from the side that the quoted
    /// packet was addressed to.
    pub(crate) fn refused_flow(&self) -> Option<FlowKey> {
        let quoted = self.rest.get(4..)?;
        let (protocol, remote, local, transport) = match self.version {
            Version::V4 if self.kind == etherparse::icmpv4::TYPE_DEST_UNREACH => {
                let header = Ipv4HeaderSlice::from_slice(quoted).ok()?;
                let transport = quoted.get(header.slice().len()..)?;
                let (source, destination) = (header.source_addr(), header.destination_addr());
                (header.protocol(), source.into(), destination.into(), transport)
            }
            Version::V6 if self.kind == etherparse::icmpv6::TYPE_DST_UNREACH => {
                let header = Ipv6HeaderSlice::from_slice(quoted).ok()?;
                let transport = quoted.get(header.slice().len()..)?;
                let (source, destination): (IpAddr, IpAddr) =
                    (header.source_addr().into(), header.destination_addr().into());
                (header.next_header(), source, destination, transport)
            }
            Version::V4 | Version::V6 => return None,
        };
        let &[s1, s2, d1, d2, ..] = transport else { return None };
        (protocol == IpNumber::TCP).then_some(FlowKey {
            local,
            local_port: u16::from_be_bytes([d1, d2]),
            remote,
            remote_port: u16::from_be_bytes([s1, s2]),
        })
    }
}

#[cfg(test)]
mod tests;
