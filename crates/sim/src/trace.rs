//! Recorded traffic, read row by row from the formats that people have, and the requests that replay it.
//!
//! What a file says becomes [`Traffic`]: sessions, whose calls follow each other; calls that come when they come;
//! or how often clients ask. [`Reading`] opens a file, tells by its content what it is, and reads it.

mod azure;
mod burst;
mod conversation;
mod fields;
mod format;
mod heard;
mod mooncake;
mod own;
mod rates;
mod reading;
mod source;
mod traffic;
mod transcripts;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use tidegate_types::{Priority, Timestamp, Tokens, Usage};

pub use conversation::{Conversation, Replayed};
pub use format::{Format, ParseFormatError};
pub use rates::{Family, Rates, Window};
pub use reading::{Rows, load, read};
pub use traffic::{Arrival, Loaded, Reading, Shared, Traffic};

/// One recorded call: what it used and how long it took. The text itself was never recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The session it belongs to.
    pub trace: String,
    /// `main`, or a subagent: `s1`, `s2`, ….
    pub agent: String,
    /// Its number in the session, from 0.
    pub seq: u32,
    /// When it began, since the session's start.
    pub at: Duration,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// The model.
    pub model: String,
    /// All input, cached or not.
    pub input: Tokens,
    /// The output.
    pub output: Tokens,
    /// Input whose prefix the session had sent before, however long ago.
    pub cached: Tokens,
    /// How long ago that prefix was last touched.
    pub cache_age: Option<Duration>,
    /// Time to the first byte, where it was recorded.
    pub first_byte: Option<Duration>,
    /// Time to the last byte, where it was recorded.
    pub api: Option<Duration>,
    /// The client's pause before this call.
    pub think: Duration,
    /// Why the answer ended; empty where unknown.
    pub stop: String,
    /// What the new input held: `text`, `tool_result` and others, joined by `+`.
    pub input_types: String,
    /// What the answer held, likewise.
    pub output_types: String,
    /// Its line in the file.
    pub line: u64,
}

impl Row {
    /// What the provider bills, if its cache lives for `life` from the last touch: all input that is not read
    /// is written, as Claude Code asks for.
    pub fn usage(&self, life: Duration) -> Usage {
        let warm = self.cache_age.is_some_and(|it| it <= life);
        let read = if warm { self.cached } else { Tokens(0) };
        Usage {
            cache_read: read,
            cache_write_5m: self.input.saturating_sub(read),
            output: self.output,
            ..Usage::default()
        }
    }
}

/// Why a trace cannot be read. Names the file and, where there is one, the line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened.
    #[error("trace {}: cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody knows what it is.
    #[error(
        "trace {}: its beginning is of no format that is known: name one with --format, of {}",
        path.display(),
        Format::words()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// It holds nothing that could be played.
    #[error("trace {}: {reason}", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What it lacks, and what to do.
        reason: String,
    },
    /// A line is not a row, or reading failed there.
    #[error("trace {}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 where it is not known.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl TraceError {
    fn line(path: &Path, line: u64, reason: impl Into<String>) -> Self {
        Self::Line {
            path: path.to_owned(),
            line,
            reason: reason.into(),
        }
    }
}

/// The calls of one session, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// Its name.
    pub trace: String,
    /// Its calls; at least one.
    pub rows: Vec<Row>,
    /// When its first call came, where that was recorded.
    pub began: Option<Timestamp>,
    /// Whose it is, where that was recorded.
    pub user: Option<String>,
    /// What its first call was admitted with, where that was recorded.
    pub priority: Option<Priority>,
    /// An earlier session with the same first eight (input, output) pairs, of which this is a fork. A
    /// session of fewer than eight calls is never called a fork: that little proves nothing.
    pub fork_of: Option<String>,
}

/// How many calls must agree for a session to be a fork.
const FORK_CALLS: usize = 8;

type Opening = [(Tokens, Tokens); FORK_CALLS];

/// How sessions began so far.
#[derive(Debug, Default)]
struct Openings(HashMap<Opening, String>);

impl Openings {
    /// The earlier session that one with this name and these calls is a fork of.
    fn fork_of(&mut self, trace: &str, rows: &[Row]) -> Option<String> {
        let pairs = rows.iter().map(|it| (it.input, it.output));
        let opening: Vec<(Tokens, Tokens)> = pairs.take(FORK_CALLS).collect();
        let opening = Opening::try_from(opening).ok()?;
        let first = self.0.entry(opening).or_insert_with(|| trace.to_owned());
        (first != trace).then(|| first.clone())
    }
}

/// Groups rows by session as they come, holding one session at a time.
#[derive(Debug)]
pub struct Sessions<I> {
    rows: I,
    next: Option<Row>,
    openings: Openings,
    failed: bool,
}

/// Groups `rows` into sessions. Rows of a session must follow each other.
pub fn sessions<I: Iterator<Item = Result<Row, TraceError>>>(rows: I) -> Sessions<I> {
    Sessions {
        rows,
        next: None,
        openings: Openings::default(),
        failed: false,
    }
}

impl<I: Iterator<Item = Result<Row, TraceError>>> Iterator for Sessions<I> {
    type Item = Result<Session, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let mut rows: Vec<Row> = self.next.take().into_iter().collect();
        for row in self.rows.by_ref() {
            match row {
                Ok(row) if rows.first().is_none_or(|it| it.trace == row.trace) => rows.push(row),
                Ok(row) => {
                    self.next = Some(row);
                    break;
                }
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        let trace = rows.first()?.trace.clone();
        let fork_of = self.openings.fork_of(&trace, &rows);
        Some(Ok(Session {
            trace,
            rows,
            fork_of,
            ..Session::default()
        }))
    }
}

#[cfg(test)]
mod tests;
