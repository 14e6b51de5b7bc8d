//! Several zones, one of which answers.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_proto::rr::{LowerName, RecordType};

use crate::Zone;

/// The zones that are served.
#[derive(Debug, Default, Clone)]
pub struct Zones {
    by_apex: HashMap<LowerName, Arc<Zone>>,
}

impl Zones {
    /// A catalogue of `zones`; of two with one apex the later one counts.
    #[must_use]
    pub fn new(zones: impl IntoIterator<Item = Arc<Zone>>) -> Self {
        Self { by_apex: zones.into_iter().map(|zone| (zone.apex.clone(), zone)).collect() }
    }

    /// The zone that has the name: the one with the longest apex (RFC 1034, section 4.3.2, step 2). The DS records of an
    /// apex belong to the parent, if it is here (RFC 4035, section 3.1.4.1).
    #[must_use]
    pub fn find(&self, name: &LowerName, qtype: RecordType) -> Option<&Arc<Zone>> {
        if let Some(zone) = self.by_apex.get(name) {
            let parent = (qtype == RecordType::DS && !name.is_root())
                .then(|| self.closest(name.base_name()))
                .flatten();
            return Some(parent.unwrap_or(zone));
        }
        if name.is_root() { None } else { self.closest(name.base_name()) }
    }

    /// The zone with this apex.
    #[must_use]
    pub fn get(&self, apex: &LowerName) -> Option<&Arc<Zone>> {
        self.by_apex.get(apex)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Zone>> {
        self.by_apex.values()
    }

    fn closest(&self, mut name: LowerName) -> Option<&Arc<Zone>> {
        loop {
            if let Some(zone) = self.by_apex.get(&name) {
                return Some(zone);
            }
            if name.is_root() {
                return None;
            }
            name = name.base_name();
        }
    }
}
