//! `dnssec`: whether and how the zones are signed.

use std::time::Duration;

use super::super::checked::{Dnssec, ZoneSettings};
use super::super::raw;
use super::Checker;
use crate::dnssec::Algorithm;

/// The name of the key if nobody names one.
const FIRST_KEY: &str = "first";
/// More keys than any rollover has; each makes every signed answer longer.
const MOST_KEYS: usize = 4;
const DAY: Duration = Duration::from_secs(86_400);
const LONGEST_VALIDITY: Duration = DAY.saturating_mul(366);

impl Checker<'_> {
    pub(super) fn dnssec(&mut self, raw: &raw::Dnssec, zone: &ZoneSettings) -> Option<Dnssec> {
        let words =
            [("ecdsap256sha256", Algorithm::EcdsaP256Sha256), ("ed25519", Algorithm::Ed25519)];
        let algorithm = self.word("dnssec.algorithm", raw.algorithm.as_deref(), &words);
        let keys = raw.keys.clone().unwrap_or_else(|| vec![FIRST_KEY.to_owned()]);
        let keys = self.key_names(&keys).then_some(keys);
        let enabled = raw.enabled.unwrap_or(false);
        let validity = self.validity(raw.validity.as_deref(), enabled, zone);
        Some(Dnssec { enabled, algorithm: algorithm?, keys: keys?, validity: validity? })
    }

    fn key_names(&mut self, keys: &[String]) -> bool {
        let key = "dnssec.keys";
        if keys.is_empty() || keys.len() > MOST_KEYS {
            let expected = format!("one to {MOST_KEYS} names");
            self.note(
                key,
                format!("{} names", keys.len()),
                &expected,
                "name one key, or two while one replaces another",
            );
            return false;
        }
        for (index, name) in keys.iter().enumerate() {
            let plain =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
                let expected = "names of up to 32 lower-case letters, digits, `-` and `_`";
                self.note(
                    key,
                    format!("{name:?}"),
                    expected,
                    "choose another name; it is the name of a file",
                );
                return false;
            }
            if keys.iter().take(index).any(|other| other == name) {
                self.note(
                    key,
                    format!("{name:?} twice"),
                    "each name once",
                    "remove it from the list",
                );
                return false;
            }
        }
        true
    }

    /// Half of it is what signatures have left when they are made anew: that has to do for a secondary that has lost
    /// contact until it gives up (RFC 6781, section 4.4.1).
    fn validity(
        &mut self,
        text: Option<&str>,
        enabled: bool,
        zone: &ZoneSettings,
    ) -> Option<Duration> {
        let key = "dnssec.validity";
        let validity = self.duration(key, text, 14 * DAY)?;
        let expire = Duration::from_secs(u64::from(zone.soa.expire.unsigned_abs()));
        let least = (2 * expire).max(DAY);
        let found = || text.unwrap_or("14d").to_owned();
        if validity > LONGEST_VALIDITY {
            self.note(key, found(), "\"366d\" or less", "lower it");
            return None;
        }
        if enabled && validity < least {
            let expected = format!(
                "at least {}h: a day, and twice `zone.expire`",
                least.as_secs().div_ceil(3600)
            );
            self.note(key, found(), &expected, "raise it, or lower `zone.expire`");
            return None;
        }
        Some(validity)
    }
}
