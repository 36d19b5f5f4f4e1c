//! Durations as Go prints them: `1h2m3s`, `6m0s`, `12ms`, `1.5s`.

use std::time::Duration;

use crate::decimal::scaled;

/// Nanoseconds of each unit; days are not Go's, but limits per day use them.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Decimals kept of a number before its unit: the tenth of a nanosecond of an hour is no loss.
const DECIMALS: u32 = 9;

/// `None` for anything else, and for what 64 bits of nanoseconds do not hold (584 years).
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut nanos) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|it: char| it.is_ascii_digit() || it == '.');
        let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
        let (_, unit_nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let number = u128::from(scaled(number, DECIMALS)?.units);
        let part = number.checked_mul(u128::from(*unit_nanos))? / 10_u128.pow(DECIMALS);
        nanos = nanos.checked_add(u64::try_from(part).ok()?)?;
        rest = after;
    }
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests;
