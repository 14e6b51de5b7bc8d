//! Random numbers that a printed seed brings back: the same on every machine and in every version.

/// The generator SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence that `seed` stands for.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..limit`; 0 if `limit` is 0. The bias of the multiplication is below `limit / 2^64`.
    pub fn below(&mut self, limit: usize) -> usize {
        let wide = (u128::from(self.bits()) * limit as u128) >> 64;
        // Less than `limit`, which is a usize.
        usize::try_from(wide).unwrap_or(0)
    }

    /// Uniform in the open interval from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        // The 53 bits of a mantissa; the half keeps both ends out.
        let bits = (self.bits() >> 11) as f64;
        (bits + 0.5) / (1_u64 << 53) as f64
    }

    /// Exponentially distributed with the given mean: the gaps of a Poisson process.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Puts a list into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        // The first values of the published reference generator for seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
        assert_eq!(random.bits(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn values_stay_in_their_range() {
        let mut random = Random::new(7);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[random.below(5)] += 1;
            let unit = random.unit();
            assert!(unit > 0.0 && unit < 1.0);
        }
        assert!(seen.iter().all(|count| *count > 120), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn the_mean_of_the_gaps_is_as_asked() {
        let mut random = Random::new(42);
        let sum: f64 = (0..20_000).map(|_| random.exponential(3.0)).sum();
        assert!((sum / 20_000.0 - 3.0).abs() < 0.1, "{}", sum / 20_000.0);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut list: Vec<u32> = (0..50).collect();
        Random::new(3).shuffle(&mut list);
        assert!(list.windows(2).any(|pair| pair[0] > pair[1]));
        list.sort_unstable();
        assert_eq!(list, (0..50).collect::<Vec<_>>());
    }
}
