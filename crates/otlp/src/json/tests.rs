use expect_test::expect;

use super::*;

fn both(one: &str, other: &str) {
    let one = to_protobuf(Signal::Logs, one.as_bytes()).unwrap();
    let other = to_protobuf(Signal::Logs, other.as_bytes()).unwrap();
    assert!(!one.is_empty());
    assert_eq!(one, other);
}

fn record(members: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{members}}}]}}]}}]}}"#)
}

#[test]
fn what_programs_write_otherwise_means_the_same() {
    for (canonical, loose) in [
        (r#""timeUnixNano":"12""#, r#""timeUnixNano":12"#),
        (r#""timeUnixNano":"12""#, r#""time_unix_nano":"12""#),
        (r#""timeUnixNano":"12""#, r#""timeUnixNano":1.2e1"#),
        (r#""severityNumber":9"#, r#""severityNumber":"9""#),
        (
            r#""severityNumber":9"#,
            r#""severityNumber":"SEVERITY_NUMBER_INFO""#,
        ),
        (r#""severityNumber":12"#, r#""severityNumber":"info4""#),
        (r#""body":{"intValue":"-12"}"#, r#""body":{"intValue":-12}"#),
        (r#""body":{"intValue":"12"}"#, r#""body":12"#),
        (r#""body":{"stringValue":"x"}"#, r#""body":"x""#),
        (
            r#""body":{"stringValue":"8"}"#,
            r#""body":{"stringValue":8}"#,
        ),
        (
            r#""body":{"boolValue":true}"#,
            r#""body":{"boolValue":"true"}"#,
        ),
        (
            r#""body":{"doubleValue":2}"#,
            r#""body":{"doubleValue":"2.0"}"#,
        ),
        (
            r#""traceId":"5b8efff798038103d269b633813fc60c""#,
            r#""traceId":"W47/95gDgQPSabYzgT/GDA==""#,
        ),
        (
            r#""traceId":"5b8efff798038103d269b633813fc60c""#,
            r#""traceId":"5B8EFFF798038103D269B633813FC60C""#,
        ),
        (
            r#""severityText":"x""#,
            r#""severityText":"x","novel":{"a":[{}]}"#,
        ),
        (r#""severityText":"x""#, r#""severityText":"x","body":null"#),
        (
            r#""attributes":[{"key":"a","value":{"intValue":1}}]"#,
            r#""attributes":{"key":"a","value":{"intValue":1}}"#,
        ),
    ] {
        both(&record(canonical), &record(loose));
    }
}

#[test]
fn what_can_not_be_meant_is_refused_with_its_place() {
    let mut told = String::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_value = format!(
        "{}1{}",
        r#"{"arrayValue":{"values":["#.repeat(60),
        "]}}".repeat(60)
    );
    for text in [
        "",
        "[]",
        "{",
        r#"{"resourceLogs":1}"#,
        &record(r#""timeUnixNano":"soon""#),
        &record(r#""timeUnixNano":1.5"#),
        &record(r#""severityNumber":"LOUD""#),
        &record(r#""traceId":"zz""#),
        &record(r#""attributes":[[{}]]"#),
        &record(&format!(r#""body":{deep}"#)),
        &record(&format!(r#""body":{deep_value}"#)),
    ] {
        let error = to_protobuf(Signal::Logs, text.as_bytes()).unwrap_err();
        told.extend([&*error.to_string(), "\n"]);
    }
    expect![[r#"
        not OTLP in JSON: EOF while parsing a value at line 1 column 0
        not OTLP in JSON: invalid type: sequence, expected an object with `resourceLogs` at line 1 column 2
        not OTLP in JSON: EOF while parsing an object at line 1 column 1
        not OTLP in JSON: invalid type: integer `1`, expected an object with `resource`, `scopeLogs`, `schemaUrl` at line 1 column 17
        not OTLP in JSON: invalid value: string "soon", expected a whole number for `timeUnixNano` at line 1 column 68
        not OTLP in JSON: invalid value: floating point `1.5`, expected a whole number for `timeUnixNano` at line 1 column 65
        not OTLP in JSON: invalid value: string "LOUD", expected a number or one of ["UNSPECIFIED", "TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG", "DEBUG2", "DEBUG3", "DEBUG4", "INFO", "INFO2", "INFO3", "INFO4", "WARN", "WARN2", "WARN3", "WARN4", "ERROR", "ERROR2", "ERROR3", "ERROR4", "FATAL", "FATAL2", "FATAL3", "FATAL4"] for `severityNumber` at line 1 column 70
        not OTLP in JSON: invalid value: string "zz", expected hexadecimal digits for `traceId` at line 1 column 61
        not OTLP in JSON: invalid type: sequence, expected an object with `key`, `value` at line 1 column 62
        not OTLP in JSON: invalid type: sequence, expected an object with `stringValue`, `boolValue`, `intValue`, `doubleValue`, `arrayValue`, `kvlistValue`, `bytesValue` at line 1 column 56
        not OTLP in JSON: recursion limit exceeded at line 1 column 1055
    "#]]
    .assert_eq(&told);
}

#[test]
fn every_message_has_each_name_and_number_once() {
    let mut seen: Vec<*const Message> = Vec::new();
    let mut left = vec![&LOGS_REQUEST, &TRACE_REQUEST, &METRICS_REQUEST];
    while let Some(message) = left.pop() {
        if seen.contains(&std::ptr::from_ref(message)) {
            continue;
        }
        seen.push(message);
        for (place, (name, number, holds)) in message.iter().enumerate() {
            let others = &message[place + 1..];
            assert!(
                others.iter().all(|it| it.0 != *name && it.1 != *number),
                "{name}"
            );
            if let Holds::Message(inner) = holds {
                left.push(inner);
            }
        }
    }
    assert_eq!(seen.len(), 32);
}
