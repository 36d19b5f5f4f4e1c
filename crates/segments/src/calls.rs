//! Records of calls, found again.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidegate_observe::{
    RecordStoreError,
    calls::{CallFilter, CallRecord, CallStore},
    telemetry::{Batch, Filter, Kind, Row, call_of, calls as column, put_call},
};
use tidegate_types::{CallId, IdSource, Timestamp};

use crate::{
    error::Refused,
    limits::RETRY_QUEUE,
    own::OwnRecords,
    query::{Query, QueryError},
    segments::{Segments, nanos},
};

/// An id says when it was given, which is when its call arrived: a record is looked for this long
/// before and after that first, since ids may run ahead and clocks be set.
const NEAR: Duration = Duration::from_hours(1);

impl OwnRecords {
    /// The store; `None` where nothing is kept by choice.
    fn readable(&self) -> Result<Option<Arc<Segments>>, RecordStoreError> {
        let segments = self.telemetry().segments();
        match (segments, self.telemetry().why_not()) {
            (None, Some(why)) => Err(unread(why)),
            (segments, _) => Ok(segments),
        }
    }
}

impl OwnRecords {
    /// Takes over records that were kept elsewhere, in the order in which they are there. Returns when
    /// they are durable. Those that are too old to be kept are left out, and those that are here
    /// already are not added again. Waits for the disk.
    ///
    /// # Errors
    /// Why they are not here.
    pub fn take_over(&self, records: &[CallRecord]) -> Result<(), RecordStoreError> {
        let failed = |it: Refused| RecordStoreError::caused_by("calls could not be moved", it);
        let segments = self.telemetry().segments();
        let segments = segments.ok_or_else(|| match self.telemetry().why_not() {
            Some(why) => failed(Refused::Unwritten(why)),
            None => failed(Refused::Closed),
        })?;
        let keep = self.telemetry().options().keep.calls;
        let now = segments.core().clock.now();
        let young: Vec<&CallRecord> = records
            .iter()
            .filter(|it| it.at.after(keep) > now)
            .collect();
        let mut batch = Batch::new(Kind::Calls);
        for it in missing(&segments, young).map_err(unread)? {
            put_call(&mut batch, it);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let mut receipt = segments.append_own(batch).map_err(failed)?;
        segments.flush();
        let word = receipt.ready().unwrap_or(Err(Refused::Busy {
            retry_after: RETRY_QUEUE,
        }));
        word.map(|_durable| ()).map_err(failed)
    }
}

/// Those that are not here. They are taken over in order, so that all are here if the first and the last
/// are, and none if the first is not; only where it broke off in between is each looked for.
fn missing<'a>(
    segments: &Segments,
    calls: Vec<&'a CallRecord>,
) -> Result<Vec<&'a CallRecord>, QueryError> {
    let is_here = |it: &CallRecord| rows_of(segments, it.id).map(|it| !it.is_empty());
    let (Some(first), Some(last)) = (calls.first(), calls.last()) else {
        return Ok(calls);
    };
    if !is_here(first)? {
        return Ok(calls);
    }
    if is_here(last)? {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    for call in calls {
        if !is_here(call)? {
            missing.push(call);
        }
    }
    Ok(missing)
}

impl CallStore for OwnRecords {
    fn append(&self, records: &[Arc<CallRecord>]) -> Result<(), RecordStoreError> {
        let mut batch = Batch::with_room(Kind::Calls, records.len());
        for record in records {
            put_call(&mut batch, record);
        }
        self.put(batch);
        Ok(())
    }

    fn flush(&self) {
        OwnRecords::flush(self);
    }

    fn get(&self, id: CallId) -> Result<Option<CallRecord>, RecordStoreError> {
        let Some(segments) = self.readable()? else {
            return Ok(None);
        };
        let found = rows_of(&segments, id).map_err(unread)?;
        Ok(found.iter().find_map(record))
    }

    fn list(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, RecordStoreError> {
        let Some(segments) = self.readable()? else {
            return Ok(Vec::new());
        };
        list(&segments, filter).map_err(unread)
    }
}

fn unread(error: impl std::error::Error + Send + Sync + 'static) -> RecordStoreError {
    RecordStoreError::caused_by("records of calls could not be read", error)
}

/// The rows of one call: one, unless it was not known whether it had been written.
fn rows_of(segments: &Segments, id: CallId) -> Result<Vec<Row>, QueryError> {
    let filter = Filter::exactly(Kind::Calls, "call_id", &id.to_string());
    let all = Query::latest(filter, usize::MAX);
    let given = IdSource::time_of(id.raw());
    let before = u64::try_from(NEAR.as_nanos()).unwrap_or(u64::MAX);
    let from = Timestamp(given.0.saturating_sub(before));
    let near = all.clone().between(from, given.after(NEAR));
    for query in [near, all] {
        let rows: Vec<Row> = segments.rows(query).collect::<Result<_, _>>()?;
        if !rows.is_empty() {
            return Ok(rows);
        }
    }
    Ok(Vec::new())
}

fn record(row: &Row) -> Option<CallRecord> {
    call_of(row.text(column::ATTRIBUTES)?)
}

fn list(segments: &Segments, wanted: &CallFilter) -> Result<Vec<CallRecord>, QueryError> {
    let mut query = Query::latest(filter_of(wanted), usize::MAX);
    query.from = wanted.since.unwrap_or(Timestamp(0));
    if let Some(before) = wanted.before {
        let place = |it: &Row| (nanos(it.at()), it.id());
        let first = rows_of(segments, before)?.iter().map(place).min();
        // One that is not there any more arrived when its id was given.
        let given = || (nanos(IdSource::time_of(before.raw())), i64::MIN);
        query.before = Some(first.unwrap_or_else(given));
    }
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for row in segments.rows(query) {
        let Some(call) = record(&row?) else {
            continue;
        };
        if seen.insert(call.id) {
            found.push(call);
        }
        if found.len() == wanted.page() {
            break;
        }
    }
    Ok(found)
}

fn filter_of(wanted: &CallFilter) -> Filter {
    let is = |column, value: &Arc<str>| Filter::exactly(Kind::Calls, column, value);
    let mut filter = Filter::all(Kind::Calls);
    for (column, value) in [
        ("organisation", &wanted.organisation),
        ("user", &wanted.user),
        ("session", &wanted.session),
    ] {
        if let Some(value) = value {
            filter = filter.and(is(column, value));
        }
    }
    match &wanted.task {
        Some(task) => filter.and(is("task", task).or(is("root_task", task))),
        None => filter,
    }
}
