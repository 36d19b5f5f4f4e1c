//! How long and in how much room telemetry is kept.

use std::time::Duration;

use tidegate_segments::{Keep, Options};

use crate::config::{schema::Reader, sections};

/// Nothing is kept for less: a part is dropped as a whole, and may hold an hour.
const KEEP_MIN: Duration = Duration::from_hours(1);

/// Nor for longer: the disk is full before.
const KEEP_MAX: Duration = Duration::from_hours(24 * 36_500);

/// Recent records have at least this much: four times the largest batch.
const RECENT_MIN: u64 = 64 << 20;

/// The room for all is at least so many times that of recent records: their database with its log, and
/// as much again for parts.
const DISK_RATIO: u64 = 3;

pub(super) fn check(raw: &sections::Telemetry, reader: &mut Reader) -> Option<Options> {
    for (key, keep) in [
        ("telemetry.logs", raw.logs),
        ("telemetry.spans", raw.spans),
        ("telemetry.calls", raw.calls),
        ("telemetry.tasks", raw.tasks),
        ("telemetry.metrics", raw.metrics),
    ] {
        if !(KEEP_MIN..=KEEP_MAX).contains(&keep) {
            let message = format!(
                "{} s can't be kept; between \"1h\" and \"36500d\" can",
                keep.as_secs()
            );
            reader.refuse(reader.origin(key), key.to_owned(), message);
        }
    }
    if raw.recent.0 < RECENT_MIN {
        let key = "telemetry.recent";
        let message = format!(
            "{} bytes hold too few batches; the least is \"64 MiB\", the default \"512 MiB\"",
            raw.recent.0
        );
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    if raw.disk.0 < raw.recent.0.saturating_mul(DISK_RATIO) {
        let key = "telemetry.disk";
        let message = format!(
            "{} bytes are too few with {} for recent records; make it {DISK_RATIO} times as much or more, or lower telemetry.recent",
            raw.disk.0, raw.recent.0
        );
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    raw.enabled.then_some(Options {
        keep: Keep {
            logs: raw.logs,
            spans: raw.spans,
            calls: raw.calls,
            tasks: raw.tasks,
            metrics: raw.metrics,
        },
        budget_bytes: raw.disk.0,
        recent_bytes: raw.recent.0,
        ..Options::default()
    })
}
