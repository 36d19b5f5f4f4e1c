//! Limit headers of both families (rule 8).

use std::{borrow::Cow, time::Duration};

use tidegate_types::Timestamp;

use super::{Bucket, buckets::Buckets};

/// Header names and values, in the order they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(Cow<'static, str>, String)>);

impl Headers {
    /// Adds one.
    pub fn put(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    pub(super) fn put_anthropic(&mut self, buckets: &Buckets, now: Timestamp) {
        let (input, output) = (&buckets.input, &buckets.output);
        let tightest = if output.is_emptier_than(input) {
            output
        } else {
            input
        };
        let thousand = |tokens: u64| (tokens + 500) / 1_000 * 1_000;
        for (name, bucket, remaining) in [
            ("requests", &buckets.requests, buckets.requests.remaining()),
            ("tokens", tightest, thousand(tightest.remaining())),
            ("input-tokens", input, thousand(input.remaining())),
            ("output-tokens", output, thousand(output.remaining())),
        ] {
            let mut put = |field: &str, value: String| {
                self.put(format!("anthropic-ratelimit-{name}-{field}"), value);
            };
            put("limit", bucket.per_minute().to_string());
            put("remaining", remaining.to_string());
            put("reset", rfc3339_seconds(now.after(bucket.until_full())));
        }
    }

    pub(super) fn put_openai(&mut self, buckets: &Buckets) {
        let pairs: [(&str, &Bucket); 2] =
            [("requests", &buckets.requests), ("tokens", &buckets.tokens)];
        for (name, bucket) in pairs {
            let mut put = |field: &str, value: String| {
                self.put(format!("x-ratelimit-{field}-{name}"), value);
            };
            put("limit", bucket.per_minute().to_string());
            put("remaining", bucket.remaining().to_string());
            put("reset", go_duration(bucket.until_full()));
        }
    }
}

/// `2026-11-21T22:43:05Z`, rounded up: never before the time it stands for.
pub(super) fn rfc3339_seconds(at: Timestamp) -> String {
    let seconds = at.0.div_ceil(1_000_000_000);
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.to_string()
}

/// `0s`, `12ms`, `1.5s`, `6m0s`, `1h2m3s`: as Go writes durations, rounded up to the millisecond.
pub(super) fn go_duration(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    if millis == 0 {
        return "0s".into();
    }
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (seconds, fraction) = (millis / 1_000, millis % 1_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let mut tail = (seconds % 60).to_string();
    if fraction > 0 {
        let decimals = format!("{fraction:03}");
        tail = format!("{tail}.{}", decimals.trim_end_matches('0'));
    }
    match (hours, minutes) {
        (0, 0) => format!("{tail}s"),
        (0, _) => format!("{minutes}m{tail}s"),
        _ => format!("{hours}h{minutes}m{tail}s"),
    }
}

#[cfg(test)]
mod tests;
