//! Our own log records as rows.

use std::sync::Arc;

use super::SERVICE;
use crate::{
    event::{CallSettled, Event as _},
    record::CleanRecord,
    telemetry::{Batch, logs},
};

/// How our own log records become rows.
#[derive(Clone, Debug)]
pub struct OwnLogs {
    /// Whose they are that are about nobody in particular: the organisation of those who run the
    /// gateway.
    pub home: Arc<str>,
}

/// Adds a log record. The line of a call that ended is left out: it is derived from
/// the call's record. Returns whether it was added.
pub fn put_log(to: &mut Batch, record: &CleanRecord, rules: &OwnLogs) -> bool {
    if record.event == CallSettled::NAME {
        return false;
    }
    let (about, context, origin) = (&record.correlation, &record.context, &record.origin);
    let organisation = about.organisation.as_ref().unwrap_or(&rules.home);
    let mut row = to.row(record.at);
    row.text(logs::LEVEL, record.level.word())
        .text(logs::ORGANISATION, organisation)
        .text(logs::SERVICE, SERVICE)
        .text(logs::COMPONENT, &record.component)
        .text(logs::EVENT, &record.event)
        .text(logs::HOST, &origin.host)
        .integer(logs::PROCESS, origin.process.into())
        .text(logs::THREAD, &origin.thread)
        .text(logs::VERSION, &origin.version)
        .text(logs::BODY, &record.message);
    // Without an organisation nobody knows whose user of that name it is.
    let user = about.user.as_ref().filter(|_| about.organisation.is_some());
    for (place, text) in [
        (logs::USER, user),
        (logs::TASK, about.task.as_ref()),
        (logs::SESSION, about.session.as_ref()),
        (logs::PARENT_TASK, context.parent_task.as_ref()),
    ] {
        if let Some(text) = text {
            row.text(place, text);
        }
    }
    if let Some(phase) = &context.phase {
        row.text(logs::PHASE, phase);
    }
    if let Some(trace) = about.trace_id {
        row.wide(logs::TRACE, trace.bits());
    }
    if let Some(span) = about.span_id {
        row.integer(logs::SPAN, span.bits().cast_signed());
    }
    // Only maps with keys that are no texts fail to serialise, and fields have none.
    let fields = serde_json::to_string(&record.fields).unwrap_or_default();
    if fields != "{}" {
        row.text(logs::ATTRIBUTES, &fields);
    }
    true
}
