//! One parse of what came in, as a borrowed view.
//!
//! Only what the switch decides by is taken out; whatever is wrong deeper in a packet is the guest's or the
//! client's business. Nothing here allocates.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Slice, Icmpv6Slice, IpNumber, IpSlice, Ipv4HeaderSlice, Ipv6ExtensionSlice,
    Ipv6HeaderSlice, TcpSlice, UdpSlice,
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
    /// Whether routers may take it apart.
    pub(crate) may_fragment: bool,
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
    Fragment(Fragment),
    Other,
}

/// A part of a packet (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// What all parts of one packet have in common, beside their addresses.
    pub(crate) id: u32,
    pub(crate) protocol: IpNumber,
    /// Whether it is the first part, which has the transport header.
    pub(crate) first: bool,
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
        let may_fragment = match &ip {
            IpSlice::Ipv4(ip) => !ip.header().dont_fragment(),
            IpSlice::Ipv6(_) => false,
        };
        let payload_length = ip.payload().payload.len();
        let start = bytes.len().checked_sub(payload_length).ok_or(Malformed)?;
        let payload = bytes.get(start..).ok_or(Malformed)?;
        let transport = if ip.is_fragmenting_payload() {
            Transport::Fragment(parse_fragment(&ip).ok_or(Malformed)?)
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
            may_fragment,
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

fn parse_fragment(ip: &IpSlice<'_>) -> Option<Fragment> {
    let protocol = ip.payload_ip_number();
    let (id, offset) = match ip {
        IpSlice::Ipv4(ip) => {
            let header = ip.header();
            (header.identification().into(), header.fragments_offset())
        }
        IpSlice::Ipv6(ip) => {
            let fragment =
                ip.extensions().clone().into_iter().find_map(|extension| match extension {
                    Ipv6ExtensionSlice::Fragment(fragment) => Some(fragment),
                    _ => None,
                })?;
            (fragment.identification(), fragment.fragment_offset())
        }
    };
    Some(Fragment { id, protocol, first: offset.value() == 0 })
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

    /// Whether this says that a packet did not reach anybody.
    pub(crate) const fn is_unreachable(&self) -> bool {
        self.kind
            == match self.version {
                Version::V4 => etherparse::icmpv4::TYPE_DEST_UNREACH,
                Version::V6 => etherparse::icmpv6::TYPE_DST_UNREACH,
            }
    }

    /// Whether this is about another packet, the start of which it quotes (RFC 1122, section 3.2.2; RFC 4443, section 2.1).
    const fn is_error(&self) -> bool {
        match self.version {
            Version::V4 => matches!(self.kind, 3 | 4 | 5 | 11 | 12),
            Version::V6 => self.kind < 128,
        }
    }

    /// The TCP segment that an error quotes.
    pub(crate) fn quotation(&self) -> Option<Quotation> {
        let quoted = self.rest.get(4..).filter(|_| self.is_error())?;
        let (protocol, from, to, length): (_, IpAddr, IpAddr, _) = match self.version {
            Version::V4 => {
                let header = Ipv4HeaderSlice::from_slice(quoted).ok()?;
                let length = header.slice().len();
                let (from, to) = (header.source_addr(), header.destination_addr());
                // A later part of a packet has no header to quote.
                let whole = header.fragments_offset().value() == 0;
                (whole.then_some(header.protocol())?, from.into(), to.into(), length)
            }
            Version::V6 => {
                let header = Ipv6HeaderSlice::from_slice(quoted).ok()?;
                let length = header.slice().len();
                let (from, to) = (header.source_addr(), header.destination_addr());
                (header.next_header(), from.into(), to.into(), length)
            }
        };
        let &[s1, s2, d1, d2, ..] = quoted.get(length..)? else { return None };
        (protocol == IpNumber::TCP).then_some(Quotation {
            from: (from, u16::from_be_bytes([s1, s2])),
            to: (to, u16::from_be_bytes([d1, d2])),
            header: ICMP_HEADER + length,
        })
    }
}

/// The header of an ICMP message, with the four octets whose meaning depends on its type.
const ICMP_HEADER: usize = 8;

/// A TCP segment that is quoted in an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quotation {
    /// Who sent the segment.
    pub(crate) from: (IpAddr, u16),
    pub(crate) to: (IpAddr, u16),
    /// Where in the message the quoted TCP header begins.
    pub(crate) header: usize,
}

impl Quotation {
    /// The flow of a segment that a guest sent.
    pub(crate) const fn sent_by_guest(&self) -> FlowKey {
        let ((local, local_port), (remote, remote_port)) = (self.from, self.to);
        FlowKey { local, local_port, remote, remote_port }
    }

    /// The flow of a segment that a client sent.
    pub(crate) const fn sent_by_client(&self) -> FlowKey {
        let ((remote, remote_port), (local, local_port)) = (self.from, self.to);
        FlowKey { local, local_port, remote, remote_port }
    }
}

#[cfg(test)]
mod tests;
