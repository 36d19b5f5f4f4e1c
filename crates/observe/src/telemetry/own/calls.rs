//! The record of a call as a row, and back.

use super::signed;
use crate::{
    calls::{CallRecord, Kept},
    telemetry::{Batch, RowWriter, calls as column},
};

/// Longer than nearly all records: writing them is to need no room twice.
const WHOLE_BYTES: usize = 2 << 10;

/// Adds the record of a call. Columns hold what calls are looked for and summed by; the whole record
/// stands beside them.
pub fn put_call(to: &mut Batch, call: &CallRecord) {
    let mut row = to.row(call.at);
    let mut id = String::new();
    let mut key = String::new();
    // Writing to a String cannot fail.
    let _infallible = std::fmt::Write::write_fmt(&mut id, format_args!("{}", call.id));
    if let Some(it) = call.key {
        let _infallible = std::fmt::Write::write_fmt(&mut key, format_args!("{it}"));
    }
    row.text(column::CALL, &id)
        .text(column::OUTCOME, call.outcome.word())
        .text(column::ORGANISATION, &call.organisation)
        .text(column::USER, &call.user)
        .text(column::KEY, &key)
        .text(column::CLASS, call.class.word())
        .text(column::PRIORITY, call.priority.word())
        .text(column::DIALECT, &call.dialect)
        .text(column::PROVIDER, &call.provider)
        .text(column::PLATFORM, &call.platform)
        .text(column::MODEL_ASKED, &call.model_asked)
        .text(column::MODEL_SENT, &call.model_sent)
        .integer(column::STREAM, call.stream.into())
        .integer(column::ESTIMATED, call.estimated.into())
        .integer(column::STATUS, call.status.into())
        .integer(column::COST, signed(call.cost.0))
        .integer(column::DURATION, signed(call.phases.total()))
        .integer(column::WAIT, signed(call.phases.wait))
        .integer(column::FIRST_BYTE, signed(call.phases.first_byte))
        .integer(column::STREAMED, signed(call.phases.stream));
    for (place, text) in [
        (column::SESSION, &call.session),
        (column::TASK, &call.task),
        (column::ROOT_TASK, &call.root_task),
        (column::PARENT_TASK, &call.parent),
        (column::TASK_TYPE, &call.task_type),
        (column::REQUEST, &call.request_id),
    ] {
        if let Some(text) = text {
            row.text(place, text);
        }
    }
    put_trace(&mut row, call);
    if let Some(usage) = call.usage {
        let written = usage
            .cache_write_5m
            .0
            .saturating_add(usage.cache_write_1h.0);
        row.integer(column::INPUT, signed(usage.input.0))
            .integer(column::OUTPUT, signed(usage.output.0))
            .integer(column::CACHE_READ, signed(usage.cache_read.0))
            .integer(column::CACHE_WRITE, signed(written));
    }
    let mut whole = Vec::with_capacity(WHOLE_BYTES);
    // Only maps with keys that are no texts fail to serialise, and a record has none.
    let _infallible = Kept(call).write(&mut whole);
    row.text(
        column::ATTRIBUTES,
        str::from_utf8(&whole).unwrap_or_default(),
    );
}

fn put_trace(row: &mut RowWriter<'_>, call: &CallRecord) {
    if let Some(trace) = call.trace_id {
        row.wide(column::TRACE, trace.bits());
    }
    if let Some(span) = call.span_id {
        row.integer(column::SPAN, span.bits().cast_signed());
    }
    if let Some(span) = call.parent_span_id {
        row.integer(column::PARENT_SPAN, span.bits().cast_signed());
    }
}

/// The record of a call out of the text that [`put_call`] has put beside its columns. `None` for one
/// that a later version wrote with words that this one does not know.
pub fn call_of(attributes: &str) -> Option<CallRecord> {
    serde_json::from_str(attributes).ok()
}
