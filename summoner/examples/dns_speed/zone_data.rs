//! The zone: a thousand names with an address of each kind, as text for NSD and as data for the others.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;

/// How many names there are.
const NAMES: u32 = 1000;
/// The zone's top.
pub(crate) const APEX: &str = "bench.test.";

/// A name's number, name, and addresses.
pub(crate) fn names() -> impl Iterator<Item = (u32, Name, Ipv4Addr, Ipv6Addr)> {
    (0..NAMES).map(|number| {
        let name = Name::from_ascii(format!("service{number}.{APEX}")).unwrap();
        let ipv4 = Ipv4Addr::from(0x0a4d_0000 + number);
        let ipv6 = Ipv6Addr::from(0xfd77_0000_0000_0000_0000_0000_0000_0000 + u128::from(number));
        (number, name, ipv4, ipv6)
    })
}

/// As a master file.
pub(crate) fn text() -> String {
    let mut text = format!(
        "$ORIGIN {APEX}\n@ 60 SOA ns hostmaster 1 3600 600 86400 30\n@ 60 NS ns\nns 60 A 127.0.0.1\n"
    );
    for (_, name, ipv4, ipv6) in names() {
        writeln!(text, "{name} 60 A {ipv4}\n{name} 60 AAAA {ipv6}").unwrap();
    }
    text
}

/// What dnsperf asks for: of four questions one for AAAA, names in no order.
pub(crate) fn questions() -> String {
    let mut text = String::new();
    for number in 0..40_000_u32 {
        let qtype = if number % 4 == 3 { "AAAA" } else { "A" };
        // A generator of Lehmer's: the same names at each run.
        let name = number.wrapping_mul(48_271) % 65_537 % NAMES;
        writeln!(text, "service{name}.{APEX} {qtype}").unwrap();
    }
    text
}
