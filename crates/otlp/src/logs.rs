//! Log records.

use std::borrow::Cow;

use tidegate_observe::telemetry::logs;
use tidegate_types::Timestamp;

use crate::{
    attributes::{Any, Values, WITHHELD},
    convention::is_content,
    decode::{Origin, Places, Run, set, span_id, trace_id},
    limits::OBJECT_BYTES_MAX,
    text::Json,
    wire::{Fields, Malformed},
};

const PLACES: Places = Places {
    organisation: logs::ORGANISATION,
    user: logs::USER,
    component: logs::COMPONENT,
    service: logs::SERVICE,
    host: logs::HOST,
    version: logs::VERSION,
    session: logs::SESSION,
    task: Some(logs::TASK),
    request: Some(logs::REQUEST),
};

/// A record's own fields.
#[derive(Debug)]
struct Said<'a> {
    time: u64,
    observed: u64,
    severity: u64,
    level: Cow<'a, str>,
    body: Any<'a>,
    event: Cow<'a, str>,
    trace: Option<u128>,
    span: Option<i64>,
    dropped: u64,
}

/// Adds one record.
pub(crate) fn read<'a>(
    run: &mut Run<'a, '_>,
    fields: Fields<'a>,
    origin: &Origin<'a>,
) -> Result<(), Malformed> {
    if !run.has_room() {
        return Ok(());
    }
    let said = said(run, fields)?;
    let level = level(&said, run.attributes.known.event.as_deref(), origin);
    if said.severity == 0 && !said.level.is_empty() && !said.level.eq_ignore_ascii_case(level) {
        run.attributes.json.name("severity_text");
        let word = run.rules.name(said.level);
        run.attributes.json.text(&word, usize::MAX);
    }
    run.finish(origin, said.dropped)?;
    let known = &run.attributes.known;
    let event = match &known.event {
        Some(event) => event,
        None => &run.rules.name(said.event),
    };
    let body = match &said.body {
        _ if is_content(event) && !run.rules.content => {
            run.attributes.cut.withheld += 1;
            Cow::Borrowed(WITHHELD)
        }
        Any::Nothing => Cow::Borrowed(""),
        Any::Text(text) => run.rules.redactor.redact(text),
        other => {
            let mut json = Json::default();
            let mut values = Values::new(run.rules, &mut *run.attributes.cut, &mut json);
            values.value(other, OBJECT_BYTES_MAX)?;
            Cow::Owned(json.as_str().to_owned())
        }
    };
    let at = [said.time, said.observed].into_iter().find(|it| *it != 0);
    let mut row = run.batch.row(at.map_or(run.now, Timestamp));
    row.text(logs::LEVEL, level);
    PLACES.fill(&mut row, run.from, known, origin);
    set(&mut row, logs::EVENT, event);
    if let Some(thread) = &known.thread {
        set(&mut row, logs::THREAD, thread);
    }
    if let Some(process) = known.process.or(origin.known.process) {
        row.integer(logs::PROCESS, process);
    }
    if let Some(trace) = said.trace {
        row.wide(logs::TRACE, trace);
    }
    if let Some(span) = said.span {
        row.integer(logs::SPAN, span);
    }
    set(&mut row, logs::BODY, &body);
    set(&mut row, logs::ATTRIBUTES, run.object.as_str());
    Ok(())
}

fn said<'a>(run: &mut Run<'a, '_>, mut fields: Fields<'a>) -> Result<Said<'a>, Malformed> {
    let mut said = Said {
        time: 0,
        observed: 0,
        severity: 0,
        level: Cow::Borrowed(""),
        body: Any::Nothing,
        event: Cow::Borrowed(""),
        trace: None,
        span: None,
        dropped: 0,
    };
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => said.time = value.number()?,
            2 => said.severity = value.number()?,
            3 => said.level = value.text()?,
            5 => said.body = Any::of(value.message()?)?,
            6 => run.attributes.add(value.message()?)?,
            7 => said.dropped = value.number()?,
            9 => said.trace = trace_id(value.bytes()?),
            10 => said.span = span_id(value.bytes()?),
            11 => said.observed = value.number()?,
            12 => said.event = value.text()?,
            _ => {}
        }
    }
    Ok(said)
}

/// One of our levels, from the number, else from the word; what says neither is `INFO`, but for
/// failures of Claude Code, which says it by the event's name alone.
fn level(said: &Said<'_>, event: Option<&str>, origin: &Origin<'_>) -> &'static str {
    match said.severity {
        1..=8 => return "DEBUG",
        9..=12 => return "INFO",
        13..=16 => return "WARNING",
        17..=20 => return "ERROR",
        21..=24 => return "CRITICAL",
        _ => {}
    }
    let is = |words: &[&str]| words.iter().any(|it| said.level.eq_ignore_ascii_case(it));
    if is(&["trace", "debug", "verbose", "fine", "finer", "finest"]) {
        "DEBUG"
    } else if is(&["warn", "warning"]) {
        "WARNING"
    } else if is(&["error", "err", "severe"]) {
        "ERROR"
    } else if is(&[
        "fatal",
        "critical",
        "crit",
        "alert",
        "emergency",
        "emerg",
        "panic",
    ]) {
        "CRITICAL"
    } else if said.level.is_empty()
        && origin.claude_code
        && event.is_some_and(|it| it.ends_with("_error") || it.ends_with("_exhausted"))
    {
        "ERROR"
    } else {
        "INFO"
    }
}
