//! `[zone.transfer]` and `[tsig]`: secondaries, and the secrets shared with them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64;
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use ipnet::IpNet;

use super::super::checked::{TransferSettings, TsigKey};
use super::super::raw;
use super::Checker;

/// The shortest secret that is taken, in octets: nobody guesses 128 bits.
const SHORTEST_SECRET: usize = 16;
/// Where word of a change is taken if nothing else is said.
const DNS_PORT: u16 = 53;

impl Checker<'_> {
    pub(super) fn transfer(
        &mut self,
        raw: &raw::Transfer,
        keys: &BTreeMap<String, TsigKey>,
    ) -> Option<TransferSettings> {
        let key = match raw.key.as_ref().map(|key| (key, keys.get(key))) {
            None => None,
            Some((_, Some(key))) => Some(key.name.clone()),
            Some((key, None)) => {
                let fix = "add `[tsig.NAME]` for it, or correct the name";
                self.note("zone.transfer.key", format!("{key:?}"), "a key under `[tsig]`", fix);
                None
            }
        };
        let to = self.each("zone.transfer.to", raw.to.as_deref(), prefix, |checker, key, text| {
            let expected = "a prefix such as \"192.0.2.0/24\", or an address";
            checker.note(key, format!("{text:?}"), expected, "write an IP address, not a name");
        });
        let notify = self.each(
            "zone.transfer.notify",
            raw.notify.as_deref(),
            target,
            |checker, key, text| {
                let expected = "an address such as \"192.0.2.53\" or \"[2001:db8::1]:5353\"";
                checker.note(key, format!("{text:?}"), expected, "write an IP address, not a name");
            },
        );
        let settings = TransferSettings { to: to?, key, notify: notify? };
        if let (Some(first), true, None) =
            (settings.notify.first(), settings.to.is_empty(), &raw.key)
        {
            let fix = "name them in zone.transfer.to, or give zone.transfer.key";
            let expected = "secondaries that may have the zone they are told about";
            self.note("zone.transfer.notify", first, expected, fix);
        }
        Some(settings)
    }

    fn each<T>(
        &mut self,
        key: &str,
        texts: Option<&[String]>,
        parse: impl Fn(&str) -> Option<T>,
        complain: impl Fn(&mut Self, &str, &str),
    ) -> Option<Vec<T>> {
        let parsed = texts.unwrap_or_default().iter().map(|text| {
            let value = parse(text);
            if value.is_none() {
                complain(self, key, text);
            }
            value
        });
        // All of them are looked at before the first wrong one ends it.
        parsed.collect::<Vec<_>>().into_iter().collect()
    }

    /// The keys that can be read, by the names of their tables.
    pub(super) fn tsig(&mut self, raw: &BTreeMap<String, raw::Tsig>) -> BTreeMap<String, TsigKey> {
        let keys = raw.iter().filter_map(|(table, raw)| {
            Some((table.clone(), self.tsig_key(&format!("tsig.{table}"), table, raw)?))
        });
        keys.collect()
    }

    fn tsig_key(&mut self, path: &str, table: &str, raw: &raw::Tsig) -> Option<TsigKey> {
        let words = [
            ("hmac-sha256", TsigAlgorithm::HmacSha256),
            ("hmac-sha384", TsigAlgorithm::HmacSha384),
            ("hmac-sha512", TsigAlgorithm::HmacSha512),
        ];
        let words = words.each_ref().map(|(word, algorithm)| (*word, algorithm));
        let algorithm =
            self.word(&format!("{path}.algorithm"), raw.algorithm.as_deref(), &words)?.clone();
        let name = raw.name.as_deref().unwrap_or(table);
        let name = self.name(&format!("{path}.name"), name, &Name::root())?;
        let (key, text) = match (&raw.secret, &raw.secret_file) {
            (Some(secret), None) => (format!("{path}.secret"), secret.clone()),
            (None, Some(file)) => {
                let key = format!("{path}.secret_file");
                let file = self.folder.join(file);
                match fs::read_to_string(&file) {
                    Ok(text) => (key, text),
                    Err(error) => {
                        let found = format!("{} ({error})", file.display());
                        self.note(&key, found, "a file that can be read", "correct the path");
                        return None;
                    }
                }
            }
            (Some(_), Some(_)) | (None, None) => {
                let fix = "give one of the two: `openssl rand -base64 32` makes a secret";
                self.note(path, "both or neither", "`secret` or `secret_file`", fix);
                return None;
            }
        };
        match BASE64.decode(text.trim().as_bytes()) {
            Ok(secret) if secret.len() >= SHORTEST_SECRET => {
                Some(TsigKey { name, algorithm, secret })
            }
            // What was found is a secret, and is not shown.
            Ok(_) | Err(_) => {
                let expected = format!("base64 of {SHORTEST_SECRET} octets or more");
                let fix = "make one with `openssl rand -base64 32`";
                self.note(&key, "something else", &expected, fix);
                None
            }
        }
    }
}

fn prefix(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn target(text: &str) -> Option<SocketAddr> {
    let with_port = |ip| SocketAddr::new(ip, DNS_PORT);
    text.parse().ok().or_else(|| text.parse().ok().map(with_port))
}
