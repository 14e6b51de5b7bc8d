//! Other people's DNS servers, in the test's namespace and folder: NSD and unbound. Each ends with the value.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RecordType};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::PATIENCE;

/// A server.
pub(crate) struct Peer {
    process: Child,
    log: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

impl Peer {
    /// NSD, which answers at `address`; `more` are its keys and zones. Its files are in `folder`: none that another one uses.
    pub(crate) fn nsd(folder: &Path, address: SocketAddr, more: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        let at = folder.display();
        let text = format!(
            "server:\n  ip-address: {}@{}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{at}\"\n  \
             verbosity: 2\n  database: \"\"\n  pidfile: \"\"\n  xfrdfile: \"\"\n  zonelistfile: \"{at}/zones\"\n  xfrdir: \"{at}\"\n  \
             rrl-ratelimit: 0\n  minimal-responses: yes\n  ipv4-edns-size: 1232\nremote-control:\n  control-enable: no\n{more}",
            address.ip(),
            address.port()
        );
        Self::start("nsd", &["-d", "-c"], &folder.join("nsd.conf"), &text)
    }

    /// unbound, which answers at a port of 127.0.0.1 and believes `anchor`; `more` says where it begins.
    pub(crate) fn unbound(folder: &Path, port: u16, anchor: &str, more: &str) -> Self {
        let anchor = anchor.trim().replace('\t', " ");
        let text = format!(
            "server:\n  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  \
             use-syslog: no\n  logfile: \"\"\n  verbosity: 2\n  val-log-level: 2\n  do-not-query-localhost: no\n  do-ip6: no\n  \
             module-config: \"validator iterator\"\n  trust-anchor: \"{anchor}\"\n  local-zone: \"test.\" nodefault\n  \
             qname-minimisation: yes\n  aggressive-nsec: yes\n  harden-dnssec-stripped: yes\n{more}\
             remote-control:\n  control-enable: no\n"
        );
        let file = folder.join(format!("unbound-{port}.conf"));
        Self::start("unbound", &["-d", "-p", "-c"], &file, &text)
    }

    fn start(program: &str, arguments: &[&str], file: &Path, configuration: &str) -> Self {
        fs::write(file, configuration).unwrap();
        let log = file.with_extension("log");
        let output = fs::File::create(&log).unwrap();
        let process = Command::new(program)
            .args(arguments)
            .arg(file)
            // Where Debian has servers.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        Self { process: process.unwrap(), log }
    }

    /// What it says.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

/// Asks the resolver at a port of 127.0.0.1, with DO, again until it is there.
pub(crate) fn resolve(port: u16, name: &str, qtype: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), qtype));
    query.metadata.recursion_desired = true;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    query.set_edns(edns);
    let octets = query.to_vec().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
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
