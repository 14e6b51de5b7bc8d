//! The whole way that a name takes in the world: a validating resolver that knows root servers and a trust anchor only, a root
//! that delegates to us, a child zone that we delegate in turn.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{PATIENCE, World, hello, http_get};

const RESOLVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5301);

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

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn start(program: &str, args: &[&str], file: &Path, log: &Path) -> Server {
    let log = fs::File::create(log).unwrap();
    let process = Command::new(program)
        .args(args)
        .arg(file)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    Server(process.unwrap())
}

fn nsd(folder: &Path) -> Server {
    fs::write(folder.join("root.zone"), ROOT).unwrap();
    fs::write(folder.join("lab.zone"), LAB).unwrap();
    let file = folder.join("nsd.conf");
    let at = folder.display();
    let text = format!(
        "server:\n  ip-address: 127.0.0.2@53\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{at}\"\n  \
         database: \"\"\n  pidfile: \"{at}/nsd.pid\"\n  xfrdfile: \"{at}/xfrd.state\"\n  zonelistfile: \"{at}/zone.list\"\n  \
         logfile: \"{at}/nsd.log\"\n  xfrdir: \"{at}\"\nremote-control:\n  control-enable: no\n\
         zone:\n  name: \".\"\n  zonefile: root.zone\nzone:\n  name: lab.jit.test\n  zonefile: lab.zone\n"
    );
    fs::write(&file, text).unwrap();
    start("nsd", &["-d", "-c"], &file, &folder.join("nsd.out"))
}

fn unbound(folder: &Path, anchor: &str) -> Server {
    let hints = folder.join("hints");
    fs::write(&hints, ". 3600000 NS ns.root.\nns.root. 3600000 A 127.0.0.2\n").unwrap();
    let file = folder.join("unbound.conf");
    let text = format!(
        "server:\n  interface: 127.0.0.1@5301\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  \
         use-syslog: no\n  logfile: \"\"\n  verbosity: 2\n  val-log-level: 2\n  do-not-query-localhost: no\n  do-ip6: no\n  \
         module-config: \"validator iterator\"\n  trust-anchor: \"{anchor}\"\n  root-hints: \"{}\"\n  \
         local-zone: \"test.\" nodefault\n  qname-minimisation: yes\n  aggressive-nsec: yes\nremote-control:\n  control-enable: no\n",
        hints.display()
    );
    fs::write(&file, text).unwrap();
    start("unbound", &["-d", "-p", "-c"], &file, &folder.join("unbound.log"))
}

/// Asks the resolver, again until it is there.
fn resolve(name: &str, qtype: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), qtype));
    query.metadata.recursion_desired = true;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    query.set_edns(edns);
    let octets = query.to_vec().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect(RESOLVER).unwrap();
    let mut buffer = vec![0; 65_535];
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let _ = socket.send(&octets);
        match socket.recv(&mut buffer) {
            Ok(length) => return Message::from_vec(&buffer[..length]).unwrap(),
            // Not listening yet: that is told at once.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    panic!("the resolver does not answer {name} {qtype}");
}

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
    let _nsd = nsd(&folder);
    let _unbound = unbound(&folder, &anchor.trim().replace('\t', " "));
    let log = || fs::read_to_string(folder.join("unbound.log")).unwrap();

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
        let answer = resolve(name, qtype);
        let found = answer.answers.iter().filter(|record| record.record_type() != T::RRSIG).count();
        assert_eq!(found, records, "{name} {qtype}: {answer:?}\n{}", log());
        let rcode =
            if name.starts_with("nobody") { ResponseCode::NXDomain } else { ResponseCode::NoError };
        assert_eq!(answer.metadata.response_code, rcode, "{name} {qtype}\n{}", log());
        assert!(answer.metadata.authentic_data, "{name} {qtype}: {answer:?}\n{}", log());
    }

    // A zone below ours that is not signed: we prove that, and the resolver believes it without signatures.
    let child = resolve("mouse.lab.jit.test", T::A);
    assert_eq!((child.answers.len(), child.metadata.authentic_data), (1, false), "{}", log());

    let answer = resolve("web.jit.test", T::A);
    assert!(answer.metadata.authentic_data);
    let address = answer.answers.iter().find_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    let page = http_get((address.unwrap(), 80).into(), "/").unwrap();
    assert_eq!(page.status, 200);
}
