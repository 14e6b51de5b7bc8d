//! Who signs the zones: with which keys, and from when on with new signatures.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::rr::{LowerName, Name};
use zone::{SignError, Signing, Validity, Zone, ZoneKey};

use super::keys::{KeyError, KeyFolder};
use crate::config::Dnssec;

/// Signatures begin to be valid so long before they are made: clocks of validators are late by less.
const BACKDATE: Duration = Duration::from_secs(3600);
/// How long at most a look at the clock is put off: the time of day may be set, or stand still while the machine sleeps.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Why zones cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// Keys are not there or damaged.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// A time at which new signatures were begun with. It is part of what a zone's version is told by: secondaries see
/// signatures only of a version that they do not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round(u64);

impl Round {
    /// The digest of a version of a zone: of its content, and of which signatures it has.
    #[must_use]
    pub fn digest(self, content: &str) -> String {
        format!("{content}-{}", self.0)
    }
}

/// Signs zones, and knows how long that will do.
#[derive(Debug)]
pub struct Signer {
    folder: KeyFolder,
    /// The keys in force, in the configuration's order.
    keys: HashMap<LowerName, Vec<(String, ZoneKey)>>,
    /// What was signed last, for its signatures.
    signed: HashMap<LowerName, Arc<Zone>>,
    round: Option<Round>,
    /// When something has to be made anew; `None` if nothing is signed.
    due: Option<SystemTime>,
}

/// Signing that is prepared: the keys are there.
#[derive(Debug)]
pub struct Prepared {
    keys: HashMap<LowerName, Vec<(String, ZoneKey)>>,
    /// From when the signatures are.
    pub round: Round,
    validity: Validity,
    now: SystemTime,
}

impl Signer {
    /// A signer with the keys in `folder`.
    #[must_use]
    pub fn new(folder: KeyFolder) -> Self {
        Self { folder, keys: HashMap::new(), signed: HashMap::new(), round: None, due: None }
    }

    /// Finds or makes the keys for the zones, and judges whether old signatures will do; `None` if nothing is to be signed.
    ///
    /// # Errors
    /// When a key is damaged or cannot be made.
    pub fn prepare(
        &self,
        dnssec: &Dnssec,
        zones: &[Zone],
        now: SystemTime,
    ) -> Result<Option<Prepared>, KeyError> {
        if !dnssec.enabled {
            return Ok(None);
        }
        let mut keys = HashMap::new();
        for zone in zones {
            let apex = zone.apex();
            let known = self
                .keys
                .get(apex)
                .filter(|known| known.iter().map(|(name, _)| name).eq(&dnssec.keys));
            let of_zone = match known {
                Some(known) => known.clone(),
                None => {
                    let apex = Name::from(apex);
                    let named = self.folder.open(&apex, &dnssec.keys, dnssec.algorithm)?;
                    named.into_iter().map(|named| (named.name, named.key)).collect()
                }
            };
            keys.insert(apex.clone(), of_zone);
        }
        let mut prepared = Prepared { keys, round: Round(0), validity: validity(dnssec), now };
        prepared.round = match self.round {
            Some(round) if self.will_do(&prepared) => round,
            _ => Round(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        };
        Ok(Some(prepared))
    }

    /// Signs the zones, with the signatures of before where they fit.
    ///
    /// # Errors
    /// When a zone is signed already, or a key does not work. Nothing has changed then.
    pub fn sign(
        &mut self,
        prepared: Option<Prepared>,
        zones: Vec<Zone>,
    ) -> Result<Vec<Arc<Zone>>, SignError> {
        let Some(prepared) = prepared else {
            *self = Self::new(self.folder.clone());
            return Ok(zones.into_iter().map(Arc::new).collect());
        };
        let mut signed = Vec::with_capacity(zones.len());
        for zone in zones {
            let keys = prepared.keys_of(zone.apex());
            let before = self.signed.get(zone.apex()).map(AsRef::as_ref);
            signed.push(Arc::new(zone.sign(&prepared.signing(&keys), before)?));
        }
        let ends = signed.iter().filter_map(|zone| zone.signatures_end(prepared.now)).min();
        self.due = ends.and_then(|end| end.checked_sub(prepared.validity.lifetime / 2));
        self.signed = signed.iter().map(|zone| (zone.apex().clone(), zone.clone())).collect();
        self.round = Some(prepared.round);
        self.keys = prepared.keys;
        Ok(signed)
    }

    /// Whether it is time for new signatures.
    #[must_use]
    pub fn is_due(&self, now: SystemTime) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// How long to wait until that is asked again.
    #[must_use]
    pub fn next_look(&self, now: SystemTime) -> Duration {
        let left = self.due.map(|due| due.duration_since(now).unwrap_or_default());
        left.unwrap_or(LONGEST_WAIT).clamp(Duration::from_secs(1), LONGEST_WAIT)
    }

    /// Whether the same keys sign the same zones as before, and their signatures hold for a while.
    fn will_do(&self, prepared: &Prepared) -> bool {
        self.signed.iter().all(|(apex, zone)| {
            let (new, old) = (prepared.keys_of(apex), self.keys.get(apex));
            let new_tags = new.iter().map(ZoneKey::tag);
            new_tags.eq(old.into_iter().flatten().map(|(_, key)| key.tag()))
                && zone.signatures_will_do(&prepared.signing(&new))
        })
    }
}

impl Prepared {
    fn keys_of(&self, apex: &LowerName) -> Vec<ZoneKey> {
        let keys = self.keys.get(apex).into_iter().flatten();
        keys.map(|(_, key)| key.clone()).collect()
    }

    const fn signing<'k>(&self, keys: &'k [ZoneKey]) -> Signing<'k> {
        Signing { keys, now: self.now, validity: self.validity }
    }
}

/// A signature is made anew when half of its time is over; then those too that would follow within a fourteenth of it, so
/// that a zone whose records changed at different times has a new version a day and not one for each of them.
fn validity(dnssec: &Dnssec) -> Validity {
    let lifetime = dnssec.validity;
    Validity { backdate: BACKDATE, lifetime, refresh: lifetime / 2 + lifetime / 14 }
}

#[cfg(test)]
mod tests {
    use zone::{NameServer, Soa, ZoneData};

    use super::super::keys::Algorithm;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn zone(names: &[&str]) -> Zone {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let address = |text: &&str| {
            let data = hickory_proto::rr::RData::A("192.0.2.1".parse().unwrap());
            hickory_proto::rr::Record::from_rdata(name(text), 60, data)
        };
        Zone::build(ZoneData {
            apex: name("jit.test."),
            soa: Soa {
                mname: name("ns.jit.test."),
                rname: name("hostmaster.jit.test."),
                serial: 7,
                refresh: 3600,
                retry: 600,
                expire: 86_400,
                minimum: 30,
            },
            name_servers: vec![NameServer { name: name("ns.example."), addresses: Vec::new() }],
            ttl: 300,
            services: Vec::new(),
            records: names.iter().map(address).collect(),
            wake_all: false,
            templates: Vec::new(),
        })
        .unwrap()
    }

    fn settings(keys: &[&str]) -> Dnssec {
        Dnssec {
            enabled: true,
            algorithm: Algorithm::Ed25519,
            keys: keys.iter().map(|name| (*name).to_owned()).collect(),
            validity: 14 * DAY,
        }
    }

    #[test]
    fn a_round_lasts_until_signatures_have_to_be_made_anew() {
        let state = tempfile::tempdir().unwrap();
        let mut signer = Signer::new(KeyFolder::of(state.path()));
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut publish = |keys: &[&str], names: &[&str], at: SystemTime| {
            let zones = vec![zone(names)];
            let prepared = signer.prepare(&settings(keys), &zones, at).unwrap();
            let round = prepared.as_ref().unwrap().round;
            signer.sign(prepared, zones).unwrap();
            (round, signer.is_due(at), signer.due)
        };
        let (first, is_due, due) = publish(&["a"], &["www.jit.test."], start);
        assert!(!is_due);
        assert_eq!(due, Some(start + 7 * DAY));
        // Other content has another digest anyway.
        assert_eq!(publish(&["a"], &["web.jit.test."], start + DAY).0, first);
        assert_eq!(publish(&["a"], &["web.jit.test."], start + 5 * DAY).0, first);
        let (second, _, due) = publish(&["a"], &["web.jit.test."], start + 7 * DAY);
        assert_ne!(first, second);
        // Those of the first day went along with the rest.
        assert_eq!(due, Some(start + 14 * DAY));
        let (third, ..) = publish(&["a", "b"], &["web.jit.test."], start + 8 * DAY);
        assert_ne!(second, third, "another key");
        assert_ne!(first.digest("same"), second.digest("same"));
    }

    #[test]
    fn a_restart_is_a_new_round() {
        let state = tempfile::tempdir().unwrap();
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut rounds = Vec::new();
        for seconds in [0, 10] {
            let mut signer = Signer::new(KeyFolder::of(state.path()));
            let zones = vec![zone(&[])];
            let at = start + Duration::from_secs(seconds);
            let prepared = signer.prepare(&settings(&["a"]), &zones, at).unwrap();
            rounds.push(prepared.as_ref().unwrap().round);
            signer.sign(prepared, zones).unwrap();
            assert!(signer.next_look(at) <= LONGEST_WAIT);
        }
        assert_ne!(rounds[0], rounds[1]);
    }

    #[test]
    fn who_does_not_want_signatures_gets_none() {
        let state = tempfile::tempdir().unwrap();
        let mut signer = Signer::new(KeyFolder::of(state.path()));
        let off = Dnssec { enabled: false, ..settings(&["a"]) };
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let prepared = signer.prepare(&off, &[zone(&[])], now).unwrap();
        assert!(prepared.is_none());
        let zones = signer.sign(prepared, vec![zone(&[])]).unwrap();
        assert!(!zones[0].is_signed() && !signer.is_due(now));
        assert!(!state.path().join("keys").exists());
    }
}
