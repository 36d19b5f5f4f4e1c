use expect_test::expect;
use proptest::prelude::*;

use super::*;

fn record() -> LogRecord {
    LogRecord {
        at: Timestamp(1_795_255_200_123_456_789),
        id: LogId::from_raw(7),
        level: Level::Warning,
        component: "ledger".into(),
        event: "soft_limit_passed".into(),
        message: "a call passed a soft limit".into(),
        correlation: Correlation {
            organisation: None,
            task: Some("t-1".into()),
            user: Some("ada".into()),
            trace_id: Some(TraceId::from_random(10)),
            ..Correlation::default()
        },
        fields: Fields::new()
            .with("limit", "task")
            .shown("spent", "$1.20")
            .with("calls", 3)
            .maybe("wait", None::<u64>),
        context: Context {
            phase: Some("reserve".into()),
            ..Context::default()
        },
        origin: Arc::new(Origin {
            host: "box".to_owned(),
            process: 42,
            thread: "main".to_owned(),
            version: "0.1.0".to_owned(),
        }),
    }
}

#[test]
fn a_line_for_programs_has_everything_with_the_time_first() {
    expect![[r#"{"timestamp":"2026-11-21T10:00:00.123456Z","at":1795255200123456789,"id":"log_0000000000000007","level":"WARNING","component":"ledger","event":"soft_limit_passed","message":"a call passed a soft limit","task":"t-1","user":"ada","trace_id":"0000000000000000000000000000000a","fields":{"limit":"task","spent":"$1.20","calls":3},"context":{"phase":"reserve"},"origin":{"host":"box","process":42,"thread":"main","version":"0.1.0"}}"#]]
    .assert_eq(&record().json_line(&Redactor::default()));
}

#[test]
fn a_line_for_people_is_short() {
    expect!["2026-11-21T10:00:00Z WARNING  ledger    a call passed a soft limit  limit=task  spent=$1.20  calls=3  user=ada  task=t-1"]
        .assert_eq(&record().people_line(&Redactor::default()));
}

#[test]
fn a_record_is_read_back_from_its_line() {
    let line = record().json_line(&Redactor::default());
    let mut sorted = record();
    sorted.fields.0.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(serde_json::from_str::<LogRecord>(&line).unwrap(), sorted);
}

#[test]
fn secrets_are_removed_wherever_they_are() {
    let key = "sk-ant-api03-0123456789abcdef";
    let mut leaky = record();
    leaky.message = format!("refused {key}").into();
    leaky.correlation.session = Some(key.into());
    leaky.context.parent_task = Some(key.into());
    leaky.fields = Fields::new()
        .with(
            "deep",
            serde_json::json!({ "list": [key], "password": "hunter2" }),
        )
        .with("api_key", "plainword")
        .with("reason", key);
    let redactor = Redactor::default();
    for line in [leaky.json_line(&redactor), leaky.people_line(&redactor)] {
        for secret in [key, "hunter2", "plainword"] {
            assert!(!line.contains(secret), "{line}");
        }
        assert!(line.contains("refused [redacted]"), "{line}");
    }
}

#[test]
fn levels_are_read_in_any_case() {
    for level in Level::ALL {
        assert_eq!(level.word().to_lowercase().parse(), Ok(level));
    }
    let error = "loud".parse::<Level>().unwrap_err().to_string();
    expect!["`loud` is none of debug, info, warning, error, critical"].assert_eq(&error);
}

proptest! {
    /// What a client names its task cannot forge a second record.
    #[test]
    fn a_record_is_one_line(text in "(.|[\n\r\"\\\\\u{1b}]){0,40}") {
        let mut record = record();
        record.message = text.clone().into();
        record.correlation.task = Some(text.as_str().into());
        record.fields = Fields::new().with("text", text.as_str());
        for line in [record.json_line(&Redactor::default()), record.people_line(&Redactor::default())] {
            prop_assert!(!line.contains(['\n', '\r', '\u{1b}']), "{:?}", line);
        }
    }
}
