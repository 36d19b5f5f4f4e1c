//! Where money is limited: the levels of the budget tree, in the order they are checked.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_types::UnknownWord;

use crate::Period;

/// What a call spends on. Each service of an organisation has a budget of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Calls of language models.
    Llm,
    /// Invocations of tools.
    Tools,
    /// Machines and storage.
    Infrastructure,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Llm, Self::Tools, Self::Infrastructure];

    /// Position in tables of three.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A level of the budget tree. Ordered as they are checked (B2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LevelKind {
    /// All that an organisation spends in a calendar month.
    Organisation,
    /// All that a user spends in a calendar month.
    UserMonth,
    /// All that a user spends in a day.
    UserDay,
    /// All that an organisation spends on one service in a calendar month.
    Service(Service),
    /// All that a root task and its subtasks spend, for as long as it lives.
    Task,
}

impl LevelKind {
    /// All of them, in the order of their check.
    pub const ALL: [Self; 7] = [
        Self::Organisation,
        Self::UserMonth,
        Self::UserDay,
        Self::Service(Service::Llm),
        Self::Service(Service::Tools),
        Self::Service(Service::Infrastructure),
        Self::Task,
    ];

    /// Their written forms, in the same order.
    pub const WORDS: &'static [&'static str] = &[
        "organisation",
        "user_month",
        "user_day",
        "llm",
        "tools",
        "infrastructure",
        "task",
    ];

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::UserMonth => "user_month",
            Self::UserDay => "user_day",
            Self::Service(Service::Llm) => "llm",
            Self::Service(Service::Tools) => "tools",
            Self::Service(Service::Infrastructure) => "infrastructure",
            Self::Task => "task",
        }
    }

    /// How long one window of the level lasts; a task has no end of its own.
    pub const fn period(self) -> Option<Period> {
        match self {
            Self::Organisation | Self::UserMonth | Self::Service(_) => Some(Period::Month),
            Self::UserDay => Some(Period::Day),
            Self::Task => None,
        }
    }

    /// Position in the path of a call, which has one service.
    pub const fn place(self) -> usize {
        match self {
            Self::Organisation => 0,
            Self::UserMonth => 1,
            Self::UserDay => 2,
            Self::Service(_) => 3,
            Self::Task => 4,
        }
    }
}

impl fmt::Display for LevelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for LevelKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|it| it.word() == text);
        known.ok_or_else(|| UnknownWord {
            word: text.chars().take(40).collect(),
            known: Self::WORDS,
        })
    }
}

impl Serialize for LevelKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for LevelKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Names one fold of the ledger: a level, whose it is, and which of its windows.
///
/// A window is named by its first civil day, not by an instant: an organisation that corrects its
/// time zone in the middle of a month keeps what it has spent in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LevelKey {
    /// Which level.
    pub kind: LevelKind,
    /// Whose: the organisation, for every level.
    pub organisation: Arc<str>,
    /// The user, for a user's month and day and for a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The root task, for a task. Two users' tasks of one name are two tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Arc<str>>,
    /// The first day of the window; `None` for a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<Date>,
}

/// `user_day acme/ann 2026-07-14`, for messages.
impl fmt::Display for LevelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.organisation)?;
        for part in [&self.user, &self.task].into_iter().flatten() {
            write!(f, "/{part}")?;
        }
        self.opens.map_or(Ok(()), |day| write!(f, " {day}"))
    }
}

/// A set of the levels of one call's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Levels(u8);

impl Levels {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Adds a level.
    pub const fn insert(&mut self, kind: LevelKind) {
        self.0 |= 1 << kind.place();
    }

    /// Whether the level is in the set. Of the three services only the path's own can be.
    pub const fn contains(self, kind: LevelKind) -> bool {
        self.0 & (1 << kind.place()) != 0
    }

    /// Whether no level is.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn insert_place(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    pub(crate) const fn contains_place(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }
}
