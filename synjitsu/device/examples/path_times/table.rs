//! Quantiles, and how they are printed.

/// Lengths of one kind, in nanoseconds.
#[derive(Default)]
pub(crate) struct Lengths(Vec<u64>);

impl Lengths {
    pub(crate) fn add(&mut self, nanos: u64) {
        self.0.push(nanos);
    }

    fn quantile(&mut self, permille: usize) -> u64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * permille / 1000).copied().unwrap_or(0)
    }

    /// Median and 99th percentile.
    pub(crate) fn quantiles(&mut self) -> (u64, u64) {
        (self.quantile(500), self.quantile(990))
    }
}

/// Prints one line; with `of`, also as a ratio.
pub(crate) fn line(what: &str, lengths: &mut Lengths, of: Option<(u64, u64)>) -> (u64, u64) {
    let (median, p99) = lengths.quantiles();
    let ratio = of.map_or(String::new(), |(median_of, p99_of)| {
        format!("{:>9}{:>7}", decimal(median * 100, median_of, 2), decimal(p99 * 100, p99_of, 2))
    });
    println!("  {what:<58}{:>9}{:>9}{ratio}", decimal(median, 10, 2), decimal(p99, 10, 2));
    (median, p99)
}

/// `value / unit`, with so many decimals already in `value`.
fn decimal(value: u64, unit: u64, decimals: usize) -> String {
    let scaled = value / unit.max(1);
    let base = 10_u64.pow(u32::try_from(decimals).unwrap());
    format!("{}.{:0decimals$}", scaled / base, scaled % base)
}

pub(crate) fn head(what: &str) {
    println!("\n  {what:<58}{:>9}{:>9}{:>9}{:>7}", "p50 us", "p99 us", "ratio", "p99");
}
