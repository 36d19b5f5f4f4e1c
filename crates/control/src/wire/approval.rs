//! Requests to pass a soft limit.

use serde::{Deserialize, Serialize};
use tidegate_types::ApprovalId;
use utoipa::ToSchema;

use super::{Money, Usd};

/// Requests for approval, those asked first first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approvals {
    /// The requests that may be seen: open ones, and those decided that still matter.
    pub approvals: Vec<Approval>,
}

/// A request for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// Which.
    #[schema(value_type = String, example = "appr_1a1f6a8b2c3d4e5f")]
    pub id: ApprovalId,
    /// `open`, `approved`, `denied` or `expired`.
    pub state: String,
    /// The level: `task`, `user_day`.
    pub level: String,
    /// Whose level.
    pub organisation: String,
    /// The level's user, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The level's task, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Who asked first.
    pub asked_by: String,
    /// Who else's calls have joined it.
    pub joined: Vec<String>,
    /// The soft limit.
    pub limit: Money,
    /// What is settled and expected of running calls.
    pub spent: Money,
    /// What the first call is expected to cost.
    pub asked: Money,
    /// When it was opened.
    pub at: String,
    /// Until when it is open, or its no stands.
    pub until: String,
    /// Who decided: `local`, a key's id, or the channel whose link was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Up to where the level may be spent from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_to: Option<Money>,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideRequest {
    /// Yes or no.
    pub approve: bool,
    /// By how much a yes raises the soft limit, in dollars; left out: by as much as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Usd>,
}
