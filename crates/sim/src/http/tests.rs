use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use super::*;
use crate::spec::{LimitSpec, LogSpec};

/// Longer than any of these tests takes on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_mins(1);
const KEY: &str = "x-api-key: sk-fake\r\nanthropic-version: 2023-06-01\r\n";
const BEARER: &str = "authorization: Bearer sk-fake\r\n";

fn start(spec: ProviderSpec) -> EmulatedProvider {
    EmulatedProvider::start(spec).unwrap()
}

/// What came back over a connection of its own, and how that ended.
struct Heard {
    head: String,
    body: String,
    ended: Option<ErrorKind>,
}

impl Heard {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("none")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|it| it.strip_prefix(name));
        line.and_then(|it| it.strip_prefix(": "))
    }
}

fn exchange(provider: &EmulatedProvider, request: &[u8]) -> Heard {
    let mut stream = TcpStream::connect(provider.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).err().map(|it| it.kind());
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Heard {
        head: head.to_owned(),
        body: body.to_owned(),
        ended,
    }
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n{headers}\r\n").into_bytes()
}

fn messages(prompt: &str, stream: bool) -> String {
    format!(
        r#"{{"model":"claude-opus-5-5","max_tokens":1000,"stream":{stream},"messages":[{{"role":"user","content":{}}}]}}"#,
        serde_json::Value::from(prompt)
    )
}

fn say(provider: &EmulatedProvider, prompt: &str, stream: bool) -> Heard {
    exchange(
        provider,
        &post("/v1/messages?beta=true", KEY, &messages(prompt, stream)),
    )
}

#[test]
fn every_route_answers_in_its_dialect_streamed_and_not() {
    let provider = start(ProviderSpec::default());
    for (path, headers, body, whole, end) in [
        (
            "/v1/messages",
            KEY,
            messages as fn(&str, bool) -> String,
            r#""type":"message""#,
            "message_stop",
        ),
        (
            "/v1/chat/completions",
            BEARER,
            |_, stream| openai_body(stream),
            r#""object":"chat.completion""#,
            "[DONE]",
        ),
        (
            "/v1/responses",
            BEARER,
            |_, stream| openai_body(stream),
            r#""object":"response""#,
            "response.completed",
        ),
    ] {
        let plain = exchange(&provider, &post(path, headers, &body("hello", false)));
        assert_eq!(plain.status(), "200", "{}", plain.body);
        assert!(plain.body.contains(whole), "{}", plain.body);
        let stream = exchange(&provider, &post(path, headers, &body("hello", true)));
        assert_eq!(
            stream.header("content-type"),
            Some("text/event-stream; charset=utf-8")
        );
        assert!(
            stream.body.contains(end) && stream.body.ends_with("0\r\n\r\n"),
            "{}",
            stream.body
        );
    }
}

fn openai_body(stream: bool) -> String {
    format!(
        r#"{{"model":"gpt-5","stream":{stream},"input":"hello","messages":[{{"role":"user","content":"hello"}}]}}"#
    )
}

#[test]
fn the_other_routes_answer_too_and_unknown_ones_do_not() {
    let provider = start(ProviderSpec::default());
    let head = exchange(
        &provider,
        b"HEAD / HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n",
    );
    assert_eq!(head.status(), "200");
    let ours = exchange(&provider, &get("/v1/models?limit=1000", KEY));
    assert!(ours.body.contains(r#""display_name""#), "{}", ours.body);
    let theirs = exchange(&provider, &get("/v1/models", BEARER));
    assert!(
        theirs.body.contains(r#""object":"list""#),
        "{}",
        theirs.body
    );
    let one = exchange(&provider, &get("/v1/models/claude-opus-5-5", KEY));
    assert_eq!(one.status(), "200");
    assert_eq!(
        exchange(&provider, &get("/v1/models/none", KEY)).status(),
        "404"
    );
    let counted = exchange(
        &provider,
        &post(
            "/v1/messages/count_tokens",
            KEY,
            r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#,
        ),
    );
    assert_eq!(counted.body, r#"{"input_tokens":9}"#);
    for path in ["/v1/embeddings", "/v1/modelsx", "/"] {
        let lost = exchange(&provider, &post(path, KEY, "{}"));
        assert_eq!(lost.status(), "404", "{path}");
        assert!(lost.body.contains("not_found_error"), "{}", lost.body);
    }
}

#[test]
fn calls_without_a_credential_or_with_a_refused_one_get_401() {
    let provider = start(ProviderSpec::default());
    for headers in [
        "",
        "x-api-key: \r\n",
        "x-api-key: sk-invalid\r\n",
        "authorization: Basic abc\r\n",
    ] {
        let heard = exchange(
            &provider,
            &post("/v1/messages", headers, &messages("x", false)),
        );
        assert_eq!(heard.status(), "401", "{headers}");
        assert!(heard.header("request-id").is_some());
    }
}

#[test]
fn faults_on_demand_are_what_they_say() {
    let provider = start(ProviderSpec::default());
    let refused = |fault: &str| say(&provider, &format!("sim:fault {fault}"), true);
    for status in [
        "400", "401", "402", "403", "404", "413", "429", "500", "504", "529",
    ] {
        let heard = refused(status);
        assert_eq!(heard.status(), status);
        assert!(heard.body.contains(r#""type":"error""#), "{}", heard.body);
    }
    assert_eq!(refused("429=7").header("retry-after"), Some("7"));
    let capped = refused("spend-cap");
    assert_eq!(
        (capped.status(), capped.header("retry-after")),
        ("429", None)
    );
    assert!(capped.body.contains("enforced_spend_limit_reached"));
    assert_eq!(refused("garbage").header("content-type"), Some("text/html"));
    let slow = refused("slow-headers=20");
    assert!(slow.body.contains("message_stop"));
}

#[test]
fn a_reset_before_the_headers_is_a_reset() {
    let provider = start(ProviderSpec::default());
    for stream in [false, true] {
        let heard = say(&provider, "sim:fault reset", stream);
        assert_eq!(
            (heard.head.as_str(), heard.ended),
            ("", Some(ErrorKind::ConnectionReset))
        );
    }
    assert_eq!(provider.wait_for_calls(2, PATIENCE)[0].status, 0);
}

/// How a stream ends under a fault: (its last event, whether HTTP ended it in order, the socket's error).
#[track_caller]
fn ending(fault: &str) -> (String, bool, Option<ErrorKind>) {
    let provider = start(ProviderSpec::default());
    let heard = say(&provider, &format!("sim:fault {fault}"), true);
    assert_eq!(heard.status(), "200");
    let last = heard
        .body
        .lines()
        .rev()
        .find_map(|it| it.strip_prefix("event: "));
    let record = provider.wait_for_calls(1, PATIENCE).remove(0);
    assert!(!record.complete, "{record:?}");
    assert_eq!(record.fault.as_deref(), Some(fault));
    assert!(
        record.usage.unwrap().input.0 > 0,
        "input is billed: {record:?}"
    );
    (
        last.unwrap_or_default().to_owned(),
        heard.body.ends_with("0\r\n\r\n"),
        heard.ended,
    )
}

#[test]
fn streams_break_where_and_how_they_are_told() {
    let reset = Some(ErrorKind::ConnectionReset);
    for (fault, last, in_order, error) in [
        ("reset-mid-stream=1", "message_start", false, reset),
        ("reset-mid-stream=4", "content_block_delta", false, reset),
        ("cut-mid-stream=4", "content_block_delta", false, None),
        ("cut-mid-stream=0", "", false, None),
        ("close-mid-stream=4", "content_block_delta", true, None),
        ("close-mid-event=1", "content_block_start", true, None),
        ("error-event=3", "error", true, None),
    ] {
        assert_eq!(ending(fault), (last.into(), in_order, error), "{fault}");
    }
}

#[test]
fn answers_that_are_not_streamed_break_half_way() {
    let provider = start(ProviderSpec::default());
    for (fault, promised, error) in [
        ("reset-mid-stream", true, Some(ErrorKind::ConnectionReset)),
        ("cut-mid-stream", true, None),
        ("truncated-json", false, None),
    ] {
        let heard = say(&provider, &format!("sim:fault {fault}"), false);
        let length: usize = heard.header("content-length").unwrap().parse().unwrap();
        assert_eq!(
            (length > heard.body.len(), heard.ended),
            (promised, error),
            "{fault}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&heard.body).is_err());
    }
    assert_eq!(
        say(&provider, "sim:fault error-event", false).status(),
        "500"
    );
}

#[test]
fn a_stalled_stream_ends_when_the_caller_hangs_up() {
    let provider = start(ProviderSpec::default());
    let mut stream = TcpStream::connect(provider.addr()).unwrap();
    let body = messages("sim:fault stall-mid-stream=4 sim:tokens 100", true);
    stream.write_all(&post("/v1/messages", KEY, &body)).unwrap();
    let mut heard = Vec::new();
    while memchr::memmem::find(&heard, b"content_block_delta").is_none() {
        let mut buffer = [0; 4_096];
        let count = stream.read(&mut buffer).unwrap();
        heard.extend_from_slice(&buffer[..count]);
    }
    assert!(provider.wire_log().is_empty(), "not ended yet");
    drop(stream);
    let record = provider.wait_for_calls(1, PATIENCE).remove(0);
    let output = record.usage.unwrap().output.0;
    assert!(!record.complete && (1..100).contains(&output), "{record:?}");
}

#[test]
fn a_fault_with_times_lets_the_retry_pass() {
    let provider = start(ProviderSpec::default());
    let tries: Vec<String> = (0..3)
        .map(|_| {
            say(&provider, "sim:fault 529*2 sim:say in", false)
                .status()
                .to_owned()
        })
        .collect();
    assert_eq!(tries, ["529", "529", "200"]);
    let header = format!("{KEY}x-sim-fault: 500*1\r\n");
    let once = |_| {
        exchange(
            &provider,
            &post("/v1/messages", &header, &messages("x", false)),
        )
    };
    let tries: Vec<String> = (0..2).map(once).map(|it| it.status().to_owned()).collect();
    assert_eq!(tries, ["500", "200"]);
}

#[test]
fn a_scripted_usage_is_what_is_reported() {
    let provider = start(ProviderSpec::default());
    let header = format!(
        "{KEY}x-sim-usage: input=12,cache_read=500,cache_write_5m=600,cache_write_1h=400,output=7\r\n"
    );
    let heard = exchange(
        &provider,
        &post("/v1/messages", &header, &messages("x", false)),
    );
    let usage = &serde_json::from_str::<serde_json::Value>(&heard.body).unwrap()["usage"];
    for (field, count) in [
        ("input_tokens", 12),
        ("cache_creation_input_tokens", 1_000),
        ("cache_read_input_tokens", 500),
        ("output_tokens", 7),
    ] {
        assert_eq!(usage[field], count, "{field}");
    }
    let wrong = format!("{KEY}x-sim-usage: inputs=1\r\n");
    let refused = exchange(
        &provider,
        &post("/v1/messages", &wrong, &messages("x", false)),
    );
    assert_eq!(refused.status(), "400");
}

#[test]
fn rule_7_a_limit_answers_429_with_whole_seconds_and_the_headers_of_its_family() {
    let spec = ProviderSpec {
        limits: LimitSpec {
            requests_per_minute: 1,
            ..LimitSpec::default()
        },
        ..ProviderSpec::default()
    };
    let provider = start(spec);
    assert_eq!(say(&provider, "x", false).status(), "200");
    let limited = say(&provider, "x", false);
    assert_eq!(limited.status(), "429");
    // A minute, less what passed between the two calls.
    let seconds: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(
        limited.header("anthropic-ratelimit-requests-remaining"),
        Some("0")
    );
    let chat = || {
        exchange(
            &provider,
            &post("/v1/chat/completions", BEARER, &openai_body(false)),
        )
    };
    assert_eq!(chat().header("x-ratelimit-remaining-requests"), Some("0"));
    let limited = chat();
    assert_eq!(limited.status(), "429");
    assert!(
        limited.header("retry-after-ms").is_some() && limited.body.contains("rate_limit_exceeded")
    );
}

#[test]
fn rule_9_a_login_gets_unified_headers_and_no_others() {
    let provider = start(ProviderSpec::default());
    let login = "authorization: Bearer sk-ant-oat01-fake\r\n";
    let heard = exchange(
        &provider,
        &post("/v1/messages", login, &messages("x", true)),
    );
    assert_eq!(
        heard.header("anthropic-ratelimit-unified-status"),
        Some("allowed")
    );
    assert_eq!(
        heard.header("anthropic-ratelimit-unified-5h-utilization"),
        Some("0.00")
    );
    assert!(heard.header("anthropic-ratelimit-requests-limit").is_none());
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_provider_lives_on() {
    let provider = start(ProviderSpec::default());
    let large = messages(&"a".repeat(limits::BODY_BYTES_MAX), false);
    let heard = exchange(&provider, &post("/v1/messages", KEY, &large));
    assert_eq!(heard.status(), "413");
    assert_eq!(say(&provider, "x", false).status(), "200");
}

#[test]
fn the_log_tells_what_passed_and_holds_no_credential_and_no_prompt() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wire.jsonl");
    let spec = ProviderSpec {
        log: LogSpec {
            records: 1,
            file: Some(file.clone()),
        },
        ..ProviderSpec::default()
    };
    let provider = start(spec);
    let body = messages("a secret prompt", true);
    exchange(&provider, &post("/v1/messages", KEY, &body));
    exchange(&provider, &post("/v1/messages", KEY, "{"));
    let newest = provider.wait_for_calls(2, PATIENCE);
    assert_eq!(newest.len(), 1, "only the newest is kept in memory");
    provider.stop();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        !text.contains("sk-fake") && !text.contains("secret"),
        "{text}"
    );
    let records: Vec<WireRecord> = text
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(records[1], newest[0]);
    assert_eq!((records[1].status, records[1].usage), (400, None));
    let first = &records[0];
    assert!(first.complete && first.stream && first.ended_at >= first.at);
    assert_eq!(first.body_bytes, body.len() as u64);
    assert_eq!(
        first.body_fingerprint,
        crate::body_fingerprint(body.as_bytes())
    );
    assert_eq!(first.usage.unwrap().output.0, 32);
    assert!(first.header_names.contains(&"x-api-key".to_owned()));
}

#[test]
fn http2_is_spoken_to_those_who_begin_with_it() {
    let provider = start(ProviderSpec::bench());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let addr = provider.addr();
    let status = runtime.block_on(async move {
        let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let io = TokioIo::new(stream);
        let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = made.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let body = http_body_util::Full::new(bytes::Bytes::from(messages("x", true)));
        let request = http::Request::post("http://sim/v1/messages")
            .body(body)
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
        let events = body.to_bytes();
        (
            status,
            memchr::memmem::find_iter(&events, b"event: ").count(),
        )
    });
    assert_eq!(status, (http::StatusCode::OK, 40));
}

#[test]
fn a_stopped_provider_takes_no_more_connections() {
    let provider = start(ProviderSpec::default());
    let addr = provider.addr();
    provider.stop();
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_spec_out_of_bounds_is_not_served() {
    let spec = ProviderSpec {
        speed: 0,
        ..ProviderSpec::default()
    };
    let error = EmulatedProvider::start(spec).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn clock(provider: &EmulatedProvider, to: Option<&str>) -> Heard {
    let request = match to {
        Some(body) => post("/sim/clock", "", body),
        None => get("/sim/clock", ""),
    };
    exchange(provider, &request)
}

#[test]
fn a_driven_clock_goes_on_by_what_answers_take_and_when_it_is_told_to() {
    let mut spec = ProviderSpec {
        driven_from: Some(1_767_571_200),
        limits: LimitSpec {
            requests_per_minute: 1,
            ..LimitSpec::default()
        },
        ..ProviderSpec::default()
    };
    spec.latency.first_byte.base_us = 2_000_000;
    spec.latency.whole.base_us = 9_000_000;
    let provider = start(spec);
    assert_eq!(clock(&provider, None).body, r#"{"at_ns":0}"#);
    let first = say(&provider, "hello", true);
    assert_eq!(first.status(), "200");
    assert!(first.body.contains("message_stop"));
    assert_eq!(clock(&provider, None).body, r#"{"at_ns":9000000000}"#);
    // Nothing comes back by itself: neither the clock goes on nor a bucket fills.
    assert_eq!(
        say(&provider, "hello", false).header("retry-after"),
        Some("51")
    );
    assert_eq!(
        clock(&provider, Some(r#"{"at_ns":59000000000}"#)).body,
        r#"{"at_ns":59000000000}"#
    );
    let refused = say(&provider, "hello", false);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        refused.header("anthropic-ratelimit-requests-reset"),
        Some("2026-01-05T00:01:00Z")
    );
    clock(&provider, Some(r#"{"at_ns":60000000000}"#));
    assert_eq!(say(&provider, "hello", false).status(), "200");
    for wrong in [r#"{"at_ns":5}"#, r#"{"at":5}"#, "soon"] {
        let refused = clock(&provider, Some(wrong));
        assert_eq!(refused.status(), "400", "{wrong}: {}", refused.body);
        assert!(refused.body.contains("at_ns"), "{}", refused.body);
    }
    let by_itself = start(ProviderSpec::default());
    assert_eq!(clock(&by_itself, None).status(), "401");
}
