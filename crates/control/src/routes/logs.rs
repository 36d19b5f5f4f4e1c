//! What was said: found, counted, followed, exported.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::{Body as ResponseBody, Bytes},
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::header;
use serde_json::{Map, Value};
use tidegate_observe::{
    record::rfc3339_seconds,
    telemetry::{Filter, Kind, Row},
};
use tidegate_segments::{Query, QueryError, Segments, Tail, Tailed};
use tidegate_types::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    calls::time,
    export::Form,
    streams::{Stepped, Steps},
};
use crate::{
    Control,
    access::{Narrowed, Visitor},
    error::{Error, NoAnswer},
    limits::{LOGS_DEFAULT, LOGS_MAX, TAIL_BEGINS_MAX},
    read::{Asked, number},
    wire::{LogBar, LogBars, LogCount, LogQuery, Logs},
};

/// The place of a log in a list.
const PLACE: &str = "a place in a list: `next` of an earlier answer";

/// The longest bar: a year.
const STEP_SECONDS_MAX: u64 = 366 * 86_400;

/// How long a tail is silent before it shows that it lives: proxies cut what is silent.
const SILENCE: Duration = Duration::from_secs(15);

impl Control {
    /// The store for telemetry, or why there is none.
    pub(super) fn segments(&self) -> Result<Arc<Segments>, Error> {
        let segments = self.telemetry.segments();
        segments.ok_or_else(|| {
            let failing = self.telemetry.condition().failing;
            let why = match failing {
                Some(_) => "nothing can be kept of what happens at this time".to_owned(),
                None => "nothing is kept of what happens (`telemetry.enabled = false`)".to_owned(),
            };
            NoAnswer::NotKept(why).into()
        })
    }

    /// Why a query has no answer.
    pub(super) fn unanswered(&self, error: &QueryError) -> Error {
        match error {
            QueryError::TooLong { .. } | QueryError::TooManyBars { .. } => {
                NoAnswer::TooMuch(error.to_string()).into()
            }
            QueryError::Unreadable(_) => self.store_failed(error),
        }
    }
}

/// What a visitor may see of a kind.
pub(super) fn sight(
    visitor: &Visitor,
    kind: Kind,
    (organisation, user): (Option<String>, Option<String>),
) -> Result<Filter, Error> {
    let Narrowed { organisation, user } = visitor.sight().narrow(organisation, user)?;
    let mut filter = Filter::all(kind);
    for (column, name) in [("organisation", organisation), ("user", user)] {
        if let Some(name) = name {
            filter = filter.and(Filter::exactly(kind, column, &name));
        }
    }
    Ok(filter)
}

/// The query for the logs that are asked for, as far as the visitor may see them.
fn query_of(visitor: &Visitor, asked: &LogQuery, limit: u64) -> Result<Query, Error> {
    let names = (asked.organisation.clone(), asked.user.clone());
    let seen = sight(visitor, Kind::Logs, names)?;
    let wanted = Filter::parse(Kind::Logs, asked.filter.as_deref().unwrap_or_default());
    let wanted = wanted.map_err(NoAnswer::from)?;
    let filter = if seen.is_all() {
        wanted
    } else {
        seen.and(wanted)
    };
    let at = |key, text: &Option<String>| text.as_deref().map(|it| time(key, it)).transpose();
    let since = at("since", &asked.since)?.unwrap_or(Timestamp(0));
    let until = at("until", &asked.until)?.unwrap_or(Timestamp(u64::MAX));
    let before = asked.before.as_deref().map(place).transpose()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Query {
        before,
        ..Query::latest(filter, limit).between(since, until)
    })
}

fn place(text: &str) -> Result<(i64, i64), Error> {
    let parts = text.split_once('.');
    let place = parts.and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
    place.ok_or_else(|| Error::Value {
        key: "before",
        value: text.chars().take(60).collect(),
        wanted: PLACE.to_owned(),
    })
}

pub(super) fn object(row: &Row) -> Map<String, Value> {
    match row.json() {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// Logs that match, newest first.
#[utoipa::path(get, path = "/api/v1/logs", tag = "telemetry", params(LogQuery),
    responses((status = 200, body = Logs)))]
pub(crate) async fn logs(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(asked): Asked<LogQuery>,
) -> Result<Json<Logs>, Error> {
    let limit = number("limit", asked.limit.as_deref(), LOGS_DEFAULT, LOGS_MAX)?;
    let query = query_of(&visitor, &asked, limit)?;
    let segments = control.segments()?;
    let found = control.waiting(move |control| {
        // Somebody who asks after something wants to see it.
        control.engine.flush();
        let mut rows = segments.rows(query);
        let found: Result<Vec<Row>, QueryError> = rows.by_ref().collect();
        let unread = rows.damaged().len() as u64;
        let found = found.map_err(|it| control.unanswered(&it))?;
        Ok::<_, Error>((found, unread))
    });
    let (found, unread) = found.await??;
    let full = found.len() as u64 == limit;
    let last = found.last().filter(|_| full);
    let next = last.map(|it| format!("{}.{}", it.at().0, it.id()));
    let logs = found.iter().map(object).collect();
    Ok(Json(Logs { logs, next, unread }))
}

/// How many logs match.
#[utoipa::path(get, path = "/api/v1/logs/count", tag = "telemetry", params(LogQuery),
    responses((status = 200, body = LogCount)))]
pub(crate) async fn count_logs(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(asked): Asked<LogQuery>,
) -> Result<Json<LogCount>, Error> {
    let query = query_of(&visitor, &asked, LOGS_DEFAULT)?;
    let segments = control.segments()?;
    let counted = control.waiting(move |control| {
        control.engine.flush();
        let counted = segments.count(&query);
        counted.map_err(|it| control.unanswered(&it))
    });
    let counted = counted.await??;
    Ok(Json(LogCount {
        count: counted.rows,
        unread: counted.damaged.len() as u64,
    }))
}

/// How many logs match in each step of time, by level.
#[utoipa::path(get, path = "/api/v1/logs/histogram", tag = "telemetry", params(LogQuery),
    responses((status = 200, body = LogBars)))]
pub(crate) async fn log_histogram(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(asked): Asked<LogQuery>,
) -> Result<Json<LogBars>, Error> {
    let step = number("step", asked.step.as_deref(), 3_600, STEP_SECONDS_MAX)?;
    if !step.is_multiple_of(60) {
        return Err(Error::Value {
            key: "step",
            value: step.to_string(),
            wanted: "a number of seconds of whole minutes: 60, 3600, …".to_owned(),
        });
    }
    let query = query_of(&visitor, &asked, LOGS_DEFAULT)?;
    let segments = control.segments()?;
    let bars = control.waiting(move |control| {
        control.engine.flush();
        let bars = segments.histogram(&query, Duration::from_secs(step));
        bars.map_err(|it| control.unanswered(&it))
    });
    let bars = bars.await??.into_iter().map(|it| LogBar {
        time: rfc3339_seconds(it.at),
        counts: it.counts,
    });
    Ok(Json(LogBars {
        step_seconds: step,
        bars: bars.collect(),
    }))
}

/// Logs that match as they come, as events.
///
/// `log` for each, first the latest that were there if `limit` asks for some; `missed` where the
/// reader was too slow, with how many batches it has missed.
#[utoipa::path(get, path = "/api/v1/logs/tail", tag = "telemetry", params(LogQuery),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(crate) async fn tail_logs(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(asked): Asked<LogQuery>,
) -> Result<Response, Error> {
    let first = match asked.limit.as_deref() {
        None | Some("0") => 0,
        some => number("limit", some, 0, TAIL_BEGINS_MAX)?,
    };
    let query = query_of(&visitor, &asked, first)?;
    let segments = control.segments()?;
    let permit = Arc::clone(&control.event_streams).try_acquire_owned();
    let permit = permit.map_err(|_full| Error::TooManyStreams)?;
    // Before those that are there are read, so that none is missed between the two.
    let tail = segments.tail(query.filter.clone());
    let before = control.waiting(move |control| {
        control.engine.flush();
        let rows: Result<Vec<Row>, QueryError> = segments.rows(query).collect();
        rows.map_err(|it| control.unanswered(&it))
    });
    let before = before.await??;
    let following = Following {
        tail,
        told: before.iter().map(Row::id).collect(),
        first: before.iter().rev().map(event).collect(),
        _until_the_end: permit,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let body = ResponseBody::new(Stepped::new(following));
    Ok((headers, body).into_response())
}

/// A reader of a tail, between two chunks.
struct Following {
    tail: Tail,
    /// Rows that it was told of before the tail began.
    told: HashSet<i64>,
    /// What it is told first.
    first: String,
    _until_the_end: OwnedSemaphorePermit,
}

impl Steps for Following {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Some((first.into(), self));
        }
        let Ok(came) = tokio::time::timeout(SILENCE, self.tail.next()).await else {
            return Some((Bytes::from_static(b": still following\n\n"), self));
        };
        let chunk = match came? {
            Tailed::Rows(rows) => {
                let new = rows.iter().filter(|it| !self.told.contains(&it.id()));
                new.map(event).collect()
            }
            Tailed::Missed(batches) => {
                format!("event: missed\ndata: {{\"batches\":{batches}}}\n\n")
            }
        };
        Some((chunk.into(), self))
    }
}

fn event(row: &Row) -> String {
    format!("event: log\ndata: {}\n\n", row.json())
}

/// Logs that match as a file, newest first: JSON lines, CSV or Parquet.
#[utoipa::path(get, path = "/api/v1/logs/export", tag = "telemetry", params(LogQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = String)))]
pub(crate) async fn export_logs(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(asked): Asked<LogQuery>,
) -> Result<Response, Error> {
    let most = tidegate_segments::QUERY_ROWS_MAX as u64;
    let limit = number("limit", asked.limit.as_deref(), most, most)?;
    let form = Form::of(asked.format.as_deref())?;
    let query = query_of(&visitor, &asked, limit)?;
    let segments = control.segments()?;
    let permit = Arc::clone(&control.exports).try_acquire_owned();
    let permit = permit.map_err(|_full| Error::from(NoAnswer::TooManyExports))?;
    control.waiting(|it| it.engine.flush()).await?;
    let (mut writer, body) = super::streams::written();
    let work = move || {
        let _until_done = permit;
        let done = form.write(Kind::Logs, segments.rows(query), &mut writer);
        if let Err(why) = done {
            writer.fail(io::Error::other(why));
        }
    };
    // Ends by itself where nobody reads.
    drop(tokio::task::spawn_blocking(work));
    let headers = [(header::CONTENT_TYPE, form.media_type())];
    Ok((headers, ResponseBody::new(body)).into_response())
}
