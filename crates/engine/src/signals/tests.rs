use std::fmt::Write as _;

use expect_test::{Expect, expect};
use tidegate_providers::limits;

use super::*;

/// The provider's Wednesday noon.
const NOON: Timestamp = Timestamp::from_seconds(1_784_116_800);

/// Lines `<status> <name>: <value>, …`, and what each is heard as.
#[track_caller]
fn check(family: Family, script: &str, expected: Expect) {
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let (status, headers) = line.split_once(' ').unwrap_or((line, ""));
        let headers = headers.split(", ").filter_map(|it| it.split_once(": "));
        let signals = limits::parse(headers.map(|(a, b)| (a, b.as_bytes())), NOON);
        let heard = signal(&Head {
            status: status.parse().unwrap(),
            signals: &signals,
            family,
            date: NOON,
            is_operators: true,
        });
        let heard = heard.map_or("-".to_owned(), |it| {
            format!("{:?} {:?} {:?}", it.cause, it.scope, it.horizon)
        });
        writeln!(out, "{heard}").unwrap();
    }
    expected.assert_eq(&out);
}

#[test]
fn an_answer_says_why_for_whom_and_until_when() {
    check(
        Family::Anthropic,
        "200
         400
         401
         403
         529 retry-after: 3
         503
         429 retry-after: 7999
         429 retry-after: 5, anthropic-ratelimit-input-tokens-limit: 50000, anthropic-ratelimit-input-tokens-remaining: 0
         429 retry-after: 5, anthropic-ratelimit-input-tokens-limit: 50000, anthropic-ratelimit-input-tokens-remaining: 48000
         429
         429 anthropic-ratelimit-requests-remaining: 0, anthropic-ratelimit-requests-reset: 2026-07-15T12:00:30Z",
        expect![[r#"
            -
            -
            Credential Account Unknown
            -
            Overloaded Provider Unknown
            ServerError Provider Unknown
            Rate Model For(7999s)
            Rate Model For(5s)
            Acceleration Model For(5s)
            SpendCap Account Unknown
            Rate Model For(30s)
        "#]],
    );
}

#[test]
fn others_refuse_without_a_time_for_more_reasons_than_money() {
    check(
        Family::OpenAi,
        "429
         429 retry-after-ms: 250
         402",
        expect![[r#"
            Rate Model Unknown
            Rate Model For(250ms)
            SpendCap Account Unknown
        "#]],
    );
}

#[test]
fn a_plan_that_is_used_up_says_for_which_models_and_until_the_last_reset() {
    check(
        Family::Anthropic,
        "200 anthropic-ratelimit-unified-status: allowed_warning, anthropic-ratelimit-unified-5h-utilization: 0.97
         429 anthropic-ratelimit-unified-status: rejected, anthropic-ratelimit-unified-5h-status: rejected, anthropic-ratelimit-unified-5h-reset: 1784120400, anthropic-ratelimit-unified-7d-status: rejected, anthropic-ratelimit-unified-7d-reset: 1784203200
         429 retry-after: 60, anthropic-ratelimit-unified-status: rejected, anthropic-ratelimit-unified-5h-utilization: 0.5, anthropic-ratelimit-unified-7d_oi-status: rejected, anthropic-ratelimit-unified-7d_oi-reset: 1784120400
         200 anthropic-ratelimit-unified-5h-utilization: 1.0, anthropic-ratelimit-unified-5h-reset: 1784120400
         200 anthropic-ratelimit-unified-status: allowed, anthropic-ratelimit-unified-5h-utilization: 1.2, anthropic-ratelimit-unified-overage-in-use: true
         429 anthropic-ratelimit-unified-status: rejected, anthropic-ratelimit-unified-overage-disabled-reason: org_spend_cap_reached",
        expect![[r#"
            -
            Quota Account For(86400s)
            Quota Model For(3600s)
            Quota Account For(3600s)
            -
            SpendCap Account Unknown
        "#]],
    );
}

#[test]
fn models_that_share_limits_are_one_class() {
    let classes = [
        (Family::Anthropic, "claude-opus-4-5-20251101"),
        (Family::Anthropic, "claude-opus-5"),
        (Family::Anthropic, "claude-3-5-haiku@latest"),
        (Family::Anthropic, "42"),
        (Family::OpenAi, "gpt-5.1-mini"),
    ];
    let classes = classes.map(|(family, model)| model_class(family, model));
    let expected = [
        "claude-opus",
        "claude-opus",
        "claude-haiku-latest",
        "42",
        "gpt-5.1-mini",
    ];
    assert_eq!(classes, expected);
}

#[test]
fn only_limits_that_bind_ordinary_calls_are_followed() {
    let names = [
        "requests",
        "tokens",
        "input-tokens",
        "output-tokens",
        "fast-input-tokens",
    ];
    let headers = names.map(|it| {
        (
            format!("anthropic-ratelimit-{it}-remaining"),
            b"7".as_slice(),
        )
    });
    let signals = limits::parse(headers.iter().map(|(a, b)| (a.as_str(), *b)), NOON);
    let head = Head {
        status: 200,
        signals: &signals,
        family: Family::Anthropic,
        date: NOON,
        is_operators: true,
    };
    let resources: Vec<_> = said(&head).iter().map(|it| it.resource.word()).collect();
    assert_eq!(resources, ["requests", "input_tokens", "output_tokens"]);
}
