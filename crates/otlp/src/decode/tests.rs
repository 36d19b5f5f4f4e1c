//! What becomes of what is sent, as the rows that are kept.

mod hostile;

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidegate_observe::telemetry::ColumnType;

use super::*;
use crate::{json::to_protobuf, limits::ATTRIBUTES_MAX};

/// 2026-11-22T10:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_341_600);

fn sender() -> Sender {
    Sender {
        organisation: "acme".into(),
        user: "ann".into(),
    }
}

fn read(signal: Signal, text: &str) -> Decoded {
    let message = to_protobuf(signal, text.as_bytes()).unwrap();
    decode(signal, &message, &sender(), &Rules::default(), NOW).unwrap()
}

fn shown(decoded: &Decoded) -> String {
    let mut out = String::new();
    for row in 0..decoded.batch.rows() {
        writeln!(out, "{:#}", decoded.batch.take(row).json()).unwrap();
    }
    let rejected = decoded.rejected.records();
    if rejected > 0 || decoded.cut != Cut::default() {
        writeln!(
            out,
            "{rejected} rejected: {}; {:?}",
            decoded.rejected.reason(),
            decoded.cut
        )
        .unwrap();
    }
    out
}

fn check(signal: Signal, text: &str, expected: Expect) {
    expected.assert_eq(&shown(&read(signal, text)));
}

fn logs(scope: &str, records: &str) -> String {
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[
            {{"key":"service.name","value":{{"stringValue":"shop"}}}},
            {{"key":"service.version","value":{{"stringValue":"1.2"}}}},
            {{"key":"host.name","value":{{"stringValue":"box"}}}},
            {{"key":"process.pid","value":{{"intValue":"7"}}}},
            {{"key":"os.type","value":{{"stringValue":"linux"}}}}]}},
          "scopeLogs":[{{"scope":{{"name":"{scope}","version":"3"}},"logRecords":[{records}]}}]}}]}}"#
    )
}

fn attributes(of: &Json) -> String {
    let members = of.as_object().unwrap();
    let value = |it: &Json| match it {
        Json::String(_) => json!({ "stringValue": it }),
        Json::Number(_) if it.is_i64() => json!({ "intValue": it }),
        Json::Number(_) => json!({ "doubleValue": it }),
        Json::Bool(_) => json!({ "boolValue": it }),
        other => other.clone(),
    };
    let list = members
        .iter()
        .map(|(key, it)| json!({ "key": key, "value": value(it) }));
    Json::Array(list.collect()).to_string()
}

#[test]
fn a_log_record_has_its_columns_and_keeps_the_rest() {
    check(
        Signal::Logs,
        &logs(
            "orders",
            r#"{"timeUnixNano":"1795341599000000000","severityNumber":13,"severityText":"Warning",
                "body":{"stringValue":"card declined"},"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
                "attributes":[{"key":"thread.name","value":{"stringValue":"main"}},{"key":"order","value":{"kvlistValue":{"values":[
                  {"key":"lines","value":{"arrayValue":{"values":[{"intValue":1},{"doubleValue":2.5},{"boolValue":true},{}]}}}]}}},
                  {"key":"raw","value":{"bytesValue":"AAEC"}}],
                "droppedAttributesCount":2,"eventName":"payment.declined"}"#,
        ),
        expect![[r#"
            {
              "attributes": {
                "dropped_attributes": 2,
                "order": {
                  "lines": [
                    1,
                    2.5,
                    true,
                    null
                  ]
                },
                "raw": "AAEC",
                "resource": {
                  "os.type": "linux"
                },
                "scope": {
                  "version": "3"
                }
              },
              "body": "card declined",
              "component": "orders",
              "event": "payment.declined",
              "host": "box",
              "level": "WARNING",
              "organisation": "acme",
              "process": 7,
              "service": "shop",
              "span_id": "eee19b7ec3c1b174",
              "thread": "main",
              "time": "2026-11-22T09:59:59.000000000Z",
              "trace_id": "5b8efff798038103d269b633813fc60c",
              "user": "ann",
              "version": "1.2"
            }
        "#]],
    );
}

#[test]
fn levels_come_from_numbers_else_from_words() {
    let mut seen = String::new();
    for (number, word) in [
        (1, ""),
        (8, "x"),
        (9, ""),
        (16, ""),
        (17, ""),
        (24, "debug"),
        (0, "WARN"),
        (0, "Fatal"),
        (0, "err"),
        (0, "notice"),
        (99, ""),
        (0, ""),
    ] {
        let text = format!(r#"{{"severityNumber":{number},"severityText":"{word}"}}"#);
        let row = read(Signal::Logs, &logs("x", &text)).batch.take(0);
        let kept = &row.json()["attributes"]["severity_text"];
        writeln!(seen, "{number} {word:?}: {} {kept}", row.json()["level"]).unwrap();
    }
    expect![[r#"
        1 "": "DEBUG" null
        8 "x": "DEBUG" null
        9 "": "INFO" null
        16 "": "WARNING" null
        17 "": "ERROR" null
        24 "debug": "CRITICAL" null
        0 "WARN": "WARNING" "WARN"
        0 "Fatal": "CRITICAL" "Fatal"
        0 "err": "ERROR" "err"
        0 "notice": "INFO" "notice"
        99 "": "INFO" null
        0 "": "INFO" null
    "#]]
    .assert_eq(&seen);
}

#[test]
fn a_record_without_a_time_has_that_of_its_observation_else_of_its_arrival() {
    let times = |members: &str| {
        let decoded = read(Signal::Logs, &logs("x", &format!("{{{members}}}")));
        decoded.batch.take(0).json()["time"].to_string()
    };
    assert_eq!(
        times(r#""observedTimeUnixNano":"1795341598000000000""#),
        "\"2026-11-22T09:59:58.000000000Z\""
    );
    assert_eq!(times(""), "\"2026-11-22T10:00:00.000000000Z\"");
}

#[test]
#[expect(clippy::too_many_lines, reason = "rows are long")]
fn an_event_of_claude_code_joins_its_call_and_keeps_no_prompt() {
    let event = json!({
        "event.name": "api_request", "session.id": "s-1", "prompt.id": "p-1", "request_id": "req_1", "user.id": "hash",
        "model": "claude-sonnet-5-5", "input_tokens": "10", "cache_read_tokens": 200, "cache_creation_tokens": 30,
        "output_tokens": 5, "cost_usd": 0.25, "duration_ms": 800, "prompt": "my secret plan", "tool_input": "rm -rf /",
    });
    let failed = json!({ "event.name": "api_error", "session.id": "s-1", "attempt": "2", "error": "overloaded" });
    let records = [event, failed].map(|it| {
        format!(
            r#"{{"body":{{"stringValue":"claude_code.event"}},"attributes":{}}}"#,
            attributes(&it)
        )
    });
    check(
        Signal::Logs,
        &logs("com.anthropic.claude_code.events", &records.join(",")),
        expect![[r#"
            {
              "attributes": {
                "cost_usd": 0.25,
                "duration_ms": 800,
                "gen_ai.request.model": "claude-sonnet-5-5",
                "gen_ai.usage.cache_creation.input_tokens": 30,
                "gen_ai.usage.cache_read.input_tokens": 200,
                "gen_ai.usage.input_tokens": 240,
                "gen_ai.usage.output_tokens": 5,
                "prompt": "[withheld]",
                "resource": {
                  "os.type": "linux"
                },
                "scope": {
                  "version": "3"
                },
                "tool_input": "[withheld]",
                "user.id": "hash"
              },
              "body": "claude_code.event",
              "component": "com.anthropic.claude_code.events",
              "event": "api_request",
              "host": "box",
              "level": "INFO",
              "organisation": "acme",
              "process": 7,
              "request_id": "req_1",
              "service": "shop",
              "session": "s-1",
              "task": "p-1",
              "time": "2026-11-22T10:00:00.000000000Z",
              "user": "ann",
              "version": "1.2"
            }
            {
              "attributes": {
                "error": "overloaded",
                "gen_ai.request.attempt": "2",
                "resource": {
                  "os.type": "linux"
                },
                "scope": {
                  "version": "3"
                }
              },
              "body": "claude_code.event",
              "component": "com.anthropic.claude_code.events",
              "event": "api_error",
              "host": "box",
              "level": "ERROR",
              "organisation": "acme",
              "process": 7,
              "service": "shop",
              "session": "s-1",
              "time": "2026-11-22T10:00:00.000000000Z",
              "user": "ann",
              "version": "1.2"
            }
            0 rejected: ; Cut { values: 0, withheld: 2 }
        "#]],
    );
}

#[test]
fn words_old_and_new_become_the_latest_ones_and_the_latest_wins() {
    let span = |of: Json| {
        let text = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","attributes":{}}}]}}]}}]}}"#,
            attributes(&of)
        );
        read(Signal::Traces, &text).batch.take(0).json()["attributes"].to_string()
    };
    let expected = r#"{"gen_ai.provider.name":"anthropic","gen_ai.request.model":"m","gen_ai.usage.cache_read.input_tokens":3,"gen_ai.usage.input_tokens":7,"gen_ai.usage.output_tokens":5}"#;
    for (provider, model, input, output, read) in [
        (
            "gen_ai.provider.name",
            "gen_ai.request.model",
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.cache_read.input_tokens",
        ),
        (
            "gen_ai.system",
            "gen_ai.request.model",
            "gen_ai.usage.prompt_tokens",
            "gen_ai.usage.completion_tokens",
            "gen_ai.usage.cache_read_input_tokens",
        ),
        (
            "llm.provider",
            "llm.model_name",
            "llm.token_count.prompt",
            "llm.token_count.completion",
            "llm.token_count.prompt_details.cache_read",
        ),
        (
            "ai.model.provider",
            "ai.model.id",
            "ai.usage.promptTokens",
            "ai.usage.completionTokens",
            "ai.usage.cachedInputTokens",
        ),
    ] {
        let of = json!({ provider: "anthropic", model: "m", input: 7, output: "5", read: 3 });
        assert_eq!(span(of), expected, "{provider}");
    }
    let of = json!({ "gen_ai.system": "old", "gen_ai.provider.name": "new" });
    assert_eq!(span(of), r#"{"gen_ai.provider.name":"new"}"#);
}

#[test]
fn a_span_has_its_events_links_status_and_weight() {
    check(
        Signal::Traces,
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"agent"}}]},"scopeSpans":[{"scope":{"name":"loop"},"spans":[
            {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"eee19b7ec3c1b173","name":"chat m","kind":3,
             "traceState":"vendor=1,ot=th:c;rv:1","startTimeUnixNano":"1795341599000000000","endTimeUnixNano":"1795341599500000000",
             "status":{"code":2,"message":"Bearer abcdefgh12345678 was refused"},
             "events":[{"timeUnixNano":"1795341599100000000","name":"exception","attributes":[{"key":"exception.type","value":{"stringValue":"E"}},{"key":"gen_ai.prompt","value":{"stringValue":"hello"}}]}],
             "links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"eee19b7ec3c1b175","attributes":[{"key":"why","value":{"stringValue":"retry"}}]}],
             "attributes":[{"key":"session.id","value":{"stringValue":"s-1"}}]},
            {"traceId":"00000000000000000000000000000000","spanId":"eee19b7ec3c1b174","name":"of no trace"},
            {"traceId":"5b8efff798038103d269b633813fc60c","name":"without an id"}]}]}]}"#,
        expect![[r#"
            {
              "component": "loop",
              "duration_ns": 500000000,
              "events": [
                {
                  "attributes": {
                    "exception.type": "E",
                    "gen_ai.prompt": "[withheld]"
                  },
                  "name": "exception",
                  "time": "2026-11-22T09:59:59.100000000Z"
                }
              ],
              "kind": "client",
              "links": [
                {
                  "attributes": {
                    "why": "retry"
                  },
                  "span_id": "eee19b7ec3c1b175",
                  "trace_id": "5b8efff798038103d269b633813fc60d"
                }
              ],
              "message": "Bearer [redacted] was refused",
              "operation": "chat m",
              "organisation": "acme",
              "parent_span_id": "eee19b7ec3c1b173",
              "service": "agent",
              "session": "s-1",
              "span_id": "eee19b7ec3c1b174",
              "status": "error",
              "time": "2026-11-22T09:59:59.000000000Z",
              "trace_id": "5b8efff798038103d269b633813fc60c",
              "user": "ann",
              "weight_milli": 4000
            }
            2 rejected: 2 have no valid id: a trace's has 16 bytes and a span's 8, not all of them zero; Cut { values: 0, withheld: 1 }
        "#]],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "rows are long")]
fn every_form_of_metric_keeps_all_its_figures() {
    check(
        Signal::Metrics,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"scope":{"name":"m"},"metrics":[
            {"name":"temperature","unit":"Cel","gauge":{"dataPoints":[{"timeUnixNano":"1795341599000000000","asDouble":21.5}]}},
            {"name":"claude_code.token.usage","unit":"tokens","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[
              {"startTimeUnixNano":"1795341590000000000","timeUnixNano":"1795341599000000000","asInt":"12","attributes":[{"key":"type","value":{"stringValue":"input"}},{"key":"session.id","value":{"stringValue":"s-1"}}]}]}},
            {"name":"latency","histogram":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[
              {"timeUnixNano":"1795341599000000000","count":"3","sum":6.5,"min":1,"max":4,"bucketCounts":["1","2"],"explicitBounds":[2.5],
               "exemplars":[{"timeUnixNano":"1795341599000000000","asDouble":4,"spanId":"eee19b7ec3c1b174","traceId":"5b8efff798038103d269b633813fc60c"}]}]}},
            {"name":"sizes","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[
              {"timeUnixNano":"1795341599000000000","count":3,"sum":9,"scale":-1,"zeroCount":1,"positive":{"offset":-2,"bucketCounts":["1","1"]}}]}},
            {"name":"ages","summary":{"dataPoints":[{"timeUnixNano":"1795341599000000000","count":2,"sum":3,"quantileValues":[{"quantile":0.5,"value":1.5}]}]}},
            {"name":"nothing"}]}]}]}"#,
        expect![[r#"
            {
              "component": "m",
              "metric": "temperature",
              "organisation": "acme",
              "point": {
                "value": 21.5
              },
              "time": "2026-11-22T09:59:59.000000000Z",
              "type": "gauge",
              "unit": "Cel",
              "user": "ann"
            }
            {
              "attributes": {
                "type": "input"
              },
              "component": "m",
              "metric": "claude_code.token.usage",
              "monotonic": true,
              "organisation": "acme",
              "point": {
                "value": 12
              },
              "session": "s-1",
              "start_time": "2026-11-22T09:59:50.000000000Z",
              "temporality": "delta",
              "time": "2026-11-22T09:59:59.000000000Z",
              "type": "sum",
              "unit": "tokens",
              "user": "ann"
            }
            {
              "component": "m",
              "metric": "latency",
              "organisation": "acme",
              "point": {
                "bounds": [
                  2.5
                ],
                "count": 3,
                "counts": [
                  1,
                  2
                ],
                "exemplars": [
                  {
                    "span_id": "eee19b7ec3c1b174",
                    "time": "2026-11-22T09:59:59.000000000Z",
                    "trace_id": "5b8efff798038103d269b633813fc60c",
                    "value": 4.0
                  }
                ],
                "max": 4.0,
                "min": 1.0,
                "sum": 6.5
              },
              "temporality": "cumulative",
              "time": "2026-11-22T09:59:59.000000000Z",
              "type": "histogram",
              "user": "ann"
            }
            {
              "component": "m",
              "metric": "sizes",
              "organisation": "acme",
              "point": {
                "count": 3,
                "positive": {
                  "counts": [
                    1,
                    1
                  ],
                  "offset": -2
                },
                "scale": -1,
                "sum": 9.0,
                "zero_count": 1
              },
              "temporality": "delta",
              "time": "2026-11-22T09:59:59.000000000Z",
              "type": "exponential_histogram",
              "user": "ann"
            }
            {
              "component": "m",
              "metric": "ages",
              "organisation": "acme",
              "point": {
                "count": 2,
                "quantiles": [
                  {
                    "quantile": 0.5,
                    "value": 1.5
                  }
                ],
                "sum": 3.0
              },
              "time": "2026-11-22T09:59:59.000000000Z",
              "type": "summary",
              "user": "ann"
            }
        "#]],
    );
}

#[test]
fn packed_and_unpacked_counts_are_the_same() {
    use crate::wire::{close, open, put_bytes, put_fixed64};
    let request = |packed: bool| {
        let mut out = Vec::new();
        let path = [1, 2, 2, 9, 1];
        let starts = path.map(|it| open(&mut out, it));
        if packed {
            let counts: Vec<u8> = [4u64, 5].iter().flat_map(|it| it.to_le_bytes()).collect();
            put_bytes(&mut out, 6, &counts);
        } else {
            put_fixed64(&mut out, 6, 4);
            put_fixed64(&mut out, 6, 5);
        }
        for start in starts.into_iter().rev() {
            close(&mut out, start);
        }
        decode(Signal::Metrics, &out, &sender(), &Rules::default(), NOW).unwrap()
    };
    assert_eq!(request(true), request(false));
    assert_eq!(
        request(true).batch.take(0).json()["point"],
        json!({ "counts": [4, 5] })
    );
}

#[test]
fn secrets_are_kept_in_no_column() {
    let key = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz";
    let said = json!({
        "session.id": key, "event.name": key, "plain": key, key: 1, "api_key": "hunter2", "db.password": "hunter2",
        "password": { "arrayValue": { "values": [{ "stringValue": "hunter2" }] } },
        "nested": { "kvlistValue": { "values": [{ "key": "client-secret", "value": { "stringValue": "hunter2" } }] } },
        "token": 5,
    });
    let text = format!(
        r#"{{"body":{{"kvlistValue":{{"values":[{{"key":"secret","value":{{"stringValue":"hunter2"}}}}]}}}},"severityText":"{key}","attributes":{}}}"#,
        attributes(&said)
    );
    let decoded = read(Signal::Logs, &logs(key, &text));
    let kept = shown(&decoded);
    assert!(
        !kept.contains("abcdefghij") && !kept.contains("hunter2"),
        "{kept}"
    );
    assert_eq!(decoded.batch.take(0).json()["attributes"]["token"], 5);
}

#[test]
fn prompts_are_kept_where_that_is_asked_for() {
    let text = logs(
        "com.anthropic.claude_code.events",
        &format!(
            r#"{{"attributes":{}}}"#,
            attributes(&json!({ "prompt": "a plan" }))
        ),
    );
    let message = to_protobuf(Signal::Logs, text.as_bytes()).unwrap();
    let kept = |content| {
        let rules = Rules {
            content,
            ..Rules::default()
        };
        let decoded = decode(Signal::Logs, &message, &sender(), &rules, NOW).unwrap();
        decoded.batch.take(0).json()["attributes"]["prompt"].clone()
    };
    assert_eq!(
        (kept(false), kept(true)),
        (json!("[withheld]"), json!("a plan"))
    );
}

#[test]
fn an_attribute_never_decides_whose_a_record_is() {
    let said =
        json!({ "organisation": "evil", "user": "root", "user.id": "root", "enduser.id": "root" });
    let row = read(
        Signal::Logs,
        &logs("x", &format!(r#"{{"attributes":{}}}"#, attributes(&said))),
    )
    .batch
    .take(0)
    .json();
    assert_eq!(
        (&row["organisation"], &row["user"]),
        (&json!("acme"), &json!("ann"))
    );
    assert_eq!(row["attributes"]["user"], "root");
}
