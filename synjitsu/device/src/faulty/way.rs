//! One direction of a link: what becomes of each frame and when it arrives. No I/O and no clock: the time comes in.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::faults::Faults;

/// Frames on their way at the same time; one more is lost, as in any queue. Some tens of megabytes: far more than is
/// on its way on any link that the faults are meant for.
const MOST_FRAMES: usize = 1 << 15;

/// A moment, in nanoseconds of a clock that does not go backwards.
pub(super) type Moment = u64;

/// What happened to the frames of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that were given to the link.
    pub given: u64,
    /// Frames that arrived, second copies included.
    pub arrived: u64,
    /// Frames that were lost on purpose.
    pub lost: u64,
    /// Frames that were sent twice.
    pub duplicated: u64,
    /// Frames with a wrong bit.
    pub damaged: u64,
    /// Frames that arrived after one that was given to the link later.
    pub overtaken: u64,
    /// Frames that were lost because too many were on their way.
    pub overflowed: u64,
}

#[derive(Debug)]
struct Due {
    at: Moment,
    number: u64,
    frame: Vec<u8>,
}

impl Due {
    /// What comes first: by time, then in the order in which they came. Copies are equal, whichever is first.
    const fn order(&self) -> (Moment, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap has its greatest on top: the earliest must be the greatest.
        other.order().cmp(&self.order())
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Way {
    faults: Faults,
    spared: usize,
    random: Random,
    due: BinaryHeap<Due>,
    /// When the wire is free again, if the rate is limited.
    free_at: Moment,
    /// The highest number that has arrived.
    newest: u64,
    tally: Tally,
    /// Buffers of frames that have arrived, for those to come.
    spare: Vec<Vec<u8>>,
}

impl Way {
    pub(super) fn new(faults: Faults, spared: usize, seed: u64) -> Self {
        Self {
            faults,
            spared,
            random: Random(seed),
            due: BinaryHeap::new(),
            free_at: 0,
            newest: 0,
            tally: Tally::default(),
            spare: Vec::new(),
        }
    }

    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    /// When the next frame arrives.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.peek().map(|due| due.at)
    }

    /// A frame, in two parts, is given to the link.
    pub(super) fn offer(&mut self, now: Moment, head: &[u8], body: &[u8]) {
        self.tally.given += 1;
        let number = self.tally.given;
        // Always the same count of random numbers, so that the fate of the n-th frame depends on nothing else.
        let random: [u64; 6] = std::array::from_fn(|_| self.random.bits());
        let [lost, twice, damaged, late, by, second_by] = random;
        if self.faults.loss.takes(lost) {
            self.tally.lost += 1;
            return;
        }
        if self.due.len() >= MOST_FRAMES {
            self.tally.overflowed += 1;
            return;
        }
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.extend_from_slice(head);
        frame.extend_from_slice(body);
        if self.faults.corruption.takes(damaged) && frame.len() > self.spared {
            // The share looks at the high bits; which bit is damaged comes from the low ones.
            let octets = u64::try_from(frame.len() - self.spared).unwrap_or(u64::MAX);
            let place = usize::try_from((damaged >> 3) % octets).unwrap_or(0);
            frame[self.spared + place] ^= 1 << (damaged & 7);
            self.tally.damaged += 1;
        }
        let mut at = self.end_of_sending(now, frame.len()) + nanos(self.faults.delay);
        if self.faults.late.takes(late) {
            at += part(self.faults.lateness, by);
        }
        if self.faults.duplication.takes(twice) {
            self.tally.duplicated += 1;
            let at = at + part(self.faults.lateness, second_by);
            self.due.push(Due { at, number, frame: frame.clone() });
        }
        self.due.push(Due { at, number, frame });
    }

    /// When the frame's last octet is on the wire.
    fn end_of_sending(&mut self, now: Moment, length: usize) -> Moment {
        let Some(rate) = self.faults.rate else { return now };
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let takes = length.saturating_mul(1_000_000_000) / u64::from(rate.get());
        self.free_at = self.free_at.max(now).saturating_add(takes);
        self.free_at
    }

    /// The next frame that has arrived. Give its buffer back with [`recycle`](Self::recycle).
    pub(super) fn arrived(&mut self, now: Moment) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        let due = self.due.pop()?;
        self.tally.arrived += 1;
        if due.number < self.newest {
            self.tally.overtaken += 1;
        }
        self.newest = self.newest.max(due.number);
        Some(due.frame)
    }

    pub(super) fn recycle(&mut self, mut frame: Vec<u8>) {
        frame.clear();
        self.spare.push(frame);
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// A uniformly distributed part of a length.
fn part(length: Duration, random: u64) -> u64 {
    u64::try_from((u128::from(nanos(length)) * u128::from(random)) >> 64).unwrap_or(0)
}

/// The generator SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::faults::Share;
    use super::*;

    const MILLI: u64 = 1_000_000;

    fn way(faults: Faults) -> Way {
        Way::new(faults, 0, 42)
    }

    /// What arrives of `count` frames, one each millisecond, by their numbers.
    fn carry(way: &mut Way, count: u16) -> Vec<u16> {
        let mut arrived = Vec::new();
        for number in 0..count {
            let now = u64::from(number) * MILLI;
            let [high, low] = number.to_be_bytes();
            way.offer(now, &[high], &[low]);
            while let Some(frame) = way.arrived(now) {
                arrived.push(u16::from_be_bytes([frame[0], frame[1]]));
                way.recycle(frame);
            }
        }
        while let Some(due) = way.next_due() {
            let frame = way.arrived(due).unwrap();
            arrived.push(u16::from_be_bytes([frame[0], frame[1]]));
        }
        arrived
    }

    #[test]
    fn a_perfect_link_changes_nothing() {
        let mut way = way(Faults::default());
        way.offer(5, b"he", b"ad");
        assert_eq!(way.next_due(), Some(5));
        assert_eq!(way.arrived(5).unwrap(), b"head");
        assert_eq!(way.arrived(5), None);
    }

    #[test]
    fn a_delay_keeps_the_order() {
        let mut way = way(Faults::delay(Duration::from_millis(50)));
        way.offer(0, b"a", b"");
        assert_eq!(way.arrived(50 * MILLI - 1), None);
        assert_eq!(way.arrived(50 * MILLI).unwrap(), b"a");
        assert_eq!(carry(&mut way, 300), (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn faults_come_as_often_as_they_should_and_again_by_the_same_seed() {
        let faults = Faults {
            late: Share::percent(10),
            lateness: Duration::from_millis(20),
            loss: Share::percent(2),
            duplication: Share::percent(3),
            ..Faults::delay(Duration::from_millis(5))
        };
        let (mut one, mut other) = (way(faults), way(faults));
        let arrived = carry(&mut one, 20_000);
        assert_eq!(arrived, carry(&mut other, 20_000));
        let Tally { given, arrived: count, lost, duplicated, overtaken, .. } = one.tally();
        assert_eq!((given, count), (20_000, 20_000 - lost + duplicated));
        assert!((300..500).contains(&lost), "{lost}");
        assert!((450..750).contains(&duplicated), "{duplicated}");
        assert!((1000..4000).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn damage_is_one_bit_and_not_where_it_is_spared() {
        let faults = Faults { corruption: Share::percent(100), ..Faults::default() };
        let mut way = Way::new(faults, 14, 1);
        for _ in 0..1000 {
            way.offer(0, &[0; 14], &[0; 20]);
            let frame = way.arrived(0).unwrap();
            assert_eq!(frame[..14], [0; 14]);
            assert_eq!(frame.iter().map(|octet| octet.count_ones()).sum::<u32>(), 1);
        }
        way.offer(0, &[0; 14], &[]);
        assert_eq!(way.arrived(0).unwrap(), [0; 14]);
    }

    #[test]
    fn a_rate_makes_frames_queue() {
        let rate = NonZeroU32::new(1000);
        let mut way = way(Faults { rate, ..Faults::default() });
        way.offer(0, &[0; 100], b"");
        way.offer(0, &[0; 100], b"");
        assert_eq!(way.next_due(), Some(100 * MILLI));
        assert!(way.arrived(100 * MILLI).is_some());
        assert_eq!(way.next_due(), Some(200 * MILLI));
    }

    #[test]
    fn a_queue_has_an_end() {
        let mut way = way(Faults::delay(Duration::from_secs(1)));
        for _ in 0..MOST_FRAMES + 3 {
            way.offer(0, b"x", b"");
        }
        assert_eq!(way.tally().overflowed, 3);
    }
}
