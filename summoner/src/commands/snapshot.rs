//! `summoner snapshot`: what is kept of services, so that they need not boot.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Subcommand;

use super::control::{ask, coarse, table, unexpected};
use super::{DaemonArgs, Failure};
use crate::admin::protocol::{Reply, Request};
use crate::orchestrator::SnapshotStatus;

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Lists the snapshots: service, kind, size, age, and whether the next summon will use them
    Ls {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes the snapshots of a service, a suspended instance included; the next summon boots
    Rm {
        /// The service's key or one of its DNS names
        name: String,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Removes the snapshots of a service, destroys its guest and boots a new one, which is kept again
    Rebuild {
        /// The service's key or one of its DNS names
        name: String,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
}

pub(super) fn run(command: SnapshotCommand) -> Result<(), Failure> {
    match command {
        SnapshotCommand::Ls { daemon, json } => list(&daemon, json),
        SnapshotCommand::Rm { name, daemon } => {
            let Reply::Removed(count) =
                ask(&daemon, &Request::RemoveSnapshots { name: name.clone() })?
            else {
                return Err(unexpected());
            };
            match count {
                0 => println!("{name} has no snapshot"),
                1 => println!("removed 1 snapshot of {name}"),
                count => println!("removed {count} snapshots of {name}"),
            }
            Ok(())
        }
        SnapshotCommand::Rebuild { name, daemon } => {
            let Reply::Awake(_) = ask(&daemon, &Request::RebuildSnapshot { name: name.clone() })?
            else {
                return Err(unexpected());
            };
            println!(
                "{name} booted anew; if its image can be kept, `summoner snapshot ls` shows the new snapshot"
            );
            Ok(())
        }
    }
}

fn list(daemon: &DaemonArgs, json: bool) -> Result<(), Failure> {
    let Reply::Snapshots(snapshots) = ask(daemon, &Request::Snapshots)? else {
        return Err(unexpected());
    };
    let mut out = std::io::stdout().lock();
    // A closed pipe is not an error.
    let _ = if json {
        serde_json::to_string_pretty(&snapshots)
            .map_err(std::io::Error::from)
            .and_then(|text| writeln!(out, "{text}"))
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let rows = snapshots.iter().map(|snapshot| row(now, snapshot));
        table(&mut out, ["SERVICE", "KIND", "SIZE", "ON DISK", "AGE", "STATE"], rows)
    };
    Ok(())
}

/// `now` is since 1970-01-01 UTC, as the stamps are.
fn row(now: Duration, snapshot: &SnapshotStatus) -> [String; 6] {
    let age = Duration::from_secs(now.as_secs().saturating_sub(snapshot.created));
    [
        snapshot.service.clone(),
        snapshot.kind.clone(),
        kib(snapshot.size),
        kib(snapshot.stored),
        coarse(age),
        match &snapshot.stale {
            None => "usable".to_owned(),
            Some(reason) => format!("stale: {reason}"),
        },
    ]
}

/// States are whole pages: KiB say all there is to say.
fn kib(octets: u64) -> String {
    format!("{}KiB", octets.div_ceil(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_there_is_and_whether_it_is_used() {
        let snapshot = SnapshotStatus {
            service: "web".to_owned(),
            kind: "ready".to_owned(),
            size: 8192,
            stored: 4096,
            created: 1_000_000,
            stale: None,
        };
        let now = Duration::from_secs(1_000_090);
        assert_eq!(row(now, &snapshot), ["web", "ready", "8KiB", "4KiB", "1m", "usable"]);
        let stale = SnapshotStatus { stale: Some("old".to_owned()), ..snapshot };
        assert_eq!(row(Duration::ZERO, &stale)[4..], ["0ms", "stale: old"]);
    }
}
