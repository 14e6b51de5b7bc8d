//! A world of its own for each test: a network namespace, a folder, the real daemon, kernel sockets.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a helper of tests: a failure is the test's")]

pub(crate) mod dns;
pub(crate) mod peers;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use summoner::admin::client;
use summoner::admin::protocol::{Reply, Request};
use summoner::orchestrator::ServiceStatus;
use synjitsu_device::{namespace, tcp_info};

/// Where the daemon answers queries.
pub(crate) const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// How long anything may take before a test gives up. Never a verdict on speed: many times what is needed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The daemon in its namespace.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    daemon: Option<Child>,
}

impl World {
    /// Makes a namespace for the calling thread and starts a daemon in it. `None`, with a line that says why,
    /// on a machine where that cannot be.
    pub(crate) fn start(services: &str) -> Option<Self> {
        let mut world = Self::without_daemon()?;
        world.configure("", services);
        world.start_daemon();
        Some(world)
    }

    /// A namespace and a folder with the test guest in it, but no daemon yet.
    pub(crate) fn without_daemon() -> Option<Self> {
        if let Some(missing) = missing() {
            // Not a print macro: those are captured by the test harness.
            let _ = writeln!(std::io::stderr(), "SKIPPED {}: {missing}", test_name());
            return None;
        }
        namespace::enter_new().expect("a network namespace can be made");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("trial"), images::builtin::TRIAL).unwrap();
        Some(Self { folder, daemon: None })
    }

    /// Writes the configuration file: `extra` goes before the services.
    pub(crate) fn configure(&self, extra: &str, services: &str) {
        let text = format!(
            "state_dir = \"state\"\n\n[dns]\nlisten = [\"127.0.0.1:53\"]\n\n[zone]\napex = \"jit.test\"\n\n\
             [admin]\nsocket = \"admin.sock\"\n\n[metrics]\nlisten = \"127.0.0.1:9177\"\n\n{extra}\n{services}\n"
        );
        fs::write(self.configuration(), text).unwrap();
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("summoner.toml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn start_daemon(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_summoner"))
            .args(["serve", "--config"])
            .arg(self.configuration())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        self.daemon = Some(child);
        let ready = output.lines().any(|line| line.unwrap() == "ready");
        assert!(ready, "the daemon did not become ready:\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn daemon_pid(&self) -> Pid {
        Pid::from_raw(self.daemon.as_ref().unwrap().id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.daemon_pid(), signal).unwrap();
    }

    /// Sends `signal` and waits until the daemon is gone.
    pub(crate) fn end_daemon(&mut self, signal: Signal) -> std::process::ExitStatus {
        self.signal(signal);
        self.daemon.take().unwrap().wait().unwrap()
    }

    /// Runs another command of the binary on this world's configuration.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_summoner"))
            .args(args)
            .arg("--config")
            .arg(self.configuration())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub(crate) fn query(&self, name: &str, qtype: RecordType) -> Message {
        let name = Name::from_ascii(format!("{name}.jit.test.")).unwrap();
        summoner::resolve::ask_by_udp(DNS, &name, qtype, PATIENCE).unwrap()
    }

    /// The IPv4 address of a service, by DNS.
    pub(crate) fn resolve(&self, name: &str) -> Ipv4Addr {
        let answer = self.query(name, RecordType::A);
        let address = answer.answers.iter().find_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
        address.unwrap_or_else(|| panic!("no address for {name}: {answer:?}"))
    }

    /// The IPv6 address of a service, by DNS.
    pub(crate) fn resolve6(&self, name: &str) -> Ipv6Addr {
        let answer = self.query(name, RecordType::AAAA);
        let address = answer.answers.iter().find_map(|record| match &record.data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        });
        address.unwrap_or_else(|| panic!("no address for {name}: {answer:?}"))
    }

    pub(crate) fn services(&self) -> Vec<ServiceStatus> {
        match client::ask_once(&self.socket(), &Request::Ps) {
            Ok(Reply::Services(services)) => services,
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    pub(crate) fn service(&self, key: &str) -> ServiceStatus {
        self.services()
            .into_iter()
            .find(|service| service.service == key)
            .expect("the service is configured")
    }

    /// Waits until `condition` holds of a service.
    pub(crate) fn wait_for(
        &self,
        key: &str,
        what: &str,
        condition: impl Fn(&ServiceStatus) -> bool,
    ) -> ServiceStatus {
        let start = Instant::now();
        loop {
            let service = self.service(key);
            if condition(&service) {
                return service;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{key} is never {what}: {service:?}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `condition` holds.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < PATIENCE, "never: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn wait_for_state(&self, key: &str, state: &str) -> ServiceStatus {
        self.wait_for(key, state, |service| service.state == state)
    }

    pub(crate) fn console(&self, key: &str) -> Vec<String> {
        let request = Request::Logs { name: key.to_owned(), follow: false };
        client::ask(&self.socket(), &request)
            .unwrap()
            .map(|reply| match reply {
                Ok(Reply::Line(line)) => line,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// The sum of all metrics that begin so.
    pub(crate) fn metrics(&self, prefix: &str) -> f64 {
        let page = http_get(SocketAddr::from(([127, 0, 0, 1], 9177)), "/metrics").unwrap().body;
        let lines = page.lines().filter(|line| line.starts_with(prefix));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// The value of a metric; 0 if it has not been counted yet. `labels` as the page writes them.
    pub(crate) fn metric(&self, name_and_labels: &str) -> f64 {
        let page = http_get(SocketAddr::from(([127, 0, 0, 1], 9177)), "/metrics").unwrap().body;
        let line =
            page.lines().find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            let _ =
                writeln!(std::io::stderr(), "--- log of {} ---\n{}---", test_name(), self.log());
        }
    }
}

/// What an HTTP request gave.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Segments that the client's kernel sent again, SYNs included.
    pub(crate) retransmissions: u32,
}

/// One request over a new kernel TCP connection.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> std::io::Result<Page> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Page {
        status: status.ok_or(std::io::ErrorKind::InvalidData)?,
        body: body.to_owned(),
        retransmissions: tcp_info::total_retransmissions(&stream)?,
    })
}

/// A service of the built-in guest.
pub(crate) fn hello(key: &str, settings: &str) -> String {
    format!("[services.{key}]\nimage = \"builtin:hello\"\n{settings}\n")
}

/// A service of the test guest, which does what `act` says.
pub(crate) fn trial(key: &str, act: &str, settings: &str) -> String {
    const ADDRESSES: &str =
        "--ipv4={ipv4} --ipv4-gateway={ipv4_gateway} --ipv6={ipv6} --ipv6-gateway={ipv6_gateway}";
    format!(
        "[services.{key}]\nimage = \"trial\"\ncommand_line = \"--act={act} {ADDRESSES}\"\n{settings}\n"
    )
}

/// Whether a process exists.
pub(crate) fn process_exists(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// Whether a program is not installed, with a line that says that the test is skipped.
pub(crate) fn lacks(programs: &[&str]) -> bool {
    let folders: Vec<_> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    let places = [folders, vec![PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]].concat();
    let is_there = |program: &str| places.iter().any(|folder| folder.join(program).exists());
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        let _ = writeln!(std::io::stderr(), "SKIPPED {}: needs {missing:?}", test_name());
    }
    !missing.is_empty()
}

fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root, to make a network namespace in this thread".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("needs /dev/net/tun".to_owned());
    }
    monitor::probe::check().err().map(|error| error.to_string())
}

fn test_name() -> String {
    std::thread::current().name().unwrap_or("test").to_owned()
}
