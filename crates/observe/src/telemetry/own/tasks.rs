//! What becomes of tasks as rows.

use super::signed;
use crate::{
    tasks::TaskRecord,
    telemetry::{Batch, tasks as column},
};

/// Adds what became of a task. Columns hold what is looked for; the whole record stands beside them.
pub fn put_task(to: &mut Batch, record: &TaskRecord) {
    let mut row = to.row(record.at);
    row.text(column::STATE, &record.state)
        .text(column::ORGANISATION, &record.organisation)
        .text(column::USER, &record.user)
        .text(column::TASK, &record.task)
        .text(column::ROOT_TASK, &record.root)
        .integer(column::CALLS, signed(record.calls))
        .integer(column::INPUT, signed(record.input))
        .integer(column::OUTPUT, signed(record.output))
        .integer(column::COST, signed(record.cost.0));
    for (place, text) in [
        (column::PARENT_TASK, &record.parent),
        (column::TASK_TYPE, &record.task_type),
        (column::SESSION, &record.session),
        (column::BODY, &record.note),
    ] {
        if let Some(text) = text {
            row.text(place, text);
        }
    }
    if let Some(complexity) = record.complexity {
        row.text(column::COMPLEXITY, complexity.word());
    }
    if let Some(priority) = record.priority {
        row.text(column::PRIORITY, priority.word());
    }
    if let Some(started) = record.started {
        let lasts = record.at.since(started).as_micros();
        row.integer(column::DURATION, i64::try_from(lasts).unwrap_or(i64::MAX));
    }
    // Only maps with keys that are no texts fail to serialise, and a record has none.
    let whole = serde_json::to_string(record).unwrap_or_default();
    row.text(column::ATTRIBUTES, &whole);
}
