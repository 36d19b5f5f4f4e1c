//! What reaches the crate from outside, broken in every way.
//!
//! Bytes that were mutated at random, always from the same start: nothing may panic, and what is
//! still understood must be understood as a parser understands it.

use bytes::Bytes;
use serde_json::Value;
use tidegate_providers::{
    Dialect, Meter, Metered, Rewrite, StreamRelay, error_signal, limits, rewrite, scan,
};
use tidegate_types::{Timestamp, mutate::Mutator};

const ROUNDS: usize = 20_000;

const REQUESTS: &[(Dialect, &str)] = &[
    (
        Dialect::Anthropic,
        r#"{"model":"claude-opus-5-5","max_tokens":128000,"messages":[{"role":"user","content":[{"type":"text","text":"a \"b\" \\ \u00e9","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"image","source":{"type":"url","url":"https://x"}}]},{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"{]"}]}]}],"system":[{"type":"text","text":"s"}],"tools":[{"type":"web_search_20250305","max_uses":8,"name":"w"},{"name":"n","input_schema":{"a":[1,2,{"b":null}]}}],"metadata":{"user_id":"{\"session_id\":\"1f\"}"},"thinking":{"type":"enabled","budget_tokens":2048},"stream":true}"#,
    ),
    (
        Dialect::OpenAiChat,
        r#"{"model":"gpt-6","messages":[{"role":"system","content":"x"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]},{"role":"tool","content":"y"}],"stream":true,"stream_options":{"include_usage":false},"max_completion_tokens":77,"n":2,"service_tier":"flex"}"#,
    ),
    (
        Dialect::OpenAiResponses,
        r#"{"model":"gpt-6","input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]},{"type":"function_call_output","output":"z"}],"max_output_tokens":null,"tools":[{"type":"web_search"}],"max_tool_calls":3,"previous_response_id":"resp_1"}"#,
    ),
];

const STREAMS: &[(Dialect, &str)] = &[
    (
        Dialect::Anthropic,
        include_str!("../src/meter/tests/anthropic_tools.sse"),
    ),
    (
        Dialect::Anthropic,
        include_str!("../src/meter/tests/anthropic_error.sse"),
    ),
    (
        Dialect::OpenAiChat,
        include_str!("../src/meter/tests/chat_text.sse"),
    ),
    (
        Dialect::OpenAiChat,
        include_str!("../src/meter/tests/chat_tools.sse"),
    ),
    (
        Dialect::OpenAiResponses,
        include_str!("../src/meter/tests/responses_text.sse"),
    ),
    (
        Dialect::OpenAiResponses,
        include_str!("../src/meter/tests/responses_failed.sse"),
    ),
];

/// Pieces that mean something to one of the readers.
const WORDS: &[&str] = &[
    "\"",
    "\\",
    "\\u",
    "\\u006d",
    "\\ud83e\\udd80",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-1",
    "1e9",
    "0",
    "99999999999999999999999",
    "\n",
    "\n\n",
    "\r",
    "\r\n\r\n",
    "data: ",
    "event: ",
    "[DONE]",
    "\"usage\":{",
    "\"type\":\"error\"",
    "\"model\":\"m\",",
    "\"max_tokens\":5,",
    "\"choices\":[],",
    "\u{0}",
    "é",
    "reset",
    "1h2m3s",
    "Infinity",
];

/// What a parser finds at a key that limits depend on.
fn agrees(body: &[u8], facts: &tidegate_providers::RequestFacts) {
    let Ok(parsed) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    assert_eq!(parsed["model"], Value::from(facts.model.as_str()));
    assert_eq!(parsed["stream"] == Value::Bool(true), facts.stream);
    let caps = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    if let Some(cap) = &facts.output_cap {
        assert!(caps.iter().any(|it| parsed[it] == cap.value));
    }
    let budget = parsed["thinking"]["budget_tokens"].as_u64();
    if let Some(found) = facts.thinking_budget {
        assert_eq!(Some(found), budget);
    }
}

#[test]
fn requests_are_read_as_a_parser_reads_them_or_refused() {
    let mut random = Mutator::new(0x5EED_0001, WORDS);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let (dialect, seed) = random.of(REQUESTS);
        let body = random.mutated(seed.as_bytes());
        match scan(*dialect, &body) {
            Ok(facts) => {
                read += 1;
                agrees(&body, &facts);
                let change = Rewrite {
                    output_cap: Some(9),
                    model: Some("other"),
                    include_usage: true,
                };
                let changed = rewrite(*dialect, &body, &facts, &change).expect("a changed body");
                let again = scan(*dialect, &changed).expect("a body that can be read again");
                assert_eq!(again.model, "other");
                assert_eq!(again.output_cap.map(|it| it.value), Some(9));
                let was_json = serde_json::from_slice::<Value>(&body).is_ok();
                let is_json = serde_json::from_slice::<Value>(&changed).is_ok();
                assert_eq!(was_json, is_json);
            }
            Err(error) => {
                refused += 1;
                let is_json = serde_json::from_slice::<Value>(&body).is_ok();
                let is_malformed = error.to_string().starts_with("the body is not valid JSON");
                assert!(
                    !(is_json && is_malformed),
                    "{error}: {}",
                    body.escape_ascii()
                );
            }
        }
    }
    assert!(
        read > ROUNDS / 20 && refused > ROUNDS / 4,
        "{read} read, {refused} refused"
    );
}

fn metered<'a>(
    dialect: Dialect,
    streamed: bool,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Metered {
    let mut meter = Meter::new(dialect, streamed);
    for piece in pieces {
        meter.observe(piece);
        let _known = (meter.usage(), meter.first_content_seen(), meter.sequence());
    }
    meter.finish()
}

#[test]
fn streams_are_metered_alike_in_any_chunking() {
    let mut random = Mutator::new(0x5EED_0002, WORDS);
    let (mut complete, mut cut) = (0, 0);
    for _ in 0..ROUNDS {
        let (dialect, seed) = random.of(STREAMS);
        let stream = random.mutated(seed.as_bytes());
        let size = 1 + random.below(200);
        let whole = metered(*dialect, true, std::iter::once(&stream[..]));
        assert_eq!(metered(*dialect, true, stream.chunks(size)), whole);
        complete += usize::from(whole.complete);
        cut += usize::from(!whole.complete);
        let _any_body = metered(*dialect, false, stream.chunks(size));
    }
    assert!(
        complete > ROUNDS / 20 && cut > ROUNDS / 20,
        "{complete} complete, {cut} cut"
    );
}

#[test]
fn whole_answers_of_any_kind_are_metered() {
    let mut random = Mutator::new(0x5EED_0003, WORDS);
    let bodies: Vec<(Dialect, &str)> = STREAMS
        .iter()
        .flat_map(|(dialect, stream)| {
            let lines = stream.lines().filter_map(|it| it.strip_prefix("data: "));
            lines.map(|it| (*dialect, it))
        })
        .collect();
    let mut understood = 0;
    for _ in 0..ROUNDS {
        let (dialect, seed) = random.of(&bodies);
        let body = random.mutated(seed.as_bytes());
        let metered = metered(*dialect, false, std::iter::once(&body[..]));
        understood += usize::from(metered.complete);
    }
    assert!(understood > ROUNDS / 20, "{understood} understood");
}

#[test]
fn a_relay_loses_nothing_but_usage_chunks() {
    let mut random = Mutator::new(0x5EED_0004, WORDS);
    let mut dropped = 0;
    for _ in 0..ROUNDS {
        let (dialect, seed) = random.of(STREAMS);
        let stream = random.mutated(seed.as_bytes());
        let size = 1 + random.below(200);
        let relayed = |drops| {
            let mut relay = StreamRelay::new(*dialect, drops);
            let mut out = Vec::new();
            for piece in stream.chunks(size) {
                out.extend(
                    relay
                        .push(Bytes::copy_from_slice(piece))
                        .into_iter()
                        .flatten(),
                );
            }
            out.extend(relay.end(true).unwrap_or_default());
            out
        };
        assert_eq!(relayed(false), stream);
        let (without, whole) = (relayed(true).len(), stream.len());
        assert!(without <= whole);
        dropped += usize::from(without < whole);
    }
    assert!(dropped > ROUNDS / 20, "{dropped} dropped");
}

#[test]
fn error_bodies_give_a_signal_of_words() {
    let seeds = [
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}},"request_id":"r"}"#,
        r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"credit_balance_exhausted"}}"#,
        r#"{"error":{"code":429,"message":"m","metadata":{"headers":{"X-RateLimit-Limit":"50"}}}}"#,
        r#"{"type":"error","code":"server_error","message":"m","sequence_number":3}"#,
    ];
    let mut random = Mutator::new(0x5EED_0005, WORDS);
    let mut typed = 0;
    for _ in 0..ROUNDS {
        let body = random.of(&seeds).as_bytes();
        let body = random.mutated(body);
        let status = *random.of(&[0, 200, 400, 401, 418, 429, 500, 529, u16::MAX]);
        let signal = error_signal(*random.of(Dialect::ALL), status, &body);
        let in_word =
            |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_.".contains(&it);
        assert!(signal.message_type.bytes().all(in_word), "{signal:?}");
        assert!(
            signal.code.iter().all(|it| it.bytes().all(in_word)),
            "{signal:?}"
        );
        typed += usize::from(!signal.message_type.is_empty());
    }
    assert!(typed > ROUNDS / 20, "{typed} typed");
}

#[test]
fn limit_headers_are_read_in_bounded_numbers() {
    let seeds = [
        ("anthropic-ratelimit-unified-5h-utilization", "0.42"),
        ("anthropic-ratelimit-unified-7d_oi-reset", "1785182400"),
        ("anthropic-ratelimit-unified-status", "allowed_warning"),
        ("anthropic-ratelimit-input-tokens-remaining", "1999000"),
        ("anthropic-ratelimit-requests-reset", "2026-11-21T22:43:30Z"),
        ("x-ratelimit-reset-tokens", "1h2m3.5s"),
        ("x-ratelimit-limit-requests", "-1"),
        ("retry-after", "Sat, 21 Nov 2026 22:43:30 GMT"),
        ("retry-after-ms", "1500.5"),
        ("x-should-retry", "false"),
    ];
    let mut random = Mutator::new(0x5EED_0006, WORDS);
    let mut understood = 0;
    for _ in 0..ROUNDS {
        let headers: Vec<(String, Vec<u8>)> = (0..random.below(12))
            .map(|_| {
                let (name, value) = *random.of(&seeds);
                let name = random.mutated(name.as_bytes());
                let name = String::from_utf8_lossy(&name).into_owned();
                (name, random.mutated(value.as_bytes()))
            })
            .collect();
        let now = Timestamp(random.bits());
        let signals = limits::parse(headers.iter().map(|it| (&*it.0, &*it.1)), now);
        assert!(signals.windows.len() <= 64);
        understood += usize::from(signals != limits::LimitSignals::default());
    }
    assert!(understood > ROUNDS / 20, "{understood} understood");
}
