//! `summoner serve`: the daemon.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use rustix::process::{WaitOptions, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;
use tracing_subscriber::EnvFilter;

use super::{Exit, Failure};
use crate::config::LogFormat;
use crate::daemon::{self, DaemonError, Source};

/// The DNS library warns of what is wrong with a message, which anybody may send; queries are counted instead. A filter that
/// names it still wins.
const QUIET: &str = "hickory_proto=error";

/// How long the processes of guests may take to end after the daemon itself.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) fn run(source: Source) -> Result<(), Failure> {
    let config = source.load().map_err(|error| Failure::configuration(&error))?;
    start_logging(&config.log).map_err(|error| Failure::configuration(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, &error))?;
    let served = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
        let shutdown = async move {
            // Without a handler for ^C the default one ends the process, which is what was asked for.
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        };
        daemon::serve(source, config, shutdown).await
    });
    // Closes every control socket, at which shells and their zygote end by themselves.
    drop(runtime);
    see_off();
    served.map_err(|error| Failure::new(exit_for(&error), &error))
}

/// Waits until no child process is left: whoever starts a daemon anew must find nothing of the old one.
fn see_off() {
    let patience = Instant::now() + FAREWELL;
    while let Ok(ended) = waitpid(None, WaitOptions::NOHANG) {
        if ended.is_none() {
            if Instant::now() >= patience {
                warn!("processes of guests are still ending; they are left to the kernel");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

const fn exit_for(error: &DaemonError) -> Exit {
    match error {
        DaemonError::Kvm(_)
        | DaemonError::State(_)
        | DaemonError::Snapshots(_)
        | DaemonError::Network(_)
        | DaemonError::Segment(_)
        | DaemonError::Engine(_)
        | DaemonError::Bind { .. }
        | DaemonError::Admin(_) => Exit::Unavailable,
        DaemonError::Deploy(_) | DaemonError::Publish(_) | DaemonError::Tls(_) => {
            Exit::Configuration
        }
        DaemonError::Signals(_) | DaemonError::Dns(_) | DaemonError::Switch(_) => Exit::Internal,
    }
}

fn start_logging(log: &crate::config::Log) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
