mod fuzz;

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

fn headers(text: &str) -> HeaderMap {
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

#[track_caller]
fn check_upward(from: &str, strip_credentials: bool, put: Put, expected: Expect) {
    let to = upward(Upward {
        from: &headers(from),
        authority: &HeaderValue::from_static("api.example.com"),
        strip_credentials,
        put,
        traceparent: None,
        body_bytes: 7,
    });
    let mut transcript = String::new();
    for (name, value) in &to {
        writeln!(transcript, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    expected.assert_eq(&transcript);
}

#[test]
fn everything_passes_but_the_connections_own_and_ours() {
    check_upward(
        "host: 127.0.0.1:8787
         connection: keep-alive, x-hop
         x-hop: 1
         keep-alive: timeout=5
         transfer-encoding: chunked
         accept-encoding: gzip, br
         anthropic-beta: a,b
         anthropic-version: 2023-06-01
         x-claude-code-session-id: s
         x-tidegate-task: t-1
         x-tidegate-key: tg-1
         x-api-key: sk-ant-api-1
         x-stainless-timeout: 600",
        false,
        Put::Nothing,
        expect![[r#"
            anthropic-beta: a,b
            anthropic-version: 2023-06-01
            x-claude-code-session-id: s
            x-api-key: sk-ant-api-1
            x-stainless-timeout: 600
            host: api.example.com
            accept-encoding: identity
            content-length: 7
        "#]],
    );
}

#[test]
fn our_key_never_leaves_and_the_operators_takes_its_place() {
    check_upward(
        "authorization: Bearer tg-secret
         x-api-key: tg-secret",
        true,
        Put::Operators(
            HeaderName::from_static("x-api-key"),
            HeaderValue::from_static("sk-operator"),
        ),
        expect![[r#"
            host: api.example.com
            accept-encoding: identity
            content-length: 7
            x-api-key: sk-operator
        "#]],
    );
}

#[test]
fn no_secret_of_ours_leaves_in_whatever_form() {
    check_upward(
        "authorization: Basic tgl-secret
         x-api-key: tgl-secret
         cookie: a=b, tg-secret
         x-goog-api-key: theirs",
        false,
        Put::Nothing,
        expect![[r#"
            x-goog-api-key: theirs
            host: api.example.com
            accept-encoding: identity
            content-length: 7
        "#]],
    );
}

#[test]
fn an_answers_headers_pass_but_the_connections_own() {
    let mut headers = headers(
        "request-id: req_1
         anthropic-ratelimit-requests-remaining: 9
         transfer-encoding: chunked
         content-length: 12
         x-tidegate-forged: 1
         connection: close",
    );
    downward(&mut headers);
    let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(
        names,
        ["request-id", "anthropic-ratelimit-requests-remaining"]
    );
}
