//! A trace: stored spans together with those of our own calls.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use tidegate_observe::{
    calls::CallRecord,
    telemetry::{AT, Batch, Filter, Kind, Row, call_of, calls, put_spans, spans},
    trace::{SpanId, TraceId},
};
use tidegate_segments::{Query, QueryError, Segments};
use tidegate_types::CallId;

use super::logs::{object, sight};
use crate::{
    Control,
    access::Visitor,
    error::Error,
    limits::{NAME_BYTES_MAX, TRACE_REQUESTS_MAX, TRACE_SPANS_MAX},
    wire::Trace,
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Trace(TraceId),
    Call(CallId),
    Session(String),
    /// A task, such as a prompt of Claude Code.
    Task(String),
    /// A session or, where there is none of that name, a task.
    Named(String),
}

impl Wanted {
    fn of(text: &str) -> Result<Self, Error> {
        if let Some(trace) = TraceId::parse(&text.to_ascii_lowercase()) {
            return Ok(Self::Trace(trace));
        }
        if let Ok(call) = text.parse() {
            return Ok(Self::Call(call));
        }
        let named = |it: &str| Some(it.to_owned()).filter(|it| is_name(it));
        let wanted = match text.split_once(':') {
            Some(("session", name)) => named(name).map(Self::Session),
            Some(("task" | "prompt", name)) => named(name).map(Self::Task),
            _ => named(text).map(Self::Named),
        };
        wanted.ok_or_else(|| Error::Value {
            key: "id",
            value: text.chars().take(60).collect(),
            wanted: format!(
                "a trace's id, 32 hexadecimal digits, a call's, call_ and 16, or session: or task: and a name of at most {NAME_BYTES_MAX} bytes"
            ),
        })
    }
}

/// Whether it may be the name of a session or a task.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX
}

/// A trace with all its spans, as far as they may be seen: those that were sent to us, and those of
/// the calls that are part of it. A call's id stands for the trace that it is part of; the name of a
/// session or a task, such as the id of a prompt of Claude Code, for all traces of it.
#[utoipa::path(get, path = "/api/v1/traces/{id}", tag = "telemetry",
    params(("id" = String, Path, description = "The trace: 32 hexadecimal digits; one of its calls; a session or a task, `session:` or `task:` before it where its name could be either's")),
    responses((status = 200, body = Trace)))]
pub(crate) async fn trace(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Json<Trace>, Error> {
    let wanted = Wanted::of(&id)?;
    let segments = control.segments()?;
    let seen = Seen {
        segments,
        calls: sight(&visitor, Kind::Calls, (None, None))?,
        spans: sight(&visitor, Kind::Spans, (None, None))?,
    };
    let found = control.waiting(move |control| {
        control.engine.flush();
        let found = seen.trace(&wanted);
        found.map_err(|it| control.unanswered(&it))
    });
    let found = found.await??;
    found.map(Json).ok_or(Error::NoSuch {
        what: "trace, call with one, session or task",
        id,
    })
}

/// What spans have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Trace,
    Session,
    Task,
}

impl Of {
    /// The column of spans and of calls.
    const fn column(self) -> &'static str {
        match self {
            Self::Trace => "trace_id",
            Self::Session => "session",
            Self::Task => "task",
        }
    }
}

/// What somebody may see.
struct Seen {
    segments: Arc<Segments>,
    calls: Filter,
    spans: Filter,
}

impl Seen {
    fn trace(&self, wanted: &Wanted) -> Result<Option<Trace>, QueryError> {
        match wanted {
            Wanted::Trace(trace) => self.whole(Of::Trace, &trace.to_string()),
            Wanted::Call(call) => {
                let found = self.calls_with("call_id", &call.to_string())?;
                match found.first().and_then(|it| it.trace_id) {
                    Some(trace) => self.whole(Of::Trace, &trace.to_string()),
                    None => Ok(None),
                }
            }
            Wanted::Session(name) => self.whole(Of::Session, name),
            Wanted::Task(name) => self.whole(Of::Task, name),
            Wanted::Named(name) => match self.whole(Of::Session, name)? {
                None => self.whole(Of::Task, name),
                found => Ok(found),
            },
        }
    }

    /// All spans of something, sent and derived.
    fn whole(&self, of: Of, id: &str) -> Result<Option<Trace>, QueryError> {
        let with = Filter::exactly(Kind::Spans, of.column(), id);
        let query = Query::latest(self.spans.clone().and(with), TRACE_SPANS_MAX + 1);
        let stored: Vec<Row> = self.segments.rows(query).collect::<Result<_, _>>()?;
        let mut batch = Batch::new(Kind::Spans);
        stored.iter().rev().for_each(|it| batch.put_row(it));
        let mut calls = self.calls_with(of.column(), id)?;
        if of == Of::Task {
            // Its subtasks are parts of it.
            calls.extend(self.calls_with("root_task", id)?);
        }
        calls.extend(self.calls_by_request(&batch)?);
        let mut known = HashSet::new();
        for call in calls.iter().filter(|it| known.insert(it.id)) {
            put_spans(&mut batch, call);
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let cut = batch.rows() > TRACE_SPANS_MAX;
        let mut rows: Vec<Row> = (0..batch.rows()).map(|it| batch.take(it)).collect();
        rows.sort_by_key(|it| it.integer(AT));
        rows.truncate(TRACE_SPANS_MAX);
        let named = |it| (of == it).then(|| id.to_owned());
        Ok(Some(Trace {
            trace_id: named(Of::Trace),
            session: named(Of::Session),
            task: named(Of::Task),
            spans: rows.iter().map(object).collect(),
            cut,
        }))
    }

    fn calls_with(&self, column: &str, value: &str) -> Result<Vec<CallRecord>, QueryError> {
        self.calls_of(Filter::exactly(Kind::Calls, column, value))
    }

    /// Calls whose caller did not say of which trace they are part, but whose id at the provider is named
    /// by a span of it: they are shown as parts of that.
    fn calls_by_request(&self, batch: &Batch) -> Result<Vec<CallRecord>, QueryError> {
        let rows = 0..batch.rows();
        let requests = rows.filter_map(|it| {
            let span = batch.integer(spans::SPAN, it)?;
            Some((batch.text(spans::REQUEST, it)?, span))
        });
        let requests: BTreeMap<&str, i64> = requests.collect();
        let is = |it: &&str| Filter::exactly(Kind::Calls, "request_id", it);
        let some = requests.keys().take(TRACE_REQUESTS_MAX).map(is);
        let Some(filter) = some.reduce(Filter::or) else {
            return Ok(Vec::new());
        };
        let mut calls = self.calls_of(filter)?;
        for call in &mut calls {
            let request = call.request_id.as_deref();
            let span = request.and_then(|it| requests.get(it));
            let span = span.map(|it| SpanId::from_random(it.cast_unsigned()));
            call.parent_span_id = call.parent_span_id.or(span);
        }
        Ok(calls)
    }

    fn calls_of(&self, with: Filter) -> Result<Vec<CallRecord>, QueryError> {
        let query = Query::latest(self.calls.clone().and(with), TRACE_SPANS_MAX);
        let mut found = Vec::new();
        for row in self.segments.rows(query) {
            found.extend(row?.text(calls::ATTRIBUTES).and_then(call_of));
        }
        Ok(found)
    }
}
