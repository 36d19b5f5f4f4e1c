//! Words every other crate speaks: units, identifiers, time, priority, secrets.
//!
//! Nothing here does IO or knows a sibling crate; the one place that reads a clock is
//! [`SystemClock`].

mod caller;
mod id;
mod money;
#[cfg(any(test, feature = "mutate"))]
pub mod mutate;
mod priority;
mod secret;
mod time;
mod usage;

pub use caller::{Caller, Enforcement, Mode, Role};
pub use id::{
    AdmissionId, ApprovalId, CallId, Id, IdKind, IdSource, KeyId, ParseIdError, ReservationId,
    TaskId,
};
pub use money::{NanoUsd, ParseMoneyError};
pub use priority::{Complexity, Priority, RequestClass, UnknownWord};
pub use secret::Secret;
pub use time::{Clock, Monotonic, SystemClock, Timestamp};
pub use usage::{Modifiers, SparseUsage, Tokens, Usage};

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        text.push_str(": ");
        text.push_str(&it.to_string());
        cause = it.source();
    }
    text
}

/// What a caller should do about a failure. Decided where the failure is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The same request may succeed if sent again after at least this long.
    RetryAfter(std::time::Duration),
    /// Another route may succeed at once.
    TryElsewhere,
    /// The caller must change the request.
    FixRequest,
    /// Nobody upstream can help: tell a human.
    Escalate,
}
