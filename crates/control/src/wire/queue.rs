//! Calls that wait.

use serde::{Deserialize, Serialize};
use tidegate_types::Priority;
use utoipa::{IntoParams, ToSchema};

/// Everything that waits, and how the queues do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Queues {
    /// The waiting calls that may be seen, at most 1,000, platform by platform, oldest first.
    pub waiting: Vec<WaitingCall>,
    /// The queues, in the order of the configuration; only for those who may see all of them.
    pub platforms: Vec<Queue>,
}

/// A call that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingCall {
    /// The call, or the request for leave (`adm_…`).
    #[schema(example = "call_1a1f6a8b2c3d4e5f")]
    pub id: String,
    /// The platform it waits for.
    pub platform: String,
    /// Who pays.
    pub organisation: String,
    /// Who sent it.
    pub user: String,
    /// Its task, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The model it asks for.
    pub model: String,
    /// Its class.
    #[schema(value_type = String, example = "high")]
    pub priority: Priority,
    /// Its place among those of its class: 1 goes next.
    pub place: usize,
    /// How many of its class wait.
    pub of: usize,
    /// How long it has waited, in milliseconds.
    pub waited_ms: u64,
    /// From now on, half of all such calls wait no longer than this, in milliseconds.
    pub wait_p50_ms: u64,
    /// Nine of ten wait no longer, in milliseconds.
    pub wait_p90_ms: u64,
    /// Its client was sent away, and its place is kept.
    pub away: bool,
    /// What keeps it waiting.
    pub reason: String,
}

/// The queue of a platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// The platform.
    pub platform: String,
    /// How many calls wait.
    pub waiting: usize,
    /// Class by class, lowest first.
    pub classes: Vec<QueueClass>,
}

/// One class of a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueClass {
    /// Which.
    #[schema(value_type = String, example = "high")]
    pub priority: Priority,
    /// How many wait.
    pub waiting: usize,
    /// How long the oldest has waited, in milliseconds.
    pub longest_ms: u64,
    /// Foretold waits that have ended.
    pub foretold: u64,
    /// How many of them were longer than their p90: one in ten, if the estimates are good.
    pub beyond_p90: u64,
}

/// Which waiting calls are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueueQuery {
    /// Only this organisation's.
    pub organisation: Option<String>,
    /// Only this user's.
    pub user: Option<String>,
    /// Only this task's, with its whole tree.
    pub task: Option<String>,
}

/// A change of a waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The class it waits in from now on.
    #[schema(value_type = String, example = "critical")]
    pub priority: Priority,
}

/// A waiting call was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitChanged {
    /// The call, or the request for leave (`adm_…`).
    #[schema(example = "call_1a1f6a8b2c3d4e5f")]
    pub id: String,
}
