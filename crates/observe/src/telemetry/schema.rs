//! Which kinds of records there are, and which columns each has.

use std::fmt;

use tidegate_types::UnknownWord;

/// A kind of record. Each has a [`Schema`] and files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Somebody said something: a line for people with values for programs.
    Logs,
    /// Something took a while, as a part of something larger.
    Spans,
    /// One call of a model, whole.
    Calls,
    /// A task changed: begun, went on, ended.
    Tasks,
    /// One point of a metric that somebody sent, as it was sent.
    Metrics,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Logs,
        Self::Spans,
        Self::Calls,
        Self::Tasks,
        Self::Metrics,
    ];

    /// The written form, also the beginning of its files' names.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Spans => "spans",
            Self::Calls => "calls",
            Self::Tasks => "tasks",
            Self::Metrics => "metrics",
        }
    }

    /// The stored form, which never changes. 5 was a kind that nothing was ever written of.
    pub const fn code(self) -> u8 {
        match self {
            Self::Logs => 1,
            Self::Spans => 2,
            Self::Calls => 3,
            Self::Tasks => 4,
            Self::Metrics => 6,
        }
    }

    /// From the stored form.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.code() == code)
    }

    /// Its columns.
    pub const fn schema(self) -> &'static Schema {
        match self {
            Self::Logs => &logs::SCHEMA,
            Self::Spans => &spans::SCHEMA,
            Self::Calls => &calls::SCHEMA,
            Self::Tasks => &tasks::SCHEMA,
            Self::Metrics => &metrics::SCHEMA,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl std::str::FromStr for Kind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|it| it.word() == text);
        found.ok_or_else(|| UnknownWord {
            word: text.chars().take(40).collect(),
            known: &["logs", "spans", "calls", "tasks", "metrics"],
        })
    }
}

/// What a column holds. Every column but the first two may be absent in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Nanoseconds since 1970, in UTC.
    Time,
    /// A whole number; the column's name ends with its unit.
    Integer,
    /// Yes (1) or no (0).
    Flag,
    /// The 8 bytes of a span's id.
    SpanId,
    /// The 16 bytes of a trace's id.
    TraceId,
    /// A text of which few different ones are expected; an empty one is absent.
    Word,
    /// Any text; an empty one is absent.
    Text,
}

/// How rows are found by a column, without reading all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Not at all: the column is read.
    Scan,
    /// By the whole value, without regard to the case of ASCII letters.
    Exact,
    /// By the words of its text.
    Words,
}

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in files, filters and answers.
    pub name: &'static str,
    /// What it holds.
    pub holds: ColumnType,
    /// How rows are found by it.
    pub search: Search,
}

/// The columns of a kind. The first two are those of every kind: [`AT`] and [`ID`].
///
/// Columns may be added at the end, and none is ever renamed or given another type: files are read
/// by name, and what an older one lacks is absent.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// Whose schema it is.
    pub kind: Kind,
    /// Its columns.
    pub columns: &'static [Column],
    /// The column whose values are counted by the minute, if there is one: a level, a status, an
    /// outcome.
    pub counted: Option<usize>,
}

impl Schema {
    /// The place of a column.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|it| it.name == name)
    }

    /// The column of values that are not typed, a JSON object.
    pub fn attributes(&self) -> Option<usize> {
        self.place("attributes")
    }
}

/// When it happened; for spans and calls, when it began.
pub const AT: usize = 0;

/// Our number of the record, given when it is taken in; rises with that.
pub const ID: usize = 1;

/// The place of a name in a list that has it.
const fn place_of(names: &[&str], name: &str) -> usize {
    let mut place = 0;
    while !same(names[place].as_bytes(), name.as_bytes()) {
        place += 1;
    }
    place
}

const fn same(one: &[u8], two: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < two.len() && one[at] == two[at] {
        at += 1;
    }
    at == one.len() && at == two.len()
}

macro_rules! schema {
    (
        $(#[$about:meta])* $module:ident = $kind:ident, counted $counted:expr;
        $($(#[$doc:meta])* $place:ident = $name:literal, $holds:ident, $search:ident;)+
    ) => {
        $(#[$about])*
        pub mod $module {
            use super::{Column, ColumnType, Kind, Schema, Search};

            const NAMES: &[&str] = &[$($name),+];

            $(
                $(#[$doc])*
                pub const $place: usize = super::place_of(NAMES, $name);
            )+

            const _: () = assert!(NAMES.len() <= 64, "an index has one bit for each column");

            /// The columns.
            pub static SCHEMA: Schema = Schema {
                kind: Kind::$kind,
                columns: &[$(Column {
                    name: $name,
                    holds: ColumnType::$holds,
                    search: Search::$search,
                }),+],
                counted: $counted,
            };
        }
    };
}

schema! {
    /// Places of the columns of [`Kind::Logs`].
    logs = Logs, counted Some(LEVEL);
    /// When it happened.
    AT = "time", Time, Scan;
    /// Our number of the record.
    ID = "id", Integer, Scan;
    /// The time that its sender gave, where that could not be and `at` is when it came.
    CLAIMED = "claimed_time", Time, Scan;
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    LEVEL = "level", Word, Exact;
    /// The organisation.
    ORGANISATION = "organisation", Word, Exact;
    /// The program that spoke.
    SERVICE = "service", Word, Exact;
    /// The part of it that spoke.
    COMPONENT = "component", Word, Exact;
    /// What happened, in one word.
    EVENT = "event", Word, Exact;
    /// The machine.
    HOST = "host", Word, Exact;
    /// The process on the machine.
    PROCESS = "process", Integer, Scan;
    /// The thread of the process.
    THREAD = "thread", Word, Scan;
    /// The program's version.
    VERSION = "version", Word, Exact;
    /// The phase of what was going on.
    PHASE = "phase", Word, Exact;
    /// The task.
    TASK = "task", Word, Exact;
    /// The task that asked for this one.
    PARENT_TASK = "parent_task", Word, Exact;
    /// The session.
    SESSION = "session", Word, Exact;
    /// The user.
    USER = "user", Word, Exact;
    /// The trace.
    TRACE = "trace_id", TraceId, Exact;
    /// The span.
    SPAN = "span_id", SpanId, Scan;
    /// The request.
    REQUEST = "request_id", Text, Exact;
    /// What was said.
    BODY = "body", Text, Words;
    /// Everything else that is known, a JSON object.
    ATTRIBUTES = "attributes", Text, Words;
}

schema! {
    /// Places of the columns of [`Kind::Spans`].
    spans = Spans, counted Some(STATUS);
    /// When it began.
    AT = "time", Time, Scan;
    /// Our number of the record.
    ID = "id", Integer, Scan;
    /// The time that its sender gave, where that could not be and `at` is when it came.
    CLAIMED = "claimed_time", Time, Scan;
    /// `unset`, `ok` or `error`.
    STATUS = "status", Word, Exact;
    /// The organisation.
    ORGANISATION = "organisation", Word, Exact;
    /// The program that did it.
    SERVICE = "service", Word, Exact;
    /// The part of it.
    COMPONENT = "component", Word, Exact;
    /// What was done.
    OPERATION = "operation", Word, Exact;
    /// `internal`, `server`, `client`, `producer` or `consumer`.
    ROLE = "kind", Word, Exact;
    /// The machine.
    HOST = "host", Word, Exact;
    /// The program's version.
    VERSION = "version", Word, Exact;
    /// The task.
    TASK = "task", Word, Exact;
    /// The session.
    SESSION = "session", Word, Exact;
    /// The user.
    USER = "user", Word, Exact;
    /// The trace.
    TRACE = "trace_id", TraceId, Exact;
    /// The span.
    SPAN = "span_id", SpanId, Scan;
    /// The span it is a part of.
    PARENT = "parent_span_id", SpanId, Scan;
    /// The request.
    REQUEST = "request_id", Text, Exact;
    /// How long it took.
    DURATION = "duration_ns", Integer, Scan;
    /// How many records it stands for where others like it were dropped, in thousandths.
    WEIGHT = "weight_milli", Integer, Scan;
    /// Why it failed.
    BODY = "message", Text, Words;
    /// What happened in it, a JSON array.
    EVENTS = "events", Text, Words;
    /// The spans it is linked with, a JSON array.
    LINKS = "links", Text, Scan;
    /// Everything else that is known, a JSON object.
    ATTRIBUTES = "attributes", Text, Words;
}

schema! {
    /// Places of the columns of [`Kind::Calls`].
    calls = Calls, counted Some(OUTCOME);
    /// When it arrived.
    AT = "time", Time, Scan;
    /// Our number of the record.
    ID = "id", Integer, Scan;
    /// The call's id, `call_…`.
    CALL = "call_id", Text, Exact;
    /// How it ended.
    OUTCOME = "outcome", Word, Exact;
    /// Who pays.
    ORGANISATION = "organisation", Word, Exact;
    /// Who acts.
    USER = "user", Word, Exact;
    /// The key it came with.
    KEY = "key", Word, Exact;
    /// The session.
    SESSION = "session", Word, Exact;
    /// The task.
    TASK = "task", Word, Exact;
    /// The root of the task's tree.
    ROOT_TASK = "root_task", Word, Exact;
    /// The task or agent that asked for this one.
    PARENT_TASK = "parent_task", Word, Exact;
    /// What kind of task it was.
    TASK_TYPE = "task_type", Word, Exact;
    /// What the request was for.
    CLASS = "class", Word, Exact;
    /// The priority it was admitted with.
    PRIORITY = "priority", Word, Exact;
    /// The wire format.
    DIALECT = "dialect", Word, Exact;
    /// Where it was sent.
    PROVIDER = "provider", Word, Exact;
    /// The platform whose quota it used.
    PLATFORM = "platform", Word, Exact;
    /// The model that was asked for.
    MODEL_ASKED = "model_asked", Word, Exact;
    /// The model that was sent.
    MODEL_SENT = "model_sent", Word, Exact;
    /// Whether it was streamed.
    STREAM = "stream", Flag, Scan;
    /// Whether its usage or cost is our estimate.
    ESTIMATED = "estimated", Flag, Scan;
    /// The HTTP status the client got.
    STATUS = "status", Integer, Scan;
    /// The provider's id of the request.
    REQUEST = "request_id", Text, Exact;
    /// The trace.
    TRACE = "trace_id", TraceId, Exact;
    /// Our span.
    SPAN = "span_id", SpanId, Scan;
    /// The caller's span.
    PARENT_SPAN = "parent_span_id", SpanId, Scan;
    /// Input that was not cached.
    INPUT = "input_tokens", Integer, Scan;
    /// Output.
    OUTPUT = "output_tokens", Integer, Scan;
    /// Input that was read from the cache.
    CACHE_READ = "cache_read_tokens", Integer, Scan;
    /// Input that was written to the cache.
    CACHE_WRITE = "cache_write_tokens", Integer, Scan;
    /// What it was charged, in billionths of a dollar.
    COST = "cost_nano_usd", Integer, Scan;
    /// The time of all phases.
    DURATION = "duration_us", Integer, Scan;
    /// Held back on purpose.
    WAIT = "wait_us", Integer, Scan;
    /// To the first byte of the answer.
    FIRST_BYTE = "first_byte_us", Integer, Scan;
    /// From the first to the last byte of the answer.
    STREAMED = "stream_us", Integer, Scan;
    /// The whole record, a JSON object; what is zero, no or unknown is left out.
    ATTRIBUTES = "attributes", Text, Words;
}

schema! {
    /// Places of the columns of [`Kind::Tasks`].
    tasks = Tasks, counted Some(STATE);
    /// When it changed.
    AT = "time", Time, Scan;
    /// Our number of the record.
    ID = "id", Integer, Scan;
    /// What became of it: `begun`, `running`, `done`, `failed`, …
    STATE = "state", Word, Exact;
    /// The organisation.
    ORGANISATION = "organisation", Word, Exact;
    /// Who acts.
    USER = "user", Word, Exact;
    /// The task.
    TASK = "task", Word, Exact;
    /// The root of its tree.
    ROOT_TASK = "root_task", Word, Exact;
    /// The task that asked for it.
    PARENT_TASK = "parent_task", Word, Exact;
    /// What kind of task it is.
    TASK_TYPE = "task_type", Word, Exact;
    /// How hard it is.
    COMPLEXITY = "complexity", Word, Exact;
    /// How urgent it is.
    PRIORITY = "priority", Word, Exact;
    /// The session.
    SESSION = "session", Word, Exact;
    /// Calls so far.
    CALLS = "calls", Integer, Scan;
    /// Input so far, cached or not.
    INPUT = "input_tokens", Integer, Scan;
    /// Output so far.
    OUTPUT = "output_tokens", Integer, Scan;
    /// What it was charged so far, in billionths of a dollar.
    COST = "cost_nano_usd", Integer, Scan;
    /// Since it began.
    DURATION = "duration_us", Integer, Scan;
    /// What it says of itself.
    BODY = "message", Text, Words;
    /// Everything else that is known, a JSON object.
    ATTRIBUTES = "attributes", Text, Words;
}

schema! {
    /// Places of the columns of [`Kind::Metrics`].
    metrics = Metrics, counted None;
    /// When it was measured.
    AT = "time", Time, Scan;
    /// Our number of the record.
    ID = "id", Integer, Scan;
    /// The time that its sender gave, where that could not be and `at` is when it came.
    CLAIMED = "claimed_time", Time, Scan;
    /// The organisation.
    ORGANISATION = "organisation", Word, Exact;
    /// The user.
    USER = "user", Word, Exact;
    /// The program that measured.
    SERVICE = "service", Word, Exact;
    /// The part of it.
    COMPONENT = "component", Word, Exact;
    /// The machine.
    HOST = "host", Word, Exact;
    /// The program's version.
    VERSION = "version", Word, Exact;
    /// The session.
    SESSION = "session", Word, Exact;
    /// What was measured.
    METRIC = "metric", Word, Exact;
    /// In which unit.
    UNIT = "unit", Word, Scan;
    /// `gauge`, `sum`, `histogram`, `exponential_histogram` or `summary`.
    FORM = "type", Word, Exact;
    /// `delta` or `cumulative`, of what is summed up.
    TEMPORALITY = "temporality", Word, Scan;
    /// Whether a sum never falls.
    MONOTONIC = "monotonic", Flag, Scan;
    /// Since when it was summed up.
    START = "start_time", Time, Scan;
    /// The figures, a JSON object: `value`, or `count`, `sum` and what its type has.
    POINT = "point", Text, Scan;
    /// Of what it was measured, a JSON object.
    ATTRIBUTES = "attributes", Text, Words;
}
