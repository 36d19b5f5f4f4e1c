//! Spans, with their events and links.

use std::borrow::Cow;

use tidegate_observe::{record::rfc3339_nanos, telemetry::spans};
use tidegate_types::Timestamp;

use crate::{
    attributes::Values,
    decode::{Origin, Places, Run, set, span_id, trace_id},
    limits::{ATTRIBUTES_MAX, EVENTS_MAX, NAME_CHARS_MAX, OBJECT_BYTES_MAX},
    text::Json,
    wire::{Fields, Malformed},
};

const PLACES: Places = Places {
    organisation: spans::ORGANISATION,
    user: spans::USER,
    component: spans::COMPONENT,
    service: spans::SERVICE,
    host: spans::HOST,
    version: spans::VERSION,
    session: spans::SESSION,
    task: Some(spans::TASK),
    request: Some(spans::REQUEST),
};

/// A span's own fields.
#[derive(Debug, Default)]
struct Said<'a> {
    trace: Option<u128>,
    span: Option<i64>,
    parent: Option<i64>,
    state: Cow<'a, str>,
    name: Cow<'a, str>,
    role: u64,
    start: u64,
    end: u64,
    status: u64,
    message: Cow<'a, str>,
    dropped: u64,
}

/// Adds one span.
pub(crate) fn read<'a>(
    run: &mut Run<'a, '_>,
    fields: Fields<'a>,
    origin: &Origin<'a>,
) -> Result<(), Malformed> {
    if !run.has_room() {
        return Ok(());
    }
    let mut events = Json::default();
    let mut links = Json::default();
    let said = said(run, fields, (&mut events, &mut links))?;
    let (Some(trace), Some(span)) = (said.trace, said.span) else {
        run.rejected.invalid += 1;
        return Ok(());
    };
    run.finish(origin, said.dropped)?;
    let known = &run.attributes.known;
    let message = run.rules.clean(said.message);
    let at = [said.start, said.end].into_iter().find(|it| *it != 0);
    let mut row = run.batch.row(at.map_or(run.now, Timestamp));
    row.text(spans::STATUS, status(said.status));
    PLACES.fill(&mut row, run.from, known, origin);
    set(&mut row, spans::OPERATION, &run.rules.name(said.name));
    set(&mut row, spans::ROLE, role(said.role));
    row.wide(spans::TRACE, trace);
    row.integer(spans::SPAN, span);
    if let Some(parent) = said.parent {
        row.integer(spans::PARENT, parent);
    }
    let lasted = said.end.checked_sub(said.start).filter(|_| said.start != 0);
    if let Some(lasted) = lasted.and_then(|it| i64::try_from(it).ok()) {
        row.integer(spans::DURATION, lasted);
    }
    if let Some(weight) = weight_milli(&said.state) {
        row.integer(spans::WEIGHT, weight);
    }
    set(&mut row, spans::BODY, &message);
    for (column, list) in [(spans::EVENTS, &mut events), (spans::LINKS, &mut links)] {
        if !list.is_empty() {
            list.raw("]");
            row.text(column, list.as_str());
        }
    }
    set(&mut row, spans::ATTRIBUTES, run.object.as_str());
    Ok(())
}

fn said<'a>(
    run: &mut Run<'a, '_>,
    mut fields: Fields<'a>,
    (events, links): (&mut Json, &mut Json),
) -> Result<Said<'a>, Malformed> {
    let mut said = Said::default();
    let (mut events_seen, mut links_seen) = (0, 0);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => said.trace = trace_id(value.bytes()?),
            2 => said.span = span_id(value.bytes()?),
            3 => said.state = value.text()?,
            4 => said.parent = span_id(value.bytes()?),
            5 => said.name = value.text()?,
            6 => said.role = value.number()?,
            7 => said.start = value.number()?,
            8 => said.end = value.number()?,
            9 => run.attributes.add(value.message()?)?,
            10 => said.dropped = value.number()?,
            11 => {
                events_seen += 1;
                listed(run, events, events_seen, |run, json| {
                    event(run, value.message()?, json)
                })?;
            }
            13 => {
                links_seen += 1;
                listed(run, links, links_seen, |run, json| {
                    link(run, value.message()?, json)
                })?;
            }
            15 => (said.status, said.message) = ended(value.message()?)?,
            _ => {}
        }
    }
    Ok(said)
}

/// Adds an element to a list that is not closed yet, unless it is long enough.
fn listed<'a, 'r>(
    run: &mut Run<'a, 'r>,
    list: &mut Json,
    seen: usize,
    write: impl FnOnce(&mut Run<'a, 'r>, &mut Json) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let before = list.len();
    if seen > EVENTS_MAX || before > OBJECT_BYTES_MAX {
        run.attributes.cut.values += 1;
        return Ok(());
    }
    if list.is_empty() {
        list.raw("[");
    }
    list.comma();
    write(run, list)?;
    if list.len() > OBJECT_BYTES_MAX {
        // A list of nothing stays empty.
        list.truncate(before);
        run.attributes.cut.values += 1;
    }
    Ok(())
}

fn event(run: &mut Run<'_, '_>, fields: Fields<'_>, json: &mut Json) -> Result<(), Malformed> {
    json.raw("{");
    let mut own = fields;
    while let Some((number, value)) = own.next()? {
        match number {
            1 => {
                json.name("time");
                json.text(&rfc3339_nanos(Timestamp(value.number()?)), usize::MAX);
            }
            2 => {
                let name = run.rules.name(value.text()?);
                json.name("name");
                json.text(&name, NAME_CHARS_MAX * 4);
            }
            _ => {}
        }
    }
    nested(run, fields, 3, json)?;
    json.raw("}");
    Ok(())
}

fn link(run: &mut Run<'_, '_>, fields: Fields<'_>, json: &mut Json) -> Result<(), Malformed> {
    json.raw("{");
    let mut own = fields;
    while let Some((number, value)) = own.next()? {
        let (name, bytes) = match number {
            1 => ("trace_id", 16),
            2 => ("span_id", 8),
            _ => continue,
        };
        let id = value.bytes()?;
        if id.len() == bytes {
            json.name(name);
            json.hex(id);
        }
    }
    nested(run, fields, 4, json)?;
    json.raw("}");
    Ok(())
}

/// The attributes of an event or a link, in a member of their own.
fn nested(
    run: &mut Run<'_, '_>,
    mut fields: Fields<'_>,
    field: u64,
    json: &mut Json,
) -> Result<(), Malformed> {
    let (mut some, mut opened) = (0, false);
    while let Some((number, value)) = fields.next()? {
        if number != field {
            continue;
        }
        some += 1;
        if some > ATTRIBUTES_MAX || json.len() > OBJECT_BYTES_MAX {
            run.attributes.cut.values += 1;
            continue;
        }
        if !opened {
            json.name("attributes");
            json.raw("{");
            opened = true;
        }
        Values::new(run.rules, &mut *run.attributes.cut, json).attribute(value.message()?)?;
    }
    if opened {
        json.raw("}");
    }
    Ok(())
}

/// How it ended, and why.
fn ended(mut fields: Fields<'_>) -> Result<(u64, Cow<'_, str>), Malformed> {
    let (mut code, mut message) = (0, Cow::Borrowed(""));
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => message = value.text()?,
            3 => code = value.number()?,
            _ => {}
        }
    }
    Ok((code, message))
}

const fn status(code: u64) -> &'static str {
    match code {
        1 => "ok",
        2 => "error",
        _ => "unset",
    }
}

const fn role(kind: u64) -> &'static str {
    match kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "",
    }
}

/// For how many spans one stands that was sampled, in thousandths, by the threshold in its
/// `tracestate` (`ot=th:…`); none where there is no threshold.
///
/// <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>
fn weight_milli(state: &str) -> Option<i64> {
    let ours = state
        .split(',')
        .find_map(|it| it.trim().strip_prefix("ot="))?;
    let threshold = ours.split(';').find_map(|it| it.strip_prefix("th:"))?;
    let digits = u32::try_from(threshold.len()).ok()?;
    if !(1..=14).contains(&digits) || !threshold.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    let threshold = u64::from_str_radix(threshold, 16).ok()? << (4 * (14 - digits));
    let all = 1u64 << 56;
    i64::try_from(u128::from(all) * 1000 / u128::from(all - threshold)).ok()
}

#[cfg(test)]
mod tests;
