//! Who changed what: one row per change, kept for good.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use tidegate_types::{KeyId, Role, Timestamp};

use crate::RecordStoreError;

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The holder of this key.
    Key(KeyId),
    /// The holder of the token in the data directory.
    Local,
    /// Whoever reads the channel of this name and followed a link from there.
    Channel(Arc<str>),
    /// The configuration file, at start or after SIGHUP.
    Configuration,
    /// The program itself, by a rule (an unknown reservation that was settled at its bound).
    Tidegate,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Local => f.pad("local"),
            Self::Channel(name) => f.pad(&format!("channel {name}")),
            Self::Configuration => f.pad("configuration"),
            Self::Tidegate => f.pad("tidegate"),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A key was made.
    KeyAdded,
    /// A key was revoked.
    KeyRevoked,
    /// A program that waited to be signed in was confirmed.
    LoginConfirmed,
    /// A sign-in was ended before its time.
    LoginEnded,
    /// A limit was set or changed its mode.
    LimitSet,
    /// The configuration was read again and took effect.
    ConfigReloaded,
    /// A reservation whose usage was unknown was settled by hand.
    UnknownSettled,
    /// An estimate was replaced by the real figure.
    EstimateCorrected,
    /// A reservation was released by hand.
    ReservationReleased,
    /// An operator said what somebody else's reservation cost.
    ReservationSettled,
    /// A soft limit was raised for a level's life.
    SoftLimitApproved,
    /// A request to pass a soft limit was denied.
    SoftLimitDenied,
    /// A waiting call was taken out of its queue.
    WaitCancelled,
    /// A waiting call was moved to another priority.
    WaitPromoted,
    /// A task was called off, with all below it.
    TaskCancelled,
}

impl Action {
    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::KeyAdded => "key_added",
            Self::KeyRevoked => "key_revoked",
            Self::LoginConfirmed => "login_confirmed",
            Self::LoginEnded => "login_ended",
            Self::LimitSet => "limit_set",
            Self::ConfigReloaded => "config_reloaded",
            Self::UnknownSettled => "unknown_settled",
            Self::EstimateCorrected => "estimate_corrected",
            Self::ReservationReleased => "reservation_released",
            Self::ReservationSettled => "reservation_settled",
            Self::SoftLimitApproved => "soft_limit_approved",
            Self::SoftLimitDenied => "soft_limit_denied",
            Self::WaitCancelled => "wait_cancelled",
            Self::WaitPromoted => "wait_promoted",
            Self::TaskCancelled => "task_cancelled",
        }
    }
}

/// One change. `before` and `after` are JSON texts that hold no secret: the writer puts in what a
/// reader may see (a key's id and role, never its secret or hash).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: Actor,
    /// With which right.
    pub role: Role,
    /// Whose books it touched; absent where it touched the whole gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Arc<str>>,
    /// What was done.
    pub action: Action,
    /// To what: a key's id or a sign-in's, a limit's name, a reservation id, a file.
    pub object: String,
    /// How it was; absent for what did not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// How it is now; absent for what is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Keeps audit rows. Nothing removes or changes one.
pub trait AuditStore: Send + Sync {
    /// Keeps a row; on return it survives a crash.
    fn append(&self, row: &AuditRow) -> Result<(), RecordStoreError>;

    /// The newest rows, newest first; at most `limit`.
    fn list(&self, limit: usize) -> Result<Vec<AuditRow>, RecordStoreError>;
}

#[cfg(test)]
mod tests;
