//! Tasks, and the calls that run for them.

use serde::{Deserialize, Serialize};
use tidegate_types::{CallId, Complexity, Priority, TaskId};
use utoipa::{IntoParams, ToSchema};

use super::{Money, Usd};

/// A task that is created before its first call. What is said here holds for calls that name only
/// it, with `x-tidegate-task`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// What calls name it; left out: a name is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The task above it, one of the same user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whose it is; left out: one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What kind of task it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// How much it matters; left out: as much as the task above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "high")]
    pub priority: Option<Priority>,
    /// How hard it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "moderate")]
    pub complexity: Option<Complexity>,
    /// Tokens that it will probably take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_tokens: Option<u64>,
    /// What it will probably cost, in dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_cost_usd: Option<Usd>,
    /// How long it will probably take, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
    /// Until when it is wanted: an RFC 3339 time, or whole seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// The session that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// A word on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What is to change about a task. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskChangeRequest {
    /// `running`, `completed`, `failed` or `cancelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// How much of it is done, from 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u64>,
    /// A word on it; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How much it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "high")]
    pub priority: Option<Priority>,
    /// Until when it is wanted: an RFC 3339 time, or whole seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
}

/// A task at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// What calls name it.
    pub task: String,
    /// Tells it from others of the same name; later ones sort behind earlier ones.
    #[schema(value_type = String, example = "task_1a1f6a8b2c3d4e5f")]
    pub id: TaskId,
    /// The task above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The root of its tree, whose limits cover it: itself, where none is above it.
    pub root: String,
    /// How many tasks are above it.
    pub depth: u32,
    /// Who pays.
    pub organisation: String,
    /// Whose it is.
    pub user: String,
    /// The session that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What kind of task it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// How much it matters, where it or a task above it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "high")]
    pub priority: Option<Priority>,
    /// How hard it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "moderate")]
    pub complexity: Option<Complexity>,
    /// Tokens that it will probably take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_tokens: Option<u64>,
    /// What it will probably cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_cost: Option<Money>,
    /// How long it will probably take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
    /// Until when it is wanted: its own deadline, or the nearest above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// `pending`, `running`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// How much of it is done, from 0 to 100, as was said.
    pub progress: u8,
    /// A word on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether it was created; else it appeared with its first call.
    pub created_before: bool,
    /// When it was created, or appeared.
    pub created: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it came to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When something last happened for it or below it.
    pub active: String,
    /// Calls that run now, of its whole tree.
    pub running: u32,
    /// What its own calls used.
    pub own: TaskUsage,
    /// The same with all below it.
    pub tree: TaskUsage,
}

/// What calls that ended used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskUsage {
    /// Calls that were sent.
    pub calls: u64,
    /// Input tokens that no cache served.
    pub input: u64,
    /// Input tokens read from a prompt cache.
    pub cache_read: u64,
    /// Input tokens written to one.
    pub cache_write: u64,
    /// Output tokens.
    pub output: u64,
    /// What was charged.
    pub cost: Money,
    /// The list price of what was charged less.
    pub notional: Money,
    /// Time that providers took, in milliseconds.
    pub call_ms: u64,
}

/// Tasks, those that appeared last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tasks {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// What `before` must be to read on; null at the end.
    #[schema(value_type = Option<String>, example = "task_1a1f6a8b2c3d4e5f")]
    pub next: Option<TaskId>,
}

/// A task with all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskTree {
    /// The task.
    pub task: Task,
    /// Those below it, each behind the one above it, at most 1,000.
    pub below: Vec<Task>,
}

/// Which tasks to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TaskQuery {
    /// Only this organisation's.
    pub organisation: Option<String>,
    /// Only this user's.
    pub user: Option<String>,
    /// Only those that are this far: `pending`, `running`, `completed`, `failed`, `cancelled`.
    pub state: Option<String>,
    /// Only those of this session.
    pub session: Option<String>,
    /// Only those of trees with this root; `only` for roots alone.
    pub root: Option<String>,
    /// Only those that appeared before this one.
    pub before: Option<String>,
    /// At most this many: 100 where it is not said, up to 1,000.
    #[param(value_type = Option<u64>)]
    pub limit: Option<String>,
}

/// Whose task is meant, where several have one of the name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TaskOf {
    /// Of this organisation.
    pub organisation: Option<String>,
    /// Of this user; left out: one's own, where one has it.
    pub user: Option<String>,
}

/// Calls that run, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningCalls {
    /// The calls that may be seen, at most 1,000.
    pub calls: Vec<RunningCall>,
    /// How many there are.
    pub count: usize,
}

/// A call that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningCall {
    /// The call.
    #[schema(value_type = String, example = "call_1a1f6a8b2c3d4e5f")]
    pub call: CallId,
    /// Who pays.
    pub organisation: String,
    /// Who sent it.
    pub user: String,
    /// Its task.
    pub task: String,
    /// The root of that.
    pub root: String,
    /// The model it asks for.
    pub model: String,
    /// Where it goes, if that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// When it arrived.
    pub since: String,
    /// How long ago that was, in milliseconds.
    pub lasts_ms: u64,
    /// `preparing`, `waiting` (for its turn), `parked` (until somebody approves), `sent`,
    /// `answering`.
    pub phase: String,
}
