//! For how long to stay awake after something came, because something else may follow at once.
//!
//! What follows a SYN or a request does so within some tens of microseconds, and going to sleep in between costs
//! about as much. So the thread keeps watch for a moment. Where that does not pay it is given up soon:
//!
//! - A watch in vain halves the next one.
//! - A sleep that the longest watch would have spared restores it.
//! - So does a sleep of ten times the longest watch: after that much silence one watch in vain is cheap,
//!   and the first answer to a client that comes out of nowhere is what all this is for.
//!
//! So watches in vain take at most a tenth of the time, whatever comes.

use std::time::Duration;

/// A watch shorter than this ends before anything could come.
const SHORTEST: Duration = Duration::from_micros(2);
/// After a sleep of so many longest watches the longest one is tried again.
const SILENCE: u32 = 10;

/// How long the next watch is.
#[derive(Debug)]
pub(super) struct Vigil {
    longest: Duration,
    next: Duration,
}

impl Vigil {
    pub(super) const fn new(longest: Duration) -> Self {
        Self { longest, next: longest }
    }

    /// How long to keep watch now.
    pub(super) const fn length(&self) -> Duration {
        self.next
    }

    /// Something came during the watch.
    pub(super) const fn pays(&mut self) {
        self.next = self.longest;
    }

    /// Nothing came during the watch, and then it took so long until something did.
    pub(super) fn was_in_vain(&mut self, slept: Duration) {
        let spared = slept + self.next <= self.longest;
        if spared || slept >= self.longest * SILENCE {
            self.next = self.longest;
        } else {
            self.next /= 2;
            if self.next < SHORTEST {
                self.next = Duration::ZERO;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    /// The time spent watching in vain while something comes every `gap`, of `total`.
    fn wasted(longest: Duration, gap: Duration, total: Duration) -> Duration {
        let mut vigil = Vigil::new(longest);
        let (mut wasted, mut passed) = (Duration::ZERO, Duration::ZERO);
        while passed < total {
            passed += gap;
            if vigil.length() >= gap {
                vigil.pays();
            } else {
                wasted += vigil.length();
                vigil.was_in_vain(gap - vigil.length());
            }
        }
        wasted
    }

    #[test]
    fn at_most_a_tenth_of_the_time_is_watched_in_vain() {
        let total = Duration::from_secs(1);
        for gap in 1..3000 {
            let wasted = wasted(us(50), us(gap), total);
            assert!(wasted <= total / 10 + us(100), "{wasted:?} of a second, every {gap} us");
        }
        assert_eq!(wasted(us(50), us(49), total), Duration::ZERO);
        assert!(wasted(us(50), us(70), total) < us(100), "given up when it does not pay");
    }

    #[test]
    fn after_silence_and_after_a_short_sleep_it_is_tried_again() {
        let mut vigil = Vigil::new(us(64));
        for _ in 0..10 {
            vigil.was_in_vain(us(100));
        }
        assert_eq!(vigil.length(), Duration::ZERO);
        vigil.was_in_vain(us(60));
        assert_eq!(vigil.length(), us(64));
        vigil.was_in_vain(us(100));
        assert_eq!(vigil.length(), us(32));
        vigil.was_in_vain(us(640));
        assert_eq!(vigil.length(), us(64));
    }

    #[test]
    fn none_is_none() {
        let mut vigil = Vigil::new(Duration::ZERO);
        vigil.was_in_vain(us(1));
        vigil.was_in_vain(Duration::ZERO);
        assert_eq!(vigil.length(), Duration::ZERO);
    }
}
