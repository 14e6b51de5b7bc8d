//! `summoner bench`: measures, compares, and says whether objectives were met.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hickory_proto::rr::Name;
use policies::units::parse_duration;

use super::{Exit, Failure};
use crate::bench::BenchError;
use crate::bench::client::Manner;
use crate::bench::compare;
use crate::bench::flood;
use crate::bench::holding;
use crate::bench::report::{Report, plots, text};
use crate::bench::schedule::{Arrivals, Mix, Rate};
use crate::bench::slo::{Miss, Objective};
use crate::bench::suite::{self, Options, Scenario};
use crate::bench::target::{self, Target};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["own", "flood", "holding", "dns", "compare"]))]
pub(super) struct BenchArgs {
    /// Measures this program in a network namespace of its own, next to ordinary processes, and holds it against
    /// this project's goals
    #[arg(long = "self")]
    own: bool,
    /// Less of everything: shows that it works, gives no figures to quote
    #[arg(long, requires = "own")]
    quick: bool,
    /// Only these parts: cold, no_hold, create, churn, burst, dns, throughput
    #[arg(long, requires = "own", value_name = "PART", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Turns of the part `cold`
    #[arg(long, requires = "own", value_name = "N", value_parser = at_least_one)]
    iterations: Option<usize>,
    /// Instances of the part `create`
    #[arg(long, requires = "own", value_name = "N", value_parser = at_least_one)]
    instances: Option<usize>,

    /// Floods a cold and a running service with forged SYNs, in a network namespace of its own, and measures what their
    /// clients notice
    #[arg(long)]
    flood: bool,
    /// Forged SYNs in a second
    #[arg(long, requires = "flood", value_name = "N/s", default_value = "100000/s")]
    forged: Rate,
    /// How long the flood lasts
    #[arg(long, requires = "flood", value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    lasting: Duration,

    /// Measures what holding the first packets of a service's clients is worth: a client at a distance of 100 ms, a
    /// guest that listens 300 ms after the wake
    #[arg(long)]
    holding: bool,
    /// Connections of --holding, in each manner
    #[arg(long, requires = "holding", value_name = "N", default_value = "120", value_parser = at_least_one)]
    connections: usize,

    /// Measures a deployment: the DNS server's address and port
    #[arg(long, value_name = "ADDR:PORT", requires = "name")]
    dns: Option<SocketAddr>,
    /// Names of the services to ask for
    #[arg(long, requires = "dns", value_name = "NAME", value_delimiter = ',')]
    name: Vec<Name>,
    /// Requests in a unit of time, however long they take to be answered
    #[arg(long, requires = "dns", value_name = "N/s", default_value = "10/s")]
    rate: Rate,
    /// Independent clients: random gaps with that mean
    #[arg(long, requires = "dns")]
    poisson: bool,
    /// As many at the same instant, in place of one after the other; the rate is then of bursts
    #[arg(long, requires = "dns", value_name = "N", conflicts_with = "poisson", value_parser = at_least_one)]
    burst: Option<usize>,
    /// How long
    #[arg(long, requires = "dns", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// What state requests find services in, with weights: any, warm, cold, held (cold, without a query); each has
    /// names of its own. Cold ones need --admin
    #[arg(long, requires = "dns", value_name = "KIND=N,..", default_value = "any")]
    mix: Mix,
    /// The services' TCP port
    #[arg(long, requires = "dns", default_value_t = 80)]
    port: u16,
    /// The page's path
    #[arg(long, requires = "dns", default_value = "/")]
    path: String,
    /// A page without this text is a failure
    #[arg(long, requires = "dns", value_name = "TEXT")]
    expect: Option<String>,
    /// Asks for IPv6 addresses
    #[arg(long, requires = "dns")]
    ipv6: bool,
    /// How long each step of a request may take
    #[arg(long, requires = "dns", value_name = "TIME", default_value = "15s", value_parser = parse_duration)]
    timeout: Duration,
    /// The daemon's admin socket, for boots and their phases
    #[arg(long, requires = "dns", value_name = "PATH")]
    admin: Option<PathBuf>,
    /// The daemon's `metrics.listen`, for wakes
    #[arg(long, requires = "admin", value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,

    /// Brings back the random numbers of another run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Writes everything, values too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws latency.svg, instances.svg and holding.svg into a folder, as far as they were measured
    #[arg(long, value_name = "FOLDER")]
    plot: Option<PathBuf>,
    /// Ends with status 1 if a figure of the JSON is not as it should be: "cold.p99<=5ms,failed==0"
    #[arg(long, value_name = "FIGURE<=LIMIT,..", value_delimiter = ',')]
    slo: Vec<Objective>,
    /// Compares two runs' JSON by a rank test
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"], conflicts_with_all = ["json", "plot", "slo", "seed"])]
    compare: Option<Vec<PathBuf>>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "a whole number above 0".to_owned())
}

pub(super) fn run(args: BenchArgs) -> Result<(), Failure> {
    if let Some([before, after]) = args.compare.as_deref() {
        let read = |path| Report::read(path).map_err(|error| Failure::unavailable(&error));
        print!("{}", compare::render(&read(before)?, &read(after)?));
        return Ok(());
    }
    let (json, plot, slo) = (args.json.clone(), args.plot.clone(), args.slo.clone());
    let report = measure(args).map_err(|error| Failure::new(exit_for(&error), &error))?;
    print!("{}", text::render(&report));
    let unwritten = |error| Failure::unavailable(&error);
    if let Some(path) = json {
        report.write(&path).map_err(unwritten)?;
    }
    if let Some(folder) = plot {
        for path in plots::write(&report, &folder).map_err(unwritten)? {
            println!("drew {}", path.display());
        }
    }
    judge(&report, &slo)
}

fn measure(args: BenchArgs) -> Result<Report, BenchError> {
    // Any number will do; it is printed.
    let seed = args.seed.unwrap_or_else(|| crate::clock::now().as_nanos() % 1_000_000);
    let command = command_line();
    if args.flood {
        let per_second = 1.0 / args.forged.gap().as_secs_f64();
        let options = flood::Options { per_second, length: args.lasting, seed };
        return flood::run(&options, command, &|step| eprintln!("{step}"));
    }
    if args.holding {
        return holding::run(&holding::Options::usual(args.connections, seed), command);
    }
    let Some(dns) = args.dns else {
        let mut options = if args.quick { Options::quick(seed) } else { Options::whole(seed) };
        options.iterations = args.iterations.unwrap_or(options.iterations);
        options.instances = args.instances.unwrap_or(options.instances);
        if !args.only.is_empty() {
            options.scenarios = args.only;
        }
        return suite::run(&options, command, &|step| eprintln!("{step}"));
    };
    let arrivals = match (args.burst, args.poisson) {
        (Some(size), _) => Arrivals::Burst { size, every: args.rate.gap() },
        (None, true) => Arrivals::Poisson(args.rate),
        (None, false) => Arrivals::Constant(args.rate),
    };
    let absolute = |mut name: Name| {
        name.set_fqdn(true);
        name
    };
    let target = Target {
        dns,
        names: args.name.into_iter().map(absolute).collect(),
        manner: Manner { port: args.port, path: args.path, ipv6: args.ipv6 },
        expected: args.expect,
        arrivals,
        duration: args.duration,
        mix: args.mix,
        patience: args.timeout,
        admin: args.admin,
        metrics: args.metrics,
        seed,
    };
    target::run(&target, command)
}

/// What was asked for, for the report: the arguments as they were given.
fn command_line() -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments: Vec<String> =
        arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    format!("summoner {}", arguments.join(" "))
}

const fn exit_for(error: &BenchError) -> Exit {
    match error {
        BenchError::TooFewNames { .. } | BenchError::NoWayToCool => Exit::Usage,
        BenchError::Place(_)
        | BenchError::Admin(_)
        | BenchError::Scrape(_)
        | BenchError::Lab(_)
        | BenchError::Load(_)
        | BenchError::Flood(_)
        | BenchError::Resolve(_)
        | BenchError::Unprepared { .. } => Exit::Unavailable,
        BenchError::Daemon(_)
        | BenchError::Baseline(_)
        | BenchError::Peer(_)
        | BenchError::Image(_)
        | BenchError::Folder(_)
        | BenchError::Name(_)
        | BenchError::Own(_) => Exit::Internal,
    }
}

/// Says which objectives were missed, and by how much.
fn judge(report: &Report, objectives: &[Objective]) -> Result<(), Failure> {
    let report =
        serde_json::to_value(report).map_err(|error| Failure::new(Exit::Internal, &error))?;
    let missed: Vec<Miss> =
        objectives.iter().filter_map(|objective| objective.check(&report).err()).collect();
    if missed.is_empty() {
        if !objectives.is_empty() {
            println!("all {} objectives are met", objectives.len());
        }
        return Ok(());
    }
    let lines: Vec<String> = missed.iter().map(|miss| format!("  {miss}")).collect();
    let text = format!(
        "{} of {} objectives are missed:\n{}",
        missed.len(),
        objectives.len(),
        lines.join("\n")
    );
    Err(Failure { exit: Exit::Missed, text })
}
