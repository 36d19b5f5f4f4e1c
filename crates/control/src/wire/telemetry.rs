//! Logs, traces and sums of hours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

/// Which logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// A condition: `level:>=warning "connection refused" -host:db1`. Words are looked for in what was
    /// said and in attributes; `column:value` compares, `attributes.name:value` too; `or`, `not` and
    /// parentheses join.
    pub filter: Option<String>,
    /// Only those of this organisation.
    pub organisation: Option<String>,
    /// Only those of this user.
    pub user: Option<String>,
    /// Only those from then on: an RFC 3339 time, or whole seconds since 1970.
    pub since: Option<String>,
    /// Only those before then.
    pub until: Option<String>,
    /// Only those that come after this place in a list: `next` of an earlier answer.
    pub before: Option<String>,
    /// At most this many: 100 where it is not said, up to 10,000; of an export 1,000,000. Of those that
    /// came before a tail none where it is not said, up to 1,000.
    #[param(value_type = Option<u64>)]
    pub limit: Option<String>,
    /// The length of a bar of a histogram in seconds, in whole minutes; an hour where it is not said.
    #[param(value_type = Option<u64>)]
    pub step: Option<String>,
    /// The form of an export: `jsonl`, `csv` or `parquet`.
    pub format: Option<String>,
}

/// Logs, newest first. A call that ended has a line among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Logs {
    /// Each with its columns that are not empty: `time`, `id`, `level`, `organisation`, `service`,
    /// `component`, `event`, `task`, `session`, `user`, `trace_id`, `request_id`, `body`, `attributes`, ….
    #[schema(value_type = Vec<Object>)]
    pub logs: Vec<Map<String, Value>>,
    /// What `before` must be to read on; null at the end.
    pub next: Option<String>,
    /// Files that could not be read and were left out.
    pub unread: u64,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogCount {
    /// Logs that match.
    pub count: u64,
    /// Files that could not be read and were left out.
    pub unread: u64,
}

/// How many in each step of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogBars {
    /// The length of a bar.
    pub step_seconds: u64,
    /// Those that are not empty, oldest first.
    pub bars: Vec<LogBar>,
}

/// How many of each level from a time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogBar {
    /// When it begins.
    pub time: String,
    /// By level; those without one are under the empty text.
    pub counts: BTreeMap<String, u64>,
}

/// A trace: what was part of one piece of work, wherever it was done; or all traces of a session or
/// a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// Which, unless it is all traces of a session or a task.
    pub trace_id: Option<String>,
    /// The session that all of them are of, where one was asked for.
    pub session: Option<String>,
    /// The task that all of them are of, where one was asked for: a prompt of Claude Code is one.
    pub task: Option<String>,
    /// Its spans, those that began first first.
    #[schema(value_type = Vec<Object>)]
    pub spans: Vec<Map<String, Value>>,
    /// Whether it has more spans than are shown.
    pub cut: bool,
}

/// Which sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActivityQuery {
    /// Only this organisation's.
    pub organisation: Option<String>,
    /// Only this user's.
    pub user: Option<String>,
    /// Only calls from then on: an RFC 3339 time, or whole seconds since 1970; a day ago where it is
    /// not said.
    pub since: Option<String>,
    /// Only calls before then.
    pub until: Option<String>,
    /// What has sums of its own, joined by commas: `hour`, `organisation`, `user`, `platform`, `model`,
    /// `task_type`, `class`. Where it is not said: `hour,platform,task_type,user`.
    pub by: Option<String>,
}

/// Sums of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activities {
    /// Each with sums of its own: the latest hour first, in it what cost most.
    pub activity: Vec<Activity>,
    /// Whether there are more than are shown.
    pub cut: bool,
}

/// Usage and performance of some calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// When the hour began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<String>,
    /// Who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// Who acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The platform whose quota was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The model that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What kind of tasks they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// What the requests were for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Calls.
    pub calls: u64,
    /// Of them, those that failed.
    pub failed: u64,
    /// Of them, those that we refused.
    pub refused: u64,
    /// Input that was not cached.
    pub input_tokens: u64,
    /// Output.
    pub output_tokens: u64,
    /// Input that was read from the cache.
    pub cache_read_tokens: u64,
    /// Input that was written to the cache.
    pub cache_write_tokens: u64,
    /// What they were charged, in billionths of a dollar.
    pub cost_nano_usd: u64,
    /// The same in dollars.
    pub cost_usd: String,
    /// The time of all phases of all calls.
    pub duration_us: u64,
    /// Held back on purpose, all calls.
    pub wait_us: u64,
    /// To the first byte of the answer, all calls.
    pub first_byte_us: u64,
}
