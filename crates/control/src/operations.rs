//! What the program does for its operators beyond the engine.

use std::fmt;

use serde_json::Value;
use tidegate_ledger::{LevelKey, LevelKind, Limit, LimitTable};
use tidegate_observe::{audit::Actor, metrics::Registry};
use tidegate_types::Timestamp;

/// For whom a limit is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// Everybody who has none of their own.
    Everybody,
    /// An organisation, and its users and tasks where they have none of their own.
    Organisation(String),
    /// One user of an organisation: month, day, and tasks without a limit of their own.
    User {
        /// The organisation.
        organisation: String,
        /// The user.
        user: String,
    },
    /// One root task of an organisation.
    Task {
        /// The organisation.
        organisation: String,
        /// The root task.
        task: String,
    },
}

impl LimitScope {
    /// The limit that is in force for a level of this scope, its own or a wider one.
    pub fn limit(&self, level: LevelKind, table: &LimitTable) -> Limit {
        let key = |organisation: &str, user: Option<&str>, task: Option<&str>| LevelKey {
            kind: level,
            organisation: organisation.into(),
            user: user.map(Into::into),
            task: task.map(Into::into),
            opens: None,
        };
        match self {
            Self::Everybody => *table.defaults.of(level),
            Self::Organisation(organisation) => *table.of(&key(organisation, None, None)),
            Self::User { organisation, user } => *table.of(&key(organisation, Some(user), None)),
            Self::Task { organisation, task } => *table.of(&key(organisation, None, Some(task))),
        }
    }

    /// Whose books it touches; `None` for everybody's.
    pub fn organisation(&self) -> Option<&str> {
        match self {
            Self::Everybody => None,
            Self::Organisation(organisation)
            | Self::User { organisation, .. }
            | Self::Task { organisation, .. } => Some(organisation),
        }
    }
}

/// `everybody`, `organisation acme`, `user acme/ann`, `task acme/fix-1`.
impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Organisation(organisation) => write!(f, "organisation {organisation}"),
            Self::User { organisation, user } => write!(f, "user {organisation}/{user}"),
            Self::Task { organisation, task } => write!(f, "task {organisation}/{task}"),
        }
    }
}

/// A configuration that was read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What is new, in words.
    pub changed: String,
    /// The keys that have new values in the file and keep the old ones until the next start.
    pub at_next_start: Vec<String>,
}

/// A channel for notices, as it does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeChannel {
    /// Its name.
    pub name: String,
    /// `json` or `slack`.
    pub format: &'static str,
    /// Notices that wait for it.
    pub waiting: u64,
    /// Since when it takes none, and what it says.
    pub failing: Option<(Timestamp, String)>,
    /// Notices that were given up since the start.
    pub lost: u64,
}

/// What a channel answered to a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeTested {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of what it said.
    pub says: String,
}

/// Why a channel was not tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeUntested {
    /// There is none of that name; in a sentence.
    UnknownChannel(String),
    /// It did not answer; why, in a sentence.
    Unanswered(String),
}

/// What the program does for its operators: it knows the configuration's file, the engine does not.
///
/// Every method may wait for files or the network: none is called on a thread that serves calls, but
/// for [`is_draining`](Self::is_draining), [`measure`](Self::measure),
/// [`notice_channels`](Self::notice_channels) and [`managed_settings`](Self::managed_settings), which
/// must be quick.
pub trait Operations: Send + Sync + 'static {
    /// Reads the configuration again and puts it in force. The row in the audit is its own. An error
    /// says in a sentence what stands in the way; nothing changed then.
    fn reload(&self, by: Actor) -> Result<Reloaded, String>;

    /// Puts a limit in force and keeps it over restarts and reloads. Never called twice at once.
    /// The caller writes the row in the audit. An error says in a sentence what stands in the way;
    /// nothing changed then.
    fn set_limit(
        &self,
        level: LevelKind,
        scope: &LimitScope,
        limit: Limit,
        by: Actor,
    ) -> Result<(), String>;

    /// The effective configuration, without secrets.
    fn configuration(&self) -> Value;

    /// The settings for programs that sign in, as Claude Code would read them from a file of managed
    /// settings; `None` where the operator gives none.
    fn managed_settings(&self) -> Option<Value>;

    /// Sends a test to a channel for notices, once, and says what came back.
    fn test_notices(&self, channel: &str) -> Result<NoticeTested, NoticeUntested>;

    /// The channels for notices.
    fn notice_channels(&self) -> Vec<NoticeChannel>;

    /// Whether the program has stopped taking calls and waits for those in flight.
    fn is_draining(&self) -> bool;

    /// Sets the gauges that only the program knows (memory, files, processor time), before they
    /// are read.
    fn measure(&self, registry: &Registry);
}
