use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

/// Reads error bodies, one a line after its status, and compares what they are taken for.
#[track_caller]
fn check(dialect: Dialect, bodies: &str, expected: Expect) {
    let mut told = String::new();
    for line in bodies.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let (status, body) = line.split_once(' ').unwrap_or((line, ""));
        let signal = error_signal(dialect, status.parse().unwrap(), body.as_bytes());
        let (kind, code) = (&signal.kind, signal.code.as_deref().unwrap_or("-"));
        writeln!(told, "{status} {kind:?} ({}, {code})", signal.message_type).unwrap();
    }
    expected.assert_eq(&told);
}

#[test]
fn anthropic_errors() {
    check(
        Dialect::Anthropic,
        r#"
        400 {"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"},"request_id":"req_1"}
        400 {"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01"}}
        401 {"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}
        402 {"type":"error","error":{"type":"billing_error","message":"x"}}
        403 {"type":"error","error":{"type":"permission_error","message":"x"}}
        404 {"type":"error","error":{"type":"not_found_error","message":"model: x"}}
        409 {"type":"error","error":{"type":"conflict_error","message":"x"}}
        413 {"type":"error","error":{"type":"request_too_large","message":"x"}}
        413 <html>cloudflare</html>
        429 {"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit"}}
        429 {"type":"error","error":{"type":"rate_limit_error","message":"x","details":{"error_code":"enforced_spend_limit_reached"}}}
        429 {"type":"error","error":{"type":"rate_limit_error","message":"x","details":{"error_code":"ramp_limit_exceeded"}}}
        500 {"type":"error","error":{"type":"api_error","message":"Internal server error"}}
        504 {"type":"error","error":{"type":"timeout_error","message":"x"}}
        529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}
        0 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}
        "#,
        expect![[r#"
            400 InvalidRequest (invalid_request_error, -)
            400 SpendCap (invalid_request_error, -)
            401 Authentication (authentication_error, -)
            402 Billing (billing_error, -)
            403 Permission (permission_error, -)
            404 NotFound (not_found_error, -)
            409 Conflict (conflict_error, -)
            413 TooLarge (request_too_large, -)
            413 TooLarge (, -)
            429 RateLimit (rate_limit_error, -)
            429 SpendCap (rate_limit_error, enforced_spend_limit_reached)
            429 RateLimit (rate_limit_error, ramp_limit_exceeded)
            500 Api (api_error, -)
            504 Timeout (timeout_error, -)
            529 Overloaded (overloaded_error, -)
            0 Overloaded (overloaded_error, -)
        "#]],
    );
}

#[test]
fn openai_errors() {
    check(
        Dialect::OpenAiChat,
        r#"
        400 {"error":{"message":"x","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}
        401 {"error":{"message":"Incorrect API key provided: sk-12","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}
        401 {"error":{"message":"x","type":"invalid_request_error","param":null,"code":null}}
        403 {"error":{"message":"x","type":"invalid_request_error","code":"unsupported_country"}}
        404 {"error":{"message":"x","type":"invalid_request_error","param":"model","code":"model_not_found"}}
        429 {"error":{"message":"x","type":"tokens","param":null,"code":"rate_limit_exceeded"}}
        429 {"error":{"message":"x","type":"rate_limit_error","param":null,"code":"slow_down"}}
        429 {"error":{"message":"x","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}
        429 {"error":{"message":"x","type":"insufficient_quota","param":null,"code":"credit_balance_exhausted"}}
        429 {"error":{"message":"x","type":"insufficient_quota","param":null,"code":"project_spend_limit_exceeded"}}
        500 {"error":{"message":"x","type":"server_error","param":null,"code":null}}
        503 {"error":{"message":"x","type":"service_unavailable_error","param":null,"code":"server_is_overloaded"}}
        0 {"type":"error","code":"rate_limit_exceeded","message":"x","param":null,"sequence_number":3}
        0 {"id":"resp_1","status":"failed","error":{"code":"server_error","message":"x"}}
        "#,
        expect![[r#"
            400 InvalidRequest (invalid_request_error, context_length_exceeded)
            401 Authentication (invalid_request_error, invalid_api_key)
            401 Authentication (invalid_request_error, -)
            403 Permission (invalid_request_error, unsupported_country)
            404 NotFound (invalid_request_error, model_not_found)
            429 RateLimit (tokens, rate_limit_exceeded)
            429 RateLimit (rate_limit_error, slow_down)
            429 SpendCap (insufficient_quota, insufficient_quota)
            429 Billing (insufficient_quota, credit_balance_exhausted)
            429 SpendCap (insufficient_quota, project_spend_limit_exceeded)
            500 Api (server_error, -)
            503 Overloaded (service_unavailable_error, server_is_overloaded)
            0 RateLimit (, rate_limit_exceeded)
            0 Api (, server_error)
        "#]],
    );
}

#[test]
fn compatible_providers_and_strangers() {
    check(
        Dialect::OpenAiChat,
        r#"
        429 {"error":{"code":429,"message":"Rate limit exceeded: free-models-per-day","metadata":{"headers":{"X-RateLimit-Limit":"50"}}}}
        200 {"error":{"code":502,"message":"Provider returned error","metadata":{"error_type":"rate_limit_exceeded"}}}
        402 {"error":{"code":402,"message":"Insufficient credits"}}
        200 {"error":{"code":503,"message":"x"}}
        429 {"detail":"slow"}
        422 {"detail":[{"loc":["body"]}]}
        502 <html>bad gateway</html>
        500
        418 {"error":"teapot"}
        418 {"error":{"type":"teapot_error"}}
        418 {"error":{"type":"My key is sk-ant-1234","code":"Please see https://x"}}
        "#,
        expect![[r#"
            429 RateLimit (, -)
            200 RateLimit (, rate_limit_exceeded)
            402 SpendCap (, -)
            200 Overloaded (, -)
            429 RateLimit (, -)
            422 InvalidRequest (, -)
            502 Api (, -)
            500 Api (, -)
            418 Unknown("status 418") (, -)
            418 Unknown("teapot_error") (teapot_error, -)
            418 Unknown("unreadable") (unreadable, -)
        "#]],
    );
}

#[test]
fn nothing_of_the_message_is_kept() {
    let body = br#"{"error":{"type":"x-secret prompt","code":"ANOTHER secret","message":"secret","details":{"error_code":"a secret"}}}"#;
    let signal = format!("{:?}", error_signal(Dialect::Anthropic, 418, body));
    assert!(!signal.contains("secret"), "{signal}");
}

#[test]
fn a_body_that_is_too_long_is_judged_by_its_status() {
    let filler = "x".repeat(BODY_BYTES_MAX);
    let body = format!(r#"{{"error":{{"type":"rate_limit_error","message":"{filler}"}}}}"#);
    let signal = error_signal(Dialect::Anthropic, 529, body.as_bytes());
    assert_eq!(signal.kind, ErrorKind::Overloaded);
    assert_eq!(signal.message_type, "");
}

#[test]
fn our_own_errors_are_read_back_as_what_they_are() {
    let kinds = [
        ErrorKind::RateLimit,
        ErrorKind::Overloaded,
        ErrorKind::Authentication,
        ErrorKind::Timeout,
        ErrorKind::Conflict,
        ErrorKind::TooLarge,
        ErrorKind::NotFound,
        ErrorKind::Permission,
        ErrorKind::Api,
    ];
    for kind in kinds {
        let body = anthropic_error(&kind, "a \"b\"\n", Some("call_1"));
        assert_eq!(
            error_signal(Dialect::Anthropic, 0, body.as_bytes()).kind,
            kind
        );
        serde_json::from_str::<serde_json::Value>(&openai_error(&kind, "a \"b\"\n")).unwrap();
    }
}
