//! `[dns]`: where queries come in, and by what.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::checked::{Dns, Https, IdentityFiles, Tcp};
use super::super::raw;
use super::Checker;

/// More threads than any machine's processors only cost memory.
const MOST_WORKERS: usize = 1024;

impl Checker<'_> {
    pub(super) fn dns(&mut self, raw: &raw::Dns) -> Option<Dns> {
        let default = vec!["127.0.0.1:5353".to_owned()];
        let texts = raw.listen.as_ref().unwrap_or(&default);
        if texts.is_empty() {
            self.note(
                "dns.listen",
                "an empty list",
                "at least one address and port",
                "name where queries come in",
            );
            return None;
        }
        let listen = self.addresses("dns.listen", texts);
        let workers = self.workers(raw.workers);
        let tcp = self.tcp(&raw.tcp);
        let tls = self.addresses("dns.tls.listen", raw.tls.listen.as_deref().unwrap_or_default());
        let https = self.https(&raw.https);
        let identity = self.identity(&raw.tls);
        let (tls, https, identity) = (tls?, https?, identity?);
        let encrypted = [("dns.tls.listen", &tls), ("dns.https.listen", &https.listen)].into_iter();
        for (key, listen) in encrypted {
            if let (Some(address), None) = (listen.first(), &identity) {
                let fix = "name their files in dns.tls.certificate and dns.tls.key";
                self.note(key, address, "a certificate and its key", fix);
            }
        }
        let settings = self.dns_settings(raw)?;
        let (listen, workers, tcp) = (listen?, workers?, tcp?);
        Some(Dns { listen, workers, tcp, tls, https, identity, settings })
    }

    fn addresses(&mut self, key: &str, texts: &[String]) -> Option<Vec<SocketAddr>> {
        let parsed: Vec<_> = texts.iter().map(|text| self.socket_address(key, text)).collect();
        parsed.into_iter().collect()
    }

    /// How many threads answer, if that is said.
    fn workers(&mut self, raw: Option<u32>) -> Option<Option<usize>> {
        let Some(count) = raw else { return Some(None) };
        match usize::try_from(count) {
            Ok(count) if (1..=MOST_WORKERS).contains(&count) => Some(Some(count)),
            _ => {
                let range = format!("1 to {MOST_WORKERS}");
                self.note("dns.workers", count, &range, "name as many as there are processors");
                None
            }
        }
    }

    fn tcp(&mut self, raw: &raw::Tcp) -> Option<Tcp> {
        let connections = self.at_least("dns.tcp.connections", raw.connections, 1024, 1);
        let of_prefix = self.at_least("dns.tcp.prefix_connections", raw.prefix_connections, 64, 1);
        let idle = self.duration("dns.tcp.idle", raw.idle.as_deref(), Duration::from_secs(10))?;
        if idle < Duration::from_millis(100) {
            let found = format!("{idle:?}");
            self.note("dns.tcp.idle", found, "100ms or more", "write some seconds: \"10s\"");
        }
        Some(Tcp { connections: connections?, prefix_connections: of_prefix?, idle })
    }

    fn https(&mut self, raw: &raw::Https) -> Option<Https> {
        let listen = self.addresses("dns.https.listen", raw.listen.as_deref().unwrap_or_default());
        let path = raw.path.clone().unwrap_or_else(|| "/dns-query".to_owned());
        let good = path.starts_with('/')
            && path.bytes().all(|octet| octet.is_ascii_graphic() && !b"?#{}".contains(&octet));
        if !good {
            let expected = "a path without a query, such as \"/dns-query\"";
            let fix = "begin with `/`; clients add `?dns=` themselves";
            self.note("dns.https.path", format!("{path:?}"), expected, fix);
        }
        Some(Https { listen: listen?, path })
    }

    /// Both files or none; `None` if something is wrong.
    fn identity(&mut self, raw: &raw::Tls) -> Option<Option<IdentityFiles>> {
        match (&raw.certificate, &raw.key) {
            (None, None) => Some(None),
            (Some(certificate), Some(key)) => Some(Some(IdentityFiles {
                certificate: self.folder.join(certificate),
                key: self.folder.join(key),
            })),
            (Some(certificate), None) => {
                let fix = "add dns.tls.key, the file with its private key";
                self.note("dns.tls.certificate", format!("{certificate:?}"), "a key as well", fix);
                None
            }
            (None, Some(key)) => {
                let fix = "add dns.tls.certificate, the file with its certificate";
                self.note("dns.tls.key", format!("{key:?}"), "a certificate as well", fix);
                None
            }
        }
    }
}
