//! Leave to act (T2), and what becomes of it.

use serde::{Deserialize, Serialize};
use tidegate_ledger::Service;
use tidegate_types::{AdmissionId, Complexity, Priority, ReservationId};
use utoipa::{IntoParams, ToSchema};

use super::{Money, Usd};

/// A request for leave to act. At least one of `tokens`, `complexity` and `cost_usd` says how much.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmissionRequest {
    /// Where. Left out: the first platform of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Units of the platform's bucket; at most 10¹⁵.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// How much it matters; lowered to the highest that the key may claim. Left out: the key's
    /// default, else high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "high")]
    pub priority: Option<Priority>,
    /// What kind of task it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// How long it will take, in seconds, at most a day. The reservation is settled at its bound
    /// after twice that, 15 minutes at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration_seconds: Option<f64>,
    /// As whom; only operators may ask for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The run of an agent it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Its task. Limits apply to the root of the task's tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The task's parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_task: Option<String>,
    /// The most it can cost: held on every budget until it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// What it buys. Left out: calls of language models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "llm")]
    pub service: Option<Service>,
    /// How hard its task is: weighs 1, 2, 5 or 10 units where `tokens` is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "moderate")]
    pub complexity: Option<Complexity>,
    /// Lets it wait for its turn, or for somebody's yes, where it can't be given leave now: the
    /// answer has the status 202 and names its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// For how long it waits at most, in seconds, a day at most; an hour where it is not said. One
    /// that would probably wait for longer is refused at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
    /// For how long leave is kept after a wait, in seconds, 900 at most; a minute where it is not
    /// said. What nobody has fetched by then is given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_seconds: Option<u64>,
    /// The channel for notices that is told when it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
}

/// What `wait_time` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// The bucket's refill: exact, if nobody else spends meanwhile.
    Refill,
    /// A running call's end, which no clock knows. Of a bucket: not before the wait that is given.
    /// Of a budget: the wait is about what calls took lately, at most 58 s.
    RunningCalls,
    /// The end of the budget's window. Calls that settle below their bounds may make room sooner.
    Reset,
}

/// The decision. Approved or not, the status is 200; 202 where it waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Admission {
    /// Whether it may start now. If so it holds `reservation`.
    pub approved: bool,
    /// Where.
    pub platform: String,
    /// Seconds until it would fit, to the millisecond, rounded up; null where it is approved, or
    /// where no wait is known to help.
    pub wait_time: Option<f64>,
    /// What the wait is for; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<WaitFor>,
    /// Another platform that would take it now; nothing is reserved there.
    pub alternative: Option<String>,
    /// To be settled, extended or released.
    #[schema(value_type = Option<String>, example = "resv_19aa0c7f3d2e0001")]
    pub reservation: Option<ReservationId>,
    /// When the reservation is settled at its bound if nobody does it before.
    pub expires_at: Option<String>,
    /// How sure the answer is, from 0 to 1: 1 where it follows from what is set aside or from a
    /// limit that no wait meets; null where it depends on what others will do, as no forecast has
    /// been measured.
    pub confidence: Option<f64>,
    /// Why, for people.
    pub reasons: Vec<String>,
    /// The limit that is in the way: `claude_code.units`, `task`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The budget that is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortage: Option<Shortage>,
    /// Where it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<WaitingAdmission>,
}

/// A request for leave that waits, or has waited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WaitingAdmission {
    /// Which.
    #[schema(value_type = String, example = "adm_19aa0c7f3d2e0001")]
    pub id: AdmissionId,
    /// How it stands.
    pub state: AdmissionState,
    /// Its place among those of its priority: 1 goes next. Absent where it does not wait for the
    /// platform's buckets but for a budget, or for somebody's yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
    /// How many of its priority wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Seconds that half of all such requests wait no longer than, from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p50: Option<f64>,
    /// Seconds that nine of ten wait no longer than.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p90: Option<f64>,
    /// Since when it waits.
    pub since: String,
    /// Until when it waits at most.
    pub until: String,
    /// What keeps it waiting, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Until when its leave is kept for whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<String>,
    /// The decision, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub admission: Option<Box<Admission>>,
}

/// How a request for leave stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdmissionState {
    /// It waits.
    Waiting,
    /// It has leave: `admission` names the reservation.
    Approved,
    /// No wait helps any more: `admission` says why.
    Refused,
    /// Its wait was ended.
    Cancelled,
    /// It had leave, which nobody fetched in time: it was given back.
    Lapsed,
}

/// How long to wait for a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AdmissionQuery {
    /// Answers when it is decided, or after so many seconds; 55 at most. Left out: at once.
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    pub wait: u64,
}

/// A budget that can't hold what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shortage {
    /// Which level.
    pub level: String,
    /// Its hard limit.
    pub limit: Money,
    /// What is settled on it.
    pub spent: Money,
    /// What running calls hold on it.
    pub held: Money,
    /// What was asked for.
    pub asked: Money,
    /// When its window ends; a task has none.
    pub resets_at: Option<String>,
}

/// How a reservation ended. What is left out is taken as it was reserved, and marked as estimated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleRequest {
    /// What it cost. Left out: all that was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// Units it used. Left out: all that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// LLM tokens it used, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageRequest>,
    /// The model it was spent on, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// LLM tokens in disjoint classes; each at most 10¹⁵.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UsageRequest {
    /// Input neither read from nor written to a prompt cache.
    pub input: u64,
    /// Input read from a prompt cache.
    pub cache_read: u64,
    /// Input written to a prompt cache that lives for minutes.
    pub cache_write_5m: u64,
    /// Input written to a prompt cache that lives for an hour or longer.
    pub cache_write_1h: u64,
    /// Generated tokens, thinking included.
    pub output: u64,
    /// The part of `output` that was thinking.
    pub reasoning: u64,
    /// Web searches the provider ran.
    pub web_searches: u64,
}

/// A settlement that was booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settled {
    /// Which.
    #[schema(value_type = String)]
    pub reservation: ReservationId,
    /// What was booked.
    pub cost: Money,
}

/// What a reservation really cost that was settled at an estimate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectRequest {
    /// What it cost.
    pub cost_usd: Usd,
}

/// A cost that stands corrected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Corrected {
    /// Which.
    #[schema(value_type = String)]
    pub reservation: ReservationId,
    /// As it was booked before.
    pub from: Money,
    /// As it is.
    pub to: Money,
}

/// More for a reservation, for longer. At least one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendRequest {
    /// How much more to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// How long from now it is to be held at least; at most a day. Never shortens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// A reservation that holds more, or longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Extended {
    /// Which.
    #[schema(value_type = String)]
    pub reservation: ReservationId,
    /// When it is settled at its bound if nobody does it before.
    pub expires_at: String,
}

/// A reservation that ended without a cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// Which.
    #[schema(value_type = String)]
    pub reservation: ReservationId,
}

/// A reservation that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reservation {
    /// Which.
    #[schema(value_type = String)]
    pub reservation: ReservationId,
    /// Who pays.
    pub organisation: String,
    /// Who acts.
    pub user: String,
    /// The root task whose limits apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What it buys.
    #[schema(value_type = String, example = "llm")]
    pub service: Service,
    /// What it holds.
    pub held: Money,
    /// When it is settled at that.
    pub expires_at: String,
    /// A crash left it open, and whether it was answered is not known: only an operator may end it.
    pub unknown: bool,
}

/// A reservation that was settled at its bound because nobody said what it used, and that nobody
/// has corrected since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Expired {
    /// Which.
    #[schema(value_type = String)]
    pub reservation: ReservationId,
    /// When.
    pub at: String,
    /// Who pays.
    pub organisation: String,
    /// Who acted.
    pub user: String,
    /// The root task whose limits applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What was booked.
    pub cost: Money,
}

/// What is open, and what ended without anybody's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reservations {
    /// Those that have not ended, oldest first; at most 10,000.
    pub open: Vec<Reservation>,
    /// How many more are open.
    pub more: u64,
    /// Those that expired, newest first; of the last 1,000 of the gateway.
    pub expired: Vec<Expired>,
}
