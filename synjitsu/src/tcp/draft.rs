//! A segment that the switch makes itself.

use std::net::IpAddr;

use etherparse::{PacketBuilder, TcpOptionElement};

use crate::flow::FlowKey;
use crate::seq::SeqNumber;

const HOP_LIMIT: u8 = 64;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) from: (IpAddr, u16),
    pub(crate) to: (IpAddr, u16),
    pub(crate) seq: SeqNumber,
    pub(crate) ack: Option<SeqNumber>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) push: bool,
    /// As it is sent, scaled already.
    pub(crate) window: u16,
    pub(crate) options: &'a [TcpOptionElement],
    pub(crate) payload: &'a [u8],
}

impl<'a> Draft<'a> {
    /// A bare segment in the name of the service.
    pub(crate) const fn to_remote(key: &FlowKey, seq: SeqNumber, ack: Option<SeqNumber>) -> Self {
        Self::bare((key.local, key.local_port), (key.remote, key.remote_port), seq, ack)
    }

    /// A bare segment in the name of the client.
    pub(crate) const fn to_guest(key: &FlowKey, seq: SeqNumber, ack: Option<SeqNumber>) -> Self {
        Self::bare((key.remote, key.remote_port), (key.local, key.local_port), seq, ack)
    }

    const fn bare(
        from: (IpAddr, u16),
        to: (IpAddr, u16),
        seq: SeqNumber,
        ack: Option<SeqNumber>,
    ) -> Self {
        Self {
            from,
            to,
            seq,
            ack,
            syn: false,
            fin: false,
            rst: false,
            push: false,
            window: 0,
            options: &[],
            payload: &[],
        }
    }

    /// The IP packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let ip = match (self.from.0, self.to.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                PacketBuilder::ipv4(source.octets(), destination.octets(), HOP_LIMIT)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                PacketBuilder::ipv6(source.octets(), destination.octets(), HOP_LIMIT)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                unreachable!("both addresses of a flow come from one packet")
            }
        };
        let mut tcp = ip.tcp(self.from.1, self.to.1, self.seq.0, self.window);
        if let Some(ack) = self.ack {
            tcp = tcp.ack(ack.0);
        }
        tcp = if self.syn { tcp.syn() } else { tcp };
        tcp = if self.fin { tcp.fin() } else { tcp };
        tcp = if self.rst { tcp.rst() } else { tcp };
        tcp = if self.push { tcp.psh() } else { tcp };
        let tcp = tcp.options(self.options).expect("the options of a SYN fit into its header");
        let mut packet = Vec::with_capacity(tcp.size(self.payload.len()));
        tcp.write(&mut packet, self.payload).expect("a segment is no longer than the MTU");
        packet
    }
}
