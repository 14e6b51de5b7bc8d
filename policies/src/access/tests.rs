use proptest::prelude::*;

use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: expected {error}"))
}

fn list(deny: &[&str], allow: &[&str]) -> Result<AccessList, AccessError> {
    let parsed = |texts: &[&str]| texts.iter().map(|text| prefix(text)).collect::<Vec<_>>();
    AccessList::new(&parsed(deny), &parsed(allow))
}

fn may(list: &AccessList, address: &str) -> bool {
    list.access(address.parse().unwrap()) == Access::Allowed
}

#[test]
fn the_longest_prefix_says_it() {
    let list = list(&["10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32"], &["10.1.0.0/16", "10.1.2.3"]);
    let list = list.unwrap();
    for (address, expected) in [
        ("192.0.2.1", true),
        ("10.255.255.255", false),
        ("11.0.0.0", true),
        ("10.1.1.1", true),
        ("10.1.2.4", false),
        ("10.1.2.3", true),
        ("::ffff:10.1.2.4", false),
        ("2001:db8::1", false),
        ("2001:db9::1", true),
    ] {
        assert_eq!(may(&list, address), expected, "{address}");
    }
}

#[test]
fn everybody_may_unless_something_is_said() {
    let empty = AccessList::default();
    assert!(empty.is_empty() && may(&empty, "192.0.2.1") && may(&empty, "2001:db8::1"));
    // IPv4 and IPv6 are apart.
    let no_ipv4 = list(&["0.0.0.0/0"], &["192.0.2.0/24"]).unwrap();
    assert!(!may(&no_ipv4, "198.51.100.1") && may(&no_ipv4, "192.0.2.1"));
    assert!(may(&no_ipv4, "2001:db8::1") && !no_ipv4.is_empty());
    let nobody = list(&["0.0.0.0/0", "::/0"], &[]).unwrap();
    assert!(!may(&nobody, "192.0.2.1") && !may(&nobody, "::1"));
}

#[test]
fn what_says_nothing_is_refused() {
    assert_eq!(
        list(&["10.0.0.0/8"], &["10.0.0.0/8"]),
        Err(AccessError::Both(prefix("10.0.0.0/8")))
    );
    assert_eq!(list(&[], &["10.0.0.0/8"]), Err(AccessError::NotDenied(prefix("10.0.0.0/8"))));
    assert_eq!(
        list(&["10.1.0.0/16", "::/0"], &["10.0.0.0/8"]),
        Err(AccessError::NotDenied(prefix("10.0.0.0/8")))
    );
}

#[test]
fn prefixes_are_read_and_written() {
    for (text, shown) in [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ] {
        assert_eq!(prefix(text).to_string(), shown);
    }
    for text in
        ["", "x", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/+24", "::1/64", "::/129"]
            .into_iter()
            .chain(["::ffff:192.0.2.0/95", "192.0.2.0/24/1", "192.0.2.0 /24", "192.0.2/24"])
    {
        assert_eq!(text.parse::<Prefix>(), Err(PrefixError), "{text:?}");
    }
}

proptest! {
    /// Against the obvious: all prefixes that contain the address, the longest of them.
    #[test]
    fn the_list_equals_a_slow_one(
        denied in prop::collection::vec((0_u8..=6, any::<u8>()), 0..12),
        allowed in prop::collection::vec((0_u8..=8, any::<u8>()), 0..12),
        address: u8,
    ) {
        let made = |(length, octet): &(u8, u8)| {
            let first = Family::V4.first(u128::from(*octet) << 24, *length);
            Prefix { family: Family::V4, length: *length, first }
        };
        let contains = |outer: &Prefix, length: u8, address: u128| {
            outer.length <= length && Family::V4.first(address, outer.length) == outer.first
        };
        let deny: Vec<Prefix> = denied.iter().map(made).collect();
        let covered = |prefix: &Prefix| {
            !deny.contains(prefix)
                && deny.iter().any(|outer| contains(outer, prefix.length, prefix.first))
        };
        let allow: Vec<Prefix> = allowed.iter().map(made).filter(covered).collect();
        let list = AccessList::new(&deny, &allow).unwrap();
        let bits = u128::from(address) << 24;
        let longest = |prefixes: &[Prefix]| {
            let containing = prefixes.iter().filter(|prefix| contains(prefix, 32, bits));
            containing.map(|prefix| prefix.length).max()
        };
        // Of `None` and a length, the length is more.
        let expected = if longest(&deny) > longest(&allow) { Access::Denied } else { Access::Allowed };
        prop_assert_eq!(list.access(IpAddr::V4(Ipv4Addr::new(address, 0, 0, 0))), expected);
    }
}

#[test]
fn a_prefix_contains_its_own_family() {
    let contains = |prefix: &str, address: &str| {
        prefix.parse::<Prefix>().unwrap().contains(address.parse().unwrap())
    };
    assert!(
        contains("192.0.2.0/24", "192.0.2.255") && contains("192.0.2.0/24", "::ffff:192.0.2.1")
    );
    assert!(contains("::/0", "2001:db8::1") && contains("2001:db8::1", "2001:db8::1"));
    assert!(!contains("192.0.2.0/24", "192.0.3.0") && !contains("::/0", "192.0.2.1"));
}
