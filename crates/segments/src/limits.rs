//! Every bound of the store, with its reason.

use std::time::Duration;

use tidegate_observe::telemetry::{Kind, PAGE_ROWS, PAGES_MAX};

/// The longest that a group commit waits for more: nobody notices it, and a disk that syncs in
/// a millisecond is left idle most of the time.
pub(crate) const GROUP_WAIT: Duration = Duration::from_millis(10);

/// A group that has this much is committed at once.
pub(crate) const GROUP_BYTES: usize = 1 << 20;

/// Rows of a block: it is read whole, in a millisecond.
pub(crate) const BLOCK_ROWS: usize = 2_000;

/// The most that waits to be committed, and the largest batch. A second of the fastest stream that
/// one core can take; beyond it, whoever sends is told to come back.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;

/// The most of the program's own records that waits to be committed, beside that: a second of ten
/// thousand calls. From half of it on, records of level DEBUG are shed.
pub const OWN_BYTES_MAX: usize = 16 << 20;

/// The longest that somebody who wants to see what was just written waits for a disk between two
/// commits.
pub(crate) const FLUSH_WAIT: Duration = Duration::from_secs(10);

/// How long the hash of a batch is known: OpenTelemetry's exporters give up after five minutes.
pub(crate) const HASHES_KEPT: Duration = Duration::from_mins(10);

/// Rows of a row group: what a lookup reads in vain where a filter errs, in a few milliseconds.
pub(crate) const GROUP_ROWS: usize = 16_384;

const _: () = assert!(
    GROUP_ROWS == PAGE_ROWS * PAGES_MAX,
    "filters tell all pages of a group apart"
);

/// A row group with fewer rows is written anew with others when parts are merged; a larger one is
/// copied as it is.
pub(crate) const GROUP_ROWS_MIN: usize = GROUP_ROWS / 2;

/// Parts of one size and day that become one.
pub(crate) const MERGE_PARTS: usize = 8;

/// Rows of the largest part: with an index whose filters fit into memory while it is written
/// (some 25 MB), and 256 row groups whose place is found by one look at the file's end.
pub(crate) const PART_ROWS_MAX: usize = GROUP_ROWS * 256;

/// zstd's level for blocks, which live for a minute.
pub(crate) const BLOCK_LEVEL: i32 = 1;

/// zstd's level for parts: higher ones save a twentieth of the disk for twice the time, and are not compiled
/// (`.cargo/config.toml`).
pub(crate) const PART_LEVEL: i32 = 3;

/// zstd's level for pages of texts: what is as short as they are gets no smaller with higher ones.
pub(crate) const TEXT_LEVEL: i32 = 1;

/// The longest list of different ids of a row group, in bytes. Where most records have an id of
/// their own, a list would only cost.
pub(crate) const IDS_BYTES: usize = 64 << 10;

/// How far ahead of our clock a record may be before its time is not believed.
pub(crate) const AHEAD_MAX: Duration = Duration::from_hours(1);

/// When to come back where the queue is full: some groups later.
pub(crate) const RETRY_QUEUE: Duration = Duration::from_secs(1);

/// When to come back where recent records fill their share of the disk: a few seals later.
pub(crate) const RETRY_RECENT: Duration = Duration::from_secs(5);

/// Batches that a follower of the tail may fall behind before it is told that it missed some.
pub(crate) const TAIL_BATCHES: usize = 64;

/// The longest that a query may run: for as long, nothing that it may still read is given back.
pub(crate) const QUERY_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a foreign process that reads the database may delay us.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Idle connections that are kept for readers; each has a cache of a quarter MiB.
pub(crate) const READERS_IDLE_MAX: usize = 2;

const DAY: Duration = Duration::from_hours(24);

/// A day in UTC, of which no part has more than one.
pub(crate) const DAY_NANOS: i64 = 86_400_000_000_000;

/// How long records of each kind are kept. A part goes when its youngest record is older, and no
/// part spans more than a day: the oldest record is at most a day older than this, and none that
/// is older is ever shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Logs.
    pub logs: Duration,
    /// Spans.
    pub spans: Duration,
    /// Calls.
    pub calls: Duration,
    /// Tasks.
    pub tasks: Duration,
    /// Points of metrics.
    pub metrics: Duration,
}

impl Keep {
    /// How long one kind is kept.
    pub const fn of(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Logs => self.logs,
            Kind::Spans => self.spans,
            Kind::Calls => self.calls,
            Kind::Tasks => self.tasks,
            Kind::Metrics => self.metrics,
        }
    }
}

impl Default for Keep {
    fn default() -> Self {
        let month = 30 * DAY;
        let year = 365 * DAY;
        Self {
            logs: month,
            spans: month,
            calls: year,
            tasks: year,
            metrics: 7 * DAY,
        }
    }
}

/// How a directory is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long records are kept.
    pub keep: Keep,
    /// The most that all files together take. Where it would be passed, the oldest logs, spans and
    /// metrics go first, then the oldest of the rest.
    pub budget_bytes: u64,
    /// The most that recent records take of it. They are refused for a while before they reach it.
    pub recent_bytes: u64,
    /// The longest that a record stays a recent one.
    pub seal_after: Duration,
    /// Recent records of one kind that are sealed at once when they have so many bytes in memory.
    pub seal_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep: Keep::default(),
            budget_bytes: 20 << 30,
            recent_bytes: 512 << 20,
            seal_after: Duration::from_mins(1),
            seal_bytes: 64 << 20,
        }
    }
}

impl Options {
    /// The most that the log of the database takes beside it: a quarter of its own size. A reader
    /// that takes long lets it grow, until records are refused.
    pub(crate) const fn log_bytes(&self) -> u64 {
        self.recent_bytes / 4
    }

    /// What is left for parts.
    pub(crate) const fn parts_bytes(&self) -> u64 {
        self.budget_bytes
            .saturating_sub(self.recent_bytes)
            .saturating_sub(self.log_bytes())
    }
}
