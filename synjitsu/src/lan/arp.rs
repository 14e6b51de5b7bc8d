//! ARP messages (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacketSlice};

use super::Mac;

/// Whether it is asked or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Reply,
}

/// What a station says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arp {
    pub(super) kind: Kind,
    /// Who speaks.
    pub(super) sender_mac: Mac,
    /// Unspecified in a probe: whether somebody has the target address (RFC 5227, section 2.1).
    pub(super) sender: Ipv4Addr,
    pub(super) target_mac: Mac,
    pub(super) target: Ipv4Addr,
}

impl Arp {
    /// Reads a message about IPv4 on Ethernet.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let message = ArpPacketSlice::from_slice(payload).ok()?.to_packet().try_eth_ipv4().ok()?;
        let kind = match message.operation {
            ArpOperation::REQUEST => Kind::Request,
            ArpOperation::REPLY => Kind::Reply,
            _ => return None,
        };
        Some(Self {
            kind,
            sender_mac: message.sender_mac,
            sender: message.sender_ipv4_addr(),
            target_mac: message.target_mac,
            target: message.target_ipv4_addr(),
        })
    }

    pub(super) fn to_bytes(self) -> [u8; ArpEthIpv4Packet::LEN] {
        let operation = match self.kind {
            Kind::Request => ArpOperation::REQUEST,
            Kind::Reply => ArpOperation::REPLY,
        };
        ArpEthIpv4Packet {
            operation,
            sender_mac: self.sender_mac,
            sender_ipv4: self.sender.octets(),
            target_mac: self.target_mac,
            target_ipv4: self.target.octets(),
        }
        .to_bytes()
    }

    /// The question who has `target`; a probe if `sender` is unspecified.
    pub(super) const fn question(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { kind: Kind::Request, sender_mac, sender, target_mac: [0; 6], target }
    }

    /// What tells everybody where `address` is (RFC 5227, section 2.3: a request, which all stacks take).
    pub(super) const fn announcement(mac: Mac, address: Ipv4Addr) -> Self {
        Self::question(mac, address, address)
    }

    /// The answer of `mac` to this question.
    pub(super) const fn answer(self, mac: Mac) -> Self {
        Self {
            kind: Kind::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }
}
