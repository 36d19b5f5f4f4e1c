//! Decimal text as integers: prices, fractions and durations are read without a float in between.

/// Digits read from one number. More than this is no figure but an attack or a defect, and 30
/// digits still fit 128 bits.
const DIGITS_MAX: usize = 30;

/// A number in whole units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scaled {
    /// The number in units of `10^-decimals`, rounded down.
    pub(crate) units: u64,
    /// Whether nothing was lost by rounding.
    pub(crate) exact: bool,
}

/// Reads `12`, `0.25`, `.5`, `1e-7` as units of `10^-decimals`.
///
/// `None` for anything else: signs, `nan`, `inf`, blanks, more than 30 digits, or more units than
/// 64 bits hold.
pub(crate) fn scaled(text: &str, decimals: u32) -> Option<Scaled> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.len().checked_add(fraction.len())?;
    if digits == 0 || digits > DIGITS_MAX {
        return None;
    }
    let mut value = 0_u128;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u128::from(byte - b'0');
    }
    let places = i64::from(decimals) + i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    shift(value, places)
}

/// `value * 10^places`, rounded down.
fn shift(value: u128, places: i64) -> Option<Scaled> {
    let power = u32::try_from(places.unsigned_abs())
        .ok()
        .and_then(|it| 10_u128.checked_pow(it));
    let (units, exact) = match power {
        _ if value == 0 => (0, true),
        Some(power) if places >= 0 => (value.checked_mul(power)?, true),
        Some(power) => (value / power, value.is_multiple_of(power)),
        None if places < 0 => (0, false),
        None => return None,
    };
    let units = u64::try_from(units).ok()?;
    Some(Scaled { units, exact })
}

#[cfg(test)]
mod tests;
