use super::*;

const SYN_ACK: Segment = Segment {
    source_port: 80,
    destination_port: 1,
    seq: SeqNumber(10),
    ack: Some(SeqNumber(5)),
    syn: true,
    fin: false,
    rst: false,
    window: 0,
    payload: 0,
};
const ACK: Segment = Segment { seq: SeqNumber(5), ack: Some(SeqNumber(11)), syn: false, ..SYN_ACK };

fn key(remote: u32) -> FlowKey {
    let (local, remote) = ([10, 0, 0, 2].into(), IpAddr::V4(remote.into()));
    FlowKey { local, local_port: 80, remote, remote_port: 1 }
}

#[test]
fn a_full_table_gives_up_the_oldest_half_open_connection_and_no_other() {
    let now = Instant::ZERO;
    let mut table = FlowTable::default();
    let most = u32::try_from(MAX_FLOWS).unwrap();
    for remote in 0..most {
        table.sent_by_guest(now, key(remote), &SYN_ACK);
        if remote != 7 {
            table.sent_to_guest(now, key(remote), &ACK);
        }
    }
    let entered = table.sent_by_guest(now, key(most), &SYN_ACK);
    assert!(matches!(entered, Entered::InPlaceOf(_, given_up, _) if given_up == key(7)));
    table.sent_to_guest(now, key(most), &ACK);
    assert_eq!(table.sent_by_guest(now, key(most + 1), &SYN_ACK), Entered::Full);
    assert_eq!(table.open_connections(), most);
}

#[test]
fn a_repeated_syn_ack_changes_nothing_and_a_new_one_starts_anew() {
    let now = Instant::ZERO;
    let mut table = FlowTable::default();
    table.sent_by_guest(now, key(1), &SYN_ACK);
    table.sent_to_guest(now, key(1), &ACK);
    table.sent_by_guest(
        now,
        key(1),
        &Segment { seq: SeqNumber(11), syn: false, payload: 50, ..SYN_ACK },
    );
    table.sent_by_guest(now, key(1), &SYN_ACK);
    let end = |table: &mut FlowTable| table.drain(|_| true).pop().unwrap();
    assert_eq!(end(&mut table).seq, SeqNumber(61));

    table.sent_by_guest(now, key(1), &SYN_ACK);
    table.sent_by_guest(now, key(1), &Segment { seq: SeqNumber(900), ..SYN_ACK });
    assert_eq!(table.open_connections(), 1);
    assert_eq!(end(&mut table).seq, SeqNumber(901));
}

#[test]
fn deadlines_are_whole_seconds_and_never_early() {
    assert_eq!(round_up(Instant::from_nanos(1)), Instant::from_nanos(1_000_000_000));
    assert_eq!(round_up(Instant::from_nanos(1_000_000_000)), Instant::from_nanos(1_000_000_000));
    assert_eq!(round_up(Instant::from_nanos(u64::MAX - 1)), Instant::FAR_FUTURE);
}
