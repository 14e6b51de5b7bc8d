//! SYN cookies (RFC 4987, section 3.6): everything about a SYN is in the number that answers it.
//!
//! ```text
//!    31             9   8   7     5   4   3       0
//!   | MAC (23 bits)  | slot | MSS  |SACK| scale   |
//! ```
//!
//! The MAC covers both addresses and ports, the client's initial sequence number, the time and the other bits. A cookie is
//! good for one to two slots. Whoever does not see the answer has to guess 23 bits, once for each connection.

use std::time::Duration;

use policies::Instant;

use super::Numbers;
use crate::flow::FlowKey;
use crate::seq::SeqNumber;
use crate::tcp::Offer;

/// How long a slot is: an answer that takes longer than this is lost.
const SLOT_SECONDS: u64 = 64;
/// A client whose answer to a cookie is lost repeats it within this time, twice or thrice (RFC 6298).
const FRESH: Duration = Duration::from_secs(5);
const MAC_SHIFT: u32 = 9;
/// The sizes that fit three bits; the largest that is not more than the client's own is meant.
const SIZES: [u16; 8] = [64, 256, 536, 1220, 1360, 1400, 1440, 1460];
/// That of a client that named none (RFC 9293, section 3.7.1).
const DEFAULT_SIZE: u16 = 536;
/// Stands for a client that offered no window scale.
const NO_SCALE: u32 = 15;
/// Keeps the MAC apart from other uses of the secret.
const PURPOSE: u64 = 1;

/// When cookies were given out, and the check of what comes back.
#[derive(Debug)]
pub(crate) struct Cookies {
    numbers: Numbers,
    /// When one was last given out.
    given: Option<Instant>,
}

impl Cookies {
    pub(crate) const fn new(numbers: Numbers) -> Self {
        Self { numbers, given: None }
    }

    /// A cookie is given out.
    pub(crate) fn give(&mut self, now: Instant) {
        self.given = Some(now);
    }

    /// The initial sequence number that stands for a client's SYN and `offer`.
    pub(crate) fn number(
        &self,
        now: Instant,
        key: &FlowKey,
        irs: SeqNumber,
        offer: &Offer,
    ) -> SeqNumber {
        let slot = slot(now);
        let size = offer.mss.unwrap_or(DEFAULT_SIZE);
        let index = SIZES.iter().rposition(|known| *known <= size).unwrap_or(0);
        let index = u32::try_from(index).unwrap_or(0);
        let scale = offer.window_scale.map_or(NO_SCALE, u32::from);
        let bits = parity(slot) << 8 | index << 5 | u32::from(offer.sack) << 4 | scale;
        SeqNumber(self.mac(key, irs, slot, bits) << MAC_SHIFT | bits)
    }

    /// Whether some client may still answer a cookie.
    pub(crate) fn may_be_out(&self, now: Instant) -> bool {
        self.given.is_some_and(|given| slot(now).saturating_sub(slot(given)) <= 1)
    }

    /// Whether some client may still be about to answer one, or repeat its answer.
    pub(crate) fn are_fresh(&self, now: Instant) -> bool {
        self.given.is_some_and(|given| now.saturating_since(given) <= FRESH)
    }

    /// What the SYN offered that `iss` was given for, if it was.
    pub(crate) fn check(
        &self,
        now: Instant,
        key: &FlowKey,
        irs: SeqNumber,
        iss: SeqNumber,
    ) -> Option<Offer> {
        // Most of the time none is about, and then nobody can guess one.
        if !self.may_be_out(now) {
            return None;
        }
        let current = slot(now);
        let bits = iss.0 & ((1 << MAC_SHIFT) - 1);
        let slot = [Some(current), current.checked_sub(1)]
            .into_iter()
            .flatten()
            .find(|slot| parity(*slot) == bits >> 8)?;
        if self.mac(key, irs, slot, bits) != iss.0 >> MAC_SHIFT {
            return None;
        }
        let index = usize::try_from(bits >> 5 & 7).unwrap_or(0);
        let scale = bits & 15;
        Some(Offer {
            mss: SIZES.get(index).copied(),
            window_scale: u8::try_from(scale).ok().filter(|_| scale != NO_SCALE),
            sack: bits >> 4 & 1 == 1,
            ..Offer::default()
        })
    }

    fn mac(&self, key: &FlowKey, irs: SeqNumber, slot: u64, bits: u32) -> u32 {
        let more = (slot << 41) ^ (u64::from(bits) << 32) ^ u64::from(irs.0);
        let hash = self.numbers.hash(key, PURPOSE, more) >> (32 + MAC_SHIFT);
        u32::try_from(hash).unwrap_or(0)
    }
}

fn slot(now: Instant) -> u64 {
    now.as_nanos() / (SLOT_SECONDS * 1_000_000_000)
}

/// Tells a slot from the one before.
fn parity(slot: u64) -> u32 {
    u32::from(!slot.is_multiple_of(2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn key(remote_port: u16) -> FlowKey {
        let (local, remote) = ([10, 0, 0, 2].into(), [192, 0, 2, 1].into());
        FlowKey { local, local_port: 80, remote, remote_port }
    }

    proptest! {
        #[test]
        fn what_was_offered_comes_back_for_one_to_two_slots(
            secret: [u8; 16], irs: u32, given in 0..1_000_000_u64, later in 0..300_u64,
            mss: Option<u16>, scale in prop::option::of(0_u8..=14), sack: bool,
        ) {
            let mut cookies = Cookies::new(Numbers::new(secret));
            let offer = Offer { mss, window_scale: scale, sack, ..Offer::default() };
            let irs = SeqNumber(irs);
            cookies.give(at(given));
            let iss = cookies.number(at(given), &key(1), irs, &offer);
            let back = cookies.check(at(given + later), &key(1), irs, iss);
            let slots = (given + later) / SLOT_SECONDS - given / SLOT_SECONDS;
            prop_assert_eq!(back.is_some(), slots <= 1);
            if let Some(back) = back {
                prop_assert_eq!((back.window_scale, back.sack), (scale, sack));
                prop_assert!(back.mss.unwrap() <= mss.unwrap_or(536).max(64));
            }
        }
    }

    #[test]
    fn of_others_none_is_accepted() {
        let offer = Offer::default();
        let mut accepted = 0;
        for number in 0..1000_u32 {
            let secret = |seed: u32| [number.to_be_bytes(), [0; 4], seed.to_be_bytes(), [7; 4]];
            let secret = |seed| secret(seed).concat().try_into().unwrap();
            let mut cookies = Cookies::new(Numbers::new(secret(1)));
            let irs = SeqNumber(number.wrapping_mul(0x9e37_79b9));
            assert!(cookies.check(at(1), &key(1), irs, irs).is_none(), "none was given");
            cookies.give(at(1));
            let iss = cookies.number(at(1), &key(1), irs, &offer);
            assert!(cookies.check(at(1), &key(1), irs, iss).is_some());
            let mut others = Cookies::new(Numbers::new(secret(2)));
            others.give(at(1));
            let forged = [
                cookies.check(at(1), &key(2), irs, iss),
                cookies.check(at(1), &key(1), irs.after(1), iss),
                cookies.check(at(1), &key(1), irs, SeqNumber(iss.0 ^ 1 << 4)),
                others.check(at(1), &key(1), irs, iss),
            ];
            accepted += forged.iter().flatten().count();
        }
        assert_eq!(accepted, 0, "by chance, one in eight million");
    }
}
