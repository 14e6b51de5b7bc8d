//! Zone transfers to secondaries: the whole zone (AXFR, RFC 5936), what has changed (IXFR, RFC 1995), and word of a change
//! (NOTIFY, RFC 1996).
//!
//! ```text
//!   publish --Ledger--> Transfers: keys, who may, each zone's history --+-- notify --> secondaries: "there is a new serial"
//!                                                                       |
//!   query for AXFR or IXFR --Responder--> may he? --> Transfer ---------+-- connection --> message after message
//! ```

mod answer;
mod messages;
pub mod notify;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::{LowerName, Name};
use ipnet::IpNet;
use zone::Zones;
use zone::history::History;

pub(super) use answer::Reaction;
pub use messages::Transfer;
use notify::{Signer, Word};

use super::tsig::Keyring;
use crate::config::{TransferSettings, TsigKey};

/// Who may have which zone, and its history. Part of what is published.
#[derive(Debug, Default)]
pub struct Transfers {
    pub(super) keys: Keyring,
    permission: Permission,
    histories: HashMap<LowerName, History>,
    secondaries: Vec<SocketAddr>,
    /// The key that words of a change are signed with.
    key: Option<Name>,
}

impl Transfers {
    /// What secondaries have to know.
    fn words(&self) -> Vec<Word> {
        let key = self.key.as_ref().and_then(|name| self.keys.get(name));
        let words = self.histories.iter().flat_map(|(apex, history)| {
            let soa = &history.current().soa().record;
            self.secondaries.iter().map(move |to| Word {
                apex: apex.clone(),
                soa: soa.clone(),
                to: *to,
                key: key.cloned().map(Signer),
            })
        });
        words.collect()
    }
}

/// Who may have the zones. Nobody, by default.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Permission {
    /// From where; empty for anywhere, if there is a key.
    prefixes: Vec<IpNet>,
    /// Signed with which key.
    key: Option<Name>,
}

impl Permission {
    fn covers(&self, source: IpAddr, signed_with: Option<&Name>) -> bool {
        let source = source.to_canonical();
        let from_there = self.prefixes.iter().any(|prefix| prefix.contains(&source));
        match &self.key {
            Some(key) => signed_with == Some(key) && (from_there || self.prefixes.is_empty()),
            None => from_there,
        }
    }
}

/// The zones' histories, carried from one publication to the next.
#[derive(Debug, Default)]
pub struct Ledger(HashMap<LowerName, History>);

impl Ledger {
    /// Notes what is published now. Zones that nobody may have get no history: it would only take memory.
    pub fn note(
        &mut self,
        settings: &TransferSettings,
        keys: &[TsigKey],
        zones: &Zones,
    ) -> Transfers {
        let permission = Permission { prefixes: settings.to.clone(), key: settings.key.clone() };
        if permission == Permission::default() {
            self.0.clear();
        } else {
            self.0.retain(|apex, _| zones.get(apex).is_some());
            for zone in zones.iter() {
                match self.0.get_mut(zone.apex()) {
                    Some(history) => history.advance(zone),
                    None => {
                        self.0.insert(zone.apex().clone(), History::new(zone));
                    }
                }
            }
        }
        Transfers {
            keys: keys.iter().map(|key| key.signer()).collect(),
            permission,
            histories: self.0.clone(),
            secondaries: settings.notify.clone(),
            key: settings.key.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_gets_it() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let prefixes: Vec<IpNet> = vec!["192.0.2.0/24".parse().unwrap()];
        let (inside, mapped, outside) = ("192.0.2.9", "::ffff:192.0.2.9", "198.51.100.1");
        let may = |permission: &Permission, source: &str, key: Option<&str>| {
            permission.covers(source.parse().unwrap(), key.map(name).as_ref())
        };
        assert!(!may(&Permission::default(), inside, Some("k.")));
        let by_address = Permission { prefixes: prefixes.clone(), key: None };
        assert!(may(&by_address, inside, None) && may(&by_address, mapped, None));
        assert!(!may(&by_address, outside, Some("k.")));
        let by_key = Permission { prefixes: Vec::new(), key: Some(name("k.")) };
        assert!(may(&by_key, outside, Some("K.")) && !may(&by_key, inside, None));
        let by_both = Permission { prefixes, key: Some(name("k.")) };
        assert!(may(&by_both, inside, Some("k.")) && !may(&by_both, inside, Some("other.")));
        assert!(!may(&by_both, outside, Some("k.")) && !may(&by_both, inside, None));
    }
}
