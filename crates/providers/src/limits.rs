//! Rate-limit headers of both families, read openly: names that nobody has seen yet are kept.

use std::{borrow::Cow, time::Duration};

use jiff::fmt::rfc2822;
use tidegate_types::Timestamp;

use crate::decimal::scaled;

mod duration;
mod unified;

pub use unified::{Overage, Unified, UnifiedStatus, UnifiedWindow};

/// Windows, and other unified headers, kept of one answer. Providers send about a dozen; what goes
/// beyond is dropped.
pub const WINDOWS_MAX: usize = 64;
/// Longest header name or value that is looked at: the longest known is a third of it.
const TEXT_BYTES_MAX: usize = 256;

/// Plain numbers from here on are milliseconds since the epoch, not seconds (as seconds: year 5138).
const EPOCH_MILLISECONDS_MIN: u64 = 100_000_000_000;
/// Plain numbers from here on are seconds since the epoch, not a duration (as one: 31 years).
const EPOCH_SECONDS_MIN: u64 = 1_000_000_000;

/// A fraction in millionths, so that no float is compared with a threshold. May pass the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartsPerMillion(pub u64);

impl PartsPerMillion {
    /// Everything.
    pub const WHOLE: Self = Self(1_000_000);
}

/// What an answer says about limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitSignals {
    /// How long to wait, from `retry-after-ms` or else `retry-after`, whatever its length: waits
    /// of hours are meant.
    pub retry_after: Option<Duration>,
    /// `x-should-retry`: stands above everything else.
    pub should_retry: Option<bool>,
    /// In the order in which they were first named.
    pub windows: Vec<LimitWindow>,
    /// The state of a subscription or a gateway's budget.
    pub unified: Option<Unified>,
}

/// One of the provider's own limits. What is `None` was not sent, or the provider did not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitWindow {
    /// As the provider calls it: `requests`, `tokens`, `input-tokens`, `priority-output-tokens`,
    /// `fast-input-tokens`, `project-tokens`, `tokens_usage_based`, …
    pub name: String,
    /// The most that can be left.
    pub limit: Option<u64>,
    /// What is left. Anthropic rounds tokens to thousands.
    pub remaining: Option<u64>,
    /// When all of `limit` will be left again, if nothing is used.
    pub resets_at: Option<Timestamp>,
}

impl LimitWindow {
    /// Time until [`resets_at`](Self::resets_at); zero where that has passed.
    pub fn reset_after(&self, now: Timestamp) -> Option<Duration> {
        self.resets_at.map(|it| it.since(now))
    }
}

/// Reads what is known among `headers`; the rest, and values that make no sense, are passed over.
///
/// Understood are `retry-after` (seconds with decimals, or an HTTP date), `retry-after-ms`,
/// `x-should-retry`, `anthropic-ratelimit-unified-*`, `anthropic-…-{limit,remaining,reset}` and
/// `x-ratelimit-{limit,remaining,reset}-…`. Resets are RFC 3339 times, durations as Go prints them
/// (`6m0s`, `1.5s`), plain seconds, or seconds or milliseconds since the epoch. Where a limit and
/// what remains of it are -1, its reset is unknown too. Of a repeated header the last one counts.
///
/// `now` is when the answer came; durations are counted from it.
pub fn parse<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    now: Timestamp,
) -> LimitSignals {
    let mut reading = Reading {
        now,
        signals: LimitSignals::default(),
        milliseconds: None,
    };
    for (name, value) in headers {
        if name.len() > TEXT_BYTES_MAX || value.len() > TEXT_BYTES_MAX {
            continue;
        }
        if let Ok(value) = str::from_utf8(value) {
            reading.header(&lower(name), value.trim());
        }
    }
    reading.finish()
}

/// The moment that a `date` header names. `None` where it names none.
pub fn date(value: &[u8]) -> Option<Timestamp> {
    let text = str::from_utf8(value).ok()?.trim();
    let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    u64::try_from(at.as_nanosecond()).ok().map(Timestamp)
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|it| it.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

struct Reading {
    now: Timestamp,
    signals: LimitSignals,
    milliseconds: Option<Duration>,
}

impl Reading {
    fn header(&mut self, name: &str, value: &str) {
        match name {
            "retry-after" => self.signals.retry_after = retry_after(value, self.now),
            "retry-after-ms" => self.milliseconds = thousandths(value, 6),
            "x-should-retry" => self.signals.should_retry = value.parse().ok(),
            _ => {
                if let Some(rest) = name.strip_prefix("anthropic-ratelimit-unified-") {
                    let unified = self.signals.unified.get_or_insert_default();
                    unified.observe(rest, value, self.now);
                } else if let Some(rest) = name.strip_prefix("anthropic-") {
                    let rest = rest.strip_prefix("ratelimit-").unwrap_or(rest);
                    if let Some((window, field)) = rest.rsplit_once('-') {
                        self.window(window, field, value);
                    }
                } else if let Some(rest) = name.strip_prefix("x-ratelimit-") {
                    let (field, window) = rest.split_once('-').unwrap_or((rest, "requests"));
                    self.window(window, field, value);
                }
            }
        }
    }

    fn window(&mut self, name: &str, field: &str, value: &str) {
        if name.is_empty() || !matches!(field, "limit" | "remaining" | "reset") {
            return;
        }
        let now = self.now;
        let windows = &mut self.signals.windows;
        let at = windows.iter().position(|it| it.name == name);
        let at = at.unwrap_or_else(|| {
            if windows.len() < WINDOWS_MAX {
                windows.push(LimitWindow {
                    name: name.to_owned(),
                    ..LimitWindow::default()
                });
            }
            windows.len() - 1
        });
        let Some(window) = windows.get_mut(at).filter(|it| it.name == name) else {
            return;
        };
        match field {
            "limit" => window.limit = count(value),
            "remaining" => window.remaining = count(value),
            _ => window.resets_at = reset(value, now),
        }
    }

    fn finish(self) -> LimitSignals {
        let mut signals = self.signals;
        signals.retry_after = self.milliseconds.or(signals.retry_after);
        for window in &mut signals.windows {
            let unknown = window.limit.is_none() && window.remaining.is_none();
            if unknown && window.resets_at == Some(self.now) {
                window.resets_at = None;
            }
        }
        signals
    }
}

/// A whole count; `-1` and the like are unknown.
fn count(value: &str) -> Option<u64> {
    scaled(value, 0).map(|it| it.units)
}

/// Seconds, with decimals where there are any, or an HTTP date; a date that has passed is no wait.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    thousandths(value, 9).or_else(|| {
        let at = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        let at = u64::try_from(at.as_nanosecond()).unwrap_or(0);
        Some(Timestamp(at).since(now))
    })
}

/// A duration in units of `10^decimals` nanoseconds.
fn thousandths(value: &str, decimals: u32) -> Option<Duration> {
    scaled(value, decimals).map(|it| Duration::from_nanos(it.units))
}

/// When a limit is whole again, in any of the forms that are in use.
fn reset(value: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(number) = scaled(value, 0) {
        return match number.units {
            EPOCH_MILLISECONDS_MIN.. => thousandths(value, 6).map(|it| Timestamp(0).after(it)),
            EPOCH_SECONDS_MIN.. => thousandths(value, 9).map(|it| Timestamp(0).after(it)),
            _ => thousandths(value, 9).map(|it| now.after(it)),
        };
    }
    if let Some(duration) = duration::parse(value) {
        return Some(now.after(duration));
    }
    let at = value.parse::<jiff::Timestamp>().ok()?;
    Some(Timestamp(u64::try_from(at.as_nanosecond()).unwrap_or(0)))
}

/// A fraction of one, in millionths, rounded down.
fn fraction(value: &str) -> Option<PartsPerMillion> {
    scaled(value, 6).map(|it| PartsPerMillion(it.units))
}

#[cfg(test)]
mod tests;
