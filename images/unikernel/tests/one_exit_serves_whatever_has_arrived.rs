//! What a guest costs is how often it leaves: with the ring, once for all that has arrived and all that is answered.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail as the test itself")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use support::client::{ACK, Clients, FIN, FLAGS, SYN, segment};
use support::{Host, Shared, Way, guest};
use unikernel::Guest;
use unikernel::http::{Http, Request, Response, Site};
use unikernel::net::Addressing;
use unikernel::server::Server;
use unikernel::smoltcp::socket::tcp::State;

const FREQUENCY: u64 = 2_000_000_000;
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

struct Hello;

impl Site for Hello {
    fn respond(&self, _: &Request<'_>) -> Response {
        Response::text(b"hello\n".to_vec())
    }
}

fn serve(guest: &'static Guest) {
    let port = guest.net("service").unwrap();
    let addressing = Addressing::from_flags(guest.command_line()).unwrap();
    let mut server = Server::new(guest, port, &addressing);
    server.listen(80, || Http::new(Hello));
    server.run();
}

/// Serves `clients`, with `script` called in each poll that has no frame left for the guest.
fn run(
    way: Way,
    mut clients: Clients,
    mut script: impl FnMut(&mut Clients, &mut Host) + 'static,
) -> Shared {
    let (guest, host) = guest(way, FLAGS, FREQUENCY, move |host| script(&mut clients, host));
    serve(guest);
    host
}

#[test]
fn a_request_takes_two_exits() {
    // From the poll that brings the SYN: one brings the SYN-ACK out and the request in, one the response out.
    let step = Cell::new(0);
    run(Way::Ring, Clients::connecting(1), move |clients, host| {
        step.set(step.get() + 1);
        assert_eq!(host.polls(), step.get(), "nothing but polls, and none of them in vain");
        let sent: Vec<_> = host.from_guest.iter().map(|frame| segment(frame).unwrap()).collect();
        match step.get() {
            1 => assert_eq!(sent, [], "nothing to say before it is asked"),
            2 => {
                assert_eq!(sent.len(), 1);
                assert_eq!(sent[0].0, SYN | ACK);
                // The acknowledgement alone, then the request: two frames, as a kernel sends them.
                clients.exchange(host);
                clients.say(0, GET_AND_CLOSE);
            }
            3 => {
                assert_eq!(sent.len(), 1, "response, acknowledgement and FIN are one segment");
                assert_ne!(sent[0].0 & FIN, 0);
                assert!(sent[0].2 > 100, "{sent:?}");
                clients.socket(0).close();
            }
            4 => {
                assert_eq!(sent.len(), 1, "the client's FIN is acknowledged");
                assert!(clients.answer(0).ends_with("hello\n"));
                host.shutdown = true;
            }
            other => panic!("{other} polls for one request"),
        }
        clients.exchange(host);
    });
}

#[test]
fn an_acknowledgement_that_comes_alone_costs_an_exit_and_no_frame() {
    let step = Cell::new(0);
    run(Way::Ring, Clients::connecting(1), move |clients, host| {
        step.set(step.get() + 1);
        let sent = host.from_guest.len();
        match step.get() {
            1 => {}
            2 => assert_eq!(sent, 1),
            3 => {
                assert_eq!(sent, 0, "there is nothing to answer");
                clients.say(0, GET);
            }
            4 => {
                assert_eq!(sent, 1, "the response acknowledges");
                clients.exchange(host);
                assert!(clients.answer(0).ends_with("hello\n"));
                clients.say(0, GET);
            }
            5 => {
                assert_eq!(sent, 1, "and so does the next, on the same connection");
                host.shutdown = true;
                clients.socket(0).close();
            }
            _ => {}
        }
        clients.exchange(host);
    });
}

#[test]
fn requests_go_round_the_receive_buffer() {
    // Some 530 octets each, in a buffer of 3072: every sixth lies around its end.
    const REQUESTS: usize = 40;
    let sent = Cell::new(0);
    let answered = Rc::new(Cell::new(0));
    let counted = Rc::clone(&answered);
    run(Way::Ring, Clients::connecting(1), move |clients, host| {
        clients.exchange(host);
        answered.set(clients.answer(0).matches("HTTP/1.1 200 OK").count());
        if answered.get() == REQUESTS {
            host.shutdown = true;
            clients.socket(0).close();
        } else if answered.get() == sent.get() && clients.count_in(State::Established) == 1 {
            let padding = "x".repeat(500 - GET.len() + 20);
            clients.say(0, &GET.replace("\r\n\r\n", &format!("\r\nX: {padding}\r\n\r\n")));
            sent.set(sent.get() + 1);
        }
        clients.exchange(host);
        assert!(host.polls() < 200, "{} of {REQUESTS}", answered.get());
    });
    assert_eq!(counted.get(), REQUESTS);
}

#[test]
fn two_hundred_connections_at_once_are_a_few_dozen_exits() {
    for way in [Way::Ring, Way::Calls] {
        let asked = Rc::new(Cell::new(false));
        let told = Rc::clone(&asked);
        let host = run(way, Clients::connecting(200), move |clients, host| {
            clients.exchange(host);
            if !asked.get() && clients.count_in(State::Established) == 200 {
                (0..200).for_each(|client| clients.say(client, GET_AND_CLOSE));
                clients.exchange(host);
                asked.set(true);
            }
            if (0..200).all(|client| clients.answer(client).ends_with("hello\n")) {
                host.shutdown = true;
                (0..200).for_each(|client| clients.socket(client).close());
                clients.exchange(host);
            }
            assert!(host.exits.len() < 5000, "they are not all served");
        });
        assert!(told.get());
        let exits = host.borrow().exits.len();
        match way {
            Way::Ring => assert!(exits < 60, "{exits}"),
            Way::Calls => assert!(exits > 1000, "{exits}"),
        }
    }
}

#[test]
fn more_answers_than_there_is_room_for_leave_with_several_polls() {
    // Every one of these is answered as it is read, and there are three times as many as there are buffers.
    let host = run(Way::Ring, Clients::connecting(0), |_, host| {
        match host.polls() {
            1 => host.to_guest.extend((0..100).map(echo_request)),
            polls => assert!(polls < 20, "they are not all answered"),
        }
        host.shutdown = host.from_guest.len() >= 100;
    });
    let host = host.borrow();
    let numbers: Vec<u8> = host.from_guest.iter().map(|frame| frame[41]).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "each once, and in order");
    assert!(host.polls() <= 6, "{}", host.polls());
    assert!(host.outstanding() >= 31, "every buffer but the one in use is submitted again");
}

/// A ping (RFC 792), from where the client is.
fn echo_request(number: u8) -> Vec<u8> {
    let mut frame = support::GUEST_MAC.to_vec();
    frame.extend([2, 0, 0, 0, 0, 9, 8, 0]);
    let mut ip = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 2];
    let sum = checksum(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    frame.extend(ip);
    let mut icmp = vec![8, 0, 0, 0, 0, 1, 0, number];
    let sum = checksum(&icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&sum);
    frame.extend(icmp);
    frame
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let sum: u32 =
        octets.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}

#[test]
fn an_instance_that_is_another_begins_anew_and_keeps_its_connections() {
    let step = Cell::new(0);
    let (sender, seen) = std::sync::mpsc::channel();
    let mut clients = Clients::connecting(2);
    let (guest, _host) = guest(Way::Ring, FLAGS, FREQUENCY, move |host| {
        step.set(step.get() + 1);
        match step.get() {
            2 => {
                clients.exchange(host);
                clients.say(0, GET);
                // It is a clone from here on.
                host.renew(2, &[9; 32]);
            }
            3 => {
                clients.exchange(host);
                assert!(clients.answer(0).ends_with("hello\n"), "the connection is still there");
                clients.say(1, GET);
            }
            4 => {
                clients.exchange(host);
                assert!(clients.answer(1).ends_with("hello\n"));
                sender.send(()).unwrap();
                host.shutdown = true;
                (0..2).for_each(|client| clients.socket(client).close());
            }
            _ => {}
        }
        clients.exchange(host);
    });
    assert_eq!(guest.generation(), Some(1));
    let before = guest.clock.now();
    serve(guest);
    assert_eq!(guest.generation(), Some(2));
    assert!(guest.age() <= guest.clock.now() - before, "it is as old as the clone");
    seen.recv().unwrap();
}

#[test]
fn the_clock_survives_what_a_host_may_do_to_it() {
    // A host that does not say how fast the counter runs: the wall clock, which may be set.
    let (guest, host) = guest(Way::Calls, "", 0, |_| {});
    let start = host.borrow().walltime;
    let mut last = guest.clock.now();
    let mut at = |walltime: u64| {
        host.borrow_mut().walltime = walltime;
        let now = guest.clock.now();
        assert!(now >= last, "{now:?} after {last:?}");
        let passed = now - last;
        last = now;
        passed
    };
    assert_eq!(at(start + 5), Duration::from_nanos(5));
    assert_eq!(at(start - 1_000_000), Duration::ZERO, "backwards: nothing has passed");
    assert_eq!(at(start), Duration::from_micros(1000), "and from there it goes on");
    assert_eq!(at(start + 3_600_000_000_000), Duration::from_secs(3600), "a long sleep");
    assert_eq!(at(0), Duration::ZERO);
    at(u64::MAX);
    at(0);
    at(u64::MAX);
    assert_eq!(at(0), Duration::ZERO, "the end of time is no panic");
}
