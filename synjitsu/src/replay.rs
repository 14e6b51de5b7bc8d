//! When a held SYN is given to a guest again.
//!
//! A guest whose port was just opened may not listen yet. It says so with a RST, which is not shown to the
//! client, or with silence. A RST came from a network stack that lives and will listen in a moment: ask again
//! almost at once. Silence may mean that the frame was lost: ask again soon, but not so soon that a slow guest
//! drowns in repetitions.

use std::time::Duration;

use policies::Instant;

/// An interval that grows by half with each use.
#[derive(Debug, Clone, Copy)]
struct Interval {
    next: Duration,
    longest: Duration,
}

impl Interval {
    fn take(&mut self) -> Duration {
        let interval = self.next;
        self.next = (interval + interval / 2).min(self.longest);
        interval
    }
}

/// The repetitions of one SYN.
#[derive(Debug)]
pub(crate) struct Replay {
    /// When the SYN was given to the guest first.
    pub(crate) begun: Instant,
    /// When the SYN is given to the guest again.
    pub(crate) next: Instant,
    /// Whether the guest refused the last repetition; more refusals of it say nothing new.
    refused: bool,
    after_refusal: Interval,
    after_silence: Interval,
}

impl Replay {
    /// The SYN is given to the guest for the first time.
    pub(crate) fn start(now: Instant) -> Self {
        let mut replay = Self {
            begun: now,
            next: now,
            refused: false,
            after_refusal: Interval {
                next: Duration::from_millis(1),
                longest: Duration::from_millis(50),
            },
            after_silence: Interval {
                next: Duration::from_millis(20),
                longest: Duration::from_millis(200),
            },
        };
        replay.again(now);
        replay
    }

    /// The SYN is given to the guest once more.
    pub(crate) fn again(&mut self, now: Instant) {
        self.refused = false;
        self.next = now + self.after_silence.take();
    }

    /// The guest refused.
    pub(crate) fn refuse(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.refused, true) {
            self.next = self.next.min(now + self.after_refusal.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        Instant::from_nanos(us * 1000)
    }

    #[test]
    fn silence_is_asked_after_20_ms_growing_to_200() {
        let mut replay = Replay::start(at(0));
        let mut gaps = Vec::new();
        for _ in 0..8 {
            let due = replay.next;
            replay.again(due);
            gaps.push((replay.next - due).as_millis());
        }
        assert_eq!(at(20_000), Replay::start(at(0)).next);
        assert_eq!(gaps, [30, 45, 67, 101, 151, 200, 200, 200]);
    }

    #[test]
    fn a_refusal_is_asked_after_1_ms_growing_to_50() {
        let mut replay = Replay::start(at(0));
        let mut gaps = Vec::new();
        for _ in 0..12 {
            let due = replay.next;
            replay.again(due);
            replay.refuse(due);
            gaps.push((replay.next - due).as_micros());
        }
        assert_eq!(
            gaps,
            [1000, 1500, 2250, 3375, 5062, 7593, 11390, 17085, 25628, 38443, 50000, 50000]
        );
    }

    #[test]
    fn a_second_refusal_of_the_same_replay_does_not_delay_the_next() {
        let mut replay = Replay::start(at(0));
        replay.refuse(at(100));
        replay.refuse(at(900));
        assert_eq!(replay.next, at(1100));
    }
}
