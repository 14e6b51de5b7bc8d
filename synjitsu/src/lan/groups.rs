//! Reports of the groups that are listened to (MLDv2, RFC 3810), so that a switch that snoops passes on what is sent to them:
//! without, the questions of new neighbours would end at it.

use std::net::Ipv6Addr;
use std::time::Duration;

use etherparse::checksum::u64_16bit_word;

/// All routers that speak MLDv2 (RFC 3810, section 5.2.14).
pub(super) const REPORTS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// An answer to a query is late by up to this, so that not all stations answer at once. A query may allow ten times as much.
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// As many as fit the smallest MTU of IPv6, with room to spare.
const RECORDS: usize = 50;
const REPORT: u8 = 143;
/// The group is listened to, whatever the source (RFC 3810, section 5.2.12).
const MODE_IS_EXCLUDE: u8 = 2;

/// The reports that say that `groups` are listened to, as IPv6 packets.
///
/// They come from no address: the segment's link-local one would be needed otherwise, which nothing here has. Switches that
/// snoop take them (RFC 3590, section 4), routers do not, and need not.
pub(super) fn reports(groups: &[Ipv6Addr]) -> Vec<Vec<u8>> {
    groups.chunks(RECORDS).map(report).collect()
}

fn report(groups: &[Ipv6Addr]) -> Vec<u8> {
    let octets = 8 + 20 * groups.len();
    let length = u16::try_from(8 + octets).expect("a report is short");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    // Hop-by-hop options first; hop limit 1.
    packet.extend([0, 1]);
    packet.extend(Ipv6Addr::UNSPECIFIED.octets());
    packet.extend(REPORTS.octets());
    // ICMPv6 follows; router alert (RFC 2711): MLD; two octets of padding.
    packet.extend([58, 0, 5, 2, 0, 0, 1, 0]);
    let start = packet.len();
    let count = u16::try_from(groups.len()).expect("a report is short");
    packet.extend([REPORT, 0, 0, 0, 0, 0]);
    packet.extend(count.to_be_bytes());
    for group in groups {
        packet.extend([MODE_IS_EXCLUDE, 0, 0, 0]);
        packet.extend(group.octets());
    }
    let message = &packet[start..];
    let upper = u16::try_from(message.len()).expect("a report is short");
    let mut sum = u64_16bit_word::add_slice(0, message);
    sum = u64_16bit_word::add_slice(sum, &REPORTS.octets());
    sum = u64_16bit_word::add_2bytes(sum, upper.to_be_bytes());
    sum = u64_16bit_word::add_2bytes(sum, [0, 58]);
    let checksum = u64_16bit_word::ones_complement(sum).to_be();
    packet[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Slice, IpNumber, IpSlice};

    use super::*;

    #[test]
    fn a_report_is_a_valid_packet() {
        let groups: Vec<Ipv6Addr> =
            (0..70).map(|number| Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, number)).collect();
        let reports = reports(&groups);
        assert_eq!(reports.len(), 2);
        for (report, records) in reports.iter().zip([50, 20]) {
            let ip = IpSlice::from_slice(report).unwrap();
            let header = ip.ipv6().unwrap().header();
            assert_eq!((header.hop_limit(), header.destination_addr()), (1, REPORTS));
            assert_eq!(ip.payload().ip_number, IpNumber::IPV6_ICMP);
            let icmp = Icmpv6Slice::from_slice(ip.payload().payload).unwrap();
            assert!(icmp.is_checksum_valid(header.source(), header.destination()));
            assert_eq!(ip.payload().payload.len(), 8 + 20 * records);
            assert!(report.len() <= 1280);
        }
    }
}
