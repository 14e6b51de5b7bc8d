//! The answer to a SYN.

use super::{BUFFER, Ladder, ack, data, offer, rst, syn};
use crate::segment::Segment;
use crate::support::{HOLD_TIME, ms};

#[test]
fn the_same_syn_gets_the_same_answer() {
    let mut ladder = Ladder::new(false);
    let first = ladder.client(&syn(1000));
    assert!(matches!(&first[..], [answer] if answer.syn && answer.ack == Some(1001)));
    ladder.world.pass(ms(700));
    assert_eq!(ladder.client(&syn(1000)), first);
    assert_eq!((ladder.world.wakes(), ladder.held()), (1, 1));
    // Once the client has acknowledged it, the SYN can only be an old one, and is told where the connection is.
    let iss = first[0].seq;
    assert_eq!(ladder.client(&ack(1001, iss + 1)), []);
    let told = ladder.client(&syn(1000));
    assert!(matches!(&told[..], [answer] if !answer.syn && !answer.rst));
    assert_eq!((told[0].seq, told[0].ack), (iss + 1, Some(1001)));
}

#[test]
fn an_answer_is_repeated_until_it_is_acknowledged() {
    let mut ladder = Ladder::new(true);
    let first = ladder.client(&syn(1000));
    ladder.world.pass(ms(3_500));
    let again = ladder.client_got();
    assert_eq!(again, [first[0].clone(), first[0].clone()], "after 1 and 3 seconds");
    ladder.client(&ack(1001, first[0].seq + 1));
    ladder.world.pass(ms(1_400));
    assert_eq!(ladder.client_got(), []);
}

#[test]
fn only_what_is_offered_is_agreed_to_and_never_timestamps() {
    for v6 in [false, true] {
        for window_scale in [None, Some(0), Some(14)] {
            for sack_permitted in [false, true] {
                let mut ladder = Ladder::new(v6);
                let asked = Segment { window_scale, sack_permitted, ..syn(1000) };
                let answer = &ladder.client(&asked)[0];
                assert_eq!(answer.window_scale.is_some(), window_scale.is_some());
                assert!(sack_permitted || !answer.sack_permitted);
                assert_eq!(answer.timestamps, None);
                assert_eq!(answer.mss, Some(if v6 { 1440 } else { 1460 }));
                assert_eq!(u32::from(answer.window), BUFFER);
                ladder.client(&ack(1001, answer.seq + 1));
                ladder.open();
                let given = &ladder.guest_got()[0];
                assert_eq!((given.syn, given.seq, given.ack), (true, 1000, None));
                assert_eq!(
                    (given.mss, given.window_scale),
                    (asked.mss.map(|mss| mss.min(if v6 { 1440 } else { 1460 })), window_scale)
                );
                assert!(sack_permitted || !given.sack_permitted);
                assert_eq!((given.timestamps, given.window), (None, 64_000));
            }
        }
    }
}

#[test]
fn numbers_differ_between_connections_and_times() {
    let mut ladder = Ladder::new(false);
    let first = ladder.client(&syn(1000))[0].seq;
    let other = ladder.client_at(40_001, &syn(1000))[0].seq;
    assert_ne!(first, other);
    ladder.client(&rst(1001));
    ladder.world.pass(ms(100));
    assert_ne!(ladder.client(&syn(1000))[0].seq, first);
}

#[test]
fn what_a_guest_agreed_to_is_offered_to_the_next_client() {
    let small = Segment { mss: Some(700), window_scale: Some(5), ..offer(9000) };
    let plain = Segment { mss: None, window_scale: None, sack_permitted: false, ..offer(9000) };
    for (answer, mss) in [(small, 700), (plain, 536)] {
        let (mut ladder, _) = Ladder::handed_over(&syn(1000), &answer);
        ladder.close();
        ladder.client_got();
        let again = &ladder.client_at(40_002, &syn(5000))[0];
        assert_eq!(again.mss, Some(mss));
        assert_eq!(again.window_scale, answer.window_scale);
        assert_eq!(again.sack_permitted, answer.sack_permitted);
    }
}

#[test]
fn a_client_is_reset_when_no_guest_has_come_in_time() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    ladder.client(&data(1001, iss + 1, b"hello"));
    ladder.world.pass(HOLD_TIME - ms(1));
    assert_eq!(ladder.client_got(), []);
    ladder.world.pass(ms(1));
    let told = ladder.client_got();
    assert!(matches!(&told[..], [reset] if reset.rst && reset.seq == iss + 1));
    assert_eq!(ladder.held(), 0);
    ladder.open();
    assert_eq!(ladder.guest_got(), [], "the guest never hears of it");
}

#[test]
fn a_forged_syn_changes_nothing_and_a_new_attempt_is_taken() {
    let (mut ladder, iss) = Ladder::answered(&syn(1000));
    ladder.client(&data(1001, iss + 1, b"hello"));
    let told = ladder.client(&syn(700_000));
    assert!(matches!(&told[..], [answer] if !answer.syn && answer.ack == Some(1006)));
    assert_eq!(ladder.held(), 1);
    // A client that really begins anew knows nothing of that, and says so.
    ladder.client(&rst(told[0].ack.unwrap()));
    assert_eq!(ladder.held(), 0);
    let answer = ladder.client(&syn(700_000));
    assert!(answer[0].syn && answer[0].ack == Some(700_001));
}

#[test]
fn a_syn_with_a_wrong_checksum_is_not_answered() {
    let mut ladder = Ladder::new(false);
    let (client, service) = ladder.ends(40_000);
    let mut packet = syn(1000).packet(client, service);
    let last = packet.len() - 1;
    packet[last] ^= 1;
    ladder.world.uplink(&packet);
    assert_eq!(ladder.client_got(), []);
    assert_eq!((ladder.held(), ladder.world.wakes()), (0, 0));
}
