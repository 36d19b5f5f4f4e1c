//! Records as exporters write them: those of a service in one resource.

use std::collections::BTreeMap;

use serde_json::json;
use tidegate_observe::telemetry::{AT, Batch, logs};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Logs,
    LogsJson,
    Spans,
}

impl Form {
    pub(crate) fn signal(self) -> &'static str {
        match self {
            Self::Logs | Self::LogsJson => "logs",
            Self::Spans => "traces",
        }
    }

    pub(crate) fn media(self) -> &'static str {
        match self {
            Self::LogsJson => "application/json",
            Self::Logs | Self::Spans => "application/x-protobuf",
        }
    }
}

pub(crate) fn message(form: Form, batch: &Batch) -> Vec<u8> {
    let mut services: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for row in 0..batch.rows() {
        let service = batch.text(logs::SERVICE, row).unwrap();
        services.entry(service).or_default().push(row);
    }
    if form == Form::LogsJson {
        let resources = services.iter().map(|(service, rows)| {
            let records = rows.iter().map(|row| log_json(batch, *row));
            json!({
                "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
                "scopeLogs": [{ "scope": { "name": "bench" }, "logRecords": records.collect::<Vec<_>>() }],
            })
        });
        return json!({ "resourceLogs": resources.collect::<Vec<_>>() })
            .to_string()
            .into_bytes();
    }
    let mut out = Vec::new();
    for (service, rows) in services {
        let mut scope = inside(1, &text(1, "bench"));
        for row in rows {
            let record = match form {
                Form::Spans => span(batch, row),
                Form::Logs | Form::LogsJson => log(batch, row),
            };
            scope.extend(inside(2, &record));
        }
        let resource = inside(1, &inside(1, &attribute("service.name", service)));
        out.extend(inside(1, &[resource, inside(2, &scope)].concat()));
    }
    out
}

fn log(batch: &Batch, row: usize) -> Vec<u8> {
    let mut out = fixed(1, time(batch, row));
    out.extend([0x10, severity(batch, row)]);
    out.extend(inside(5, &text(1, batch.text(logs::BODY, row).unwrap())));
    let request = batch.text(logs::REQUEST, row).unwrap();
    out.extend(inside(6, &attribute("request_id", request)));
    out.extend(inside(9, &trace(batch, row)));
    out
}

fn log_json(batch: &Batch, row: usize) -> serde_json::Value {
    let hex = format!("{:032x}", u128::from_be_bytes(trace(batch, row)));
    json!({
        "timeUnixNano": time(batch, row).to_string(),
        "severityNumber": severity(batch, row),
        "body": { "stringValue": batch.text(logs::BODY, row) },
        "attributes": [{ "key": "request_id", "value": { "stringValue": batch.text(logs::REQUEST, row) } }],
        "traceId": hex,
    })
}

/// A call of a model, as the conventions describe it.
fn span(batch: &Batch, row: usize) -> Vec<u8> {
    let at = time(batch, row);
    let mut out = inside(1, &trace(batch, row));
    out.extend(inside(2, &(at | 1).to_be_bytes()));
    out.extend(inside(4, &(row as u64 + 1).to_be_bytes()));
    out.extend(text(5, "chat claude-sonnet-5-5"));
    out.extend([0x30, 3]);
    out.extend(fixed(7, at));
    out.extend(fixed(8, at + 1_500_000_000 + at % 1_000_000));
    for (key, value) in [
        ("request_id", batch.text(logs::REQUEST, row).unwrap()),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "anthropic"),
        ("gen_ai.request.model", "claude-sonnet-5-5"),
        ("server.address", "api.anthropic.com"),
        ("message", batch.text(logs::BODY, row).unwrap()),
    ] {
        out.extend(inside(9, &attribute(key, value)));
    }
    for (key, number) in [
        ("gen_ai.usage.input_tokens", at % 20_000),
        ("gen_ai.usage.output_tokens", at % 900),
    ] {
        let value = [vec![0x18], varint(number)].concat();
        out.extend(inside(9, &[text(1, key), inside(2, &value)].concat()));
    }
    out
}

fn time(batch: &Batch, row: usize) -> u64 {
    batch.integer(AT, row).unwrap().cast_unsigned()
}

fn trace(batch: &Batch, row: usize) -> [u8; 16] {
    batch.wide(logs::TRACE, row).unwrap().to_be_bytes()
}

fn severity(batch: &Batch, row: usize) -> u8 {
    match batch.text(logs::LEVEL, row).unwrap() {
        "DEBUG" => 5,
        "WARNING" => 13,
        "ERROR" => 17,
        _ => 9,
    }
}

fn attribute(key: &str, value: &str) -> Vec<u8> {
    [text(1, key), inside(2, &text(1, value))].concat()
}

fn text(field: u8, text: &str) -> Vec<u8> {
    inside(field, text.as_bytes())
}

fn inside(field: u8, bytes: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2], &*varint(bytes.len() as u64), bytes].concat()
}

fn fixed(field: u8, number: u64) -> Vec<u8> {
    [&[field << 3 | 1], &number.to_le_bytes()[..]].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
    out
}
