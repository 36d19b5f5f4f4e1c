//! Quotas: what is used and left of them, and who waits for them.

use serde::{Deserialize, Serialize};
use tidegate_types::Mode;
use utoipa::{IntoParams, ToSchema};

/// All quotas that may be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quotas {
    /// Those of organisations, users and task types that did something since the start, or are
    /// limited and did.
    pub quotas: Vec<Quota>,
    /// What is in force for whoever has no quota of their own.
    pub everybody: Vec<QuotaLimit>,
}

/// A quota at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quota {
    /// What is limited.
    #[serde(flatten)]
    pub quota: QuotaLimit,
    /// Who pays.
    pub organisation: String,
    /// The organisation, user or task type that it is the quota of.
    pub of: String,
    /// What is used and held; absent for sizes, which belong to one call or task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// What is left; absent for sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// When all that is used is free again, in seconds, if nothing more is; absent where that is
    /// when what runs has ended, and for sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_in_seconds: Option<u64>,
    /// The calls that it keeps waiting, those that came first first, at most 100.
    pub waiting: Vec<QuotaWaiter>,
    /// How many it keeps waiting.
    pub waiting_count: usize,
}

/// How far a quota goes, and whom it binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaLimit {
    /// `organisation`, `user` or `task_type`.
    pub scope: String,
    /// What it counts, as its key in the configuration: `calls_per_minute`.
    pub kind: String,
    /// How far it goes.
    pub limit: u64,
    /// Whether somebody named it; one that is built in only watches calls without a key.
    pub named: bool,
    /// What it does to calls without a key.
    #[schema(value_type = String, example = "watch")]
    pub keyless: Mode,
    /// What it does to calls with a key, and to admissions.
    #[schema(value_type = String, example = "enforce")]
    pub asking: Mode,
}

/// What a quota keeps waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaWaiter {
    /// The call, or the request for leave (`adm_…`).
    #[schema(example = "call_1a1f6a8b2c3d4e5f")]
    pub id: String,
    /// Who sent it.
    pub user: String,
}

/// Which quotas to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QuotaQuery {
    /// Only this organisation's.
    pub organisation: Option<String>,
    /// Only this user's.
    pub user: Option<String>,
}
