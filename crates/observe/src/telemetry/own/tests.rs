use std::sync::Arc;

use tidegate_types::{CallId, NanoUsd, Timestamp, Tokens, Usage};

use super::*;
use crate::{
    calls::{CallRecord, Outcome},
    event::{CallRefused, CallSettled, Event as _, Stamp},
    record::{LogId, Origin},
    redact::Redactor,
    telemetry::{Batch, Kind, calls as call_columns, logs as log_columns, spans as span_columns},
    trace::TraceParent,
};

fn outcomes() -> Vec<Outcome> {
    let word: Arc<str> = "task".into();
    let limit = || Arc::clone(&word);
    vec![
        Outcome::Answered,
        Outcome::Refused { limit: limit() },
        Outcome::Invalid { code: limit() },
        Outcome::Shed { lacking: limit() },
        Outcome::ClientGone,
        Outcome::UpstreamError,
        Outcome::StreamError,
        Outcome::UpstreamUnreachable,
        Outcome::UpstreamLost,
        Outcome::Ended { limit: limit() },
        Outcome::Interrupted,
    ]
}

fn call(outcome: Outcome) -> CallRecord {
    let mut call = CallRecord::arrived(CallId::from_raw(7), Timestamp(1_000_000), "openai_chat");
    let caller = TraceParent::root(5, 9);
    call.organisation = "acme".into();
    call.user = "ann".into();
    call.session = Some("s".into());
    call.outcome = outcome;
    call.cost = NanoUsd(12);
    call.usage = Some(Usage {
        input: Tokens(3),
        cache_write_5m: Tokens(4),
        cache_write_1h: Tokens(5),
        ..Usage::default()
    });
    call.trace_id = Some(caller.trace_id);
    call.parent_span_id = Some(caller.span_id);
    call.span_id = Some(caller.child(77).span_id);
    call.phases.identify = 10;
    call.phases.wait = 200;
    call.phases.first_byte = 3_000;
    call.phases.stream = 40_000;
    call
}

fn batch(calls: &[CallRecord]) -> Batch {
    let mut batch = Batch::new(Kind::Calls);
    for it in calls {
        put_call(&mut batch, it);
    }
    batch
}

#[test]
fn a_call_is_read_back_as_it_was_put() {
    for outcome in outcomes() {
        let call = call(outcome);
        let batch = batch(std::slice::from_ref(&call));
        let whole = batch.text(call_columns::ATTRIBUTES, 0).unwrap();
        assert_eq!(call_of(whole).as_ref(), Some(&call));
        assert_eq!(batch.integer(call_columns::CACHE_WRITE, 0), Some(9));
        assert_eq!(batch.integer(call_columns::DURATION, 0), Some(43_210));
    }
}

#[test]
fn a_line_has_the_level_of_the_event_that_every_call_has() {
    let calls: Vec<CallRecord> = outcomes().into_iter().map(call).collect();
    let lines = Lines::of(Kind::Calls).unwrap().told(&batch(&calls));
    for (row, call) in calls.iter().enumerate() {
        let level = CallSettled(call).level().word();
        assert_eq!(lines.text(log_columns::LEVEL, row), Some(level));
    }
}

#[test]
fn the_phases_of_a_call_follow_each_other_within_it() {
    let call = call(Outcome::Answered);
    let mut spans = Batch::new(Kind::Spans);
    put_spans(&mut spans, &call);
    let told: Vec<String> = (0..spans.rows())
        .map(|it| {
            format!(
                "{} from {} for {}",
                spans.text(span_columns::OPERATION, it).unwrap(),
                spans.integer(span_columns::AT, it).unwrap(),
                spans.integer(span_columns::DURATION, it).unwrap(),
            )
        })
        .collect();
    expect_test::expect![[r#"
        [
            "call from 1000000 for 43210000",
            "identify from 1000000 for 10000",
            "wait from 1010000 for 200000",
            "send from 1210000 for 0",
            "first byte from 1210000 for 3000000",
            "stream from 4210000 for 40000000",
        ]
    "#]]
    .assert_debug_eq(&told);
    let parent = |it| {
        spans
            .integer(span_columns::PARENT, it)
            .map(i64::cast_unsigned)
    };
    assert_eq!(parent(0), Some(9));
    assert!((1..spans.rows()).all(|it| parent(it) == Some(77)));
    let mut again = Batch::new(Kind::Spans);
    put_spans(&mut again, &call);
    assert_eq!(again, spans, "ids are the same whenever they are derived");
    let mut untraced = call;
    untraced.trace_id = None;
    put_spans(&mut again, &untraced);
    assert_eq!(again.rows(), spans.rows());
}

#[test]
fn a_log_record_becomes_a_row_and_the_line_of_a_call_none() {
    let call = call(Outcome::Refused {
        limit: "task".into(),
    });
    let stamp = || Stamp {
        at: Timestamp(5),
        id: LogId::from_raw(1),
        origin: Arc::new(Origin {
            host: "box".to_owned(),
            process: 1,
            thread: "main".to_owned(),
            version: "0.1.0".to_owned(),
        }),
    };
    let rules = OwnLogs {
        home: "home".into(),
    };
    let mut rows = Batch::new(Kind::Logs);
    let settled = CallSettled(&call).record(stamp());
    assert!(!put_log(
        &mut rows,
        &settled.redacted(&Redactor::default()),
        &rules
    ));
    let refused = CallRefused {
        call: &call,
        limit: "task",
        reason: "no key sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA goes on",
        wait: None,
    };
    let refused = refused.record(stamp()).redacted(&Redactor::default());
    assert!(put_log(&mut rows, &refused, &rules));
    let stopped = crate::event::Stopped {
        cut_calls: 0,
        drained_ms: 1,
    };
    let stopped = stopped.record(stamp()).redacted(&Redactor::default());
    assert!(put_log(&mut rows, &stopped, &rules));
    let row = |it: usize| rows.take(it).json().to_string();
    expect_test::expect![[r#"{"attributes":{"call":"call_0000000000000007","limit":"task","reason":"no key [redacted] goes on"},"body":"a limit refused a call","component":"gateway","event":"call_refused","host":"box","level":"WARNING","organisation":"acme","phase":"reserve","process":1,"service":"tidegate","session":"s","span_id":"000000000000004d","thread":"main","time":"1970-01-01T00:00:00.000000005Z","trace_id":"00000000000000000000000000000005","user":"ann","version":"0.1.0"}"#]].assert_eq(&row(0));
    expect_test::expect![[r#"{"attributes":{"cut_calls":0,"drained_ms":1},"body":"tidegate stopped","component":"engine","event":"stopped","host":"box","level":"INFO","organisation":"home","process":1,"service":"tidegate","thread":"main","time":"1970-01-01T00:00:00.000000005Z","version":"0.1.0"}"#]].assert_eq(&row(1));
}
