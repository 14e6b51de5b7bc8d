use etherparse::{IpSlice, PacketBuilder, TcpOptionElement, TcpSlice};
use proptest::prelude::*;

use super::{Offer, Rewrite, Sack};
use crate::frame::Packet;
use crate::seq::SeqNumber;

fn packet(v6: bool, seq: u32, ack: u32, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let ip = match v6 {
        false => PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64),
        true => PacketBuilder::ipv6([1; 16], [2; 16], 64),
    };
    let tcp = ip.tcp(4000, 80, seq, 1000).ack(ack).options_raw(options).unwrap();
    let mut packet = Vec::new();
    tcp.write(&mut packet, payload).unwrap();
    packet
}

fn tcp(packet: &[u8]) -> TcpSlice<'_> {
    // The packets of these tests have no extension headers.
    let header = if packet[0] >> 4 == 6 { 40 } else { 20 };
    TcpSlice::from_slice(&packet[header..]).unwrap()
}

fn blocks(packet: &[u8]) -> Vec<(u32, u32)> {
    let mut blocks = Vec::new();
    for option in tcp(packet).options_iterator().flatten() {
        if let TcpOptionElement::SelectiveAcknowledgement(first, more) = option {
            blocks.push(first);
            blocks.extend(more.into_iter().flatten());
        }
    }
    blocks
}

fn sack(places: &[(u32, u32)], padding: usize) -> Vec<u8> {
    let mut options = vec![1; padding];
    options.extend([5, u8::try_from(2 + 8 * places.len()).unwrap()]);
    for (left, right) in places {
        options.extend(left.to_be_bytes());
        options.extend(right.to_be_bytes());
    }
    options.resize(options.len().next_multiple_of(4), 0);
    options
}

proptest! {
    #[test]
    fn changed_numbers_leave_the_checksum_right(
        v6: bool, seq: u32, ack: u32, new_seq: u32, new_ack: u32, window: u16, distance: u32,
        places in proptest::collection::vec(any::<(u32, u32)>(), 1..4),
        padding in 0_usize..4,
        payload in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let before = packet(v6, seq, ack, &sack(&places, padding), &payload);
        let rewrite = Rewrite {
            seq: Some(SeqNumber(new_seq)),
            ack: Some(SeqNumber(new_ack)),
            window: Some(window),
            sack: Sack::Shift(distance),
            max_mss: None,
        };
        let mut after = Vec::new();
        rewrite.write(&Packet::parse(&before).unwrap(), &mut after);
        let parsed = Packet::parse(&after).unwrap();
        prop_assert!(parsed.has_tcp_checksum());
        prop_assert_eq!(parsed.tcp_payload(), &payload[..]);
        let header = tcp(&after);
        prop_assert_eq!((header.sequence_number(), header.acknowledgment_number(), header.window_size()), (new_seq, new_ack, window));
        let shifted: Vec<_> = places.iter().map(|(left, right)| (left.wrapping_add(distance), right.wrapping_add(distance))).collect();
        prop_assert_eq!(blocks(&after), shifted);

        Rewrite { sack: Sack::Strip, ..Rewrite::default() }.write(&Packet::parse(&before).unwrap(), &mut after);
        prop_assert!(Packet::parse(&after).unwrap().has_tcp_checksum());
        prop_assert_eq!(blocks(&after), []);
    }

    /// What was broken on its way stays broken, and nothing in the options leads beyond them.
    #[test]
    fn any_options_and_any_damage(
        v6: bool,
        options in proptest::collection::vec(any::<u8>(), 0..=40),
        damage in prop::option::of((0_usize..60, 1_u8..)),
        sack in prop_oneof![Just(Sack::Keep), Just(Sack::Strip), any::<u32>().prop_map(Sack::Shift)],
        max_mss in prop::option::of(any::<u16>()),
    ) {
        let mut before = packet(v6, 1, 2, &options, b"payload");
        if let Some((at, bits)) = damage {
            let header = if v6 { 40 } else { 20 };
            // Of the payload and the numbers: another length would be another packet.
            let length = before.len();
            let at = [header + 4 + at % 8, length - 1 - at % 7][at % 2];
            before[at] ^= bits;
        }
        let parsed = Packet::parse(&before).unwrap();
        let right = parsed.has_tcp_checksum();
        let mut after = Vec::new();
        Rewrite { seq: Some(SeqNumber(77)), sack, max_mss, ..Rewrite::default() }.write(&parsed, &mut after);
        prop_assert_eq!(Packet::parse(&after).unwrap().has_tcp_checksum(), right);
        prop_assert_eq!(after.len(), before.len());
        let _ = Offer::of(&tcp(&before));
    }

    #[test]
    fn an_offer_is_read_as_it_is_written(mss: Option<u16>, scale in prop::option::of(0_u8..=14), sack: bool) {
        let offer = Offer { mss, window_scale: scale, sack, signed: false, window: 1000 };
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([1; 4], [2; 4], 64)
            .tcp(1, 2, 3, 1000)
            .options(&offer.options())
            .unwrap()
            .write(&mut bytes, &[])
            .unwrap();
        prop_assert_eq!(Offer::of(&tcp(&bytes)), offer);
    }
}

#[test]
fn a_signed_segment_is_known() {
    for kind in [19, 29] {
        let signature = [[kind, 18].as_slice(), &[0; 16], &[0, 0]].concat();
        assert!(Offer::of(&tcp(&packet(false, 1, 2, &signature, &[]))).signed);
    }
    assert!(!Offer::of(&tcp(&packet(false, 1, 2, &[2, 4, 5, 0xb4], &[]))).signed);
}

#[test]
fn a_size_is_lowered_and_never_raised() {
    for (offered, most, expected) in [(1460, 1300, 1300), (1200, 1300, 1200)] {
        let [high, low] = u16::to_be_bytes(offered);
        for padding in [&[][..], &[1]] {
            let options = [padding, &[2, 4, high, low]].concat();
            let before = packet(true, 1, 2, &options, &[]);
            let mut after = Vec::new();
            let rewrite = Rewrite { max_mss: Some(most), ..Rewrite::default() };
            rewrite.write(&Packet::parse(&before).unwrap(), &mut after);
            assert_eq!(Offer::of(&tcp(&after)).mss, Some(expected));
            assert!(Packet::parse(&after).unwrap().has_tcp_checksum());
            assert!(IpSlice::from_slice(&after).is_ok());
        }
    }
}
