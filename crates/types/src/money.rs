//! Money, exact.

use std::{fmt, iter::Sum, str::FromStr};

use serde::{Deserialize, Serialize};

/// Money in billionths of a US dollar. Integer, so that reserve + settle sum to exactly zero;
/// this fine, so that one token at $0.03 per million (30 of these) is still a whole number.
///
/// 64 bits hold 18 billion dollars; arithmetic that would pass that saturates.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

impl NanoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole dollars.
    #[must_use]
    pub const fn from_usd(dollars: u64) -> Self {
        Self(dollars.saturating_mul(1_000_000_000))
    }

    /// `self + other`, or the most that can be held.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`, or zero. Use where running out is an ordinary outcome.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self - other`, or `None` where that would be less than nothing.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(left) => Some(Self(left)),
            None => None,
        }
    }

    /// True for nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::saturating_add)
    }
}

/// Exact dollars with at least two and at most nine decimals: `$5.00`, `$0.006488`.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let mut decimals = format!("{nanos:09}");
        while decimals.len() > 2 && decimals.ends_with('0') {
            decimals.pop();
        }
        f.pad(&format!("${dollars}.{decimals}"))
    }
}

/// A text that is not an amount of dollars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseMoneyError {
    text: String,
    too_large: bool,
}

impl ParseMoneyError {
    /// Whether it is an amount, above the largest that can be held.
    pub const fn is_too_large(&self) -> bool {
        self.too_large
    }
}

impl fmt::Display for ParseMoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        if self.too_large {
            let most = NanoUsd(u64::MAX);
            return write!(f, "`{text}` is too large: the largest amount is {most}");
        }
        write!(
            f,
            "`{text}` is not an amount in dollars: write it like 5, 0.25 or $12.50, with at most nine decimals"
        )
    }
}

impl std::error::Error for ParseMoneyError {}

/// Reads `5`, `0.25`, `$12.50`. No sign, no exponent, at most nine decimals: what is read is exact.
impl FromStr for NanoUsd {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |too_large| ParseMoneyError {
            text: text.chars().take(40).collect(),
            too_large,
        };
        let refuse = || refused(false);
        let plain = text.trim();
        let plain = plain.strip_prefix('$').unwrap_or(plain);
        let (dollars, decimals) = plain.split_once('.').unwrap_or((plain, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
        if !digits(dollars) || !digits(decimals) || decimals.len() > 9 {
            return Err(refuse());
        }
        let dollars: u64 = dollars.parse().map_err(|_| refused(true))?;
        let nanos: u64 = format!("{decimals:0<9}").parse().map_err(|_| refuse())?;
        dollars
            .checked_mul(1_000_000_000)
            .and_then(|it| it.checked_add(nanos))
            .map(Self)
            .ok_or_else(|| refused(true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        for (nanos, text) in [
            (0, "$0.00"),
            (5_000_000_000, "$5.00"),
            (6_488_000, "$0.006488"),
            (100_000_000, "$0.10"),
            (1, "$0.000000001"),
        ] {
            assert_eq!(NanoUsd(nanos).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_text_and_the_remedy() {
        for text in [
            "",
            "-1",
            "1e9",
            "1.0000000001",
            "5 $",
            "99999999999999999999",
            ".5",
            "1.",
        ] {
            let error = text.parse::<NanoUsd>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn an_amount_above_the_largest_is_refused_with_that() {
        for text in ["99999999999999999999", "18446744073.709551616"] {
            let error = text.parse::<NanoUsd>().unwrap_err();
            assert!(error.is_too_large());
            let told =
                format!("`{text}` is too large: the largest amount is $18446744073.709551615");
            assert_eq!(error.to_string(), told);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos: u64) {
            prop_assert_eq!(NanoUsd(nanos).to_string().parse(), Ok(NanoUsd(nanos)));
        }
    }
}
