//! The gateway at one moment: platforms, limits, readiness.

use serde::{Deserialize, Serialize};
use tidegate_admission::{Owner, Resource};
use tidegate_types::{Mode, Priority};
use utoipa::ToSchema;

use super::{Cooldown, Limit, PlanWindow, ProviderWord};

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Whether it takes calls: see `reasons` where it doesn't.
    pub ready: bool,
    /// Why it is not ready.
    pub reasons: Vec<Reason>,
    /// What the store says while it can't be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_says: Option<String>,
    /// The platforms' buckets.
    pub platforms: Vec<Platform>,
    /// Providers that are not asked for now.
    #[serde(default)]
    pub cooldowns: Vec<Cooldown>,
    /// Windows of the plans that pay for calls.
    #[serde(default)]
    pub plan_windows: Vec<PlanWindow>,
    /// Channels for notices, for those who may speak for the whole gateway.
    #[serde(default)]
    pub notice_channels: Vec<NoticeChannel>,
    /// What is kept of what happens, for those who may speak for the whole gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetryStatus>,
    /// Which limits bind whom.
    pub limits: Vec<LimitMode>,
    /// Limits that only watch, and how to enforce them.
    pub watched: Watched,
    /// Reservations of admissions that have not ended.
    pub open_reservations: u64,
    /// Of them: those that a crash left open.
    pub unknown_reservations: u64,
    /// Reservations dropped unsettled since the start: each is a defect of Tidegate.
    pub dropped_reservations: u64,
    /// Records of calls that were not kept.
    pub shed_records: u64,
}

/// How telemetry is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TelemetryStatus {
    /// Whether it is wanted at all (`telemetry.enabled`).
    pub enabled: bool,
    /// Why it can't be kept at this time; absent where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// What it takes of the disk.
    pub stored_bytes: u64,
    /// Files that hold what is older than a minute.
    pub parts: u64,
    /// Files and blocks that could not be read since the start, and were set aside.
    pub damaged: u64,
    /// Files that had to go since the start because `telemetry.disk` was used up.
    pub crowded_out_parts: u64,
}

/// Limits that only watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Watched {
    /// Their names: `claude_code.units`, `task`.
    pub limits: Vec<String>,
    /// The command that enforces those that nobody named.
    #[schema(example = "tidegate serve --enforce")]
    pub enforce_with: String,
}

/// A platform's buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Platform {
    /// Its name.
    pub platform: String,
    /// In the order of the configuration.
    pub buckets: Vec<Bucket>,
    /// Users and classes that refill at half speed.
    pub penalties: Vec<Penalty>,
}

/// A bucket, in whole numbers of its resource, rounded down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bucket {
    /// What it is called.
    pub name: String,
    /// What it counts.
    #[schema(value_type = String, example = "units")]
    pub resource: Resource,
    /// Whose limit it is.
    #[schema(value_type = String, example = "ours")]
    pub owner: Owner,
    /// What it does to calls without a key.
    #[schema(value_type = String, example = "watch")]
    pub keyless: Mode,
    /// What it does to calls with a key, and to admissions.
    #[schema(value_type = String, example = "enforce")]
    pub asking: Mode,
    /// The most that can be spent at once.
    pub capacity: u64,
    /// What can be spent now; below zero in debt. Free slots, for concurrency.
    pub level: i64,
    /// The stock that `low` and `medium` leave alone.
    pub threshold: u64,
    /// Taken by calls that have not ended.
    pub held: u64,
    /// What has to be refilled before anything can be spent.
    pub debt: u64,
    /// Of the debt, what `critical` overdrew.
    pub overdrawn: u64,
    /// All that was ever spent beyond what was reserved for it.
    pub debt_total: u64,
    /// Seconds until it is full if nobody spends; null for concurrency.
    pub full_in_seconds: Option<u64>,
    /// Each class, `low` first.
    pub classes: Vec<BucketClass>,
    /// What its provider was heard to say of it; absent where it is no provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderWord>,
}

/// A class's standing in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BucketClass {
    /// The class.
    #[schema(value_type = String)]
    pub priority: Priority,
    /// What its share has earned and it has not spent.
    pub earned: u64,
    /// Whether a call of it waits here.
    pub waits: bool,
}

/// Somebody who refills at half speed (T4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Penalty {
    /// A user's organisation; absent where a whole class is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// A user; absent where a whole class is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A class; absent where a user is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub priority: Option<Priority>,
    /// Seconds left of it.
    pub left_seconds: u64,
}

/// A limit's name and whom it binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitMode {
    /// `claude_code.units`, `task`.
    pub limit: String,
    /// What it does to calls without a key.
    #[schema(value_type = String, example = "watch")]
    pub keyless: Mode,
    /// What it does to calls with a key, and to admissions.
    #[schema(value_type = String, example = "enforce")]
    pub asking: Mode,
}

/// How a bucket refills: continuously.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Refill {
    /// Added per period.
    pub amount: u64,
    /// Seconds of a period.
    pub period_seconds: f64,
}

/// A bucket as it is configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BucketLimit {
    /// The platform.
    pub platform: String,
    /// The bucket.
    pub name: String,
    /// What it counts.
    #[schema(value_type = String, example = "units")]
    pub resource: Resource,
    /// Whose limit it is.
    #[schema(value_type = String, example = "ours")]
    pub owner: Owner,
    /// The most that can be spent at once.
    pub capacity: u64,
    /// How it refills; null for concurrency.
    pub refill: Option<Refill>,
    /// The stock that `low` and `medium` leave alone.
    pub threshold: u64,
    /// What it does to calls without a key.
    #[schema(value_type = String, example = "watch")]
    pub keyless: Mode,
    /// What it does to calls with a key, and to admissions.
    #[schema(value_type = String, example = "enforce")]
    pub asking: Mode,
}

/// A limit on money as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetLimit {
    /// Which level.
    pub level: String,
    /// For whom: `everybody`, `organisation acme`, `user acme/ann`, `task acme/fix-1`.
    pub scope: String,
    /// The limit.
    pub limit: Limit,
}

/// All limits in force, as configured. Of several that apply to a level, the narrowest counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// Of platforms.
    pub buckets: Vec<BucketLimit>,
    /// Of money.
    pub budgets: Vec<BudgetLimit>,
}

/// Whether calls are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether they are.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<Reason>,
}

/// Why calls are not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// Stable, for programs: `ledger_unwritable`, `draining`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A channel for notices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeChannel {
    /// Its name in the configuration.
    pub name: String,
    /// `json` or `slack`.
    #[schema(example = "slack")]
    pub format: String,
    /// Notices that wait for it.
    pub waiting: u64,
    /// Since when it takes none; absent where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// What it answers, or why it does not, while it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// Notices that were given up since the start.
    pub lost: u64,
}

/// What a channel for notices answered to a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeTested {
    /// Its name.
    pub channel: String,
    /// Whether it took the notice.
    pub delivered: bool,
    /// The HTTP status.
    #[schema(example = 200)]
    pub status: u16,
    /// The beginning of what it said.
    pub says: String,
}
