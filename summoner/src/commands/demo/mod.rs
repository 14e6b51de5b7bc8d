//! `summoner demo`: the whole path, seen by a client, in a network namespace of its own.
//!
//! The daemon is the real one, started as a child with a configuration file; the client uses real sockets. The
//! exit status is 0 only if every step happened as told.

mod client;
mod show;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};

use super::{Exit, Failure};
use crate::admin::client::ask_once;
use crate::admin::protocol::{Reply, Request};
use crate::harness::{self, Daemon, DaemonSetup};
use crate::orchestrator::ServiceStatus;
use crate::orchestrator::timeline::Cause;
use crate::resolve;

/// The configuration: one service, reaped soon, in a zone that nobody can own (RFC 6761).
const CONFIGURATION: &str = r#"
state_dir = "state"

[dns]
listen = ["127.0.0.1:53"]

[zone]
apex = "jit.test"

[admin]
socket = "admin.sock"

[services.hello]
image = "builtin:hello"
idle = "1s"
"#;
/// Where its daemon answers queries.
const DNS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// The one service of the demo.
const NAME: &str = "hello.jit.test.";
/// How long a single step may take before the demo gives up; many times what the slowest machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Place(#[from] harness::PlaceError),
    #[error(transparent)]
    Daemon(#[from] harness::daemon::DaemonError),
    #[error(transparent)]
    Resolve(#[from] resolve::ResolveError),
    #[error(transparent)]
    Admin(#[from] crate::admin::client::ClientError),
    #[error(transparent)]
    Fetch(#[from] client::FetchError),
    #[error("{0}")]
    Unexpected(String),
}

pub(super) fn run() -> Result<(), Failure> {
    let failed = |error: &DemoError| {
        let exit = match error {
            DemoError::Place(_) => Exit::Unavailable,
            _ => Exit::Internal,
        };
        Failure::new(exit, error)
    };
    harness::enter().map_err(|error| failed(&error.into()))?;
    let setup = DaemonSetup { name: "demo", configuration: CONFIGURATION, overrides: &[] };
    let mut daemon = Daemon::start(&setup).map_err(|error| failed(&error.into()))?;
    let shown = tour(&mut daemon).and_then(|()| Ok(daemon.stop()?));
    shown.map_err(|error| {
        eprintln!("--- the daemon's log ---\n{}---", daemon.log());
        failed(&error)
    })
}

fn tour(daemon: &mut Daemon) -> Result<(), DemoError> {
    for line in daemon.announcement() {
        println!("  {line}");
    }
    let address = by_query(daemon)?;
    warm(address)?;
    reaped(daemon.socket())?;
    by_packet(daemon.socket(), address)?;
    reaped(daemon.socket())?;
    println!("\nEvery step happened.");
    Ok(())
}

/// A query for a cold name, and a connection at once.
fn by_query(daemon: &Daemon) -> Result<Ipv4Addr, DemoError> {
    show::title(
        "A query for a service that is not running, and a connection right after the answer",
    );
    expect_state(&status(daemon.socket())?, "cold")?;
    let asked = Instant::now();
    let name = Name::from_ascii(NAME).map_err(|error| DemoError::Unexpected(error.to_string()))?;
    let answer = resolve::ask(DNS, &name, RecordType::A, PATIENCE)?;
    let answered = asked.elapsed();
    let address = answer.answers.iter().find_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    let (Some(address), ResponseCode::NoError, true) =
        (address, answer.metadata.response_code, answer.metadata.authoritative)
    else {
        return Err(DemoError::Unexpected(format!("the answer has no address in it: {answer:?}")));
    };
    println!("  {NAME} A {address}, after {}", show::length(answered));
    let page = client::get(address, "/", PATIENCE)?;
    println!("  query to last byte: {}", show::length(asked.elapsed()));
    show_page(&page)?;

    let service = status(daemon.socket())?;
    expect_state(&service, "running")?;
    let timeline = service.timeline.unwrap_or_default();
    expect_cause(timeline.cause, Cause::Query)?;
    show::timeline(&timeline, true).map_err(DemoError::Unexpected)?;
    Ok(address)
}

/// The same service again, now that it runs.
fn warm(address: Ipv4Addr) -> Result<(), DemoError> {
    show::title("The same again, warm");
    let page = client::get(address, "/", PATIENCE)?;
    expect_no_retransmission(&page)?;
    println!(
        "  connected after {}, first byte after {}, {} octets, no SYN retransmitted",
        show::length(page.connected),
        show::length(page.first_byte),
        page.body.len()
    );
    Ok(())
}

/// Nothing more is asked of it: the reaper comes.
fn reaped(socket: &Path) -> Result<(), DemoError> {
    show::title("Nobody uses it any more");
    let since = Instant::now();
    loop {
        let service = status(socket)?;
        if service.state == "cold" {
            break;
        }
        if since.elapsed() > PATIENCE {
            return Err(DemoError::Unexpected(format!(
                "the idle guest is not reaped: its state is `{}` after {PATIENCE:?}",
                service.state
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "  reaped after {}: no instance; its shell is back at the service's snapshot and parked",
        show::length(since.elapsed())
    );
    Ok(())
}

/// No query this time: the SYN itself wakes the service.
fn by_packet(socket: &Path, address: Ipv4Addr) -> Result<(), DemoError> {
    show::title("A bare SYN, without a query");
    let started = Instant::now();
    let page = client::get(address, "/healthz", PATIENCE)?;
    println!("  SYN to last byte: {}", show::length(started.elapsed()));
    show_page(&page)?;
    let service = status(socket)?;
    expect_state(&service, "running")?;
    let timeline = service.timeline.unwrap_or_default();
    expect_cause(timeline.cause, Cause::TcpSyn)?;
    show::timeline(&timeline, false).map_err(DemoError::Unexpected)
}

fn show_page(page: &client::Page) -> Result<(), DemoError> {
    println!(
        "  connected after {}, first byte after {}, {} SYN retransmissions",
        show::length(page.connected),
        show::length(page.first_byte),
        page.retransmissions
    );
    println!();
    for line in page.body.lines() {
        println!("  | {line}");
    }
    println!();
    expect_no_retransmission(page)
}

fn expect_no_retransmission(page: &client::Page) -> Result<(), DemoError> {
    match page.retransmissions {
        0 => Ok(()),
        count => {
            Err(DemoError::Unexpected(format!("the client had to send {count} segments again")))
        }
    }
}

fn status(socket: &Path) -> Result<ServiceStatus, DemoError> {
    match ask_once(socket, &Request::Ps)? {
        Reply::Services(services) => services
            .into_iter()
            .next()
            .ok_or_else(|| DemoError::Unexpected("the daemon has no service".to_owned())),
        other => Err(DemoError::Unexpected(format!("the daemon answered {other:?}"))),
    }
}

fn expect_state(service: &ServiceStatus, state: &str) -> Result<(), DemoError> {
    if service.state == state {
        return Ok(());
    }
    Err(DemoError::Unexpected(format!("the service is `{}`, not `{state}`", service.state)))
}

fn expect_cause(found: Option<Cause>, expected: Cause) -> Result<(), DemoError> {
    if found == Some(expected) {
        return Ok(());
    }
    let found = found.map_or("nothing", Cause::label);
    Err(DemoError::Unexpected(format!(
        "the service was woken by {found}, not by {}",
        expected.label()
    )))
}
