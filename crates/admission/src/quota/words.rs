//! What is asked of quotas, and what they answer.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_types::{Caller, Timestamp};

use super::{OnExcess, QuotaFigure, QuotaKind, QuotaScope};
use crate::Wait;

/// One day or month of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// Rises from each to the next, and names it: the date of its first day as a number, say. From 1.
    pub opens: u32,
    /// The first instant after it.
    pub end: Timestamp,
}

/// The day and the month that an instant lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Calendar {
    /// For tasks per day.
    pub day: Span,
    /// For tokens per month.
    pub month: Span,
}

/// Answers day and month of an instant, as a pure function.
pub type CalendarOf = Box<dyn Fn(Timestamp) -> Calendar + Send>;

/// What a call is to its quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaUse {
    /// A call to a language model.
    Call,
    /// A tool invocation.
    Tool,
    /// Neither.
    Other,
}

/// What a call asks of its quotas.
#[derive(Clone, Copy, Debug)]
pub struct QuotaAsk {
    /// What it is.
    pub usage: QuotaUse,
    /// Quota tokens that it will probably use.
    pub tokens: u64,
    /// Its input in tokens, whatever of it a cache serves.
    pub context: u64,
    /// The most that its model takes.
    pub window: u64,
    /// Whether built-in quotas bind it.
    pub caller: Caller,
}

/// A quota that a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverQuota {
    /// Whose it is.
    pub scope: QuotaScope,
    /// What it counts.
    pub kind: QuotaKind,
    /// How far it goes.
    pub limit: u64,
    /// How much is used and held.
    pub used: u64,
    /// How much the call would add.
    pub asked: u64,
    /// How long until the call fits all its quotas. `None`: no wait helps.
    pub wait: Option<Wait>,
    /// What becomes of it meanwhile.
    pub on_excess: OnExcess,
}

/// One end of a running answer, and whose quota sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<T> {
    /// Where.
    pub at: T,
    /// Whose.
    pub scope: QuotaScope,
}

/// How large an answer may become (Q6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of text after which it is ended. The largest number where nothing ends it.
    pub output: Ends<u64>,
    /// The same where it is only told.
    pub output_watched: Ends<u64>,
    /// How long after its beginning it is ended. The longest where nothing ends it.
    pub time: Ends<Duration>,
    /// The same where it is only told.
    pub time_watched: Ends<Duration>,
}

impl Sizes {
    /// Nothing ends it.
    pub const NONE: Self = {
        let scope = QuotaScope::Organisation;
        let (bytes, time) = (
            Ends {
                at: u64::MAX,
                scope,
            },
            Ends {
                at: Duration::MAX,
                scope,
            },
        );
        Self {
            output: bytes,
            output_watched: bytes,
            time,
            time_watched: time,
        }
    };
}

/// The counts of one subject at one moment, to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSubject {
    pub(super) scope: usize,
    pub(super) name: String,
    pub(super) rates: [Option<i64>; 3],
    pub(super) tasks: (u32, u64),
    pub(super) tokens: (u32, u64),
}

impl SavedSubject {
    /// Whose counts they are: nothing for those of another version.
    pub fn scope(&self) -> Option<QuotaScope> {
        QuotaScope::ALL.get(self.scope).copied()
    }

    /// Whose counts they are.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// When what is used of a quota is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frees {
    /// All of it, that long after nothing more is used.
    Within(Duration),
    /// All of it, at this instant.
    At(Timestamp),
    /// When what runs has ended.
    WhenEnded,
    /// Nothing is used up: it is the size of each call or task.
    Each,
}

/// One quota at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView {
    /// Whose.
    pub scope: QuotaScope,
    /// Its name.
    pub name: Arc<str>,
    /// What it counts.
    pub kind: QuotaKind,
    /// How far it goes, and whom it binds.
    pub figure: QuotaFigure,
    /// How much of it is used and held. Zero for sizes, which belong to one call or task.
    pub used: u64,
    /// When that is free again.
    pub frees: Frees,
}
