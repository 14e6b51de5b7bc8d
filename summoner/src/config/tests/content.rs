//! What the zone says besides the services' addresses.

use std::fs;

use policies::ServiceId;
use zone::master::print;

use super::super::{addresses, load};
use super::*;
use crate::publish::planned;

/// The zones that a configuration makes, each record a line, in order.
fn zones(config: &Config) -> Vec<Vec<String>> {
    let assigned = addresses::assign(config, &BTreeMap::new()).unwrap();
    let zones = planned(config, &assigned).unwrap();
    let lines = |zone: &zone::Zone| {
        let mut lines: Vec<_> = zone.rrsets().flat_map(|rrset| &rrset.records).map(print).collect();
        lines.sort();
        lines
    };
    zones.iter().map(lines).collect()
}

#[test]
fn records_aliases_and_shared_names() {
    let config = good(
        r#"
        [zone]
        apex = "jit.test"
        records = ["@ MX 10 mail", "*.wild 5 TXT \"x;y\"", "old TYPE65280 \\# 1 00"]
        shared_wake = "all"
        reverse = true
        [zone.aliases]
        www = "web"
        "far.away" = "example.net."
        [network]
        ipv4 = "10.77.0.0/16"
        [services.web]
        image = "builtin:hello"
        ipv4 = "10.77.0.5"
        ipv6 = "none"
        records = ["HTTPS 1 . alpn=h2", "_http._tcp SRV 0 0 80 @", "HTTPS 0 other.", "9 CAA 0 issue x"]
        [services.two]
        image = "builtin:hello"
        names = ["web", "two"]
        ipv4 = "10.77.0.6"
        ipv6 = "none"
        records = ["SVCB 1 two.jit.test. ipv4hint=192.0.2.9"]
        "#,
    );
    let zones = zones(&config);
    let expected = [
        "_http._tcp.web.jit.test. 60 IN SRV 0 0 80 web.jit.test.",
        "*.wild.jit.test. 5 IN TXT \"x;y\"",
        "far.away.jit.test. 60 IN CNAME example.net.",
        "jit.test. 60 IN MX 10 mail.jit.test.",
        "jit.test. 60 IN NS ns.jit.test.",
        "old.jit.test. 60 IN TYPE65280 \\# 1 00",
        "two.jit.test. 60 IN A 10.77.0.6",
        "web.jit.test. 60 IN A 10.77.0.5",
        "web.jit.test. 60 IN A 10.77.0.6",
        "web.jit.test. 60 IN SVCB 1 two.jit.test. ipv4hint=192.0.2.9",
        "web.jit.test. 9 IN CAA 0 issue \"x\"",
        "web.jit.test. 60 IN HTTPS 0 other.",
        "web.jit.test. 60 IN HTTPS 1 . alpn=\"h2\" ipv4hint=10.77.0.5",
        "www.jit.test. 60 IN CNAME web.jit.test.",
    ];
    for line in expected {
        assert!(zones[0].iter().any(|found| found == line), "{line} in {:#?}", zones[0]);
    }
    assert_eq!(zones[0].len(), expected.len() + 1, "and the SOA: {:#?}", zones[0]);
    let pointers = &zones[1];
    assert!(pointers.contains(&"5.0.77.10.in-addr.arpa. 60 IN PTR web.jit.test.".to_owned()));
    assert!(pointers.contains(&"77.10.in-addr.arpa. 60 IN NS ns.jit.test.".to_owned()));
    assert!(config.zone.wake_all);
}

#[test]
fn a_zone_file_is_read_and_its_errors_have_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    let toml = folder.path().join("summoner.toml");
    fs::write(&toml, "[zone]\napex = \"jit.test\"\nfile = \"zone\"\n").unwrap();
    let text = "$TTL 300\n@ SOA ns2 me 7 1 2 3 4\n NS ns2\nns2 A 192.0.2.1\n$INCLUDE more\n";
    fs::write(&file, text).unwrap();
    fs::write(folder.path().join("more"), "www CNAME ns2\n").unwrap();
    let config = load(Some(&toml), &[]).unwrap();
    assert!(config.zone.name_servers.is_empty(), "those of the file are the zone's");
    let expected = [
        "jit.test. 300 IN NS ns2.jit.test.",
        "jit.test. 300 IN SOA ns2.jit.test. me.jit.test. 7 1 2 3 4",
        "ns2.jit.test. 300 IN A 192.0.2.1",
        "www.jit.test. 300 IN CNAME ns2.jit.test.",
    ];
    assert_eq!(zones(&config), [expected]);
    for (text, found) in [
        ("@ 5 A 192.0.2\n", "zone:1"),
        ("@ 5 A 192.0.2.1\n\nx.example. 5 A 192.0.2.1\n", "zone:3: x.example."),
        ("@ 5 CNAME x\n", "CNAME"),
        ("$INCLUDE nowhere\n", "nowhere"),
        ("x 5 DNAME y\na.x 5 A 192.0.2.1", "DNAME"),
        ("x 5 SOA ns me 1 1 1 1 1", "SOA"),
    ] {
        fs::write(&file, text).unwrap();
        let error = load(Some(&toml), &[]).unwrap_err().to_string();
        assert!(error.contains(found), "{text}: {error}");
    }
}

#[test]
fn services_that_share_a_name_are_in_its_zone_in_order() {
    let config = good(
        "[zone]\napex = \"jit.test\"\n[services.a]\nimage = \"builtin:hello\"\nnames = [\"x\"]\n[services.b]\nimage = \"builtin:hello\"\nnames = [\"x\"]\n",
    );
    let assigned = addresses::assign(&config, &BTreeMap::new()).unwrap();
    let zones = planned(&config, &assigned).unwrap();
    let name = "x.jit.test.".parse::<hickory_proto::rr::Name>().unwrap();
    let name = hickory_proto::rr::LowerName::new(&name);
    for (rotation, woken) in [(0, 0), (1, 1), (2, 0)] {
        let question = zone::Question {
            name: &name,
            qtype: hickory_proto::rr::RecordType::A,
            qclass: hickory_proto::rr::DNSClass::IN,
            dnssec_ok: false,
            rotation,
        };
        assert_eq!(zones[0].answer(&question).wakes, [ServiceId(woken)]);
    }
}
