//! Points of metrics, each a record of its own, with all that it says.

use tidegate_observe::{record::rfc3339_nanos, telemetry::metrics};
use tidegate_types::Timestamp;

use crate::{
    attributes::Values,
    decode::{Origin, Places, Run, set},
    limits::{EVENTS_MAX, OBJECT_BYTES_MAX},
    text::Json,
    wire::{Fields, Malformed, Value},
};

const PLACES: Places = Places {
    organisation: metrics::ORGANISATION,
    user: metrics::USER,
    component: metrics::COMPONENT,
    service: metrics::SERVICE,
    host: metrics::HOST,
    version: metrics::VERSION,
    session: metrics::SESSION,
    task: None,
    request: None,
};

/// What the points of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

impl Form {
    const fn of(field: u64) -> Option<Self> {
        Some(match field {
            5 => Self::Gauge,
            7 => Self::Sum,
            9 => Self::Histogram,
            10 => Self::Exponential,
            11 => Self::Summary,
            _ => return None,
        })
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::Exponential => "exponential_histogram",
            Self::Summary => "summary",
        }
    }

    /// The field of a point that has its attributes.
    const fn attributes(self) -> u64 {
        match self {
            Self::Exponential => 1,
            Self::Gauge | Self::Sum | Self::Summary => 7,
            Self::Histogram => 9,
        }
    }
}

/// What all points of a metric share.
#[derive(Debug)]
struct Metric {
    name: String,
    unit: String,
    form: Form,
    temporality: u64,
    monotonic: Option<bool>,
}

/// Adds the points of one metric.
pub(crate) fn read<'a>(
    run: &mut Run<'a, '_>,
    fields: Fields<'a>,
    origin: &Origin<'a>,
) -> Result<(), Malformed> {
    let (mut name, mut unit) = (String::new(), String::new());
    let mut points = None;
    let mut own = fields;
    while let Some((number, value)) = own.next()? {
        match number {
            1 => name = run.rules.name(value.text()?).into_owned(),
            3 => unit = run.rules.name(value.text()?).into_owned(),
            other => {
                if let Some(form) = Form::of(other) {
                    points = Some((form, value.message()?));
                }
            }
        }
    }
    let Some((form, points)) = points else {
        return Ok(()); // nothing was measured
    };
    let mut metric = Metric {
        name,
        unit,
        form,
        temporality: 0,
        monotonic: None,
    };
    let mut look = points;
    while let Some((number, value)) = look.next()? {
        match (number, form) {
            (2, Form::Sum | Form::Histogram | Form::Exponential) => {
                metric.temporality = value.number()?;
            }
            (3, Form::Sum) => metric.monotonic = Some(value.number()? != 0),
            _ => {}
        }
    }
    let mut each = points;
    while let Some((number, value)) = each.next()? {
        if number == 1 {
            point(run, value.message()?, &metric, origin)?;
        }
    }
    Ok(())
}

fn point<'a>(
    run: &mut Run<'a, '_>,
    fields: Fields<'a>,
    metric: &Metric,
    origin: &Origin<'a>,
) -> Result<(), Malformed> {
    if !run.has_room() {
        return Ok(());
    }
    let mut json = Json::default();
    json.raw("{");
    let (mut start, mut time) = (0, 0);
    let (start_field, time_field) = (2, 3);
    let mut own = fields;
    while let Some((number, value)) = own.next()? {
        if number == metric.form.attributes() {
            run.attributes.add(value.message()?)?;
        } else if number == start_field {
            start = value.number()?;
        } else if number == time_field {
            time = value.number()?;
        }
    }
    match metric.form {
        Form::Gauge | Form::Sum => number_point(fields, &mut json)?,
        Form::Histogram => histogram_point(fields, &mut json)?,
        Form::Exponential => exponential_point(fields, &mut json)?,
        Form::Summary => summary_point(fields, &mut json)?,
    }
    exemplars(run, fields, metric.form, &mut json)?;
    json.raw("}");
    run.finish(origin, 0)?;
    let known = &run.attributes.known;
    let at = [time, start].into_iter().find(|it| *it != 0);
    let mut row = run.batch.row(at.map_or(run.now, Timestamp));
    PLACES.fill(&mut row, run.from, known, origin);
    set(&mut row, metrics::METRIC, &metric.name);
    set(&mut row, metrics::UNIT, &metric.unit);
    row.text(metrics::FORM, metric.form.word());
    set(
        &mut row,
        metrics::TEMPORALITY,
        temporality(metric.temporality),
    );
    if let Some(monotonic) = metric.monotonic {
        row.integer(metrics::MONOTONIC, i64::from(monotonic));
    }
    if let Some(start) = i64::try_from(start).ok().filter(|it| *it != 0) {
        row.integer(metrics::START, start);
    }
    row.text(metrics::POINT, json.as_str());
    set(&mut row, metrics::ATTRIBUTES, run.object.as_str());
    Ok(())
}

const fn temporality(code: u64) -> &'static str {
    match code {
        1 => "delta",
        2 => "cumulative",
        _ => "",
    }
}

fn number_point(mut fields: Fields<'_>, json: &mut Json) -> Result<(), Malformed> {
    while let Some((number, value)) = fields.next()? {
        match number {
            4 => {
                json.name("value");
                json.double(value.double()?);
            }
            6 => {
                json.name("value");
                json.integer(value.number()?.cast_signed());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Numbers of eight bytes, packed or one by one.
fn numbers(into: &mut Vec<u64>, value: Value<'_>) -> Result<(), Malformed> {
    match value {
        Value::Bytes(packed) => into.extend(Fields(packed).fixed64s()),
        one => into.push(one.number()?),
    }
    Ok(())
}

/// Numbers of any length, packed or one by one.
fn varints(into: &mut Vec<u64>, value: Value<'_>) -> Result<(), Malformed> {
    match value {
        Value::Bytes(packed) => {
            let mut packed = Fields(packed);
            while !packed.0.is_empty() {
                into.push(packed.varint()?);
            }
        }
        one => into.push(one.number()?),
    }
    Ok(())
}

/// A list of numbers, unless it has none, of as many as there is room for.
fn list(json: &mut Json, name: &str, them: &[u64], write: impl Fn(&mut Json, u64)) {
    if them.is_empty() {
        return;
    }
    json.name(name);
    json.raw("[");
    for it in them {
        if json.len() > OBJECT_BYTES_MAX {
            break;
        }
        json.comma();
        write(json, *it);
    }
    json.raw("]");
}

fn double(json: &mut Json, bits: u64) {
    json.double(f64::from_bits(bits));
}

fn histogram_point(mut fields: Fields<'_>, json: &mut Json) -> Result<(), Malformed> {
    let (mut counts, mut bounds) = (Vec::new(), Vec::new());
    while let Some((number, value)) = fields.next()? {
        match number {
            4 => count(json, "count", value)?,
            5 => fraction(json, "sum", value)?,
            6 => numbers(&mut counts, value)?,
            7 => numbers(&mut bounds, value)?,
            11 => fraction(json, "min", value)?,
            12 => fraction(json, "max", value)?,
            _ => {}
        }
    }
    list(json, "bounds", &bounds, double);
    list(json, "counts", &counts, Json::unsigned);
    Ok(())
}

fn exponential_point(mut fields: Fields<'_>, json: &mut Json) -> Result<(), Malformed> {
    while let Some((number, value)) = fields.next()? {
        match number {
            4 => count(json, "count", value)?,
            5 => fraction(json, "sum", value)?,
            6 => {
                json.name("scale");
                json.integer(zigzag(value.number()?));
            }
            7 => count(json, "zero_count", value)?,
            8 => buckets(json, "positive", value.message()?)?,
            9 => buckets(json, "negative", value.message()?)?,
            12 => fraction(json, "min", value)?,
            13 => fraction(json, "max", value)?,
            14 => fraction(json, "zero_threshold", value)?,
            _ => {}
        }
    }
    Ok(())
}

fn buckets(json: &mut Json, name: &str, mut fields: Fields<'_>) -> Result<(), Malformed> {
    let (mut offset, mut counts) = (0, Vec::new());
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => offset = zigzag(value.number()?),
            2 => varints(&mut counts, value)?,
            _ => {}
        }
    }
    if !counts.is_empty() {
        json.name(name);
        json.raw("{");
        json.name("offset");
        json.integer(offset);
        list(json, "counts", &counts, Json::unsigned);
        json.raw("}");
    }
    Ok(())
}

fn summary_point(mut fields: Fields<'_>, json: &mut Json) -> Result<(), Malformed> {
    let mut quantiles = Vec::new();
    while let Some((number, value)) = fields.next()? {
        match number {
            4 => count(json, "count", value)?,
            5 => fraction(json, "sum", value)?,
            6 => quantiles.push(value.message()?),
            _ => {}
        }
    }
    if quantiles.is_empty() {
        return Ok(());
    }
    json.name("quantiles");
    json.raw("[");
    for mut it in quantiles.into_iter().take(EVENTS_MAX) {
        json.comma();
        json.raw("{");
        while let Some((number, value)) = it.next()? {
            match number {
                1 => fraction(json, "quantile", value)?,
                2 => fraction(json, "value", value)?,
                _ => {}
            }
        }
        json.raw("}");
    }
    json.raw("]");
    Ok(())
}

/// Single measurements that a point keeps as examples, with their traces.
fn exemplars(
    run: &mut Run<'_, '_>,
    mut fields: Fields<'_>,
    form: Form,
    json: &mut Json,
) -> Result<(), Malformed> {
    let field = match form {
        Form::Gauge | Form::Sum => 5,
        Form::Histogram => 8,
        Form::Exponential => 11,
        Form::Summary => return Ok(()),
    };
    let mut opened = false;
    while let Some((number, value)) = fields.next()? {
        if number != field {
            continue;
        }
        if json.len() > OBJECT_BYTES_MAX / 2 {
            run.attributes.cut.values += 1;
            continue;
        }
        if !opened {
            json.name("exemplars");
            json.raw("[");
            opened = true;
        }
        exemplar(run, value.message()?, json)?;
    }
    if opened {
        json.raw("]");
    }
    Ok(())
}

fn exemplar(run: &mut Run<'_, '_>, fields: Fields<'_>, json: &mut Json) -> Result<(), Malformed> {
    json.comma();
    json.raw("{");
    let mut own = fields;
    while let Some((number, value)) = own.next()? {
        match number {
            2 => {
                json.name("time");
                json.text(&rfc3339_nanos(Timestamp(value.number()?)), usize::MAX);
            }
            3 => fraction(json, "value", value)?,
            6 => {
                json.name("value");
                json.integer(value.number()?.cast_signed());
            }
            4 | 5 if value.bytes()?.len() <= 16 => {
                json.name(if number == 4 { "span_id" } else { "trace_id" });
                json.hex(value.bytes()?);
            }
            7 => Values::new(run.rules, &mut *run.attributes.cut, json)
                .attribute(value.message()?)?,
            _ => {}
        }
    }
    json.raw("}");
    Ok(())
}

fn count(json: &mut Json, name: &str, value: Value<'_>) -> Result<(), Malformed> {
    json.name(name);
    json.unsigned(value.number()?);
    Ok(())
}

fn fraction(json: &mut Json, name: &str, value: Value<'_>) -> Result<(), Malformed> {
    json.name(name);
    json.double(value.double()?);
    Ok(())
}

const fn zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}
