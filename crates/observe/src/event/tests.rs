use expect_test::expect;
use tidegate_types::{CallId, NanoUsd, ReservationId, Tokens, Usage};

use super::*;
use crate::{
    calls::{CallRecord, Outcome, WouldWait},
    redact::Redactor,
};

fn stamp() -> Stamp {
    Stamp {
        at: Timestamp::from_seconds(1_795_255_200),
        id: LogId::from_raw(1),
        origin: Arc::new(Origin {
            host: "box".to_owned(),
            process: 1,
            thread: "main".to_owned(),
            version: "0.1.0".to_owned(),
        }),
    }
}

#[test]
fn events_are_named_once_in_snake_case_and_told_in_one_sentence() {
    let mut names = Vec::new();
    for (name, component, message) in CATALOGUE {
        let snake = |it: u8| it.is_ascii_lowercase() || it == b'_';
        assert!(name.bytes().all(snake), "{name}");
        assert!(
            component.bytes().all(|it| it.is_ascii_lowercase()),
            "{component}"
        );
        assert!(
            !message.ends_with('.') && message.contains(' '),
            "{message}"
        );
        assert!(
            message.starts_with(|it: char| it.is_ascii_lowercase()),
            "{message}"
        );
        names.push(name);
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "an event's name is used twice");
}

#[test]
fn a_settled_call_is_told_and_counted_from_one_record() {
    let mut call = CallRecord::arrived(CallId::from_raw(1), Timestamp(0), "anthropic_messages");
    call.organisation = "acme".into();
    call.user = "ada".into();
    call.platform = "sonnet".into();
    call.tried = vec!["claude_code".into()];
    call.model_sent = "claude-sonnet-5-5".into();
    call.status = 200;
    call.outcome = Outcome::Answered;
    call.usage = Some(Usage {
        input: Tokens(10),
        cache_read: Tokens(500),
        output: Tokens(7),
        ..Usage::default()
    });
    call.cost = NanoUsd(6_488_000);
    call.phases.reserve = 3;
    call.phases.first_byte = 2_000;
    call.would_refuse = vec!["task".into()];
    call.would_wait = Some(WouldWait {
        limit: "sonnet.units".into(),
        wait_ms: 5,
    });
    let event = CallSettled(&call);
    expect!["2026-11-21T10:00:00Z INFO     gateway   call settled  call=call_0000000000000001  outcome=answered  status=200  platform=sonnet  model=claude-sonnet-5-5  cost=$0.006488  estimated=false  input_tokens=510  output_tokens=7  added_us=3  total_us=2003  user=ada"]
        .assert_eq(&event.record(stamp()).people_line(&Redactor::default()));

    let registry = Registry::new();
    event.count(&registry);
    let text = registry.expose();
    let counted: Vec<&str> = text
        .lines()
        .filter(|it| !it.starts_with('#') && !it.contains("_bucket{") && !it.ends_with(" 0"))
        .collect();
    expect![[r#"
        tidegate_gateway_ended_calls_total{dialect="anthropic_messages",platform="sonnet",outcome="answered"} 1
        tidegate_gateway_would_refuse_calls_total{limit="task"} 1
        tidegate_gateway_would_wait_calls_total{limit="sonnet.units"} 1
        tidegate_gateway_fallback_calls_total{from="claude_code",to="sonnet"} 1
        tidegate_gateway_used_tokens_total{platform="sonnet",model="claude-sonnet-5-5",class="cache_read"} 500
        tidegate_gateway_used_tokens_total{platform="sonnet",model="claude-sonnet-5-5",class="input"} 10
        tidegate_gateway_used_tokens_total{platform="sonnet",model="claude-sonnet-5-5",class="output"} 7
        tidegate_gateway_first_byte_seconds_sum{platform="sonnet"} 0.002
        tidegate_gateway_first_byte_seconds_count{platform="sonnet"} 1
        tidegate_gateway_call_duration_seconds_sum{platform="sonnet",outcome="answered"} 0.002003
        tidegate_gateway_call_duration_seconds_count{platform="sonnet",outcome="answered"} 1
        tidegate_gateway_added_time_seconds_sum 0.000003
        tidegate_gateway_added_time_seconds_count 1
        tidegate_ledger_spent_dollars_total{organisation="acme",service="llm",platform="sonnet"} 0.006488"#]]
    .assert_eq(&counted.join("\n"));
}

#[test]
fn a_refusal_names_the_limit_and_the_wait() {
    let call = CallRecord::arrived(CallId::from_raw(1), Timestamp(0), "openai_chat");
    let event = CallRefused {
        call: &call,
        limit: "user_day",
        reason: "20 $ a day are spent",
        wait: Some(std::time::Duration::from_millis(90_500)),
    };
    let registry = Registry::new();
    event.count(&registry);
    assert_eq!(registry.refused_calls.with(["user_day"]).value(), 1);
    expect![[r#"2026-11-21T10:00:00Z WARNING  gateway   a limit refused a call  call=call_0000000000000001  limit=user_day  reason="20 $ a day are spent"  wait_seconds=90.500  user="""#]]
        .assert_eq(&event.record(stamp()).people_line(&Redactor::default()));
}

#[test]
fn events_of_the_ledger_count_money_and_reservations() {
    let registry = Registry::new();
    let reservation = ReservationId::from_raw(4);
    let overrun = Overrun {
        reservation,
        platform: "sonnet",
        held: NanoUsd(100),
        overrun: NanoUsd(25),
        cause: "server_tools",
    };
    overrun.count(&registry);
    for by in ["usage", "expiry", "operator"] {
        let settled = UnknownSettled {
            reservation,
            cost: NanoUsd(5),
            by,
        };
        settled.count(&registry);
    }
    let cells = &registry.overrun_dollars;
    assert_eq!(cells.with(["sonnet", "server_tools"]).value(), 25);
    assert_eq!(registry.expired_reservations.with([]).value(), 1);
    for to in [3, 12] {
        let corrected = EstimateCorrected {
            reservation,
            organisation: "acme",
            service: "llm",
            from: NanoUsd(5),
            to: NanoUsd(to),
        };
        corrected.count(&registry);
    }
    let moved = |it| registry.corrected_dollars.with(["acme", "llm", it]).value();
    assert_eq!((moved("down"), moved("up")), (2, 7));
}
