//! The log record: one line for programs, one for people.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_types::{Id, IdKind, Timestamp};

use crate::{
    redact::Redactor,
    trace::{SpanId, TraceId},
};

/// Kind of [`LogId`].
#[derive(Debug)]
pub enum LogKind {}

impl IdKind for LogKind {
    const PREFIX: &'static str = "log";
}

/// Identifies one log record.
pub type LogId = Id<LogKind>;

/// How much a record matters. Ordered: `Debug < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Of interest to whoever changes the program. Shed first.
    Debug,
    /// Something ordinary happened.
    Info,
    /// Something a person may want to look at.
    Warning,
    /// A call or a change failed.
    Error,
    /// A promise is broken or the core cannot work.
    Critical,
}

impl Level {
    /// All of them, in ascending order.
    pub const ALL: [Self; 5] = [
        Self::Debug,
        Self::Info,
        Self::Warning,
        Self::Error,
        Self::Critical,
    ];

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl std::str::FromStr for Level {
    type Err = tidegate_types::UnknownWord;

    /// Reads the written form in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL
            .into_iter()
            .find(|it| it.word().eq_ignore_ascii_case(text));
        found.ok_or_else(|| tidegate_types::UnknownWord {
            word: text.chars().take(40).collect(),
            known: &["debug", "info", "warning", "error", "critical"],
        })
    }
}

/// Where a record was made; the same for all records of a thread, so it is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The machine's name.
    pub host: String,
    /// The process id.
    pub process: u32,
    /// The thread's name.
    pub thread: String,
    /// Tidegate's version.
    pub version: String,
}

/// What a record is about: the ids that join it to everything else that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Correlation {
    /// Who pays, where the record is about somebody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Arc<str>>,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Arc<str>>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
}

/// What was going on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// The phase of the call: `identify`, `estimate`, `route`, `reserve`, `stream`, `settle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Cow<'static, str>>,
    /// The task that asked for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_task: Option<Arc<str>>,
    /// Memory the program occupied, in bytes, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Processor time the program had used, in microseconds, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_micros: Option<u64>,
}

impl Context {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One record.
///
/// `message` is one lower-case sentence without a full stop; values travel in `fields`. Nothing
/// here is redacted yet: [`Self::redacted`] does that, and is the only way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// When, in UTC, as nanoseconds since 1970.
    pub at: Timestamp,
    /// Which record.
    pub id: LogId,
    /// How much it matters.
    pub level: Level,
    /// Which part of the program speaks: `gateway`, `admission`, `ledger`, …
    pub component: Cow<'static, str>,
    /// What happened, as one word: `call_settled`.
    pub event: Cow<'static, str>,
    /// The same for people.
    pub message: Cow<'static, str>,
    /// What it is about.
    #[serde(flatten)]
    pub correlation: Correlation,
    /// The values.
    #[serde(default)]
    pub fields: Fields,
    /// What was going on.
    #[serde(default, skip_serializing_if = "Context::is_empty")]
    pub context: Context,
    /// Where it was made.
    pub origin: Arc<Origin>,
}

/// Named values, in the order they were put in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Vec<(Cow<'static, str>, Value)>);

impl Fields {
    /// No values.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((Cow::Borrowed(name), value.into()));
        self
    }

    /// Adds what a value prints as.
    #[must_use]
    pub fn shown(self, name: &'static str, value: impl fmt::Display) -> Self {
        self.with(name, value.to_string())
    }

    /// Adds what a value prints as, if there is one.
    #[must_use]
    pub fn maybe(self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.shown(name, value),
            None => self,
        }
    }

    /// The values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl Serialize for Fields {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = serde_json::Map::deserialize(deserializer)?;
        let own = |(name, value)| (Cow::Owned(name), value);
        Ok(Self(map.into_iter().map(own).collect()))
    }
}

impl LogRecord {
    /// As [`CleanRecord::json_line`], secrets removed first.
    pub fn json_line(&self, redactor: &Redactor) -> String {
        self.redacted(redactor).json_line()
    }

    /// As [`CleanRecord::people_line`], secrets removed first.
    pub fn people_line(&self, redactor: &Redactor) -> String {
        self.redacted(redactor).people_line()
    }

    /// The same, secrets removed.
    #[must_use]
    pub fn redacted(&self, redactor: &Redactor) -> CleanRecord {
        let mut clean = self.clone();
        let own = |text: &mut Cow<'static, str>| {
            if let Cow::Owned(replaced) = redactor.redact(text) {
                *text = Cow::Owned(replaced);
            }
        };
        own(&mut clean.message);
        let about = &mut clean.correlation;
        let context = &mut clean.context;
        for text in [
            &mut about.task,
            &mut about.session,
            &mut about.user,
            &mut context.parent_task,
        ]
        .into_iter()
        .flatten()
        {
            if let Cow::Owned(replaced) = redactor.redact(text) {
                *text = replaced.into();
            }
        }
        for (name, value) in &mut clean.fields.0 {
            redact_field(name, value, redactor);
        }
        CleanRecord(clean)
    }
}

/// A record without secrets: the only form in which one leaves the program or is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanRecord(LogRecord);

impl std::ops::Deref for CleanRecord {
    type Target = LogRecord;

    fn deref(&self) -> &LogRecord {
        &self.0
    }
}

impl CleanRecord {
    /// One line of JSON without the line's end. The time is `timestamp`, in RFC 3339 with
    /// microseconds.
    pub fn json_line(&self) -> String {
        let line = Line {
            timestamp: rfc3339(self.at),
            record: &self.0,
        };
        // Only maps with keys that are no texts fail to serialise, and a record has none.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// One line for people without the line's end:
    /// `2026-11-21T10:00:00Z INFO    gateway  call settled  cost=$0.01 user=ada`.
    pub fn people_line(&self) -> String {
        let time = rfc3339_seconds(self.at);
        let mut out = format!(
            "{time} {:<8} {:<9} {}",
            self.level.word(),
            self.component,
            one_line(&self.message)
        );
        let about = &self.correlation;
        let ids = [
            ("user", &about.user),
            ("task", &about.task),
            ("session", &about.session),
        ];
        for (name, value) in self.fields.iter() {
            match value {
                Value::String(text) => push_field(&mut out, name, text),
                other => push_field(&mut out, name, &other.to_string()),
            }
        }
        for (name, value) in ids {
            if let Some(value) = value {
                push_field(&mut out, name, value);
            }
        }
        out
    }
}

/// A record as a line: everything it has, with the time first and readable.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    #[serde(flatten)]
    record: &'a LogRecord,
}

/// Removes secrets from all texts in `value`, however deep, and from a text whose name alone says
/// that it is one.
fn redact_field(name: &str, value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => {
            // The rule for `name=value` knows which names hold secrets.
            if crate::redact::is_secret_name(name) {
                crate::redact::REDACTED.clone_into(text);
            } else if let Cow::Owned(replaced) = redactor.redact(text) {
                *text = replaced;
            }
        }
        Value::Array(values) => {
            for value in values {
                redact_field(name, value, redactor);
            }
        }
        Value::Object(values) => {
            for (name, value) in values {
                redact_field(name, value, redactor);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn push_field(out: &mut String, name: &str, value: &str) {
    let plain = !value.is_empty() && value.bytes().all(|it| it.is_ascii_graphic() && it != b'"');
    // Writing to a String cannot fail.
    let _infallible = if plain {
        write!(out, "  {name}={value}")
    } else {
        write!(out, "  {name}={value:?}")
    };
}

/// A message that cannot forge a second line.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(
            text.chars()
                .map(|it| if it.is_control() { ' ' } else { it })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// `2026-11-21T10:00:00.123456Z`. Times after the year 9999 do not exist in 64 bits of
/// nanoseconds.
pub fn rfc3339(at: Timestamp) -> String {
    format_at(at, 6)
}

/// `2026-11-21T10:00:00.123456789Z`.
pub fn rfc3339_nanos(at: Timestamp) -> String {
    format_at(at, 9)
}

/// `2026-11-21T10:00:00Z`.
pub fn rfc3339_seconds(at: Timestamp) -> String {
    format_at(at, 0)
}

fn format_at(at: Timestamp, decimals: u8) -> String {
    let instant = jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
    let printer = jiff::fmt::temporal::DateTimePrinter::new().precision(Some(decimals));
    printer.timestamp_to_string(&instant)
}

#[cfg(test)]
mod tests;
