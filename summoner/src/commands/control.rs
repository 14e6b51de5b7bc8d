//! `ps`, `wake`, `stop` and `logs`: what an administrator asks of a running daemon.

use std::io::Write;
use std::time::Duration;

use super::{DaemonArgs, Exit, Failure};
use crate::admin::client::{self, ClientError};
use crate::admin::protocol::{Reply, Request};
use crate::orchestrator::ServiceStatus;
use crate::orchestrator::timeline::Cause;

const HEADER: [&str; 9] =
    ["SERVICE", "STATE", "GEN", "SINCE", "WHY", "MEMORY", "LAST USED", "CONNS", "ADDRESSES"];

pub(super) fn ps(daemon: &DaemonArgs, json: bool) -> Result<(), Failure> {
    let Reply::Services(services) = ask(daemon, &Request::Ps)? else { return Err(unexpected()) };
    let mut out = std::io::stdout().lock();
    // A closed pipe (`summoner ps | head -1`) is not an error.
    let _ = if json {
        serde_json::to_string_pretty(&services)
            .map_err(std::io::Error::from)
            .and_then(|text| writeln!(out, "{text}"))
    } else {
        table(&mut out, HEADER, services.iter().map(row))
    };
    Ok(())
}

pub(super) fn wake(daemon: &DaemonArgs, name: String) -> Result<(), Failure> {
    let Reply::Awake(timeline) = ask(daemon, &Request::Wake { name: name.clone() })? else {
        return Err(unexpected());
    };
    match (timeline.cause, timeline.until_ready()) {
        (Some(Cause::Admin), Some(length)) => {
            println!("{name} is awake, ready {length:?} after the wake")
        }
        _ => println!("{name} is awake"),
    }
    Ok(())
}

pub(super) fn stop(daemon: &DaemonArgs, name: String) -> Result<(), Failure> {
    let Reply::Stopped = ask(daemon, &Request::Stop { name: name.clone() })? else {
        return Err(unexpected());
    };
    println!("{name} is stopped");
    Ok(())
}

pub(super) fn logs(daemon: &DaemonArgs, name: String, follow: bool) -> Result<(), Failure> {
    let replies =
        client::ask(&daemon.socket()?, &Request::Logs { name, follow }).map_err(failed)?;
    let mut out = std::io::stdout().lock();
    for reply in replies {
        let Reply::Line(line) = reply.map_err(failed)? else { return Err(unexpected()) };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(())
}

pub(super) fn ask(daemon: &DaemonArgs, request: &Request) -> Result<Reply, Failure> {
    client::ask_once(&daemon.socket()?, request).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: ClientError) -> Failure {
    Failure::unavailable(&error)
}

pub(super) fn unexpected() -> Failure {
    let text = "the daemon answered something else; are both of the same version?".to_owned();
    Failure { exit: Exit::Internal, text }
}

/// Prints rows in columns as wide as they need to be.
pub(super) fn table<const N: usize>(
    out: &mut impl Write,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> std::io::Result<()> {
    let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    for row in &rows {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn row(service: &ServiceStatus) -> [String; 9] {
    let none = || "-".to_owned();
    let ago = |at: policies::Instant| format!("{} ago", coarse(service.now.saturating_since(at)));
    let cause = service.timeline.as_ref().and_then(|timeline| timeline.cause);
    let addresses = [service.ipv4.map(|a| a.to_string()), service.ipv6.map(|a| a.to_string())];
    [
        service.service.clone(),
        service.state.clone(),
        // The lower half counts the boots since the daemon started; the whole number is in `--json`.
        service.generation.map_or_else(none, |generation| (generation & 0xffff_ffff).to_string()),
        service.ready_at.map_or_else(none, ago),
        cause.map_or_else(none, |cause| cause.label().to_owned()),
        if service.memory == 0 { none() } else { policies::units::format_size(service.memory) },
        service.last_used.map_or_else(none, ago),
        service.open_connections.to_string(),
        addresses.into_iter().flatten().collect::<Vec<_>>().join(" "),
    ]
}

/// A length of time in its largest unit, for people.
pub(super) fn coarse(length: Duration) -> String {
    match length.as_secs() {
        0 => format!("{}ms", length.as_millis()),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_coarse() {
        let shown = [0, 999, 1000, 59_999, 60_000, 3_600_000, 90_000_000]
            .map(|millis| coarse(Duration::from_millis(millis)));
        assert_eq!(shown, ["0ms", "999ms", "1s", "59s", "1m", "1h", "1d"]);
    }
}
