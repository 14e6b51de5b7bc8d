//! Segments after the hand-over.

use super::{Ladder, ack, data, offer, rst, syn};
use crate::segment::Segment;

#[test]
fn numbers_are_shifted_around_the_end_of_the_circle() {
    for (client_isn, guest_isn) in [(u32::MAX - 3, u32::MAX - 1), (u32::MAX, 5), (77, u32::MAX)] {
        let (mut ladder, iss) = Ladder::handed_over(&syn(client_isn), &offer(guest_isn));
        let (client, guest) = (client_isn.wrapping_add(1), guest_isn.wrapping_add(1));
        let shown = iss.wrapping_add(1);
        ladder.client(&data(client, shown, b"request"));
        let got = ladder.guest_got();
        assert_eq!((got[0].seq, got[0].ack), (client, Some(guest)));
        assert_eq!(got[0].payload, b"request");
        ladder.guest(&data(guest, client.wrapping_add(7), b"reply"));
        let told = ladder.client_got();
        assert_eq!((told[0].seq, told[0].ack), (shown, Some(client.wrapping_add(7))));
        assert_eq!(told[0].payload, b"reply");
        ladder.client(&ack(client.wrapping_add(7), shown.wrapping_add(5)));
        assert_eq!(ladder.guest_got()[0].ack, Some(guest.wrapping_add(5)));
    }
}

/// The window that the guest sees when the client says 1000 units, and the other way round, in octets.
fn windows(client: Option<u8>, guest: Option<u8>) -> (u32, u32) {
    let asked = Segment { window_scale: client, ..syn(1000) };
    let (mut ladder, iss) =
        Ladder::handed_over(&asked, &Segment { window_scale: guest, ..offer(9000) });
    // The guest takes whatever it is sent now, so nothing is left to be relayed.
    ladder.client(&data(1001, iss + 1, b"x"));
    ladder.guest(&Segment { window: 4000, ..ack(9001, 1002) });
    ladder.client_got();
    ladder.guest_got();
    ladder.client(&ack(1002, iss + 1));
    let scaled = client.zip(guest);
    let seen = ladder.guest_got()[0].window;
    let to_guest = u32::from(seen) << scaled.map_or(0, |(client, _)| client);
    ladder.guest(&Segment { window: 1000, ..data(9001, 1002, b"y") });
    let told = ladder.client_got();
    // Nothing is known of the guest, so the switch has offered its own shift to a client that has one.
    let ours = client.map_or(0, |_| 7);
    (to_guest, u32::from(told.last().unwrap().window) << ours)
}

#[test]
fn windows_mean_the_same_on_both_sides_whatever_was_agreed() {
    // A guest that does not scale is told 16 bits at most, and a client in units of the switch's shift.
    let down = |octets: u32| octets >> 7 << 7;
    assert_eq!(windows(Some(3), Some(2)), (8000, down(4000)));
    assert_eq!(windows(Some(3), None), (8000, down(1000)));
    assert_eq!(windows(Some(8), None), (65_535, down(1000)));
    assert_eq!(windows(None, Some(2)), (1000, 1000));
    assert_eq!(windows(None, None), (1000, 1000));
    // More than 16 bits in units of the shift cannot be said.
    assert_eq!(windows(Some(14), Some(14)), (16_384_000, 65_535 << 7));
}

#[test]
fn a_guest_with_small_segments_gets_small_ones() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    ladder.client(&data(1001, iss + 1, &[1; 1400]));
    ladder.open();
    ladder.guest_got();
    let answer = Segment { syn: true, ack: Some(1001), mss: Some(500), ..offer(9000) };
    let got = ladder.guest(&answer);
    let sizes: Vec<_> = got.iter().map(|segment| segment.payload.len()).collect();
    assert_eq!(sizes, [500, 500, 400]);
    // The client was told another size and goes on with that.
    ladder.guest(&Segment { window: 20_000, ..ack(9001, 2401) });
    ladder.client(&data(2401, iss + 1, &[2; 1460]));
    let got = ladder.guest_got();
    assert!(got.iter().all(|segment| segment.payload.len() <= 500), "{got:?}");
    assert_eq!(got.iter().map(|segment| segment.payload.len()).sum::<usize>(), 1460);
}

/// A client whose guest's image is known to acknowledge selectively, handed over, with its switch's number.
fn with_sack(second: &Segment) -> (Ladder, u32) {
    let (mut ladder, _) = Ladder::handed_over(&syn(100), &offer(500));
    ladder.client(&rst(101));
    ladder.close();
    ladder.open();
    ladder.close();
    ladder.guest_got();
    ladder.client_got();
    let answer = ladder.client(&syn(1000));
    assert!(answer[0].sack_permitted, "learned");
    let iss = answer[0].seq;
    ladder.client(&ack(1001, iss + 1));
    ladder.open();
    assert!(ladder.guest_got()[0].sack_permitted);
    ladder.guest(&Segment { syn: true, ack: Some(1001), ..second.clone() });
    ladder.client_got();
    (ladder, iss)
}

#[test]
fn selective_acknowledgments_of_the_client_are_shifted_too() {
    for padding in 0..4 {
        let (mut ladder, iss) = with_sack(&offer(9000));
        ladder.guest(&data(9001, 1001, &[1; 100]));
        ladder.guest(&data(9201, 1001, &[3; 100]));
        ladder.client_got();
        let blocks = vec![(iss + 201, iss + 301)];
        ladder.client(&Segment { sack: blocks, padding, ..ack(1001, iss + 101) });
        let got = ladder.guest_got();
        assert_eq!((got[0].ack, &got[0].sack[..]), (Some(9101), &[(9201, 9301)][..]));
    }
}

#[test]
fn selective_acknowledgments_are_kept_from_a_guest_that_never_agreed() {
    let (mut ladder, iss) = with_sack(&Segment { sack_permitted: false, ..offer(9000) });
    ladder.guest(&data(9001, 1001, &[1; 100]));
    ladder.client_got();
    ladder.client(&Segment { sack: vec![(iss + 201, iss + 301)], ..ack(1001, iss + 101) });
    let got = ladder.guest_got();
    assert_eq!((got[0].ack, &got[0].sack[..]), (Some(9101), &[][..]));
}

#[test]
fn selective_acknowledgments_of_the_guest_pass_as_they_are() {
    let (mut ladder, iss) = with_sack(&offer(9000));
    ladder.client(&data(1001, iss + 1, &[1; 10]));
    ladder.guest(&Segment { window: 5000, ..ack(9001, 1011) });
    ladder.client(&data(1031, iss + 1, &[2; 10]));
    ladder.guest_got();
    ladder.guest(&Segment { sack: vec![(1031, 1041)], window: 5000, ..ack(9001, 1011) });
    let told = ladder.client_got();
    let last = told.last().unwrap();
    assert_eq!((last.seq, last.ack), (iss + 1, Some(1011)));
    assert_eq!(last.sack, [(1031, 1041)]);
}

#[test]
fn what_the_guest_acknowledges_selectively_of_the_early_data_is_not_shown() {
    let (mut ladder, _) = with_sack(&offer(9000));
    ladder.close();
    ladder.client_got();
    let iss = ladder.client(&syn(1000))[0].seq;
    ladder.client(&data(1001, iss + 1, &[1; 100]));
    ladder.open();
    ladder.guest_got();
    ladder.guest(&Segment { syn: true, ack: Some(1001), ..offer(9000) });
    ladder.client_got();
    // To the client everything is acknowledged: a block of that would be a report of a duplicate (RFC 2883).
    ladder.guest(&Segment { sack: vec![(1051, 1101)], ..data(9001, 1001, b"hello") });
    let told = ladder.client_got();
    assert_eq!((told[0].ack, &told[0].sack[..]), (Some(1101), &[][..]));
    assert_eq!(told[0].payload, b"hello");
}

#[test]
fn a_reset_that_the_guest_questions_leaves_the_connection_as_it_is() {
    let (mut ladder, iss) = Ladder::handed_over(&syn(1000), &offer(9000));
    ladder.client(&data(1001, iss + 1, b"x"));
    ladder.guest(&Segment { window: 20_000, ..ack(9001, 1002) });
    ladder.client_got();
    ladder.client(&rst(1500));
    let got = ladder.guest_got();
    assert!(matches!(&got[..], [reset] if reset.rst && reset.seq == 1500));
    // It answers with a challenge (RFC 5961, section 3.2), and whoever forged the RST does not see that.
    ladder.guest(&Segment { window: 20_000, ..ack(9001, 1002) });
    let told = ladder.client_got();
    assert!(told.iter().all(|segment| segment.seq == iss + 1 && !segment.rst), "{told:?}");
    ladder.client(&data(1002, iss + 1, b"y"));
    let got = ladder.guest_got();
    assert_eq!((got[0].seq, got[0].ack), (1002, Some(9001)));
}

#[test]
fn an_overtaken_segment_says_nothing_about_the_window() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    ladder.client(&data(1001, iss + 1, &[1; 100]));
    ladder.open();
    ladder.guest_got();
    ladder.guest(&Segment { syn: true, ack: Some(1001), ..offer(9000) });
    // The guest sends, and takes nothing yet: what is kept is relayed.
    ladder.guest(&data(9001, 1001, &[2; 400]));
    ladder.client_got();
    ladder.client(&Segment { window: 50, ..data(1201, iss + 401, &[3; 100]) });
    ladder.guest_got();
    // This one was sent before that one.
    ladder.client(&Segment { window: 100, ..data(1101, iss + 1, &[4; 100]) });
    let edge = |segment: &Segment| segment.ack.unwrap() + (u32::from(segment.window) << 3);
    for segment in ladder.guest_got() {
        assert!(edge(&segment) <= 9401 + (50 << 3), "promised more than the client: {segment:?}");
    }
}

#[test]
fn a_closed_port_resets_the_client_in_the_numbers_that_it_knows() {
    let (mut ladder, iss) = Ladder::handed_over(&syn(1000), &offer(9000));
    ladder.client(&data(1001, iss + 1, b"x"));
    ladder.guest(&Segment { window: 20_000, ..data(9001, 1002, b"abc") });
    ladder.client_got();
    ladder.close();
    let told = ladder.client_got();
    assert!(matches!(&told[..], [reset] if reset.rst && reset.seq == iss + 4), "{told:?}");
}
