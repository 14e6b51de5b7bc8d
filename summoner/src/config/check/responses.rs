//! What responses are sent, and to whom: `dns.rate_limit`.

use std::sync::Arc;

use policies::budget::Limit;
use policies::response_rate::{ResponseClass, ResponseLimits};

use super::super::raw;
use super::Checker;
use crate::dns::RateLimit;

/// Most that may be remembered by a thread: 24 MiB.
const MOST_SLOTS: u32 = 1 << 20;

impl Checker<'_> {
    /// The inner `None`: no class is limited.
    pub(super) fn rate_limit(&mut self, raw: &raw::RateLimit) -> Option<Option<Arc<RateLimit>>> {
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
