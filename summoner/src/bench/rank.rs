//! The rank test of Mann and Whitney: do two samples come from the same distribution?
//!
//! It asks nothing of the distribution's form, and outliers weigh no more than their rank: latencies need both.

/// What the test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankTest {
    /// The probability that a random value of the first sample is below one of the second, ties by half.
    pub first_below: f64,
    /// How probable a difference as great as this is between samples of one distribution (two-sided).
    pub p: f64,
}

/// Tests two samples, by the normal approximation with corrections for ties and continuity: good from about
/// eight values in each. `None` when a sample is empty.
#[must_use]
pub fn test(first: &[f64], second: &[f64]) -> Option<RankTest> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let mut all: Vec<(f64, bool)> = first.iter().map(|value| (*value, true)).collect();
    all.extend(second.iter().map(|value| (*value, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut rank_sum = 0.0;
    let mut ties = 0.0;
    let mut start = 0.0;
    for group in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let size = group.len() as f64;
        // Ranks count from 1; equal values share the mean of theirs.
        let rank = start + (size + 1.0) / 2.0;
        rank_sum += rank * group.iter().filter(|(_, first)| *first).count() as f64;
        ties += size.powi(3) - size;
        start += size;
    }
    let (n, m) = (first.len() as f64, second.len() as f64);
    let total = n + m;
    // The number of pairs in which the first is above.
    let above = rank_sum - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)).max(1.0));
    let difference = ((above - n * m / 2.0).abs() - 0.5).max(0.0);
    // All values equal: nothing differs.
    let p = if variance > 0.0 { two_sided(difference / variance.sqrt()) } else { 1.0 };
    Some(RankTest { first_below: 1.0 - above / (n * m), p })
}

/// The probability that a standard normal variable is at least `z` away from zero: `erfc(z / sqrt 2)`.
fn two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.5 {
        // erf(x) = 2/sqrt(pi) e^(-x^2) sum of 2^k x^(2k+1) / (1 3 5 .. (2k+1)): no cancellation.
        let mut term = x;
        let mut sum = x;
        let mut odd = 3.0;
        while term > 1e-17 * sum {
            term *= 2.0 * x * x / odd;
            sum += term;
            odd += 2.0;
        }
        1.0 - 2.0 * scale * sum
    } else {
        // Laplace's continued fraction, from its inside: x + (1/2)/(x + 1/(x + (3/2)/(x + ..))).
        let fraction = (1..=60_u8).rev().fold(x, |inner, k| x + f64::from(k) / 2.0 / inner);
        scale / fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-10 + expected.abs() * 1e-8
    }

    #[test]
    fn the_normal_tail_is_that_of_the_tables() {
        for (z, p) in [
            (0.0, 1.0),
            (1.0, 0.317_310_507_862_914),
            (1.959_963_984_540_054, 0.05),
            (2.575_829_303_548_901, 0.01),
            (3.4, 0.000_673_858_5),
            (3.7, 0.000_215_599_5),
        ] {
            assert!((two_sided(z) - p).abs() < 1e-9, "{z}: {} {p}", two_sided(z));
        }
        // Both forms agree where they meet, and far out it is small and not negative.
        let edge = 2.5 * std::f64::consts::SQRT_2;
        assert!(close(two_sided(edge - 1e-12), two_sided(edge + 1e-12)));
        assert!(two_sided(30.0) > 0.0 && two_sided(30.0) < 1e-190);
    }

    #[test]
    fn a_small_case_by_hand() {
        // Ranks of the first: 1, 2, 4, so 7 of 6 pairs' least: above in 1 of 9 pairs; sigma^2 = 9/12 * 7.
        let test = test(&[1.0, 2.0, 4.0], &[3.0, 5.0, 6.0]).unwrap();
        assert!(close(test.first_below, 8.0 / 9.0), "{test:?}");
        // z = (|1 - 4.5| - 0.5) / sqrt(5.25) = 1.309307; the table's two-sided tail.
        assert!((test.p - 0.190_430_263).abs() < 1e-6, "{test:?}");
    }

    #[test]
    fn ties_are_corrected_for() {
        // Ranks 1, 2.5, 2.5 | 2.5 2.5, 6 .. : values 2 four times.
        let test = test(&[1.0, 2.0, 2.0], &[2.0, 2.0, 3.0]).unwrap();
        // Ranks of 2 are 3.5: the first's sum is 8, above = 2; sigma^2 = 9/12 * (7 - 60/30) = 3.75.
        assert!(close(test.first_below, 7.0 / 9.0), "{test:?}");
        assert!((test.p - two_sided(2.0 / 3.75_f64.sqrt())).abs() < 1e-12);
    }

    #[test]
    fn equal_samples_do_not_differ_and_distant_ones_do() {
        let low: Vec<f64> = (0..200).map(f64::from).collect();
        let high: Vec<f64> = low.iter().map(|value| value + 150.0).collect();
        let same = test(&low, &low).unwrap();
        assert!(close(same.first_below, 0.5) && same.p > 0.99, "{same:?}");
        let apart = test(&low, &high).unwrap();
        assert!(apart.first_below > 0.9 && apart.p < 1e-20, "{apart:?}");
        assert!(close(test(&high, &low).unwrap().p, apart.p));
        assert_eq!(test(&[5.0; 20], &[5.0; 20]).unwrap().p, 1.0);
        assert_eq!(test(&[], &low), None);
    }
}
