//! Calls that ended, with every figure.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use tidegate_observe::{
    calls::{CallFilter, CallRecord, LIST_MAX},
    record::rfc3339,
};
use tidegate_types::{CallId, Timestamp};

use crate::{
    Control,
    access::{Narrowed, Visitor},
    error::Error,
    limits::CALLS_DEFAULT,
    read::{Asked, number, word},
    wire::{Call, CallMoney, CallQuery, Calls, money_text},
};

/// What an id of a call looks like.
pub(super) const CALL_ID: &str = "a call's id, call_ and 16 hexadecimal digits";

impl From<CallRecord> for Call {
    fn from(record: CallRecord) -> Self {
        Self {
            time: rfc3339(record.at),
            dollars: CallMoney {
                cost: money_text(record.cost),
                notional: money_text(record.notional),
                expected: money_text(record.expected),
                bound: money_text(record.bound),
            },
            record,
        }
    }
}

/// Calls, newest first.
#[utoipa::path(get, path = "/api/v1/calls", tag = "calls", params(CallQuery),
    responses((status = 200, body = Calls)))]
pub(crate) async fn calls(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(query): Asked<CallQuery>,
) -> Result<Json<Calls>, Error> {
    let Narrowed { organisation, user } = visitor.sight().narrow(query.organisation, query.user)?;
    let limit = number(
        "limit",
        query.limit.as_deref(),
        CALLS_DEFAULT,
        LIST_MAX as u64,
    )?;
    let before = query.before.as_deref();
    let filter = CallFilter {
        organisation,
        user,
        task: query.task.map(Into::into),
        session: query.session.map(Into::into),
        since: query
            .since
            .as_deref()
            .map(|it| time("since", it))
            .transpose()?,
        before: before.map(|it| word("before", it, CALL_ID)).transpose()?,
        limit: usize::try_from(limit).unwrap_or(LIST_MAX),
    };
    let records = control
        .waiting(move |control| {
            // Somebody who asks after a call wants to see it.
            control.engine.flush();
            let records = control.engine.calls(&filter);
            let full = |it: &Vec<_>| it.len() == filter.page();
            let records = records.map_err(|it| control.store_failed(&it))?;
            let next = records.last().map(|it| it.id).filter(|_| full(&records));
            Ok::<_, Error>((records, next))
        })
        .await?;
    let (records, next) = records?;
    Ok(Json(Calls {
        calls: records.into_iter().map(Call::from).collect(),
        next,
    }))
}

/// An RFC 3339 time, or whole seconds since 1970.
pub(super) fn time(key: &'static str, text: &str) -> Result<Timestamp, Error> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Timestamp::from_seconds(seconds));
    }
    let instant: jiff::Timestamp = word(
        key,
        text,
        "a time like 2026-07-14T12:00:00Z, or whole seconds since 1970",
    )?;
    // Before 1970 there were no calls.
    let nanos = instant.as_nanosecond().max(0);
    Ok(Timestamp(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

/// One call.
#[utoipa::path(get, path = "/api/v1/calls/{id}", tag = "calls",
    params(("id" = String, Path, description = "The call, as in `x-tidegate-call-id`")),
    responses((status = 200, body = Call)))]
pub(crate) async fn call(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Json<Call>, Error> {
    let call: CallId = word("id", &id, CALL_ID)?;
    let record = control
        .waiting(move |control| {
            control.engine.flush();
            let record = control.engine.call(call);
            record.map_err(|it| control.store_failed(&it))
        })
        .await??;
    let sight = visitor.sight();
    let seen = record.filter(|it| sight.sees(&it.organisation, Some(&it.user)));
    let seen = seen.ok_or(Error::NoSuch { what: "call", id })?;
    Ok(Json(seen.into()))
}
