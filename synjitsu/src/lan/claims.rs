//! The addresses that are ours, and how sure that is (RFC 5227; RFC 4862, section 5.4).

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use policies::{Instant, ServiceId};

use super::{Mac, spread};

/// How often an address is probed before it is announced (RFC 5227, section 1.1: PROBE_NUM).
const PROBES: u8 = 3;
/// Between two probes, and after the last one. Shorter than RFC 5227's one to two seconds: answers are given all the while, so
/// the wait only delays what others are told unasked.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// ANNOUNCE_NUM and ANNOUNCE_INTERVAL.
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// DEFEND_INTERVAL: an address is defended, and its conflict told, no more often.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A lost address is tried again after this, and up to twice as long, which differs from station to station.
const RETRY: Duration = Duration::from_secs(30);

/// See the chart of the module above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Probing { sent: u8 },
    Announcing { sent: u8 },
    Held,
    Lost,
}

#[derive(Debug)]
struct Claim {
    owner: ServiceId,
    stage: Stage,
    /// When something is to be done; as in the timers.
    due: Option<Instant>,
    /// When it was last defended.
    defended: Option<Instant>,
}

/// What is to be said now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    Probe {
        address: IpAddr,
    },
    Announce {
        address: IpAddr,
        /// Nobody objected: it is ours from now on.
        first: bool,
    },
}

/// What follows from another station's claim to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dispute {
    /// Nothing: it is none of ours, or given up already.
    None,
    /// It was there first; the address is given up for a while.
    GivenUp,
    /// We were; everybody is to be told so.
    Defend,
    /// We were, and said so a moment ago.
    Defended,
}

#[derive(Debug)]
pub(super) struct Claims {
    mac: Mac,
    claims: HashMap<IpAddr, Claim>,
    timers: BTreeSet<(Instant, IpAddr)>,
}

impl Claims {
    pub(super) fn new(mac: Mac) -> Self {
        Self { mac, claims: HashMap::new(), timers: BTreeSet::new() }
    }

    /// Makes `addresses` those of `owner`, and no others. An address of another owner changes hands.
    pub(super) fn set(&mut self, now: Instant, owner: ServiceId, addresses: &[IpAddr]) {
        let gone: Vec<_> = self
            .claims
            .iter()
            .filter(|(address, claim)| claim.owner == owner && !addresses.contains(address))
            .map(|(address, _)| *address)
            .collect();
        for address in gone {
            self.stop_timer(address);
            self.claims.remove(&address);
        }
        for &address in addresses {
            if let Some(claim) = self.claims.get_mut(&address) {
                claim.owner = owner;
                continue;
            }
            let stage = Stage::Probing { sent: 0 };
            self.claims.insert(address, Claim { owner, stage, due: None, defended: None });
            self.start_timer(address, now);
        }
    }

    /// The segment may be another one now, or its switches may have forgotten: everything is probed again.
    pub(super) fn restart(&mut self, now: Instant) {
        let all: Vec<_> = self.claims.keys().copied().collect();
        for address in all {
            if let Some(claim) = self.claims.get_mut(&address) {
                claim.stage = Stage::Probing { sent: 0 };
                self.start_timer(address, now);
            }
        }
    }

    /// Whether packets to and from `address` are ours.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.claims.get(&address).is_some_and(|claim| claim.stage != Stage::Lost)
    }

    /// Whether `address` is configured, ours or lost.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.claims.contains_key(&address)
    }

    /// Whether nobody is known to mind, so that others may be told to overwrite what they know.
    pub(super) fn is_sure(&self, address: IpAddr) -> bool {
        let stage = self.claims.get(&address).map(|claim| claim.stage);
        matches!(stage, Some(Stage::Announcing { .. } | Stage::Held))
    }

    /// Every configured address, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.claims.keys().copied()
    }

    /// An address of this family to ask neighbours with.
    pub(super) fn any_of_family(&self, like: IpAddr) -> Option<IpAddr> {
        self.all().find(|address| address.is_ipv4() == like.is_ipv4() && self.has(*address))
    }

    /// Another station says that `address` is its own.
    pub(super) fn dispute(&mut self, now: Instant, address: IpAddr) -> Dispute {
        let Some(claim) = self.claims.get_mut(&address) else { return Dispute::None };
        match claim.stage {
            Stage::Probing { .. } => {
                claim.stage = Stage::Lost;
                let salt = match address {
                    IpAddr::V4(address) => u128::from(address.to_bits()),
                    IpAddr::V6(address) => address.to_bits(),
                };
                let later = spread(self.mac, &salt.to_be_bytes()) % 1000;
                let share = u32::try_from(later).unwrap_or(0);
                self.start_timer(address, now + RETRY + RETRY * share / 1000);
                Dispute::GivenUp
            }
            Stage::Announcing { .. } | Stage::Held => {
                let again = claim.defended.is_none_or(|last| now - last >= DEFEND_INTERVAL);
                if again {
                    claim.defended = Some(now);
                    Dispute::Defend
                } else {
                    Dispute::Defended
                }
            }
            Stage::Lost => Dispute::None,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next thing that is to be said at `now`.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Say> {
        let address =
            self.timers.first().filter(|(at, _)| *at <= now).map(|(_, address)| *address)?;
        self.stop_timer(address);
        let claim = self.claims.get_mut(&address).expect("a timer belongs to a claim");
        let (stage, next, say) = match claim.stage {
            Stage::Probing { sent } if sent < PROBES => {
                (Stage::Probing { sent: sent + 1 }, Some(PROBE_INTERVAL), Say::Probe { address })
            }
            Stage::Lost => {
                (Stage::Probing { sent: 1 }, Some(PROBE_INTERVAL), Say::Probe { address })
            }
            Stage::Probing { .. } => (
                Stage::Announcing { sent: 1 },
                Some(ANNOUNCE_INTERVAL),
                Say::Announce { address, first: true },
            ),
            Stage::Announcing { sent } => {
                let sent = sent + 1;
                let say = Say::Announce { address, first: false };
                if sent < ANNOUNCEMENTS {
                    (Stage::Announcing { sent }, Some(ANNOUNCE_INTERVAL), say)
                } else {
                    (Stage::Held, None, say)
                }
            }
            Stage::Held => unreachable!("an address that is held has no timer"),
        };
        claim.stage = stage;
        if let Some(after) = next {
            self.start_timer(address, now + after);
        }
        Some(say)
    }

    fn start_timer(&mut self, address: IpAddr, at: Instant) {
        self.stop_timer(address);
        if let Some(claim) = self.claims.get_mut(&address) {
            claim.due = Some(at);
            self.timers.insert((at, address));
        }
    }

    fn stop_timer(&mut self, address: IpAddr) {
        if let Some(at) = self.claims.get_mut(&address).and_then(|claim| claim.due.take()) {
            self.timers.remove(&(at, address));
        }
    }

    /// What must hold after every step.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let set = self.claims.values().filter(|claim| claim.due.is_some()).count();
        assert_eq!(set, self.timers.len());
        for (at, address) in &self.timers {
            assert_eq!(self.claims[address].due, Some(*at));
        }
        for claim in self.claims.values() {
            assert_eq!(claim.due.is_none(), claim.stage == Stage::Held);
        }
    }
}
