//! How durations, sizes and rates are written in configuration files and shown to people: `1.5s`, `8MiB`, `40/s`.

use std::fmt;
use std::time::Duration;

use crate::budget::Rate;

/// Why a text is not a duration, a size or a rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError {
    expected: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }
}

impl std::error::Error for UnitError {}

const DURATION: UnitError = UnitError {
    expected: "a number with a unit of us, ms, s, m, h or d, such as \"500ms\" or \"10s\"",
};
const SIZE: UnitError =
    UnitError { expected: "a whole number with a unit of B, KiB, MiB or GiB, such as \"8MiB\"" };

const RATE: UnitError =
    UnitError { expected: "a whole number above 0 and `/s`, `/m`, `/h` or `/d`, such as \"40/s\"" };

/// Units of time, and what each is in nanoseconds.
const TIMES: [(&str, u64); 6] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Units of size, and what each is in octets.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a duration such as `10s`, `1.5h` or `0s`.
///
/// # Errors
/// When the text is not a number with a unit, or longer than 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text, &TIMES).ok_or(DURATION)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = digits(whole).ok_or(DURATION)?;
    let mut nanos = whole.checked_mul(unit).ok_or(DURATION)?;
    if number.contains('.') {
        // No more digits than a nanosecond needs of the largest unit.
        let parts: u64 = digits(fraction).filter(|_| fraction.len() <= 14).ok_or(DURATION)?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| DURATION)?);
        let part = u128::from(parts) * u128::from(unit) / scale;
        nanos = nanos.checked_add(u64::try_from(part).map_err(|_| DURATION)?).ok_or(DURATION)?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Reads a size such as `8MiB`, in octets.
///
/// # Errors
/// When the text is not a whole number with a unit, or too large for 64 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text, &SIZES).ok_or(SIZE)?;
    digits(number).and_then(|number| number.checked_mul(unit)).ok_or(SIZE)
}

/// Reads a rate such as `40/s` or `6/m`: so many in a second, a minute, an hour or a day.
///
/// # Errors
/// When the text is not a whole number above 0 with such a unit.
pub fn parse_rate(text: &str) -> Result<Rate, UnitError> {
    let (count, unit) = text.split_once('/').ok_or(RATE)?;
    let unit = unit.trim();
    let long_enough = |unit: &str| ["s", "m", "h", "d"].contains(&unit);
    let (_, nanos) =
        TIMES.iter().find(|(name, _)| *name == unit && long_enough(name)).ok_or(RATE)?;
    let count = digits(count.trim()).and_then(|count| u32::try_from(count).ok()).ok_or(RATE)?;
    Rate::new(count, Duration::from_nanos(*nanos)).ok_or(RATE)
}

/// Writes a duration in the largest unit that needs no fraction: what [`parse_duration`] reads back.
/// Nanoseconds below a microsecond are cut off.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let nanos = nanos - nanos % 1_000;
    if nanos == 0 {
        return "0s".to_owned();
    }
    format(nanos, &TIMES)
}

/// Writes a size in the largest unit that needs no fraction: what [`parse_size`] reads back.
#[must_use]
pub fn format_size(octets: u64) -> String {
    if octets == 0 {
        return "0B".to_owned();
    }
    format(octets, &SIZES)
}

fn split<'a>(text: &'a str, units: &[(&str, u64)]) -> Option<(&'a str, u64)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    units.iter().find(|(name, _)| *name == unit).map(|(_, value)| (number, *value))
}

/// Digits only: `u64::from_str` would also take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?
}

fn format(value: u64, units: &[(&str, u64)]) -> String {
    let (name, unit) = units
        .iter()
        .rev()
        .find(|(_, unit)| value.is_multiple_of(*unit))
        .expect("the value is a multiple of the smallest unit");
    format!("{}{name}", value / unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        let read = |text| parse_duration(text).map(|duration| duration.as_micros());
        assert_eq!(read("500ms"), Ok(500_000));
        assert_eq!(read(" 1.5 s "), Ok(1_500_000));
        assert_eq!(read("0s"), Ok(0));
        assert_eq!(read("2d"), Ok(172_800_000_000));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "+1s",
            "1e3s",
            "1.s",
            "1..2s",
            ".5s",
            "5 parsecs",
            "99999999999d",
            "1 s x",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("8MiB"), Ok(8 << 20));
        assert_eq!(parse_size("1 GiB"), Ok(1 << 30));
        for bad in ["", "8", "8MB", "1.5MiB", "-1B", "99999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rates() {
        let read = |text| parse_rate(text).map(|rate| rate.interval().as_micros());
        assert_eq!(read("40/s"), Ok(25_000));
        assert_eq!(read(" 6 / m "), Ok(10_000_000));
        assert_eq!(read("1/d"), Ok(86_400_000_000));
        for bad in
            ["", "5", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "1/ms", "1/us", "1/x", "99999999999/s"]
        {
            assert!(parse_rate(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in 0..u64::MAX / 1000, octets: u64) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&format_size(octets)), Ok(octets));
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,20}|[0-9.]{0,30}/?[a-zA-Z ]{0,4}") {
            let _ = (parse_duration(&text), parse_size(&text), parse_rate(&text));
        }
    }
}
