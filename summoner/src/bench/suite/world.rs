//! A daemon of the suite: its configuration, its services, and what it counted at its end.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use hickory_proto::rr::Name;

use super::Suite;
use crate::bench::BenchError;
use crate::bench::admin::Admin;
use crate::bench::client::{Ask, Client, Manner};
use crate::bench::load::LoadError;
use crate::bench::scrape;
use crate::config::keys;
use crate::harness::{Daemon, DaemonSetup};

/// A zone that nobody can own (RFC 6761).
const APEX: &str = "bench.test";
/// How long each step of a request may take. Beyond the kernel's SYN retransmissions after 1, 3 and 7 seconds, so that
/// those are seen and not cut off.
const PATIENCE: Duration = Duration::from_secs(15);
/// From a first boot to its end, so that what is kept of it is.
pub(super) const KEPT_AFTER: Duration = Duration::from_millis(5);
/// The key of what services are, if that is not the default service.
const IMAGE: &str = "services.*.image";
/// What a guest of the suite has.
const GUEST_MEMORY_MIB: usize = 8;

/// How a daemon differs from the default.
#[derive(Debug)]
pub(super) struct World<'a> {
    /// For people.
    pub(super) name: &'a str,
    /// How many services it has.
    pub(super) services: usize,
    /// When they are reaped.
    pub(super) idle: &'a str,
    /// Keys and values, as for `--set`. In a key, `*` stands for every service.
    pub(super) set: &'a [(&'a str, &'a str)],
}

/// A daemon that runs, and how to ask for its services.
pub(super) struct Running {
    name: String,
    /// Whether its services are to have snapshots.
    snapshots: bool,
    daemon: Daemon,
    pub(super) admin: Admin,
    dns: SocketAddr,
    metrics: SocketAddr,
    seed: u64,
    /// The services' keys.
    pub(super) keys: Vec<String>,
    /// A request for each.
    pub(super) asks: Vec<Ask>,
}

impl World<'_> {
    /// Starts the daemon. A key that this version does not have is left out, and the report says so.
    pub(super) fn start(&self, suite: &mut Suite<'_>) -> Result<Running, BenchError> {
        suite.daemons += 1;
        let number = suite.daemons;
        let set = self.known_keys(suite);
        let keys: Vec<String> = (0..self.services).map(|index| format!("s{index:04}")).collect();
        let configuration = self.configuration(number, &keys, &set);
        let of_daemon = set.iter().filter(|(key, _)| !key.contains('*'));
        let overrides: Vec<(String, String)> =
            of_daemon.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let name = format!("bench{number}");
        let setup =
            DaemonSetup { name: &name, configuration: &configuration, overrides: &overrides };
        let daemon = Daemon::start(&setup)?;
        let ask = |key: &String| -> Result<Ask, BenchError> {
            let name = Name::from_ascii(format!("{key}.{APEX}.")).map_err(BenchError::Name)?;
            Ok(Ask::new(&name, &Manner::default(), Some(format!("Hello from {key}<")))?)
        };
        let asks = keys.iter().map(ask).collect::<Result<_, _>>()?;
        let (dns, metrics) = (port(5300, number), port(9300, number));
        let admin = Admin::new(daemon.socket());
        let seed = suite.random.bits();
        let snapshots = !set.contains(&("services.*.snapshot", "false"));
        Ok(Running {
            name: self.name.to_owned(),
            snapshots,
            daemon,
            admin,
            dns,
            metrics,
            seed,
            keys,
            asks,
        })
    }

    fn known_keys(&self, suite: &mut Suite<'_>) -> Vec<(&str, &str)> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            self.set.iter().copied().partition(|(key, _)| is_known(key));
        for (key, value) in unknown {
            suite.recorder.note(format!(
                "`{}` was measured without {key} = {value}: this version has no such key",
                self.name
            ));
        }
        known
    }

    fn configuration(&self, number: u8, keys: &[String], set: &[(&str, &str)]) -> String {
        let (dns, metrics) = (port(5300, number), port(9300, number));
        let memory = (keys.len() + 8) * GUEST_MEMORY_MIB;
        let mut text = format!(
            "state_dir = \"state\"\n\
             [dns]\nlisten = [\"{dns}\"]\n\
             [zone]\napex = \"{APEX}\"\n\
             [network]\ninterface = \"bench{number}\"\nipv4 = \"10.{}.0.0/16\"\nipv6 = \"fd77:6a69:74{number:02x}::/64\"\n\
             [admin]\nsocket = \"{}\"\n\
             [metrics]\nlisten = \"{metrics}\"\n",
            100 + u16::from(number),
            crate::harness::daemon::SOCKET,
        );
        // Writing to a string cannot fail.
        if keys.len() > 200 {
            let _ = writeln!(
                text,
                "[limits]\ninstances = {}\nmemory = \"{memory}MiB\"",
                keys.len() + 8
            );
        }
        let image = set.iter().find(|(path, _)| *path == IMAGE);
        let image = image.map_or("\"builtin:hello\"", |(_, image)| *image);
        for key in keys {
            let idle = self.idle;
            let _ = writeln!(
                text,
                "[services.{key}]\nimage = {image}\nmemory = \"{GUEST_MEMORY_MIB}MiB\"\nidle = \"{idle}\""
            );
            for (path, value) in set.iter().filter(|(path, _)| *path != IMAGE) {
                if let Some(field) = path.strip_prefix("services.*.") {
                    let _ = writeln!(text, "{field} = {value}");
                }
            }
        }
        text
    }
}

/// Whether this version has a key.
fn is_known(key: &str) -> bool {
    keys::find(&key.replace('*', "any")).is_some()
}

fn port(base: u16, number: u8) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, base + u16::from(number)).into()
}

impl Running {
    /// A client of this daemon.
    pub(super) fn client(&self, index: usize) -> std::io::Result<Client> {
        let index = u64::try_from(index).unwrap_or(0);
        Client::new(self.dns, PATIENCE, self.seed.wrapping_add(index))
    }

    /// The client of who asks one after the other.
    pub(super) fn one_client(&self) -> Result<Client, BenchError> {
        Ok(self.client(0).map_err(LoadError::Client)?)
    }

    /// Boots services once and stops them again: what a daemon makes at a service's first boot is there then. How many
    /// have a snapshot is noted, if they are to have one.
    pub(super) fn prime(
        &self,
        suite: &mut Suite<'_>,
        services: std::ops::Range<usize>,
    ) -> Result<(), BenchError> {
        for key in &self.keys[services] {
            self.admin.wake(key)?;
            // What is made of the first boot must not be cut off by its end.
            thread::sleep(KEPT_AFTER);
            self.admin.stop(key)?;
        }
        self.note_snapshots(suite)
    }

    /// Notes how many services have a snapshot, if they are to have one.
    pub(super) fn note_snapshots(&self, suite: &mut Suite<'_>) -> Result<(), BenchError> {
        if self.snapshots {
            let (kept, name, all) = (self.admin.snapshots()?, &self.name, self.keys.len());
            suite
                .recorder
                .note(format!("{name}: {kept} of {all} services had a snapshot at the start"));
        }
        Ok(())
    }

    /// The daemon's process.
    pub(super) fn process(&self) -> u32 {
        self.daemon.process()
    }

    /// How many frames the switch has taken in so far, from both sides.
    pub(super) fn frames(&self) -> Result<u64, BenchError> {
        Ok(scrape::frames(self.metrics)?)
    }

    /// Makes services cold.
    pub(super) fn cool(&self, services: std::ops::Range<usize>) -> Result<(), BenchError> {
        Ok(self.admin.make_cold(self.keys[services].iter().map(String::as_str))?)
    }

    /// Runs `measure`; then asks what the daemon counted and stops it. When anything fails, what the daemon logged is
    /// told too.
    pub(super) fn during(
        mut self,
        suite: &mut Suite<'_>,
        measure: impl FnOnce(&mut Suite<'_>, &Self) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let measured = measure(suite, &self).and_then(|()| self.end(suite));
        if measured.is_err() {
            (suite.progress)(&format!("--- the daemon's log ---\n{}---", self.daemon.log()));
        }
        measured
    }

    /// Counts and stops.
    pub(super) fn end(&mut self, suite: &mut Suite<'_>) -> Result<(), BenchError> {
        let (wakes, boots) = (scrape::wakes(self.metrics)?, self.admin.boots()?);
        suite.recorder.counted(Some(wakes), boots);
        Ok(self.daemon.stop()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_one_that_the_daemon_takes() {
        let keys: Vec<String> = (0..300).map(|index| format!("s{index:04}")).collect();
        let set = [("services.*.hold.bytes", "\"1B\""), ("limits.booting", "64")];
        let world = World { name: "test", services: 300, idle: "1h", set: &set };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("summoner.toml");
        std::fs::write(&file, world.configuration(7, &keys, &set)).unwrap();
        let overrides = [("limits.booting".to_owned(), "64".to_owned())];
        let config = crate::config::load(Some(&file), &overrides).unwrap();
        assert_eq!(config.services.len(), 300);
        assert_eq!((config.limits.instances, config.limits.booting), (308, 64));
        assert_eq!(config.services["s0299"].hold.bytes, 1);
        assert_eq!(config.network.attach.interface(), "bench7");
    }

    #[test]
    fn keys_are_known_or_not() {
        assert!(is_known("limits.ready_shells") && is_known("services.*.idle"));
        assert!(!is_known("limits.there_is_no_such_key") && !is_known("services.*.no_such"));
    }
}
