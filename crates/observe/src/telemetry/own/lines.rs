//! The log lines of calls and tasks: derived from their records when they are read, and never stored.
//!
//! The time of a call's line is when it arrived, as that of its record and of its spans: all three
//! are found by one time, and a line where its record is. Whoever follows the logs is told of a call
//! when it has ended, and reads how long it took.

use std::collections::BTreeSet;

use super::SERVICE;
use crate::{
    event::{CallSettled, Event as _},
    record::Level,
    telemetry::{AT, Batch, Counts, ID, Key, Kind, calls, exact_key, logs, tasks, word_key},
};

/// How rows of a kind are told as lines.
#[derive(Debug)]
pub struct Lines {
    /// Which column of the row each column of its line is.
    same: &'static [(usize, usize)],
    /// The column with the word that decides how much it matters, and that is told.
    word: usize,
    /// Words that matter, with how much; all others are ordinary.
    levels: &'static [(&'static str, Level)],
    component: &'static str,
    event: &'static str,
    /// The phase of what went on, where there are phases.
    phase: &'static str,
    /// What is said before the word. Both are words of the row itself, or of every line.
    message: &'static str,
}

static OF_CALLS: Lines = Lines {
    same: &[
        (logs::AT, calls::AT),
        (logs::ID, calls::ID),
        (logs::ORGANISATION, calls::ORGANISATION),
        (logs::TASK, calls::TASK),
        (logs::PARENT_TASK, calls::PARENT_TASK),
        (logs::SESSION, calls::SESSION),
        (logs::USER, calls::USER),
        (logs::TRACE, calls::TRACE),
        (logs::SPAN, calls::SPAN),
        (logs::REQUEST, calls::REQUEST),
        (logs::ATTRIBUTES, calls::ATTRIBUTES),
    ],
    word: calls::OUTCOME,
    levels: &[
        ("refused", Level::Warning),
        ("upstream_error", Level::Warning),
        ("ended", Level::Warning),
        ("shed", Level::Error),
        ("stream_error", Level::Error),
        ("upstream_unreachable", Level::Error),
        ("upstream_lost", Level::Error),
        ("interrupted", Level::Error),
    ],
    component: CallSettled::COMPONENT,
    event: CallSettled::NAME,
    phase: "settle",
    message: CallSettled::MESSAGE,
};

static OF_TASKS: Lines = Lines {
    same: &[
        (logs::AT, tasks::AT),
        (logs::ID, tasks::ID),
        (logs::ORGANISATION, tasks::ORGANISATION),
        (logs::TASK, tasks::TASK),
        (logs::PARENT_TASK, tasks::PARENT_TASK),
        (logs::SESSION, tasks::SESSION),
        (logs::USER, tasks::USER),
        (logs::ATTRIBUTES, tasks::ATTRIBUTES),
    ],
    word: tasks::STATE,
    levels: &[("failed", Level::Warning)],
    component: "tasks",
    event: "task_turned",
    phase: "",
    message: "a task is",
};

impl Lines {
    /// Of rows of a kind; `None` where they are no lines.
    pub fn of(kind: Kind) -> Option<&'static Self> {
        match kind {
            Kind::Calls => Some(&OF_CALLS),
            Kind::Tasks => Some(&OF_TASKS),
            Kind::Logs | Kind::Spans | Kind::Metrics => None,
        }
    }

    /// The columns of a row that its line needs for these of its own.
    pub fn columns(&self, wanted: &BTreeSet<usize>) -> BTreeSet<usize> {
        let same = self.same.iter().filter(|(line, _)| wanted.contains(line));
        let mut columns: BTreeSet<usize> = same.map(|(_, row)| *row).collect();
        columns.extend([AT, ID, self.word]);
        columns
    }

    /// Whether any line may hold this, though no filter of the rows says so.
    pub fn may_hold(&self, key: Key) -> bool {
        let exact = [
            ("service", SERVICE),
            ("component", self.component),
            ("event", self.event),
            ("phase", self.phase),
            ("level", Level::Info.word()),
        ];
        let levels = self.levels.iter().map(|it| ("level", it.1.word()));
        let exact = exact.into_iter().chain(levels);
        exact
            .into_iter()
            .any(|(column, value)| exact_key(column, value) == key)
            || self.message.split(' ').any(|it| word_key(it) == key)
    }

    /// How much a row with this word matters.
    pub fn level(&self, word: &str) -> Level {
        let found = self.levels.iter().find(|it| it.0 == word);
        found.map_or(Level::Info, |it| it.1)
    }

    /// The counts of rows by their word as counts of lines by level.
    pub fn counts(&self, of: &Counts) -> Counts {
        of.renamed(|word| self.level(word).word())
    }

    /// The lines of rows: as many, in the same order. Columns that the rows were read without are
    /// absent.
    pub fn told(&self, of: &Batch) -> Batch {
        let rows = of.rows();
        let mut lines = Batch::unfilled(Kind::Logs, rows);
        for (line, row) in self.same {
            lines.copy_column(*line, of, *row);
        }
        let words = (0..rows).map(|it| of.text(self.word, it).unwrap_or_default());
        let words: Vec<&str> = words.collect();
        let fixed = |text: &'static str| std::iter::repeat_n(text, rows);
        lines.fill_texts(logs::SERVICE, fixed(SERVICE));
        lines.fill_texts(logs::COMPONENT, fixed(self.component));
        lines.fill_texts(logs::EVENT, fixed(self.event));
        lines.fill_texts(logs::PHASE, fixed(self.phase));
        lines.fill_texts(logs::LEVEL, words.iter().map(|it| self.level(it).word()));
        let bodies = words.iter().map(|it| format!("{}: {it}", self.message));
        let bodies: Vec<String> = bodies.collect();
        lines.fill_texts(logs::BODY, bodies.iter().map(String::as_str));
        lines
    }
}
