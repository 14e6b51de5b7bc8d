//! The shells at hand: prepared for an image, or parked for the one service that they served.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use images::Digest;
use policies::parking::{self, Parked, Parking, Popularity};
use policies::warm::{Demand, Stock as Verdict, WarmPolicy};
use policies::{Instant, ServiceId};

use super::shell::Shell;
use crate::engine::Template;
use crate::image::LoadedImage;
use crate::snapshots::SnapshotKey;

/// How long making a shell takes before the first was made.
const MAKING: Duration = Duration::from_millis(3);
/// Kinds that are remembered; beyond, the one that was wanted longest ago is forgotten.
const KINDS: usize = 64;

/// What a shell is prepared for.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    /// The image.
    pub(super) image: Arc<LoadedImage>,
    /// Guest memory, in octets.
    pub(super) memory: u64,
}

impl Kind {
    /// The kind of shell that an instance of `template` needs.
    pub(super) fn of(template: &Template) -> Self {
        Self { image: template.image.clone(), memory: template.memory }
    }

    fn digest(&self) -> &Digest {
        &self.image.plan.digest
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.memory == other.memory && self.digest() == other.digest()
    }
}

/// A used shell, back at its service's snapshot.
#[derive(Debug)]
struct ParkedShell {
    what: Parked,
    key: SnapshotKey,
    shell: Shell,
}

/// The shells at hand and what is wanted.
#[derive(Debug)]
pub(super) struct Stock {
    policy: WarmPolicy,
    parked_limit: u32,
    demand: Demand,
    making: Duration,
    /// Prepared shells, the oldest first.
    ready: VecDeque<(Kind, Shell)>,
    parked: Vec<ParkedShell>,
    /// How each service is woken.
    popularity: HashMap<ServiceId, Popularity>,
    /// What was wanted, the latest first.
    kinds: VecDeque<Kind>,
    is_anticipated: bool,
    /// Instances between their summon and their readiness.
    pub(super) booting: usize,
    /// A shell could not be made: wait for the next summon before trying again.
    pub(super) broken: bool,
}

impl Stock {
    /// Nothing at hand yet.
    pub(super) fn new(policy: WarmPolicy, parked_limit: u32, now: Instant) -> Self {
        Self {
            policy,
            parked_limit,
            demand: Demand::new(now),
            making: MAKING,
            ready: VecDeque::new(),
            parked: Vec::new(),
            popularity: HashMap::new(),
            kinds: VecDeque::new(),
            is_anticipated: false,
            booting: 0,
            broken: false,
        }
    }

    /// Instances of these are to be expected: the images of most services come first. What is parked for a service that is
    /// none of them any more goes.
    pub(super) fn anticipate(&mut self, templates: &[Arc<Template>]) -> Vec<Shell> {
        self.is_anticipated = true;
        let mut counted: Vec<(usize, Kind)> = Vec::new();
        for template in templates {
            let kind = Kind::of(template);
            match counted.iter_mut().find(|(_, known)| *known == kind) {
                Some((count, _)) => *count += 1,
                None => counted.push((1, kind)),
            }
        }
        counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        self.kinds = counted.into_iter().map(|(_, kind)| kind).take(KINDS).collect();
        self.popularity
            .retain(|service, _| templates.iter().any(|known| known.service == *service));
        let is_known = |parked: &ParkedShell| {
            templates
                .iter()
                .any(|known| known.service == parked.what.service && known.key == parked.key)
        };
        self.parked.extract_if(.., |parked| !is_known(parked)).map(|parked| parked.shell).collect()
    }

    /// Whether it is known what instances there will be.
    pub(super) const fn is_anticipated(&self) -> bool {
        self.is_anticipated
    }

    /// An instance of this kind is wanted for a service now.
    pub(super) fn note_wake(&mut self, service: ServiceId, kind: &Kind, now: Instant) {
        self.popularity.entry(service).or_default().note_wake(now);
        self.broken = false;
        self.demand.note_wake(&self.policy, self.making, now);
        if self.kinds.front() != Some(kind) {
            self.kinds.retain(|known| known != kind);
            self.kinds.push_front(kind.clone());
            self.kinds.truncate(KINDS);
        }
    }

    /// The shell that is parked for a service, at the snapshot of this key.
    pub(super) fn take_parked(&mut self, service: ServiceId, key: &SnapshotKey) -> Option<Shell> {
        let index = self.parked.iter().position(|parked| parked.what.service == service)?;
        // A shell at another snapshot is of an earlier configuration; dropping it ends it.
        let parked = self.parked.swap_remove(index);
        (parked.key == *key).then_some(parked.shell)
    }

    /// The shell that is parked for a service, to be given up.
    pub(super) fn discard(&mut self, service: ServiceId) -> Option<Shell> {
        let index = self.parked.iter().position(|parked| parked.what.service == service)?;
        Some(self.parked.swap_remove(index).shell)
    }

    /// A prepared shell of a kind.
    pub(super) fn take_ready(&mut self, kind: &Kind) -> Option<Shell> {
        let index = self.ready.iter().position(|(of, _)| of == kind)?;
        self.ready.remove(index).map(|(_, shell)| shell)
    }

    /// Offers a used shell, which is back at its snapshot; what is returned is not needed any more.
    pub(super) fn park(
        &mut self,
        service: ServiceId,
        key: SnapshotKey,
        shell: Shell,
        now: Instant,
    ) -> Option<Shell> {
        let popularity = self.popularity.get(&service).copied().unwrap_or_default();
        let what = Parked { service, popularity, since: now };
        let all: Vec<Parked> = self.parked.iter().map(|parked| parked.what).collect();
        let parked = ParkedShell { what, key, shell };
        match parking::park(self.parked_limit, &all, &what) {
            Parking::Park => {
                self.parked.push(parked);
                None
            }
            Parking::Replace(index) => match self.parked.get_mut(index) {
                Some(other) => Some(std::mem::replace(other, parked).shell),
                None => Some(parked.shell),
            },
            Parking::Dismiss => Some(parked.shell),
        }
    }

    /// Whether anything may be parked at all.
    pub(super) const fn parks(&self) -> bool {
        self.parked_limit > 0
    }

    /// The shell that was made last, with how long that took.
    pub(super) fn put(&mut self, kind: Kind, shell: Shell, took: Duration) {
        // One that took long because the machine was busy for a moment should not count for much.
        self.making = (self.making * 7 + took) / 8;
        self.ready.push_back((kind, shell));
    }

    /// What to make next, if anything; shells that are too many or of no use are returned to be ended.
    pub(super) fn plan(&mut self, now: Instant) -> (Option<Kind>, Vec<Shell>) {
        let have = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
        let (target, mut dismissed) = match self.demand.stock(&self.policy, self.making, now, have)
        {
            Verdict::Make(more) => (have.saturating_add(more), Vec::new()),
            Verdict::Keep => (have, Vec::new()),
            Verdict::Dismiss(surplus) => {
                let surplus = usize::try_from(surplus).unwrap_or(usize::MAX).min(self.ready.len());
                (have, self.ready.drain(..surplus).map(|(_, shell)| shell).collect())
            }
        };
        let target = usize::try_from(target).unwrap_or(usize::MAX);
        let wanted = shares(target, self.kinds.len());
        let missing = self.kinds.iter().zip(wanted).find(|(kind, wanted)| {
            self.ready.iter().filter(|(of, _)| of == *kind).count() < *wanted
        });
        let missing = missing.map(|(kind, _)| kind.clone()).filter(|_| !self.broken);
        if missing.is_some() && self.ready.len() >= target {
            // The stock is full of what is wanted less.
            dismissed.extend(self.ready.pop_front().map(|(_, shell)| shell));
        }
        (missing, dismissed)
    }

    /// When to look at the stock again although nothing has happened.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        self.demand.next_change(&self.policy, self.making, now)
    }
}

/// How many shells each of `kinds` kinds should have of `target`, the kind that was wanted last first: that one most of
/// them, others one each while half of the stock lasts.
fn shares(target: usize, kinds: usize) -> impl Iterator<Item = usize> {
    let others = kinds.saturating_sub(1).min(target / 2);
    std::iter::once(target - others).chain(std::iter::repeat_n(1, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wanted_last_has_most_of_the_stock() {
        let shares = |target, kinds| shares(target, kinds).collect::<Vec<_>>();
        assert_eq!(shares(4, 1), [4]);
        assert_eq!(shares(4, 2), [3, 1]);
        assert_eq!(shares(4, 9), [2, 1, 1]);
        assert_eq!(shares(1, 9), [1]);
        assert_eq!(shares(0, 9), [0]);
    }
}
