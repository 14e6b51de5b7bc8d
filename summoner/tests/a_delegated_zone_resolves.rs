//! The whole way that a name takes in the world: a validating resolver that knows root servers and a trust anchor only, a root
//! that delegates to us, a child zone that we delegate in turn.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::fs;
use std::net::Ipv4Addr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use support::peers::{Peer, resolve};
use support::{World, hello, http_get};

const RESOLVER: u16 = 5301;
/// NSD's address.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What is in our zone beside the service.
const RECORDS: &str = "
$TTL 300
@        MX     10 mail
@        TXT    \"v=spf1 mx -all\"
@        CAA    0 issue \"ca.example.net\"
mail     A      192.0.2.25
         AAAA   2001:db8::25
www      CNAME  web
*.users  TXT    \"everybody\"
old      DNAME  users
odd      TYPE65280 \\# 3 010203
deep.down TXT   \"far below\"
lab      NS     ns.lab
ns.lab   A      127.0.0.2
";

/// The root, and the child zone: both at NSD.
const ROOT: &str = "
.             3600 IN SOA ns.root. hostmaster.root. 1 3600 600 86400 300
.             3600 IN NS  ns.root.
ns.root.      3600 IN A   127.0.0.2
jit.test.     3600 IN NS  ns.jit.test.
ns.jit.test.  3600 IN A   127.0.0.1
";
const LAB: &str = "
lab.jit.test.     300 IN SOA ns.lab.jit.test. hostmaster.jit.test. 1 3600 600 86400 300
lab.jit.test.     300 IN NS  ns.lab.jit.test.
ns.lab.jit.test.  300 IN A   127.0.0.2
mouse.lab.jit.test. 300 IN A 192.0.2.77
";

#[test]
fn from_the_root_to_the_page() {
    if support::lacks(&["nsd", "unbound"]) {
        return;
    }
    let Some(mut world) = World::without_daemon() else { return };
    let folder = world.folder.path().to_owned();
    fs::write(folder.join("records.zone"), RECORDS).unwrap();
    world.configure(
        "[zone.name_servers]\nns = [\"127.0.0.1\"]\n[dnssec]\nenabled = true\n",
        &hello("web", "records = [\"HTTPS 1 . alpn=http/1.1\", \"_http._tcp SRV 0 0 80 @\"]"),
    );
    let text = fs::read_to_string(world.configuration()).unwrap();
    let text = text.replace("[zone]\n", "[zone]\nfile = \"records.zone\"\n");
    fs::write(world.configuration(), text).unwrap();
    world.start_daemon();
    let anchor = String::from_utf8(world.command(&["dnssec", "ds"]).stdout).unwrap();
    for (file, text) in [("root", ROOT), ("lab", LAB)] {
        fs::write(folder.join(file), text).unwrap();
    }
    let zones =
        "zone:\n  name: \".\"\n  zonefile: root\nzone:\n  name: lab.jit.test\n  zonefile: lab\n";
    let _nsd = Peer::nsd(&folder, (ELSEWHERE, 53).into(), zones);
    let hints = folder.join("hints");
    fs::write(&hints, ". 3600000 NS ns.root.\nns.root. 3600000 A 127.0.0.2\n").unwrap();
    let begin = format!("  root-hints: \"{}\"\n", hints.display());
    let unbound = Peer::unbound(&folder, RESOLVER, &anchor, &begin);
    let log = || unbound.log();

    use RecordType as T;
    for (name, qtype, records) in [
        ("web.jit.test", T::AAAA, 1),
        ("web.jit.test", T::HTTPS, 1),
        ("_http._tcp.web.jit.test", T::SRV, 1),
        ("jit.test", T::MX, 1),
        ("jit.test", T::TXT, 1),
        ("jit.test", T::CAA, 1),
        ("jit.test", T::SOA, 1),
        ("jit.test", T::NS, 1),
        ("mail.jit.test", T::A, 1),
        // An alias, and where it leads.
        ("www.jit.test", T::A, 2),
        ("somebody.users.jit.test", T::TXT, 1),
        // The redirection, the alias that follows from it, and what a wildcard says of that.
        ("somebody.old.jit.test", T::TXT, 3),
        ("odd.jit.test", T::Unknown(65_280), 1),
        ("deep.down.jit.test", T::TXT, 1),
        ("down.jit.test", T::TXT, 0),
        ("web.jit.test", T::TXT, 0),
        ("somebody.users.jit.test", T::A, 0),
        ("nobody.jit.test", T::A, 0),
    ] {
        let answer = resolve(RESOLVER, name, qtype);
        let found = answer.answers.iter().filter(|record| record.record_type() != T::RRSIG).count();
        assert_eq!(found, records, "{name} {qtype}: {answer:?}\n{}", log());
        let rcode =
            if name.starts_with("nobody") { ResponseCode::NXDomain } else { ResponseCode::NoError };
        assert_eq!(answer.metadata.response_code, rcode, "{name} {qtype}\n{}", log());
        assert!(answer.metadata.authentic_data, "{name} {qtype}: {answer:?}\n{}", log());
    }

    // A zone below ours that is not signed: we prove that, and the resolver believes it without signatures.
    let child = resolve(RESOLVER, "mouse.lab.jit.test", T::A);
    assert_eq!((child.answers.len(), child.metadata.authentic_data), (1, false), "{}", log());

    let answer = resolve(RESOLVER, "web.jit.test", T::A);
    assert!(answer.metadata.authentic_data);
    let address = answer.answers.iter().find_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    let page = http_get((address.unwrap(), 80).into(), "/").unwrap();
    assert_eq!(page.status, 200);
}
