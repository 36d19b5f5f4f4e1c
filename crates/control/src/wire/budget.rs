//! Budgets: what is spent and held of which limit, and other limits.

use serde::{Deserialize, Serialize};
use tidegate_types::Mode;
use utoipa::{IntoParams, ToSchema};

use super::{Amount, Money, Usd};

/// A limit on money, and whether it binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// Passing it is a warning. Null: there is none.
    pub soft: Option<Money>,
    /// Never passed where it is enforced. Null: there is none.
    pub hard: Option<Money>,
    /// The hard limit may be passed, with a warning.
    pub overage_allowed: bool,
    /// Whether somebody named it; a limit nobody named only watches keyless calls.
    pub named: bool,
    /// What it does to calls without a key.
    #[schema(value_type = String, example = "watch")]
    pub keyless: Mode,
    /// What it does to calls with a key, and to admissions.
    #[schema(value_type = String, example = "enforce")]
    pub asking: Mode,
}

/// A span of time by the calendar of the organisation's zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    /// Its first day there.
    #[schema(example = "2026-07-01")]
    pub opens: String,
    /// Its first instant.
    pub starts_at: String,
    /// The first instant after it: when the level resets.
    pub ends_at: String,
}

/// A level at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Budget {
    /// `organisation`, `llm`, `tools`, `infrastructure`, `user_month`, `user_day`, `task`.
    pub level: String,
    /// Who pays.
    pub organisation: String,
    /// Whose month, day or task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The root task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Null for a task, which lasts as long as it lives.
    pub window: Option<Window>,
    /// The limit in force.
    pub limit: Limit,
    /// What is settled.
    pub spent: Money,
    /// What running calls hold.
    pub held: Money,
    /// The hard limit less both; null without a hard limit.
    pub left: Option<Money>,
    /// List price of everything, paid or not.
    pub notional: Money,
    /// Calls that the limit would have refused while it only watched.
    pub would_refuse: u64,
    /// Whether what is settled and expected has passed the soft limit.
    pub soft_passed: bool,
    /// Whether calls are charged to it now; else it is read from the ledger.
    pub in_use: bool,
}

/// Budgets in the order of the tree: each organisation, its services, then each of its users with
/// month, day and tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Budgets {
    /// Those in use, and those of windows that have not ended. Of tasks that are only in the
    /// ledger, the dearest.
    pub budgets: Vec<Budget>,
    /// How many tasks of the ledger were left out.
    pub more: u64,
}

/// Which budgets to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BudgetQuery {
    /// Only this organisation's.
    pub organisation: Option<String>,
    /// Only this user's.
    pub user: Option<String>,
    /// Only this task.
    pub task: Option<String>,
    /// Only this level.
    pub level: Option<String>,
    /// Tasks that are only in the ledger, at most: 200 where it is not said, up to 10,000.
    #[param(value_type = Option<u64>)]
    pub limit: Option<String>,
    /// `true`: windows and tasks that have ended too.
    #[param(value_type = Option<bool>)]
    pub ended: Option<String>,
}

/// Another limit. With `task` it is for that root task, with `user` for that user, with
/// `organisation` for that organisation, with none of them for everybody who has none of their own.
/// An amount that is left out stays as it is; null takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRequest {
    /// Whose. Left out beside `user` or `task`: one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// Which user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Which root task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The hard limit.
    #[serde(default, skip_serializing_if = "Amount::is_kept")]
    #[schema(value_type = Option<Usd>)]
    pub hard_usd: Amount,
    /// The soft limit. Left out, it is lowered to a hard limit that is now below it.
    #[serde(default, skip_serializing_if = "Amount::is_kept")]
    #[schema(value_type = Option<Usd>)]
    pub soft_usd: Amount,
    /// Left out: `enforce`, as a limit that somebody names is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "enforce")]
    pub mode: Option<Mode>,
    /// Whether the hard limit may be passed with a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overage_allowed: Option<bool>,
}

/// A limit that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitSet {
    /// Which level.
    pub level: String,
    /// For whom, in words: `everybody`, `organisation acme`, `user acme/ann`, `task acme/fix-1`.
    pub scope: String,
    /// What was in force there.
    pub before: Limit,
    /// What is.
    pub after: Limit,
}
