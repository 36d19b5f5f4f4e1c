//! How rows of one kind are seen by those who ask for another: the line of a call is among the logs.

use std::{borrow::Cow, collections::BTreeSet};

use tidegate_observe::telemetry::{Batch, Counts, Key, Kind, Lines};

/// How stored rows are seen: as they are, or as their log lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lens(Option<&'static Lines>);

impl Lens {
    /// The kinds that hold what is asked for as this one, and how they are seen.
    pub(crate) fn onto(asked: Kind) -> impl Iterator<Item = (Kind, Self)> {
        let told = Kind::ALL.into_iter().filter(move |_| asked == Kind::Logs);
        let told = told.filter_map(|it| Some((it, Self(Some(Lines::of(it)?)))));
        std::iter::once((asked, Self(None))).chain(told)
    }

    /// How rows of a kind are seen by whoever asks for another; `None`: not at all.
    pub(crate) fn between(asked: Kind, stored: Kind) -> Option<Self> {
        let found = Self::onto(asked).find(|(kind, _)| *kind == stored);
        found.map(|(_, lens)| lens)
    }

    /// Whether what is looked for is there although no filter of what is stored says so.
    pub(crate) fn adds(self, key: Key) -> bool {
        self.0.is_some_and(|it| it.may_hold(key))
    }

    /// The stored columns that are needed to see these.
    pub(crate) fn columns(self, wanted: BTreeSet<usize>) -> BTreeSet<usize> {
        match self.0 {
            None => wanted,
            Some(lines) => lines.columns(&wanted),
        }
    }

    /// The rows as they are seen: as many, in the same order.
    pub(crate) fn see(self, stored: &Batch) -> Cow<'_, Batch> {
        match self.0 {
            None => Cow::Borrowed(stored),
            Some(lines) => Cow::Owned(lines.told(stored)),
        }
    }

    /// As [`Self::see`], of a batch that is not needed any more.
    pub(crate) fn seen(self, stored: Batch) -> Batch {
        match self.0 {
            None => stored,
            Some(lines) => lines.told(&stored),
        }
    }

    /// The counts as they are seen.
    pub(crate) fn counts(self, stored: &Counts) -> Cow<'_, Counts> {
        match self.0 {
            None => Cow::Borrowed(stored),
            Some(lines) => Cow::Owned(lines.counts(stored)),
        }
    }
}
