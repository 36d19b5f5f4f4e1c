mod beliefs;

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use tidegate_types::Modifiers;

use super::*;
use crate::Dialect::{Anthropic, OpenAiChat, OpenAiResponses};

mod chunking;

/// Recorded streams, by name.
pub(crate) const STREAMS: &[(Dialect, &str, &str)] = &[
    (Anthropic, "text", include_str!("tests/anthropic_text.sse")),
    (
        Anthropic,
        "tools",
        include_str!("tests/anthropic_tools.sse"),
    ),
    (
        Anthropic,
        "error",
        include_str!("tests/anthropic_error.sse"),
    ),
    (OpenAiChat, "text", include_str!("tests/chat_text.sse")),
    (OpenAiChat, "tools", include_str!("tests/chat_tools.sse")),
    (OpenAiChat, "error", include_str!("tests/chat_error.sse")),
    (
        OpenAiResponses,
        "text",
        include_str!("tests/responses_text.sse"),
    ),
    (
        OpenAiResponses,
        "failed",
        include_str!("tests/responses_failed.sse"),
    ),
    (
        OpenAiResponses,
        "error",
        include_str!("tests/responses_error.sse"),
    ),
];

pub(crate) fn stream(dialect: Dialect, name: &str) -> &'static str {
    let mut streams = STREAMS.iter();
    let found = streams.find(|it| it.0 == dialect && it.1 == name);
    found.expect("a recorded stream of this name").2
}

fn meter(dialect: Dialect, streamed: bool, bytes: &[u8]) -> Metered {
    let mut meter = Meter::new(dialect, streamed);
    meter.observe(bytes);
    meter.finish()
}

/// Meters a recorded stream up to the first `cut` (to its end if there is none), and compares.
#[track_caller]
fn check(dialect: Dialect, name: &str, cut: &str, expected: Expect) {
    let whole = stream(dialect, name);
    let end = if cut.is_empty() {
        whole.len()
    } else {
        whole.find(cut).expect("the cut")
    };
    expected.assert_eq(&shown(&meter(dialect, true, &whole.as_bytes()[..end])));
}

fn shown(metered: &Metered) -> String {
    let mut shown = String::new();
    if let Some(usage) = &metered.usage {
        let end = if metered.usage_is_final {
            "final"
        } else {
            "estimated"
        };
        let input = if metered.input_is_known {
            ""
        } else {
            "unknown, "
        };
        let Usage {
            input: fresh,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            ..
        } = usage;
        writeln!(
            shown,
            "{end}: in {input}{} fresh, {} read, {} + {} written; out {}, {} of them reasoning",
            fresh.0,
            cache_read.0,
            cache_write_5m.0,
            cache_write_1h.0,
            usage.output.0,
            usage.reasoning.0
        )
        .unwrap();
        if usage.web_searches > 0 {
            writeln!(shown, "searches: {}", usage.web_searches).unwrap();
        }
        if usage.modifiers != Modifiers::default() {
            writeln!(shown, "{:?}", usage.modifiers).unwrap();
        }
        if let Some(cost) = usage.reported_cost {
            writeln!(shown, "cost: {cost}").unwrap();
        }
    }
    let Metered {
        text_bytes,
        answer_id,
        model,
        stop_reason,
        ..
    } = metered;
    let end = if metered.complete { "complete" } else { "cut" };
    let word = |it: &Option<String>| it.clone().unwrap_or_else(|| "-".to_owned());
    writeln!(
        shown,
        "{end}: {text_bytes} bytes of text, id {}, model {}, stop {}",
        word(answer_id),
        word(model),
        word(stop_reason)
    )
    .unwrap();
    if let Some(error) = &metered.error {
        writeln!(shown, "{error:?}").unwrap();
    }
    if metered.passed_over > 0 {
        let (events, bytes) = (metered.passed_over, metered.unread_bytes);
        writeln!(shown, "passed over: {events}, {bytes} bytes").unwrap();
    }
    shown
}

#[test]
fn anthropic_usage_is_the_start_s_input_and_the_last_delta_s_output() {
    check(
        Anthropic,
        "text",
        "",
        expect![[r#"
        final: in 12 fresh, 500 read, 600 + 400 written; out 7, 0 of them reasoning
        complete: 16 bytes of text, id msg_01Xk, model claude-opus-5-5, stop end_turn
    "#]],
    );
}

#[test]
fn anthropic_deltas_may_correct_the_input_and_compactions_are_added() {
    check(
        Anthropic,
        "tools",
        "",
        expect![[r#"
        final: in 7030 fresh, 140 read, 8 + 900 written; out 360, 11 of them reasoning
        searches: 1
        Modifiers { batch: false, fast: true, flex: false, regional: true }
        complete: 23 bytes of text, id msg_01Xk, model claude-opus-5-5, stop tool_use
    "#]],
    );
}

#[test]
fn an_anthropic_stream_that_dies_is_estimated_from_its_text() {
    check(
        Anthropic,
        "text",
        "event: message_delta",
        expect![[r#"
        estimated: in 12 fresh, 500 read, 600 + 400 written; out 4, 0 of them reasoning
        cut: 16 bytes of text, id msg_01Xk, model claude-opus-5-5, stop -
    "#]],
    );
}

#[test]
fn an_anthropic_stream_that_dies_in_an_event_knows_what_came_before() {
    check(
        Anthropic,
        "text",
        "\"text\":\"Hello",
        expect![[r#"
            estimated: in 12 fresh, 500 read, 600 + 400 written; out 1, 0 of them reasoning
            cut: 0 bytes of text, id msg_01Xk, model claude-opus-5-5, stop -
            passed over: 1, 69 bytes
        "#]],
    );
}

#[test]
fn an_error_event_is_a_signal_without_its_message() {
    check(
        Anthropic,
        "error",
        "",
        expect![[r#"
        estimated: in 12 fresh, 500 read, 600 + 400 written; out 2, 0 of them reasoning
        cut: 5 bytes of text, id msg_01Xk, model claude-opus-5-5, stop -
        ErrorSignal { kind: Overloaded, message_type: "overloaded_error", code: None }
    "#]],
    );
    check(
        OpenAiChat,
        "error",
        "",
        expect![[r#"
        estimated: in unknown, 0 fresh, 0 read, 0 + 0 written; out 1, 0 of them reasoning
        cut: 3 bytes of text, id chatcmpl-1, model gpt-6, stop -
        ErrorSignal { kind: Overloaded, message_type: "server_error", code: Some("server_is_overloaded") }
    "#]],
    );
    check(
        OpenAiResponses,
        "error",
        "",
        expect![[r#"
        estimated: in unknown, 0 fresh, 0 read, 0 + 0 written; out 1, 0 of them reasoning
        cut: 3 bytes of text, id resp_1, model gpt-6, stop -
        ErrorSignal { kind: RateLimit, message_type: "", code: Some("rate_limit_exceeded") }
    "#]],
    );
    check(
        OpenAiResponses,
        "failed",
        "",
        expect![[r#"
        final: in 10 fresh, 60 read, 20 + 10 written; out 20, 16 of them reasoning
        complete: 3 bytes of text, id resp_1, model gpt-6, stop failed
        ErrorSignal { kind: Api, message_type: "", code: Some("server_error") }
    "#]],
    );
}

#[test]
fn chat_usage_is_in_the_extra_chunk() {
    check(
        OpenAiChat,
        "text",
        "",
        expect![[r#"
        final: in 36 fresh, 64 read, 0 + 0 written; out 9, 4 of them reasoning
        complete: 11 bytes of text, id chatcmpl-1, model gpt-6, stop stop
    "#]],
    );
}

#[test]
fn a_chat_stream_that_dies_knows_only_its_text() {
    check(
        OpenAiChat,
        "text",
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-6\",\"choices\":[],",
        expect![[r#"
            estimated: in unknown, 0 fresh, 0 read, 0 + 0 written; out 3, 0 of them reasoning
            cut: 11 bytes of text, id chatcmpl-1, model gpt-6, stop stop
        "#]],
    );
}

#[test]
fn chat_tool_calls_and_reported_cost_count() {
    check(
        OpenAiChat,
        "tools",
        "",
        expect![[r#"
        final: in 200 fresh, 0 read, 0 + 0 written; out 15, 2 of them reasoning
        cost: $0.021234568
        complete: 16 bytes of text, id chatcmpl-1, model gpt-6, stop tool_calls
    "#]],
    );
}

#[test]
fn responses_usage_is_in_the_last_event() {
    check(
        OpenAiResponses,
        "text",
        "",
        expect![[r#"
        final: in 10 fresh, 60 read, 20 + 10 written; out 20, 16 of them reasoning
        searches: 1
        Modifiers { batch: false, fast: true, flex: false, regional: false }
        complete: 13 bytes of text, id resp_1, model gpt-6, stop completed
    "#]],
    );
}

#[test]
fn a_responses_stream_that_dies_knows_only_its_text() {
    check(
        OpenAiResponses,
        "text",
        "event: response.completed",
        expect![[r#"
            estimated: in unknown, 0 fresh, 0 read, 0 + 0 written; out 4, 0 of them reasoning
            cut: 13 bytes of text, id resp_1, model gpt-6, stop -
        "#]],
    );
}

#[test]
fn whole_answers_are_metered() {
    let anthropic = r#"{"id":"msg_01","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"text","text":"a\n"},{"type":"tool_use","id":"t","name":"n","input":{"a":1}}],
        "stop_reason":"end_turn","stop_sequence":null,
        "usage":{"input_tokens":12,"cache_creation_input_tokens":1000,"cache_read_input_tokens":500,
        "cache_creation":{"ephemeral_5m_input_tokens":600,"ephemeral_1h_input_tokens":400},
        "output_tokens":7,"output_tokens_details":{"thinking_tokens":3},
        "server_tool_use":{"web_search_requests":2,"web_fetch_requests":0},
        "service_tier":"batch","speed":"fast","inference_geo":"us","iterations":[],"fallback_credit":null}}"#;
    expect![[r#"
        final: in 12 fresh, 500 read, 600 + 400 written; out 7, 3 of them reasoning
        searches: 2
        Modifiers { batch: true, fast: true, flex: false, regional: true }
        complete: 9 bytes of text, id msg_01, model claude-opus-5-5, stop end_turn
    "#]]
    .assert_eq(&shown(&meter(Anthropic, false, anthropic.as_bytes())));
    let chat = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-6","choices":[{"index":0,"message":{"role":"assistant","content":"four"},"finish_reason":"length"}],
        "usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10},
        "completion_tokens_details":{"reasoning_tokens":16}},"service_tier":"flex"}"#;
    expect![[r#"
        final: in 30 fresh, 60 read, 10 + 0 written; out 20, 16 of them reasoning
        Modifiers { batch: false, fast: false, flex: true, regional: false }
        complete: 4 bytes of text, id chatcmpl-1, model gpt-6, stop length
    "#]]
    .assert_eq(&shown(&meter(OpenAiChat, false, chat.as_bytes())));
    let responses = r#"{"id":"resp_1","object":"response","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"error":null,"model":"gpt-6",
        "output":[{"type":"web_search_call","id":"ws"},{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},{"type":"message","content":[{"type":"output_text","text":"four"}]}],
        "usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":60,"cache_write_tokens":30,"cache_write_tokens_details":{"ttl_30m_tokens":20,"ttl_12h_tokens":10}},
        "output_tokens":20,"output_tokens_details":{"reasoning_tokens":16},"total_tokens":120}}"#;
    expect![[r#"
        final: in 10 fresh, 60 read, 20 + 10 written; out 20, 16 of them reasoning
        searches: 1
        complete: 6 bytes of text, id resp_1, model gpt-6, stop max_output_tokens
    "#]]
    .assert_eq(&shown(&meter(OpenAiResponses, false, responses.as_bytes())));
}

#[test]
fn bodies_that_are_no_answers_are_no_usage() {
    let error = br#"{"type":"error","error":{"type":"overloaded_error","message":"sk-secret"},"request_id":"req_1"}"#;
    expect![[r#"
        complete: 0 bytes of text, id -, model -, stop -
        ErrorSignal { kind: Overloaded, message_type: "overloaded_error", code: None }
    "#]]
    .assert_eq(&shown(&meter(Anthropic, false, error)));
    expect![[r#"
        cut: 0 bytes of text, id -, model -, stop -
        passed over: 1, 16 bytes
    "#]]
    .assert_eq(&shown(&meter(OpenAiChat, false, b"<html>502</html>")));
    expect![[r#"
        complete: 0 bytes of text, id -, model -, stop -
    "#]]
    .assert_eq(&shown(&meter(
        Anthropic,
        false,
        br#"{"input_tokens":2095}"#,
    )));
    let background = br#"{"id":"resp_1","status":"queued","output":[],"usage":null,"error":null}"#;
    expect![[r#"
        complete: 0 bytes of text, id resp_1, model -, stop queued
    "#]]
    .assert_eq(&shown(&meter(OpenAiResponses, false, background)));
}

#[test]
fn a_provider_that_counts_against_the_rule_gets_nothing_for_free() {
    let usage = |usage: &str| {
        let body = format!(r#"{{"choices":[],"usage":{usage}}}"#);
        meter(OpenAiChat, false, body.as_bytes()).usage
    };
    let disjoint = usage(
        r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":60}}"#,
    );
    assert_eq!(disjoint.unwrap().input_total(), Tokens(65));
    let odd = usage(
        r#"{"prompt_tokens":5.0,"completion_tokens":"9","completion_tokens_details":[],"cost":-1}"#,
    );
    let odd = odd.unwrap();
    assert_eq!(
        (odd.input, odd.output, odd.reported_cost),
        (Tokens(5), Tokens(0), None)
    );
    assert_eq!(usage("7"), None);
}

#[test]
fn first_content_is_seen_when_the_model_begins_to_answer() {
    for (dialect, name, first) in [
        (Anthropic, "text", "event: content_block_start"),
        (OpenAiChat, "text", r#""content":"Hello"#),
        (OpenAiResponses, "text", "event: response.output_item.added"),
    ] {
        let stream = stream(dialect, name);
        let start = stream.find(first).unwrap();
        let end = start + stream[start..].find("\n\n").unwrap() + 2;
        let mut meter = Meter::new(dialect, true);
        meter.observe(&stream.as_bytes()[..start]);
        assert!(!meter.first_content_seen(), "{dialect}");
        meter.observe(&stream.as_bytes()[start..end]);
        assert!(meter.first_content_seen(), "{dialect}");
    }
}

#[test]
fn usage_is_known_while_the_stream_runs() {
    let stream = stream(Anthropic, "text");
    let mut meter = Meter::new(Anthropic, true);
    assert_eq!(meter.usage(), None);
    meter.observe(&stream.as_bytes()[..stream.find("event: message_delta").unwrap()]);
    let usage = meter.usage().unwrap();
    assert_eq!((usage.input, usage.output), (Tokens(12), Tokens(4)));
}

#[test]
fn an_event_that_is_too_long_is_passed_over_in_bounded_memory() {
    let stream = stream(Anthropic, "text");
    let (start, rest) = stream.split_at(stream.find("event: content_block_start").unwrap());
    let mut meter = Meter::new(Anthropic, true);
    meter.observe(start.as_bytes());
    meter.observe(b"data: ");
    let part = vec![b'x'; 64 << 10];
    for _ in 0..64 {
        meter.observe(&part);
        let Reader::Stream { pending, .. } = &meter.reader else {
            panic!("a stream")
        };
        assert!(pending.capacity() <= 2 * EVENT_BYTES_MAX);
    }
    meter.observe(b"\n\n");
    meter.observe(rest.as_bytes());
    let metered = meter.finish();
    assert_eq!(metered.passed_over, 1);
    assert!(metered.complete && metered.usage_is_final);
}

#[test]
fn costs_are_read_exactly_and_rounded_up() {
    for (cost, nanos) in [
        ("0", Some(0)),
        ("0.000031499", Some(31_499)),
        ("0.0000314991", Some(31_500)),
        ("3.1e-5", Some(31_000)),
        ("1e-400", Some(1)),
        ("100000", Some(100_000_000_000_000)),
        ("-1", None),
        ("\"5\"", None),
        ("null", None),
    ] {
        let body =
            format!(r#"{{"usage":{{"prompt_tokens":1,"completion_tokens":1,"cost":{cost}}}}}"#);
        let usage = meter(OpenAiChat, false, body.as_bytes()).usage.unwrap();
        assert_eq!(usage.reported_cost.map(|it| it.0), nanos, "{cost}");
    }
}

#[test]
fn a_delta_counts_however_it_is_spelled() {
    let delta = |rest: &str| {
        let event = format!(r#"{{"type":"content_block_delta","index":12,"delta":{rest}"#);
        let metered = meter(Anthropic, true, format!("data: {event}\n\n").as_bytes());
        (metered.text_bytes, metered.passed_over)
    };
    for text in [
        "text_delta\",\"text",
        "thinking_delta\",\"thinking",
        "input_json_delta\",\"partial_json",
    ] {
        assert_eq!(delta(&format!(r#"{{"type":"{text}":"a\"b"}}}}"#)), (3, 0));
    }
    assert_eq!(
        delta(r#"{ "text": "four", "type": "text_delta" } }"#),
        (4, 0)
    );
    assert_eq!(
        delta(r#"{"type":"text_delta","text":"a","thinking":"bcd"}}"#),
        (4, 0)
    );
    assert_eq!(
        delta(r#"{"type":"signature_delta","signature":"abc"}}"#),
        (0, 0)
    );
    assert_eq!(delta(r#"{"type":"text_delta","text":"four""#), (0, 1));
}

#[test]
fn chunks_that_are_spelled_alike_all_count() {
    for (delta, bytes) in [
        (r#"{"content":"four"}"#, 4),
        (r#"{"content":"fo\u0075\n"}"#, 4),
        (r#"{"content":""}"#, 0),
        (r#"{"reasoning":"hm","content":"four"}"#, 6),
        (r#"{"content":"four","refusal":"no"}"#, 6),
        (
            r#"{"content":"four","tool_calls":[{"function":{"arguments":"{}"}}]}"#,
            6,
        ),
    ] {
        for times in 1..5 {
            let event = format!("data: {{\"choices\":[{{\"delta\":{delta}}}],\"usage\":null}}\n\n");
            let metered = meter(OpenAiChat, true, event.repeat(times).as_bytes());
            assert_eq!(metered.text_bytes, bytes * times as u64, "{delta}");
            assert_eq!(metered.passed_over, 0);
        }
    }
}

#[test]
fn a_chunk_that_begins_alike_is_read_to_its_end() {
    let chunk =
        |rest: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"four\"}}{rest}\n\n");
    let stream = [
        chunk("}]}"),
        chunk(r#","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#),
        "data: [DONE]\n\n".to_owned(),
    ];
    let metered = meter(OpenAiChat, true, stream.concat().as_bytes());
    assert_eq!(metered.stop_reason.as_deref(), Some("stop"));
    assert_eq!(metered.usage.unwrap().output, Tokens(2));
    assert_eq!(metered.text_bytes, 8);
}
