//! May this call start now; if not, when, and why?
//!
//! A [`Pool`] holds every bucket of one platform and decides over all of them together: check all,
//! then commit all, while the caller holds the pool's lock. Pure state machines: no IO, no clock,
//! no tasks, no randomness; `now` is an argument, and the caller owns the state. A [`Queue`] sits beside
//! a pool, keeps what was deferred, and says who goes next. [`Quotas`] hold what an organisation, its
//! users and its task types may do beyond that.

mod bucket;
mod cooldown;
mod decision;
mod flow;
mod mirror;
mod need;
mod pacing;
mod peaks;
mod plan;
mod pool;
mod queue;
mod quota;
mod spec;
mod users;
mod view;

pub use cooldown::{
    BREAKER_FAILURES, BREAKER_SPAN, COOLDOWNS_MAX, Cause, Cooldown, CooldownView, Cooldowns,
    Horizon, Pass, Place, Probe, SavedCooldown, Scope, Signal,
};
pub use decision::{
    Admission, BucketIndex, Check, Cleared, NOTES_MAX, Note, Reason, Subject, Taken, Wait,
};
pub use flow::{WAITING_GRACE, WAITING_MAX};
pub use mirror::{Heard, MirrorView, Observation, Refused, SENT_MAX, Said, SavedMirror, Short};
pub use need::{Ask, Need};
pub use pacing::{PENALTY_MAX, PENALTY_WINDOW};
pub use plan::{PLAN_WINDOWS_MAX, PLANS_MAX, Plans, SavedWindow, WindowSaid, WindowView};
pub use pool::{Penalised, Pool, SavedPenalty};
pub use queue::{
    BACKFILL_MAX, Calibration, Factor, Next, Outlook, QUEUE_MAX, Queue, QueueFull, Ticket,
    URGENT_BEFORE, Waiting, Warm, patience,
};
pub use quota::{
    Calendar, CalendarOf, ClearedQuota, Ends, Frees, OnExcess, OrganisationQuotas, OverQuota,
    QUOTA_KINDS, QUOTA_SCOPES, QuotaAsk, QuotaFigure, QuotaFigures, QuotaHold, QuotaKind,
    QuotaPath, QuotaScope, QuotaSet, QuotaTable, QuotaUse, QuotaView, Quotas, SavedSubject, Sizes,
    Span, TASKS_MAX,
};
pub use spec::{
    AMOUNT_MAX, BUCKETS_MAX, BucketSpec, CAPACITY_MAX, NAME_BYTES_MAX, Owner, PERIOD_MAX, PoolSpec,
    Refill, Resource, SpecError, SpecKey, builtin_platforms,
};
pub use users::{USERS_MAX, UserSlot};
pub use view::{BucketView, ClassView, PenaltyView, PoolView, SavedLevel};
