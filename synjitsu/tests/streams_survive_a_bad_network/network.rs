//! The way between two hosts: what is sent comes later, twice, in another order or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use policies::Instant;

use crate::random::Random;

/// How bad a way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Thousandths of the packets that are lost.
    pub(crate) loss: u32,
    /// Thousandths that come twice.
    pub(crate) duplication: u32,
    /// Thousandths that are overtaken by others.
    pub(crate) reordering: u32,
    /// How long every packet takes.
    pub(crate) delay: Duration,
    /// How much longer one that is overtaken takes at most.
    pub(crate) detour: Duration,
}

/// One direction of a way.
#[derive(Debug)]
pub(crate) struct Way<T> {
    faults: Faults,
    random: Random,
    /// By time of arrival, and in the order of sending where that is the same.
    under_way: BTreeMap<(Instant, u64), T>,
    sent: u64,
}

impl<T: Clone> Way<T> {
    pub(crate) const fn new(faults: Faults, random: Random) -> Self {
        Self { faults, random, under_way: BTreeMap::new(), sent: 0 }
    }

    pub(crate) fn send(&mut self, now: Instant, what: T) {
        if self.random.happens(self.faults.loss) {
            return;
        }
        let copies = if self.random.happens(self.faults.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            let mut arrival = now + self.faults.delay;
            if self.random.happens(self.faults.reordering) {
                let most =
                    u64::try_from(self.faults.detour.as_micros()).expect("a detour is short");
                arrival = arrival + Duration::from_micros(self.random.below(most));
            }
            self.sent += 1;
            self.under_way.insert((arrival, self.sent), what.clone());
        }
    }

    /// When the next packet arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn arrive(&mut self, now: Instant) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.under_way.pop_first().map(|(_, what)| what)
    }
}

/// A queue of bounded length in front of somebody who takes one after the other: it loses what does not fit.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    capacity: usize,
    service_time: Duration,
    waiting: std::collections::VecDeque<(Instant, T)>,
    free_at: Instant,
    pub(crate) lost: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize, service_time: Duration) -> Self {
        let waiting = std::collections::VecDeque::new();
        Self { capacity, service_time, waiting, free_at: Instant::ZERO, lost: 0 }
    }

    pub(crate) fn send(&mut self, now: Instant, what: T) {
        if self.waiting.len() >= self.capacity {
            self.lost += 1;
            return;
        }
        self.free_at = self.free_at.max(now) + self.service_time;
        self.waiting.push_back((self.free_at, what));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    pub(crate) fn arrive(&mut self, now: Instant) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.waiting.pop_front().map(|(_, what)| what)
    }
}
