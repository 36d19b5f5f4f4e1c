//! How rows of one kind are seen by those who ask for another: the line of a call is among the logs.

use std::{borrow::Cow, collections::BTreeSet};

use tidegate_observe::telemetry::{
    Batch, Counts, Key, Kind, is_of_a_line, line_columns, line_counts, lines,
};

/// How stored rows are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lens {
    /// As they are.
    Plain,
    /// Calls as their log lines.
    Lines,
}

impl Lens {
    /// The kinds that hold what is asked for as this one, and how they are seen.
    pub(crate) const fn onto(asked: Kind) -> &'static [(Kind, Self)] {
        match asked {
            Kind::Logs => &[(Kind::Logs, Self::Plain), (Kind::Calls, Self::Lines)],
            Kind::Spans => &[(Kind::Spans, Self::Plain)],
            Kind::Calls => &[(Kind::Calls, Self::Plain)],
            Kind::Tasks => &[(Kind::Tasks, Self::Plain)],
            Kind::Activity => &[(Kind::Activity, Self::Plain)],
            Kind::Metrics => &[(Kind::Metrics, Self::Plain)],
        }
    }

    /// How rows of a kind are seen by whoever asks for another; `None`: not at all.
    pub(crate) fn between(asked: Kind, stored: Kind) -> Option<Self> {
        let all = Self::onto(asked).iter();
        let found = all.copied().find(|(kind, _)| *kind == stored);
        found.map(|(_, lens)| lens)
    }

    /// Whether what is looked for is there although no filter of what is stored says so.
    pub(crate) fn adds(self, key: Key) -> bool {
        match self {
            Self::Plain => false,
            Self::Lines => is_of_a_line(key),
        }
    }

    /// The stored columns that are needed to see these.
    pub(crate) fn columns(self, wanted: BTreeSet<usize>) -> BTreeSet<usize> {
        match self {
            Self::Plain => wanted,
            Self::Lines => line_columns(&wanted),
        }
    }

    /// The rows as they are seen: as many, in the same order.
    pub(crate) fn see(self, stored: &Batch) -> Cow<'_, Batch> {
        match self {
            Self::Plain => Cow::Borrowed(stored),
            Self::Lines => Cow::Owned(lines(stored)),
        }
    }

    /// As [`Self::see`], of a batch that is not needed any more.
    pub(crate) fn seen(self, stored: Batch) -> Batch {
        match self {
            Self::Plain => stored,
            Self::Lines => lines(&stored),
        }
    }

    /// The counts as they are seen.
    pub(crate) fn counts(self, stored: &Counts) -> Cow<'_, Counts> {
        match self {
            Self::Plain => Cow::Borrowed(stored),
            Self::Lines => Cow::Owned(line_counts(stored)),
        }
    }
}
