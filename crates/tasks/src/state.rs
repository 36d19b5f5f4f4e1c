//! How far tasks are.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidegate_types::UnknownWord;

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Created, and nothing was done for it yet.
    Pending,
    /// Begun, by a call or by word.
    Running,
    /// Done. A call for it begins it again.
    Completed,
    /// Given up because it went wrong. A call for it begins it again.
    Failed,
    /// Called off, with all below it: no further call is made for them.
    Cancelled,
}

impl TaskState {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Their written forms, in the same order.
    pub const WORDS: &'static [&'static str] =
        &["pending", "running", "completed", "failed", "cancelled"];

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it has come to an end.
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    pub(crate) const fn raw(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 1,
            Self::Completed => 2,
            Self::Failed => 3,
            Self::Cancelled => 4,
        }
    }

    pub(crate) fn of_raw(raw: u8) -> Self {
        let known = Self::ALL.get(usize::from(raw));
        known.copied().unwrap_or(Self::Running)
    }
}

impl FromStr for TaskState {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|it| it.word() == text);
        known.ok_or_else(|| UnknownWord {
            word: text.chars().take(40).collect(),
            known: Self::WORDS,
        })
    }
}
