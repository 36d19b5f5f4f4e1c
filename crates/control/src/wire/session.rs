//! A session as its user sees it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Budget, WaitingCall};

/// What a session may still spend, and whether it waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The session.
    pub session: String,
    /// The root task it is at, where anything was charged to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// How far the task is that its client knows it to be at, where one is known by that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_state: Option<String>,
    /// The budgets in use that its calls are charged to and that may be seen, the task's last.
    pub budgets: Vec<Budget>,
    /// Its calls that wait.
    pub waiting: Vec<WaitingCall>,
    /// Platforms for which anybody's calls wait; only where it is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<Outlook>,
}

/// How long whoever is last in a queue still waits: as long as the next one would, or less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outlook {
    /// The platform.
    pub platform: String,
    /// Half of all such calls wait no longer, in milliseconds.
    pub wait_p50_ms: u64,
    /// Nine of ten wait no longer, in milliseconds.
    pub wait_p90_ms: u64,
}

/// What the asking program knows of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionQuery {
    /// The task that its calls name.
    pub task: Option<String>,
    /// The prompt it is at, which is its task where calls name none.
    pub prompt: Option<String>,
    /// `true`: also how long the queues are.
    #[param(value_type = Option<bool>)]
    pub queues: Option<String>,
}
