//! The command line: raw flags become checked arguments once, here.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::daemon::Source;

mod bench;
mod check;
mod control;
mod demo;
mod dnssec;
mod image;
pub mod monitor;
mod query;
mod serve;
mod snapshot;
mod zone;

/// A just-in-time unikernel summoner: an authoritative DNS server that boots what it names.
#[derive(Debug, Parser)]
#[command(name = "summoner", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole path in a network namespace of its own: a query boots a unikernel, an idle one goes
    Demo,
    /// Runs the daemon
    Serve(ConfigArgs),
    /// Checks a configuration and says everything that is wrong with it
    Check(ConfigArgs),
    /// Lists the services: state, since when, why, memory, last used
    Ps {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// Prints JSON, with every stamp of the newest summon
        #[arg(long)]
        json: bool,
    },
    /// Wakes a service and waits until its guest is ready
    Wake {
        /// The service's key or one of its DNS names
        name: String,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Stops a service's guest and waits until it is gone; the next query or packet wakes it again
    Stop {
        /// The service's key or one of its DNS names
        name: String,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Prints the console of a service's guests
    Logs {
        /// The service's key or one of its DNS names
        name: String,
        /// Goes on with what comes later
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Lists, removes and renews what is kept of services, so that they need not boot
    Snapshot {
        #[command(subcommand)]
        command: snapshot::SnapshotCommand,
    },
    /// Measures from a request to its response: any deployment, or with --self this program next to ordinary processes
    Bench(Box<bench::BenchArgs>),
    /// Asks a DNS server one question, as `dig +short` does
    Query(query::QueryArgs),
    /// Shows the keys that the zones are signed with
    Dnssec {
        #[command(subcommand)]
        command: dnssec::DnssecCommand,
    },
    /// Prints the zones as master files, without templates and signatures: what would be served now
    Zone {
        #[command(flatten)]
        config: ConfigArgs,
        /// Only the zone with this apex
        apex: Option<String>,
    },
    /// Looks into images
    Image {
        #[command(subcommand)]
        command: image::ImageCommand,
    },
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file (TOML)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides one key of the file, for example `--set dns.listen=127.0.0.1:53`; may be repeated
    #[arg(short, long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

impl From<ConfigArgs> for Source {
    fn from(args: ConfigArgs) -> Self {
        Self { path: args.config, overrides: args.set }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Which daemon is meant.
#[derive(Debug, Args)]
struct DaemonArgs {
    /// The daemon's admin socket
    #[arg(short, long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The daemon's configuration file, which names its admin socket
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DaemonArgs {
    fn socket(&self) -> Result<PathBuf, Failure> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(file)) => Ok(crate::config::load(Some(file), &[])
                .map_err(|error| Failure::configuration(&error))?
                .admin
                .socket),
            (None, None) => Ok(Path::new(crate::config::DEFAULT_ADMIN_SOCKET).to_owned()),
        }
    }
}

/// How a command ends; the numbers are those of `sysexits.h`, and 1 is what `diff` and `cmp` say "no" with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// What was measured is not as it should be.
    Missed = 1,
    /// The command line cannot be understood.
    Usage = 64,
    /// Something outside is missing: no hypervisor, no daemon, no answer.
    Unavailable = 69,
    /// A part of the daemon failed.
    Internal = 70,
    /// The configuration is wrong.
    Configuration = 78,
}

/// Why a command failed: what to print, and the exit status.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    fn new(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { exit, text: crate::report(error) }
    }

    fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(Exit::Unavailable, error)
    }

    fn configuration(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

/// Parses the command line and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Standard output may be closed; then there is nobody to tell.
            let _ = error.print();
            let asked = !error.use_stderr();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(Exit::Usage as u8) };
        }
    };
    let done = match cli.command {
        Command::Demo => demo::run(),
        Command::Serve(config) => serve::run(config.into()),
        Command::Check(config) => check::run(&config.into()),
        Command::Ps { daemon, json } => control::ps(&daemon, json),
        Command::Wake { name, daemon } => control::wake(&daemon, name),
        Command::Stop { name, daemon } => control::stop(&daemon, name),
        Command::Logs { name, follow, daemon } => control::logs(&daemon, name, follow),
        Command::Snapshot { command } => snapshot::run(command),
        Command::Bench(args) => bench::run(*args),
        Command::Query(args) => query::run(&args),
        Command::Dnssec { command } => dnssec::run(command),
        Command::Zone { config, apex } => zone::run(config, apex.as_deref()),
        Command::Image { command } => image::run(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("summoner: {}", failure.text);
            ExitCode::from(failure.exit as u8)
        }
    }
}
