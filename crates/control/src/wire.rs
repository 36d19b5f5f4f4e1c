//! What goes over the wire: the bodies and answers of the control API, for both of its ends.
//!
//! Money is shown as [`Money`] and asked for as [`Usd`], both exact. Times are RFC 3339 texts in
//! UTC. What is absent from an answer does not apply; what a request leaves out is not said.
//! Requests refuse fields they don't know.

mod admission;
mod approval;
mod budget;
mod call;
mod change;
mod key;
mod ledger;
mod login;
mod money;
mod oauth;
mod price;
mod provider;
mod queue;
mod quota;
mod session;
mod status;
mod task;
mod telemetry;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use admission::{
    Admission, AdmissionQuery, AdmissionRequest, AdmissionState, CorrectRequest, Corrected,
    Expired, ExtendRequest, Extended, Released, Reservation, Reservations, SettleRequest, Settled,
    Shortage, UsageRequest, WaitFor, WaitingAdmission,
};
pub use approval::{Approval, Approvals, DecideRequest};
pub use budget::{Budget, BudgetQuery, Budgets, Limit, LimitRequest, LimitSet, Window};
pub use call::{Call, CallFields, CallMoney, CallQuery, Calls};
pub use change::{Change, ChangeQuery, Changes, Reloaded};
pub use key::{Key, KeyMade, KeyRequest, KeyRevoked, Keys};
pub use ledger::{Entries, EntriesQuery, EntryRow, Overrun, Verification};
pub use login::{Login, LoginDecided, LoginDecision, LoginEnded, Logins};
pub(crate) use money::plain as money_text;
pub use money::{Amount, Money, Usd};
pub use oauth::{
    DeviceCodes, DeviceRequest, LoginMetadata, OauthFailure, SignOutRequest, TokenAnswer,
    TokenRequest,
};
pub use price::{Factors, Price, PriceQuery, PriceTier, Prices, TokenPrices};
pub use provider::{Cooldown, PlanWindow, ProviderWord};
pub use queue::{PromoteRequest, Queue, QueueClass, QueueQuery, Queues, WaitChanged, WaitingCall};
pub use quota::{Quota, QuotaLimit, QuotaQuery, QuotaWaiter, Quotas};
pub use session::{Outlook, Session, SessionQuery};
pub use status::{
    Bucket, BucketClass, BucketLimit, BudgetLimit, LimitMode, Limits, NoticeChannel, NoticeTested,
    Penalty, Platform, Readiness, Reason, Refill, Status, TelemetryStatus, Watched,
};

pub use task::{
    RunningCall, RunningCalls, Task, TaskChangeRequest, TaskOf, TaskQuery, TaskRequest, TaskTree,
    TaskUsage, Tasks,
};
pub use telemetry::{
    Activities, Activity, ActivityQuery, LogBar, LogBars, LogCount, LogQuery, Logs, Trace,
};

/// Why a request was refused. Every answer outside 2xx has this form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The refusal.
    pub error: FailureDetail,
}

/// The refusal itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureDetail {
    /// Stable, for programs: `token_needed`, `not_found`.
    pub code: String,
    /// For people: what was refused and why, naming the key and the value.
    pub message: String,
    /// What to do about it, where the message does not say it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}
