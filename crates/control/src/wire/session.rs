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
    /// The budgets in use that its calls are charged to and that may be seen, the task's last.
    pub budgets: Vec<Budget>,
    /// Its calls that wait.
    pub waiting: Vec<WaitingCall>,
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
}
