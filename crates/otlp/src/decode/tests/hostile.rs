//! What is sent to do harm.

use super::*;

/// Every text that is JSON can be read, and none was cut by the store.
fn is_whole(decoded: &Decoded) {
    for row in 0..decoded.batch.rows() {
        for (place, column) in decoded.batch.schema().columns.iter().enumerate() {
            let Some(text) = decoded.batch.text(place, row) else {
                continue;
            };
            if matches!(column.name, "attributes" | "events" | "links" | "point") {
                let read: Result<Json, _> = serde_json::from_str(text);
                assert!(read.is_ok(), "{}: {text}", column.name);
            }
            if column.holds == ColumnType::Word {
                assert!(text.chars().count() <= 200, "{}: {text}", column.name);
            }
        }
    }
}

#[test]
fn what_is_too_many_too_long_or_too_deep_is_left_out_and_counted() {
    let many: Vec<String> = (0..300)
        .map(|it| format!(r#"{{"key":"k{it}","value":{{"intValue":1}}}}"#))
        .collect();
    let decoded = read(
        Signal::Logs,
        &logs("x", &format!(r#"{{"attributes":[{}]}}"#, many.join(","))),
    );
    is_whole(&decoded);
    let kept = &decoded.batch.take(0).json()["attributes"];
    assert_eq!(kept["dropped_attributes"], 300 - ATTRIBUTES_MAX);
    assert_eq!(decoded.cut.values, 300 - ATTRIBUTES_MAX as u64);

    let long = "\\u0001".repeat(100_000);
    let texts: Vec<String> = (0..100)
        .map(|it| format!(r#"{{"key":"k{it}","value":{{"stringValue":"{long}"}}}}"#))
        .collect();
    let text = format!(
        r#"{{"attributes":[{}],"body":{{"stringValue":"{long}"}}}}"#,
        texts.join(",")
    );
    let decoded = read(Signal::Logs, &logs("x", &text));
    is_whole(&decoded);
    assert!(decoded.batch.bytes() < 200_000, "{}", decoded.batch.bytes());

    let deep = (0..25).fold(r#"{"intValue":1}"#.to_owned(), |it, _| {
        format!(r#"{{"arrayValue":{{"values":[{it}]}}}}"#)
    });
    let decoded = read(
        Signal::Logs,
        &logs(
            "x",
            &format!(r#"{{"body":{deep},"attributes":[{{"key":"d","value":{deep}}}]}}"#),
        ),
    );
    is_whole(&decoded);
    assert_eq!(decoded.cut.values, 2);
}

#[test]
fn a_small_request_can_not_become_a_large_batch() {
    use crate::wire::{close, open, put_bytes};
    // A resource and a scope with long texts, repeated by a hundred thousand empty records.
    let mut out = Vec::new();
    let resource_logs = open(&mut out, 1);
    let resource = open(&mut out, 1);
    for key in ["service.name", "session.id", "a", "b", "c"] {
        let attribute = open(&mut out, 1);
        put_bytes(&mut out, 1, key.as_bytes());
        let value = open(&mut out, 2);
        put_bytes(&mut out, 1, "ü".repeat(10_000).as_bytes());
        close(&mut out, value);
        close(&mut out, attribute);
    }
    close(&mut out, resource);
    let scope_logs = open(&mut out, 2);
    for _ in 0..100_000 {
        put_bytes(&mut out, 2, b"");
    }
    close(&mut out, scope_logs);
    close(&mut out, resource_logs);
    let decoded = decode(Signal::Logs, &out, &sender(), &Rules::default(), NOW).unwrap();
    is_whole(&decoded);
    assert!(decoded.batch.bytes() < BATCH_BYTES_MAX + (1 << 20));
    assert_eq!(
        decoded.batch.rows() as u64 + decoded.rejected.beyond,
        100_000
    );
    assert!(decoded.batch.rows() <= RECORDS_MAX);
    assert!(decoded.rejected.reason().contains("send smaller batches"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_refused_or_read(bytes: Vec<u8>, signal in 0usize..3) {
        let signal = [Signal::Logs, Signal::Traces, Signal::Metrics][signal];
        if let Ok(decoded) = decode(signal, &bytes, &sender(), &Rules::default(), NOW) {
            is_whole(&decoded);
        }
    }

    #[test]
    fn a_message_with_bytes_changed_is_refused_or_read(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        signal in 0usize..3,
    ) {
        let (signal, text) = [
            (Signal::Logs, r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"a","value":{"stringValue":"b"}}]},"scopeLogs":[{"scope":{"name":"s"},"logRecords":[{"timeUnixNano":"5","body":{"kvlistValue":{"values":[{"key":"k","value":{"arrayValue":{"values":[{"doubleValue":1}]}}}]}},"traceId":"5b8efff798038103d269b633813fc60c"}]}]}]}"#),
            (Signal::Traces, r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","traceState":"ot=th:8","events":[{"name":"e","attributes":[{"key":"a","value":{"bytesValue":"AAAA"}}]}],"links":[{"traceId":"5b8efff798038103d269b633813fc60c"}],"status":{"code":1}}]}]}]}"#),
            (Signal::Metrics, r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"n","histogram":{"dataPoints":[{"bucketCounts":[1,2],"explicitBounds":[1],"exemplars":[{"asInt":1,"traceId":"5b8efff798038103d269b633813fc60c"}]}]}},{"exponentialHistogram":{"dataPoints":[{"positive":{"bucketCounts":[3]}}]}},{"summary":{"dataPoints":[{"quantileValues":[{"quantile":1}]}]}}]}]}]}"#),
        ][signal];
        let mut bytes = to_protobuf(signal, text.as_bytes()).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(decoded) = decode(signal, &bytes, &sender(), &Rules::default(), NOW) {
            is_whole(&decoded);
        }
    }
}
