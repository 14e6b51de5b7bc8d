//! What is sent besides what the zones say, and how often: `dns.rate_limit`, `dns.cookies`, `dns.nsid`, `dns.version`.

use std::sync::Arc;

use policies::budget::Limit;
use policies::response_rate::{ResponseClass, ResponseLimits};

use super::super::raw;
use super::Checker;
use crate::dns::{CookieSecrets, Cookies, RateLimit, Settings};

/// Most that may be remembered by a thread: 24 MiB.
const MOST_SLOTS: u32 = 1 << 20;

impl Checker<'_> {
    pub(super) fn dns_settings(&mut self, raw: &raw::Dns) -> Option<Settings> {
        let rate_limit = self.rate_limit(&raw.rate_limit);
        let cookies = self.cookies(raw);
        let identity = self.own_text("dns.nsid", raw.nsid.as_deref());
        let version = self.own_text("dns.version", raw.version.as_deref());
        Some(Settings {
            rate_limit: rate_limit?,
            cookies: cookies?,
            identity: identity?,
            version: version?,
        })
    }

    /// The inner `None`: none are answered.
    fn cookies(&mut self, raw: &raw::Dns) -> Option<Option<CookieSecrets>> {
        const FILE: &str = "dns.cookie_secret_file";
        let enabled = raw.cookies.unwrap_or(true);
        let Some(path) = &raw.cookie_secret_file else {
            return Some(enabled.then_some(CookieSecrets::OfThisServer));
        };
        let path = self.folder.join(path);
        let expected = "a file with a secret of 32 hexadecimal digits on each line";
        let fix = "write it with `openssl rand -hex 16`, and copy it to every server of the zone";
        let cookies = match std::fs::read_to_string(&path) {
            Ok(text) => Cookies::shared(&text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match cookies {
            Ok(cookies) => Some(enabled.then_some(CookieSecrets::Shared(cookies))),
            Err(error) => {
                self.note(FILE, format!("{} ({error})", path.display()), expected, fix);
                None
            }
        }
    }

    /// What the server says of itself; the inner `None`: nothing.
    fn own_text(&mut self, key: &str, text: Option<&str>) -> Option<Option<String>> {
        match text {
            None | Some("none") => Some(None),
            // The length of a string in a TXT record (RFC 1035, section 3.3).
            Some(text) if (1..=255).contains(&text.len()) => Some(Some(text.to_owned())),
            Some(text) => {
                let found = format!("{} octets", text.len());
                self.note(key, found, "1 to 255 octets, or \"none\"", "write another text");
                None
            }
        }
    }

    /// The inner `None`: no class is limited.
    fn rate_limit(&mut self, raw: &raw::RateLimit) -> Option<Option<Arc<RateLimit>>> {
        let rate = raw.rate.as_deref().unwrap_or("200/s");
        let all = self.response_limit("rate", rate);
        let classes = ResponseClass::ALL.map(|class| {
            let (key, text) = match class {
                ResponseClass::Answer => ("answers", &raw.answers),
                ResponseClass::NoData => ("nodata", &raw.nodata),
                ResponseClass::NxDomain => ("nxdomain", &raw.nxdomain),
                ResponseClass::Referral => ("referrals", &raw.referrals),
                ResponseClass::Refused => ("refused", &raw.refused),
                ResponseClass::Error => ("errors", &raw.errors),
            };
            text.as_deref().map_or(all, |text| self.response_limit(key, text))
        });
        let default = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
        let texts = raw.allow.as_ref().unwrap_or(&default);
        let allow = self.prefixes("dns.rate_limit.allow", Some(texts));
        let slots = raw.slots.unwrap_or(65_536);
        if !(1024..=MOST_SLOTS).contains(&slots) {
            let expected = format!("1024 to {MOST_SLOTS}");
            self.note("dns.rate_limit.slots", slots, &expected, "leave it out for 65536");
        }
        let mut limits =
            ResponseLimits { classes: [None; ResponseClass::COUNT], slip: raw.slip.unwrap_or(2) };
        for (class, limit) in ResponseClass::ALL.into_iter().zip(classes) {
            limits.classes[class.index()] = limit?;
        }
        let rate_limit = RateLimit {
            limits,
            allow: allow?,
            dry_run: raw.dry_run.unwrap_or(false),
            slots: usize::try_from(slots).ok()?,
        };
        let limited = rate_limit.limits.classes.iter().any(Option::is_some);
        Some(limited.then(|| Arc::new(rate_limit)))
    }

    /// A rate, or `none`.
    fn response_limit(&mut self, key: &str, text: &str) -> Option<Option<Limit>> {
        if text == "none" {
            return Some(None);
        }
        let rate = self.rate(&format!("dns.rate_limit.{key}"), Some(text), "")?;
        Some(Some(Limit::of_a_second(rate)))
    }
}
