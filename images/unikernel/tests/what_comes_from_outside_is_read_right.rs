//! The parts of the library that read what clients and the host send, tested on the host.
//!
//! `cargo test` in `images/unikernel` runs them; so does the test suite of the `images` crate.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail as the test itself")]

use std::net::IpAddr;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use unikernel::CommandLine;
use unikernel::http::{HEAD_MAX, Head, Request, Status, pattern};
use unikernel::net::Addressing;

fn whole(octets: &[u8]) -> Request<'_> {
    match Request::parse(octets) {
        Ok(Head::Whole(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn refused(octets: &[u8]) -> Status {
    Request::parse(octets).unwrap_err().status
}

#[test]
fn a_request_is_read_whole_however_it_is_cut() {
    let sent = b"POST /echo?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let head = sent.len() - 3;
    for len in 0..head {
        assert_eq!(Request::parse(&sent[..len]), Ok(Head::Partial), "{len}");
    }
    for len in head..=sent.len() {
        let request = whole(&sent[..len]);
        assert_eq!((request.method, request.path()), ("POST", "/echo"));
        assert_eq!((request.content_length, request.keep_alive), (3, true));
        assert_eq!(request.head, &sent[..head]);
    }
}

#[test]
fn connections_persist_as_their_version_says() {
    for (request, keep_alive) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
    ] {
        assert_eq!(whole(request.as_bytes()).keep_alive, keep_alive, "{request:?}");
    }
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    for (fields, status) in [
        ("", Status::BadRequest),
        ("Host: a\r\nHost: b\r\n", Status::BadRequest),
        ("Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", Status::BadRequest),
        ("Host: a\r\nContent-Length: +1\r\n", Status::BadRequest),
        ("Host: a\r\nContent-Length: \r\n", Status::BadRequest),
        ("Host: a\r\nContent-Length: 99999999999999999999\r\n", Status::BadRequest),
        ("Host: a\r\nTransfer-Encoding: chunked\r\n", Status::LengthRequired),
        ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", Status::LengthRequired),
        ("Host: a\r\nExpect: the-unexpected\r\n", Status::ExpectationFailed),
    ] {
        let request = format!("POST / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(refused(request.as_bytes()), status, "{fields:?}");
    }
    // The same length twice is harmless.
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n";
    assert_eq!(whole(request).content_length, 7);
}

#[test]
fn heads_are_bounded() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HEAD_MAX));
    assert_eq!(refused(&long.as_bytes()[..HEAD_MAX]), Status::HeadTooLarge);
    assert_eq!(Request::parse(&long.as_bytes()[..HEAD_MAX - 1]), Ok(Head::Partial));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(64));
    assert_eq!(refused(many.as_bytes()), Status::HeadTooLarge);
    assert_eq!(refused(b"GET / HTTP/2.0\r\n\r\n"), Status::VersionNotSupported);
}

#[test]
fn the_pattern_goes_on_where_it_was() {
    let whole: Vec<u8> = (0..=250).cycle().take(6000).collect();
    for start in [0, 1, 250, 251, 252, 2007, 2008] {
        for len in [0, 1, 251, 1757, 1758, 3000] {
            let mut part = vec![0xff; len];
            pattern(start as u64, &mut part);
            assert_eq!(part, whole[start..start + len], "{start} {len}");
        }
    }
    let mut far = [0; 3];
    pattern(251 * 1_000_000_007 + 249, &mut far);
    assert_eq!(far, [249, 250, 0]);
}

#[test]
fn flags_are_read_in_order_and_the_last_wins() {
    let line = CommandLine::new("  --a=1 word --b --a=2=3\t--act=halt=7 ");
    assert_eq!(line.value("a"), Some("2=3"));
    assert_eq!(line.value("b"), Some(""));
    assert_eq!(line.value("word"), None);
    assert_eq!(line.flags().count(), 4);
}

#[test]
fn addresses_come_from_flags() {
    let line =
        "--ipv4=10.1.2.3/24 --ipv4-gateway=10.1.2.1 --ipv6=fd00::3/64 --ipv6-gateway=fd00::1";
    let addressing = Addressing::from_flags(CommandLine::new(line)).unwrap();
    assert_eq!(addressing.cidrs().count(), 2);
    let hop = |to: &str| addressing.next_hop(to.parse::<IpAddr>().unwrap());
    assert_eq!(hop("10.1.2.99"), "10.1.2.99".parse().ok());
    assert_eq!(hop("192.0.2.1"), "10.1.2.1".parse().ok());
    assert_eq!(hop("fd00::99"), "fd00::99".parse().ok());
    assert_eq!(hop("2001:db8::1"), "fd00::1".parse().ok());

    assert_eq!(Addressing::from_flags(CommandLine::new("")).unwrap(), Addressing::default());
    for bad in [
        "--ipv4=10.1.2.3",
        "--ipv4=10.1.2.3/33",
        "--ipv4=fd00::1/64",
        "--ipv4=224.0.0.1/4",
        "--ipv4=0.0.0.0/0",
        "--ipv4-gateway=255.255.255.255",
        "--ipv6=fd00::1/129",
        "--ipv6=ff02::1/64",
        "--ipv6-gateway=",
    ] {
        let error = Addressing::from_flags(CommandLine::new(bad)).unwrap_err().to_string();
        assert!(error.starts_with(bad) && error.contains("wanted"), "{error}");
    }
}

/// Texts made of pieces that mean something to the readers, in any order, cut anywhere.
struct Texts(ChaCha8Rng);

impl Texts {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.next_u64() % bound as u64).unwrap()
    }

    fn next(&mut self, pieces: &[&str]) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.below(12) {
            match self.below(6) {
                0 => text.push(self.0.next_u32().to_le_bytes()[0]),
                _ => text.extend(pieces[self.below(pieces.len())].bytes()),
            }
        }
        let cut = self.below(text.len() + 1);
        if self.below(8) == 0 {
            text.truncate(cut);
        }
        text
    }
}

#[test]
fn any_request_has_an_answer() {
    let pieces = [
        "GET ",
        "/ ",
        "HTTP/1.1",
        "HTTP/1.0",
        "\r\n",
        "\r\n\r\n",
        "Host: a\r\n",
        "Content-Length: ",
        "18446744073709551615",
        "0",
        "-1",
        "Connection: close, ,\r\n",
        "Expect: 100-continue\r\n",
        "Transfer-Encoding: x\r\n",
        ":",
        " ",
        "\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
    ];
    let mut texts = Texts(ChaCha8Rng::seed_from_u64(1));
    let mut served = 0;
    for _ in 0..50_000 {
        let text = texts.next(&pieces);
        if let Ok(Head::Whole(request)) = Request::parse(&text) {
            assert!(text.starts_with(request.head) && request.head.ends_with(b"\n"));
            served += 1;
        }
    }
    assert!(served > 500, "only {served} were requests");
}

#[test]
fn any_command_line_has_flags() {
    let pieces = [
        "--",
        "ipv4",
        "ipv4-gateway",
        "ipv6",
        "=",
        "/",
        "24",
        "129",
        "10.0.0.1",
        "fd00::1",
        "::",
        " ",
        "--ipv4=10.0.0.1/",
        "--ipv6=fd00::1/",
        "ä",
        "255.255.255.255",
        "--ipv6-gateway=",
    ];
    let mut texts = Texts(ChaCha8Rng::seed_from_u64(2));
    let mut addressed = 0;
    for _ in 0..50_000 {
        let text = texts.next(&pieces);
        let text = String::from_utf8_lossy(&text);
        let line = CommandLine::new(&text);
        for (name, _) in line.flags() {
            assert!(line.value(name).is_some());
        }
        if let Ok(addressing) = Addressing::from_flags(line) {
            addressed += addressing.cidrs().count();
            assert!(addressing.cidrs().all(|cidr| cidr.address().is_unicast()));
        }
    }
    assert!(addressed > 20, "only {addressed} addresses");
}
