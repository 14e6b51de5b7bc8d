//! The guest's console: passed on to the daemon, at a bounded rate.

use std::time::Duration;

use policies::Instant;

use crate::protocol::MAX_CONSOLE;

/// What a guest may write at once, in octets.
const BURST: u64 = 64 * 1024;
/// What it may write in the long run, in octets per second.
const RATE: u64 = 64 * 1024;
/// What the smallest write counts as: each is a message to the daemon, however short.
const LEAST: u64 = 32;

/// Decides what of a guest's output is passed on.
#[derive(Debug)]
pub(crate) struct Console {
    /// Octets that may be written now.
    budget: u64,
    filled_at: Instant,
    dropped: u64,
}

impl Console {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { budget: BURST, filled_at: now, dropped: 0 }
    }

    /// How many of `length` octets may be passed on; the rest is counted as dropped.
    pub(crate) fn admit(&mut self, now: Instant, length: u64) -> u64 {
        let grown = u128::from(RATE) * now.saturating_since(self.filled_at).as_nanos()
            / Duration::from_secs(1).as_nanos();
        if grown > 0 {
            self.budget =
                u64::try_from(grown).unwrap_or(BURST).saturating_add(self.budget).min(BURST);
            self.filled_at = now;
        }
        // A write is passed on whole or not at all, so that no line is torn; only one that could never be is cut.
        let admitted = if self.pay(length.max(LEAST)) {
            length
        } else if length > BURST {
            std::mem::take(&mut self.budget)
        } else {
            0
        };
        self.dropped = self.dropped.saturating_add(length - admitted);
        admitted
    }

    /// Octets that were admitted but could not be passed on.
    pub(crate) fn lost(&mut self, length: u64) {
        self.dropped = self.dropped.saturating_add(length);
    }

    /// Takes `cost` from the budget, if there is as much.
    const fn pay(&mut self, cost: u64) -> bool {
        match self.budget.checked_sub(cost) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }

    /// A line about what was dropped since the last, if anything was and there is room to say so.
    pub(crate) fn confession(&mut self) -> Option<String> {
        // With room for more than the line itself: else a flood would be nothing but such lines.
        if self.budget < MAX_CONSOLE as u64 {
            return None;
        }
        let line = self.last_words()?;
        self.budget = self.budget.saturating_sub(line.len() as u64);
        Some(line)
    }

    /// The same at the guest's end, room or not.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        if self.dropped == 0 {
            return None;
        }
        let dropped = std::mem::take(&mut self.dropped);
        Some(format!(
            "\n[{dropped} octets of console output were dropped: more than {RATE} per second]\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_confessed() {
        let start = Instant::from_nanos(5);
        let mut console = Console::new(start);
        assert_eq!(console.admit(start, 1000), 1000);
        assert_eq!(console.admit(start, u64::MAX), BURST - 1000);
        assert_eq!(console.admit(start, 10), 0);
        assert_eq!(console.confession(), None, "no room yet");
        let later = start + Duration::from_millis(500);
        assert_eq!(console.admit(later, 100), 100);
        assert!(console.confession().is_some_and(|text| text.contains("dropped")));
        assert_eq!(console.confession(), None);
        assert_eq!(console.last_words(), None);
        let much_later = later + Duration::from_secs(1 << 40);
        assert_eq!(console.admit(much_later, u64::MAX), BURST);
        assert_eq!(console.confession(), None, "no room");
        assert!(console.last_words().is_some_and(|text| text.contains("dropped")), "at the end");
    }

    #[test]
    fn many_small_writes_are_a_flood_too() {
        let mut console = Console::new(Instant::ZERO);
        let passed = (0..BURST).filter(|_| console.admit(Instant::ZERO, 1) == 1).count();
        assert_eq!(passed as u64, BURST / LEAST);
    }
}
