//! What is written is read, what is read can be printed, and what is wrong is named with its line.

use std::str::FromStr;

use proptest::prelude::*;

use super::*;

fn origin() -> Name {
    Name::from_str("jit.test.").unwrap()
}

fn read(text: &str) -> Result<Vec<Record>, MasterError> {
    let origin = origin();
    let source = Source { name: "zone", text, origin: &origin, ttl: None };
    let read = parse(source, &mut |_, file| Err(format!("cannot read {file}")))?;
    Ok(read.into_iter().map(|written| written.record).collect())
}

fn lines(text: &str) -> Vec<String> {
    read(text).unwrap().iter().map(print).collect()
}

#[test]
fn owners_ttls_and_classes_may_be_left_out() {
    let text = "
$TTL 1h ; for all
@ IN SOA ns hostmaster ( 7 ; serial
        2h 10m 1d 30 )
  NS ns
  IN 60 NS ns.example.net.
$ORIGIN sub
www 5 IN A 192.0.2.1 ; ;
    AAAA 2001:db8::1
$ORIGIN other.jit.test.
*   IN TXT a \"b c\" \"\\\"\\200;\" \"\"
";
    let expected = [
        "jit.test. 3600 IN SOA ns.jit.test. hostmaster.jit.test. 7 7200 600 86400 30",
        "jit.test. 3600 IN NS ns.jit.test.",
        "jit.test. 60 IN NS ns.example.net.",
        "www.sub.jit.test. 5 IN A 192.0.2.1",
        "www.sub.jit.test. 3600 IN AAAA 2001:db8::1",
        "*.other.jit.test. 3600 IN TXT \"a\" \"b c\" \"\\\"\\200;\" \"\"",
    ];
    assert_eq!(lines(text), expected);
}

/// Records as they are printed: reading and printing them again changes nothing.
const PRINTED: &[&str] = &[
    "a.jit.test. 1 IN CNAME b.jit.test.",
    "a\\046b\\032\\000.jit.test. 1 IN PTR \\255.",
    "a.jit.test. 1 IN DNAME .",
    "a.jit.test. 1 IN HINFO \"x\" \"\"",
    "a.jit.test. 1 IN MX 10 m.jit.test.",
    "a.jit.test. 1 IN RP a.jit.test. .",
    "a.jit.test. 1 IN AFSDB 1 a.",
    "_x._tcp.jit.test. 1 IN SRV 0 1 65535 t.jit.test.",
    "a.jit.test. 1 IN NAPTR 1 2 \"U\" \"E2U+sip\" \"!^.*$!sip:a@b!\" .",
    "a.jit.test. 1 IN KX 1 a.",
    "a.jit.test. 1 IN CERT 1 2 3 AQID",
    "a.jit.test. 1 IN DS 1 13 2 0102030405060708091011121314151617181920212223242526272829303132",
    "a.jit.test. 1 IN SSHFP 4 2 ABCD",
    "a.jit.test. 1 IN TLSA 3 1 1 ABCD",
    "a.jit.test. 1 IN SMIMEA 3 1 1 ABCD",
    "a.jit.test. 1 IN OPENPGPKEY AQIDBA==",
    "a.jit.test. 1 IN CSYNC 7 3 A NS AAAA",
    "a.jit.test. 1 IN SPF \"v=spf1\"",
    "a.jit.test. 1 IN URI 1 2 \"https://a/\"",
    "a.jit.test. 1 IN CAA 0 issue \"ca.example; x=y\"",
    "a.jit.test. 1 IN HTTPS 0 b.jit.test.",
    "a.jit.test. 1 IN HTTPS 1 . alpn=\"h2,h3\" no-default-alpn port=443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1",
    "a.jit.test. 1 IN SVCB 1 b. mandatory=alpn,port alpn=\"x\" port=1 dohpath=\"/q{?dns}\" key667=\"a\\000b\"",
    "a.jit.test. 1 IN TYPE65280 \\# 3 010203",
    "a.jit.test. 1 IN TYPE731 \\# 0",
    "a.jit.test. 1 IN TYPE29 \\# 16 00000000000000000000000000000000",
];

#[test]
fn what_is_printed_reads_the_same() {
    for line in PRINTED {
        assert_eq!(lines(line), [*line]);
    }
    // Unknown words for what is known, and the other way round.
    assert_eq!(lines("a 1 CLASS1 TYPE1 \\# 4 C0000201"), ["a.jit.test. 1 IN A 192.0.2.1"]);
    assert_eq!(
        lines("a 1 svcb 1 @ port=\"8\" alpn=h2"),
        ["a.jit.test. 1 IN SVCB 1 jit.test. alpn=\"h2\" port=8"]
    );
    assert_eq!(lines("a 1 DS 1 13 2 01 02 0304"), ["a.jit.test. 1 IN DS 1 13 2 01020304"]);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, line, word) in [
        ("\na 1 A 192.0.2.256", 2, "192.0.2.256"),
        ("a 1 AAAA ::g", 1, "::g"),
        ("a 1 A 192.0.2.1 x", 1, "too much"),
        ("a 1 MX 10", 1, "missing"),
        ("a 1 MX 65536 b", 1, "65536"),
        ("a 1 QQ b", 1, "QQ"),
        ("a A 192.0.2.1", 1, "TTL"),
        ("  1 A 192.0.2.1", 1, "owner"),
        ("a 1 CH A 192.0.2.1", 1, "only IN"),
        ("a 1 TXT \"b\nc\"", 1, "quote"),
        ("a 1 SOA a b (\n1 2 3 4 5", 1, "parenthesis"),
        ("a 1 A 192.0.2.1 )", 1, "parenthesis"),
        ("$TTL x", 1, "TTL"),
        ("$GENERATE 1-2 a A 1.2.3.$", 1, "$GENERATE"),
        ("$INCLUDE other", 1, "cannot read other"),
        ("a..b 1 A 192.0.2.1", 1, "label"),
        ("a 1 TXT \\256", 1, "256"),
        ("a 1 TYPE1 \\# 5 C0000201", 1, "5"),
        ("a 1 TYPE1 \\# 3 C00002", 1, "A"),
        ("a 1 ANY x", 1, "ANY"),
        ("a 1 HTTPS 1 . alpn", 1, "alpn"),
        ("a 1 HTTPS 1 . x=y", 1, "x"),
        ("a 1 DNSKEY 257 3 13 AQI", 1, "base 64"),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!((error.line, error.source_name.as_str()), (line, "zone"), "{text}: {error}");
        assert!(error.problem.contains(word), "{text}: {error}");
    }
    let long = format!("{} 1 A 192.0.2.1", "a".repeat(64));
    assert!(read(&long).unwrap_err().problem.contains("no name"));
}

#[test]
fn files_include_each_other_but_not_for_ever() {
    let origin = origin();
    let source = Source {
        name: "a",
        text: "$TTL 5\n$INCLUDE b sub ; x\nx A 192.0.2.1",
        origin: &origin,
        ttl: None,
    };
    let mut asked = Vec::new();
    let read = parse(source, &mut |from, file| {
        asked.push((from.to_owned(), file.to_owned()));
        Ok((format!("/{file}"), "y A 192.0.2.2\n$TTL 6".to_owned()))
    });
    let read = read.unwrap();
    let shown: Vec<_> =
        read.iter().map(|w| (print(&w.record), w.source_name.as_str(), w.line)).collect();
    assert_eq!(
        shown,
        [
            ("y.sub.jit.test. 5 IN A 192.0.2.2".to_owned(), "/b", 1),
            ("x.jit.test. 6 IN A 192.0.2.1".to_owned(), "a", 3),
        ]
    );
    assert_eq!(asked, [("a".to_owned(), "b".to_owned())]);
    let error = parse(source, &mut |_, file| Ok((file.to_owned(), "$INCLUDE b".to_owned())));
    assert!(error.unwrap_err().problem.contains("include each other"));
}

#[test]
fn one_record_of_a_configuration() {
    let origin = origin();
    let owner = Name::from_str("web.jit.test.").unwrap();
    let one = |text| parse_record(text, &origin, Some(&owner), 60).map(|record| print(&record));
    assert_eq!(one("TXT \"x\"").unwrap(), "web.jit.test. 60 IN TXT \"x\"");
    assert_eq!(one("5 IN HTTPS 1 . alpn=h2").unwrap(), "web.jit.test. 5 IN HTTPS 1 . alpn=\"h2\"");
    assert_eq!(
        one("_http._tcp SRV 0 0 80 web").unwrap(),
        "_http._tcp.jit.test. 60 IN SRV 0 0 80 web.jit.test."
    );
    assert_eq!(one("@ 5 CAA 0 issue x").unwrap(), "jit.test. 5 IN CAA 0 issue \"x\"");
    for wrong in ["", "; x", "a TXT x\nb TXT y", "$TTL 5", "nonsense"] {
        assert!(one(wrong).is_err(), "{wrong}");
    }
    assert!(parse_record("TXT x", &origin, None, 60).is_err(), "no owner");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n\\t\\\\\"();$@]{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn any_lines_are_read_or_refused(words in proptest::collection::vec(prop_oneof![
        Just("\n"), Just("@"), Just("a"), Just("1"), Just("IN"), Just("TXT"), Just("HTTPS"), Just("\\#"), Just("."),
        Just("alpn=\"\\,"), Just("\""), Just("("), Just(")"), Just("NSEC"), Just("SOA"), Just("b."), Just("\\255"),
    ], 0..40)) {
        for record in read(&words.join(" ")).unwrap_or_default() {
            let line = print(&record);
            prop_assert_eq!(lines(&line), [line]);
        }
    }

    #[test]
    fn any_octets_are_printed_so_that_they_can_be_read(
        number in prop_oneof![1_u16..40, Just(39), Just(43), Just(64), Just(65), Just(257), 61_000_u16..62_000],
        octets in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let hexadecimal: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let Ok(records) = read(&format!("a 1 TYPE{number} \\# {} {hexadecimal}", octets.len())) else { return Ok(()) };
        let again = lines(&print(&records[0]));
        prop_assert_eq!(&again, &[print(&records[0])]);
    }
}
