//! The description of the API, compared with the API.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use tidegate_observe::{
    calls::{CallRecord, WouldWait},
    overspend::Overspend,
    trace::{SpanId, TraceId},
};
use tidegate_types::{CallId, Complexity, KeyId, NanoUsd, ReservationId, Timestamp, Tokens, Usage};

use super::world::{World, run};
use crate::routes::ROUTES;

fn described() -> Value {
    serde_json::from_str(crate::OPENAPI).unwrap()
}

#[test]
fn the_gate_and_the_description_know_the_same_routes() {
    let description = described();
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |it| format!("{} {path}", it.to_uppercase()))
        })
        .collect();
    let gated = ROUTES.iter().map(|it| format!("{} {}", it.method, it.path));
    assert_eq!(described, gated.collect());
}

#[test]
fn a_parameter_is_in_the_path_where_its_template_names_it() {
    let description = described();
    let mut seen = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters {
                let name = parameter["name"].as_str().unwrap();
                let is_of_path = path.contains(&format!("{{{name}}}"));
                let place = if is_of_path { "path" } else { "query" };
                assert_eq!(parameter["in"], place, "{method} {path}: {name}");
                seen += usize::from(is_of_path);
            }
        }
    }
    let named = description["paths"].as_object().unwrap().keys();
    assert!(seen >= named.filter(|it| it.contains('{')).count());
    let wait = &description["paths"]["/api/v1/admissions/{id}"]["get"]["parameters"][1];
    assert_eq!(
        (&wait["name"], &wait["required"]),
        (&"wait".into(), &false.into())
    );
}

#[test]
fn everything_the_description_refers_to_is_in_it() {
    let description = described();
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let text = description.to_string();
    let names = text.split("#/components/schemas/").skip(1);
    for name in names.map(|it| it.split('"').next().unwrap()) {
        assert!(schemas.contains_key(name), "{name}");
    }
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn the_description_is_what_the_code_makes_and_is_served() {
    // Not `assert_eq`, which would print both.
    let fresh = crate::describe() == crate::OPENAPI;
    assert!(fresh, "`cargo xtask generate` writes it anew");
    let (status, text) = run(World::new().ask("nobody", "GET", "/api/v1/openapi.json", ""));
    assert_eq!((status, text), (200, crate::OPENAPI.to_owned()));
}

/// Every field of a call, present.
fn full_record() -> CallRecord {
    let text = || Some(Arc::<str>::from("x"));
    let mut record = CallRecord::arrived(CallId::from_raw(1), Timestamp(1), "d");
    record.key = Some(KeyId::from_raw(1));
    (record.session, record.task, record.root_task) = (text(), text(), text());
    (record.parent, record.task_type, record.request_id) = (text(), text(), text());
    record.complexity = Some(Complexity::Simple);
    record.deadline = Some(tidegate_types::Timestamp(5));
    record.tried = vec!["x".into()];
    record.usage = Some(Usage::default());
    record.reservation = Some(ReservationId::from_raw(1));
    record.trace_id = Some(TraceId::from_random(1));
    (record.span_id, record.parent_span_id) =
        (Some(SpanId::from_random(1)), Some(SpanId::from_random(2)));
    (record.max_tokens_asked, record.max_tokens_sent) = (Some(Tokens(1)), Some(Tokens(1)));
    record.would_refuse = vec!["x".into()];
    record.would_wait = Some(WouldWait {
        limit: "x".into(),
        wait_ms: 1,
    });
    record.warnings = vec!["x".into()];
    record.overspend = Some(Box::new(Overspend {
        expected: NanoUsd(1),
        cost: NanoUsd(2),
        expected_usage: Usage::default(),
        shares: Vec::new(),
    }));
    record.retry_of = Some(CallId::from_raw(1));
    record
}

#[test]
fn a_call_is_described_with_the_fields_its_record_has() {
    let description = described();
    let fields = &description["components"]["schemas"]["CallFields"];
    let described: BTreeSet<&String> = fields["properties"].as_object().unwrap().keys().collect();
    let record = serde_json::to_value(full_record()).unwrap();
    let kept: BTreeSet<&String> = record.as_object().unwrap().keys().collect();
    assert_eq!(described, kept);
    let bare = CallRecord::arrived(CallId::from_raw(1), Timestamp(1), "d");
    let bare = serde_json::to_value(bare).unwrap();
    let always: BTreeSet<&str> = bare
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let required = fields["required"].as_array().unwrap().iter();
    assert_eq!(
        required
            .map(|it| it.as_str().unwrap())
            .collect::<BTreeSet<_>>(),
        always
    );
}
