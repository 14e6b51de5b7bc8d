//! `summoner query`: one question to a DNS server.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

use super::{Exit, Failure};
use crate::resolve;

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// The name asked for
    name: Name,
    /// The type asked for
    #[arg(default_value = "A")]
    qtype: RecordType,
    /// The server's address and port
    #[arg(short, long, default_value = "127.0.0.1:53")]
    server: SocketAddr,
}

pub(super) fn run(args: &QueryArgs) -> Result<(), Failure> {
    let mut name = args.name.clone();
    name.set_fqdn(true);
    let answer = resolve::ask(args.server, &name, args.qtype, PATIENCE)
        .map_err(|error| Failure::unavailable(&error))?;
    for record in &answer.answers {
        println!("{}", zone::master::print_data(record));
    }
    let code = answer.metadata.response_code;
    if code == ResponseCode::NoError {
        return Ok(());
    }
    Err(Failure { exit: Exit::Unavailable, text: format!("{name} {}: {code}", args.qtype) })
}
