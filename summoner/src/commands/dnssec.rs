//! `summoner dnssec`: the keys of the zones, in the words of the parent and of validators.

use clap::Subcommand;
use hickory_proto::rr::Name;

use super::{ConfigArgs, Exit, Failure};
use crate::daemon::Source;
use crate::dnssec::{KeyFolder, NamedKey};
use crate::publish;

#[derive(Debug, Subcommand)]
pub(super) enum DnssecCommand {
    /// Prints the DS records that the zones' parents have to publish
    Ds(ConfigArgs),
    /// Prints the public keys, as DNSKEY records: also the form of a trust anchor
    Keys(ConfigArgs),
}

pub(super) fn run(command: DnssecCommand) -> Result<(), Failure> {
    match command {
        DnssecCommand::Ds(args) => each(args, |apex, named| {
            let ds = named.key.ds(apex).map_err(|error| Failure::new(Exit::Internal, &error))?;
            println!("{apex}\tIN\tDS\t{ds}");
            Ok(())
        }),
        DnssecCommand::Keys(args) => each(args, |apex, named| {
            let key = &named.key;
            println!("{apex}\tIN\tDNSKEY\t{} ; {}, tag {}", key.dnskey(), named.name, key.tag());
            Ok(())
        }),
    }
}

fn each(
    args: ConfigArgs,
    print: impl Fn(&Name, &NamedKey) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = Source::from(args).load().map_err(|error| Failure::configuration(&error))?;
    if !config.dnssec.enabled {
        let text = "the zones are not signed; set `dnssec.enabled` to true".to_owned();
        return Err(Failure { exit: Exit::Configuration, text });
    }
    let folder = KeyFolder::of(&config.state_dir);
    for apex in publish::apexes(&config) {
        let keys = folder.read(&apex, &config.dnssec.keys);
        for named in keys.map_err(|error| Failure::unavailable(&error))? {
            print(&apex, &named)?;
        }
    }
    Ok(())
}
