//! Every bound of the control API, with its reason.

/// Bytes of a request's body: the longest that means anything has twelve texts of
/// [`TEXT_BYTES_MAX`].
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one text (a user, a task, a model): more than any name, and short enough to be kept
/// with every entry of the ledger.
pub(crate) const TEXT_BYTES_MAX: usize = 256;

/// Units or tokens in one request: a thousand times the longest context there is. A bucket that is
/// said to have given more would be closed for good.
pub(crate) const TOKENS_MAX: u64 = 1_000_000_000;

/// Dollars in one request: the most that a bucket of money can hold.
pub(crate) const DOLLARS_MAX: u64 = 1_000_000_000;

/// Dollars that one reservation may be said to have cost: more than anything costs that an agent
/// does, and so little that no sum of them leaves 64 bits.
pub(crate) const COST_DOLLARS_MAX: u64 = 1_000_000;

/// Open reservations in one answer: 3 MB of JSON.
pub(crate) const OPEN_LIST_MAX: usize = 10_000;

/// Expired reservations that are looked through for one answer.
pub(crate) const EXPIRED_LIST_MAX: usize = 1_000;

/// Tasks that are only in the ledger in one answer, where it is not said: a few screens.
pub(crate) const TASKS_DEFAULT: u64 = 200;

/// The same, at most: 5 MB of JSON.
pub(crate) const TASKS_MAX: u64 = 10_000;

/// Rows of the ledger in one answer, where it is not said: 1 MB of JSON.
pub(crate) const ROWS_DEFAULT: u64 = 1_000;

/// The same, at most: 10 MB of JSON.
pub(crate) const ROWS_MAX: u64 = 10_000;

/// Rows of the audit in one answer, where it is not said.
pub(crate) const CHANGES_DEFAULT: u64 = 100;

/// The same, at most.
pub(crate) const CHANGES_MAX: u64 = 1_000;

/// Rows of the audit that are looked through for those that may be seen.
pub(crate) const CHANGES_READ: usize = 10_000;

/// Calls in one answer, where it is not said.
pub(crate) const CALLS_DEFAULT: u64 = 100;

/// Tasks of the registry in one answer, where it is not said.
pub(crate) const TASK_ROWS_DEFAULT: u64 = 100;

/// The same, at most: 1 MB of JSON.
pub(crate) const TASK_ROWS_MAX: u64 = 1_000;

/// Calls that wait for one quota in one answer: the first of them tell whose turn it is.
pub(crate) const QUOTA_WAITERS_MAX: usize = 100;

/// Overruns that a verification lists.
pub(crate) const OVERRUNS_MAX: usize = 1_000;

/// Requests that are at the store or at files at once: each occupies a thread, and more of them
/// would only wait for each other there.
pub(crate) const BLOCKING_MAX: usize = 8;

/// Seconds that one request may wait for a decision: less than proxies let a connection be silent.
pub(crate) const LONG_POLL_SECONDS_MAX: u64 = 55;

/// Streams of events that are open at once: each has a task and a connection.
pub(crate) const EVENT_STREAMS_MAX: usize = 1_000;

/// Logs in one answer, where it is not said.
pub(crate) const LOGS_DEFAULT: u64 = 100;

/// The same, at most: 10 MB of JSON.
pub(crate) const LOGS_MAX: u64 = 10_000;

/// Logs that a tail begins with, at most.
pub(crate) const TAIL_BEGINS_MAX: u64 = 1_000;

/// Exports that are made at once: each keeps a processor busy.
pub(crate) const EXPORTS_MAX: usize = 2;

/// How long an export waits for a reader that takes nothing.
pub(crate) const EXPORT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Spans of one trace in one answer: 10 MB of JSON.
pub(crate) const TRACE_SPANS_MAX: usize = 10_000;

/// Requests of a trace's spans whose calls are looked for, where they are no part of the trace: more
/// than a person looks at.
pub(crate) const TRACE_REQUESTS_MAX: usize = 64;

/// Bytes of the name of a session or a task that is looked for: names have 200 characters, of at most
/// four bytes.
pub(crate) const NAME_BYTES_MAX: usize = 800;

/// Sums in one answer: 5 MB of JSON.
pub(crate) const ACTIVITY_MAX: usize = 10_000;

/// Sums that are kept apart while calls are counted: 100 MB. Where there would be more, fewer columns
/// must be asked for.
pub(crate) const ACTIVITY_SUMS_MAX: usize = 200_000;
