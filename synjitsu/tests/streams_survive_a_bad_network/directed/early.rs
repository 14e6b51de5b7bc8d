//! What a client sends before its guest is there.

use super::{BUFFER, Ladder, ack, data, offer, rst, syn};
use crate::segment::Segment;
use crate::support::ms;

/// The payloads that the guest got, put together in order; all must follow each other.
fn stream(got: &[Segment], first: u32) -> Vec<u8> {
    let mut octets = Vec::new();
    for segment in got.iter().filter(|segment| !segment.payload.is_empty()) {
        let expected = first + u32::try_from(octets.len()).unwrap();
        assert_eq!(segment.seq, expected, "a gap or a repetition");
        octets.extend_from_slice(&segment.payload);
    }
    octets
}

#[test]
fn data_in_the_third_segment_are_taken_and_reach_the_guest_at_once() {
    let mut ladder = Ladder::new(false);
    let iss = ladder.client(&syn(1000))[0].seq;
    let told = ladder.client(&data(1001, iss + 1, b"GET /"));
    assert!(matches!(&told[..], [answer] if answer.ack == Some(1006)));
    ladder.open();
    assert!(ladder.guest_got()[0].syn);
    let got = ladder.guest(&Segment { syn: true, ack: Some(1001), ..offer(9000) });
    assert_eq!(stream(&got, 1001), b"GET /");
    assert_eq!(got[0].ack, Some(9001));
    assert_eq!(ladder.client_got(), [], "the client has had its answer");
}

#[test]
fn a_keep_alive_is_answered_and_nobody_else_hears_of_it() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    for garbage in [&b""[..], &b"x"[..]] {
        let told = ladder.client(&data(1000, iss + 1, garbage));
        assert!(matches!(&told[..], [answer] if answer.seq == iss + 1 && answer.ack == Some(1001)));
    }
    ladder.open();
    assert_eq!(ladder.guest_got().len(), 1);
    assert_eq!(ladder.guest(&Segment { syn: true, ack: Some(1001), ..offer(9000) }).len(), 1);
}

#[test]
fn what_came_out_of_order_is_not_acknowledged_before_the_rest_came() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    let told = ladder.client(&data(1011, iss + 1, b"klmnopqrst"));
    assert_eq!(told[0].ack, Some(1001));
    let told = ladder.client(&data(1001, iss + 1, b"abcdefghij"));
    let next = told.last().unwrap().ack.unwrap();
    assert!(next == 1011 || next == 1021, "{told:?}");
    let told = ladder.client(&data(1011, iss + 1, b"klmnopqrst"));
    assert_eq!(told[0].ack, Some(1021));
    ladder.open();
    ladder.guest_got();
    let got = ladder.guest(&Segment { syn: true, ack: Some(1001), ..offer(9000) });
    assert_eq!(stream(&got, 1001), b"abcdefghijklmnopqrst");
}

#[test]
fn a_full_buffer_closes_the_window_and_the_guest_opens_it_again() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    let limit = usize::try_from(BUFFER).unwrap();
    let octets: Vec<u8> = (0..=u8::MAX).cycle().take(limit).collect();
    let mut told = Vec::new();
    // The last piece fits in part only, and whatever follows was not asked for.
    let sent = [&octets[..], &[0; 904]].concat();
    for (piece, seq) in sent.chunks(1000).zip((1001..).step_by(1000)) {
        told = ladder.client(&data(seq, iss + 1, piece));
    }
    let end = 1001 + BUFFER;
    assert_eq!((told[0].ack, told[0].window), (Some(end), 0));
    // Probes with an octet and without are answered; nothing more is kept.
    for probe in [data(end, iss + 1, b"!"), ack(end - 1, iss + 1)] {
        let told = ladder.client(&probe);
        assert_eq!((told[0].ack, told[0].window), (Some(end), 0));
    }
    ladder.open();
    ladder.guest_got();
    // The guest takes it in two steps, because of its window.
    let answer = Segment { syn: true, ack: Some(1001), window: 3000, ..offer(9000) };
    let mut got = ladder.guest(&answer);
    assert_eq!(stream(&got, 1001).len(), 3000);
    assert_eq!(ladder.client_got(), []);
    got.extend(ladder.guest(&Segment { window: 5000, ..ack(9001, 4001) }));
    let told = ladder.client_got();
    assert!(told.last().is_some_and(|open| open.ack == Some(end) && open.window > 0), "{told:?}");
    assert_eq!(stream(&got, 1001), octets);
    ladder.guest(&Segment { window: 5000, ..ack(9001, end) });
    ladder.client(&data(end, iss + 1, b"!"));
    assert_eq!(stream(&ladder.guest_got(), end), b"!");
}

#[test]
fn a_guest_whose_window_stays_closed_is_asked_whether_it_still_is() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    ladder.client(&data(1001, iss + 1, b"hello"));
    ladder.open();
    ladder.guest_got();
    let closed = Segment { syn: true, ack: Some(1001), window: 0, ..offer(9000) };
    assert_eq!(stream(&ladder.guest(&closed), 1001), b"");
    for _ in 0..3 {
        ladder.world.pass(ms(3_000));
        let got = ladder.guest_got();
        assert!(!got.is_empty(), "the opening of the window may have been lost");
        assert!(got.iter().all(|probe| probe.seq == 1001 && probe.payload.len() <= 1));
        ladder.guest(&Segment { window: 0, ..ack(9001, 1001) });
    }
    let got = ladder.guest(&Segment { window: 100, ..ack(9001, 1001) });
    assert_eq!(stream(&got, 1001), b"hello");
    // Lost on the way; nothing else makes the switch send it again.
    ladder.world.pass(ms(3_000));
    assert!(stream(&ladder.guest_got()[..1], 1001).len() <= 5);
    assert_eq!(ladder.client_got(), []);
}

#[test]
fn an_early_fin_follows_the_data_to_the_guest() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    let told = ladder.client(&Segment { fin: true, ..data(1001, iss + 1, b"bye") });
    assert_eq!(told[0].ack, Some(1005));
    // Once more, because the acknowledgment was lost.
    let told = ladder.client(&Segment { fin: true, ..ack(1004, iss + 1) });
    assert_eq!(told[0].ack, Some(1005));
    ladder.open();
    ladder.guest_got();
    let got = ladder.guest(&Segment { syn: true, ack: Some(1001), ..offer(9000) });
    assert_eq!(stream(&got, 1001), b"bye");
    assert!(got.last().unwrap().fin && got.iter().filter(|segment| segment.fin).count() == 1);
    // The guest answers, and closes, too.
    let fin = Segment { fin: true, ..data(9001, 1005, b"hello") };
    ladder.guest(&fin);
    let told = ladder.client_got();
    assert!(matches!(&told[..], [answer] if answer.fin && answer.payload == b"hello"));
    assert_eq!((told[0].seq, told[0].ack), (iss + 1, Some(1005)));
    ladder.client(&ack(1005, iss + 7));
    assert_eq!(ladder.guest_got()[0].ack, Some(9007));
    assert_eq!(ladder.world.activity().1, 0, "closed by both sides");
}

#[test]
fn a_client_that_goes_costs_the_guest_nothing() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    ladder.client(&data(1001, iss + 1, b"hello"));
    // Nearly right may be forged: whoever meant it is asked, and says it once more (RFC 5961, section 3.2).
    let told = ladder.client(&rst(1007));
    assert_eq!((told[0].ack, told[0].rst), (Some(1006), false));
    assert_eq!(ladder.held(), 1);
    assert_eq!(ladder.client(&rst(90_000)), []);
    assert_eq!(ladder.held(), 1);
    assert_eq!(ladder.client(&rst(1006)), []);
    assert_eq!(ladder.held(), 0);
    ladder.open();
    ladder.world.pass(ms(10_000));
    assert_eq!(ladder.guest_got(), []);
}

#[test]
fn a_client_that_goes_while_the_guest_is_asked_is_taken_back() {
    let (mut ladder, _) = Ladder::answered(&syn(1000));
    ladder.open();
    assert_eq!(ladder.guest_got().len(), 1);
    ladder.client(&rst(1001));
    let got = ladder.guest_got();
    assert!(matches!(&got[..], [reset] if reset.rst && reset.seq == 1001));
    // The guest has answered in the meantime.
    let got = ladder.guest(&Segment { syn: true, ack: Some(1001), ..offer(9000) });
    assert!(got.iter().all(|segment| segment.rst), "{got:?}");
}

#[test]
fn what_the_switch_never_sent_cannot_be_acknowledged() {
    let mut ladder = Ladder::new(false);
    let iss = ladder.client(&syn(1000))[0].seq;
    let told = ladder.client(&data(1001, iss + 500, b"blind"));
    assert!(matches!(&told[..], [reset] if reset.rst && reset.seq == iss + 500));
    assert_eq!(ladder.client(&data(1001, iss + 1, b"x"))[0].ack, Some(1002));
    // On an open connection it is only answered.
    let told = ladder.client(&data(1002, iss + 500, b"blind"));
    assert!(matches!(&told[..], [answer] if !answer.rst && answer.ack == Some(1002)));
    ladder.open();
    ladder.guest_got();
    let got = ladder.guest(&Segment { syn: true, ack: Some(1001), ..offer(9000) });
    assert_eq!((stream(&got, 1001), got[0].ack), (b"x".to_vec(), Some(9001)));
}
