//! How far a running answer may go.

use std::time::Duration;

use tidegate_engine::{
    account::{QuotaKind, QuotaScope},
    flight::InFlight,
};
use tidegate_providers::Meter;
use tokio::time::Instant;

/// Later than any answer ends: an instant that is added to must stay one.
const FAR: Duration = Duration::from_hours(365 * 24);

/// Where a quota ends an answer (Q6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// Bytes of its text.
    text_bytes_max: u64,
    /// Whose limit that is.
    pub(crate) output: (QuotaScope, QuotaKind),
    /// When its time is over.
    pub(crate) ends_at: Instant,
    /// Whose limit that is.
    pub(crate) time: (QuotaScope, QuotaKind),
}

impl Quota {
    /// Of a call, as of now.
    pub(crate) fn of(call: &InFlight, now: Instant) -> Self {
        let (output, time) = (call.sizes.output, call.time_left());
        Self {
            text_bytes_max: output.at,
            output: (output.scope, QuotaKind::Output),
            ends_at: now + time.at.min(FAR),
            time: (time.scope, QuotaKind::TaskTime),
        }
    }

    /// Nothing ends it.
    pub(crate) fn none(now: Instant) -> Self {
        Self {
            text_bytes_max: u64::MAX,
            output: (QuotaScope::Organisation, QuotaKind::Output),
            ends_at: now + FAR,
            time: (QuotaScope::Organisation, QuotaKind::TaskTime),
        }
    }

    /// Whether so many more bytes could have more text than is left. Text is never longer than the
    /// bytes it comes in.
    pub(crate) fn may_end_in(&self, meter: Option<&Meter>, more: usize) -> bool {
        meter.is_some_and(|it| it.text_bytes().saturating_add(more as u64) > self.text_bytes_max)
    }

    /// Whether there was more text than may be.
    pub(crate) fn is_passed(&self, meter: Option<&Meter>) -> bool {
        meter.is_some_and(|it| it.text_bytes() > self.text_bytes_max)
    }

    /// The earlier of that and the end.
    pub(crate) fn next_look(&self, other: Instant) -> Instant {
        other.min(self.ends_at)
    }
}

/// Bytes up to the end of the first event, or all of them where none ends in them. Cutting a stream
/// elsewhere would cost nothing but exactness.
pub(crate) fn first_event(bytes: &[u8]) -> usize {
    let ends = bytes.windows(2).position(|it| it == b"\n\n");
    let ends_crlf = bytes.windows(4).position(|it| it == b"\r\n\r\n");
    let end = match (ends, ends_crlf) {
        (Some(one), Some(other)) => (one + 2).min(other + 4),
        (Some(one), None) => one + 2,
        (None, Some(other)) => other + 4,
        (None, None) => bytes.len(),
    };
    end.min(bytes.len())
}
