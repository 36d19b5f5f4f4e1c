use expect_test::{Expect, expect};
use tidegate_ledger::LevelKind;

use super::*;

fn spending(level: LevelKind, spent: &str, limit: &str) -> Spending {
    Spending {
        level,
        limit: limit.parse().unwrap(),
        spent: spent.parse().unwrap(),
        resets_at: Timestamp::from_seconds(1_796_083_200),
    }
}

fn check(spent: &str, limit: &str, expected: Expect) {
    let spending = spending(LevelKind::UserDay, spent, limit);
    let mut headers = HeaderMap::new();
    headers.insert(
        "anthropic-ratelimit-tokens-limit",
        HeaderValue::from_static("1"),
    );
    headers.insert(
        "anthropic-ratelimit-unified-5h-utilization",
        HeaderValue::from_static("0.5"),
    );
    headers.insert("request-id", HeaderValue::from_static("req_1"));
    replace(&mut headers, &spending);
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    lines.sort_unstable();
    let account = Account {
        tightest: Some(spending),
        month: NanoUsd::ZERO,
    };
    lines.push(format!("{}\n", usage(&account)));
    expected.assert_eq(&lines.concat());
}

#[test]
fn a_limit_that_is_far_is_told_without_a_warning() {
    check(
        "1.239999999",
        "20",
        expect![[r#"
        anthropic-ratelimit-unified-overage-reset: 1796083200
        anthropic-ratelimit-unified-overage-status: allowed
        anthropic-ratelimit-unified-overage-utilization: 0.0619
        anthropic-ratelimit-unified-representative-claim: overage
        anthropic-ratelimit-unified-reset: 1796083200
        anthropic-ratelimit-unified-status: allowed
        request-id: req_1
        {"extra_usage":{"currency":"USD","is_enabled":true,"monthly_limit":2000,"used_credits":124,"utilization":6},"limits":[{"group":"daily","is_active":true,"kind":"spend","percent":6,"resets_at":"2026-12-01T00:00:00Z","severity":"normal"}]}
    "#]],
    );
}

#[test]
fn a_limit_that_is_near_is_warned_of_from_three_quarters() {
    check(
        "15",
        "20",
        expect![[r#"
        anthropic-ratelimit-unified-overage-reset: 1796083200
        anthropic-ratelimit-unified-overage-status: allowed_warning
        anthropic-ratelimit-unified-overage-surpassed-threshold: 0.75
        anthropic-ratelimit-unified-overage-utilization: 0.7500
        anthropic-ratelimit-unified-representative-claim: overage
        anthropic-ratelimit-unified-reset: 1796083200
        anthropic-ratelimit-unified-status: allowed_warning
        request-id: req_1
        {"extra_usage":{"currency":"USD","is_enabled":true,"monthly_limit":2000,"used_credits":1500,"utilization":75},"limits":[{"group":"daily","is_active":true,"kind":"spend","percent":75,"resets_at":"2026-12-01T00:00:00Z","severity":"warning"}]}
    "#]],
    );
    check(
        "19.5",
        "20",
        expect![[r#"
        anthropic-ratelimit-unified-overage-reset: 1796083200
        anthropic-ratelimit-unified-overage-status: allowed_warning
        anthropic-ratelimit-unified-overage-surpassed-threshold: 0.95
        anthropic-ratelimit-unified-overage-utilization: 0.9750
        anthropic-ratelimit-unified-representative-claim: overage
        anthropic-ratelimit-unified-reset: 1796083200
        anthropic-ratelimit-unified-status: allowed_warning
        request-id: req_1
        {"extra_usage":{"currency":"USD","is_enabled":true,"monthly_limit":2000,"used_credits":1950,"utilization":97},"limits":[{"group":"daily","is_active":true,"kind":"spend","percent":97,"resets_at":"2026-12-01T00:00:00Z","severity":"critical"}]}
    "#]],
    );
}

#[test]
fn a_limit_that_is_passed_is_told_as_not_quite_reached_while_calls_are_let_through() {
    check(
        "21",
        "20",
        expect![[r#"
        anthropic-ratelimit-unified-overage-reset: 1796083200
        anthropic-ratelimit-unified-overage-status: allowed_warning
        anthropic-ratelimit-unified-overage-surpassed-threshold: 0.95
        anthropic-ratelimit-unified-overage-utilization: 0.9999
        anthropic-ratelimit-unified-representative-claim: overage
        anthropic-ratelimit-unified-reset: 1796083200
        anthropic-ratelimit-unified-status: allowed_warning
        request-id: req_1
        {"extra_usage":{"currency":"USD","is_enabled":true,"monthly_limit":2000,"used_credits":2100,"utilization":100},"limits":[{"group":"daily","is_active":true,"kind":"spend","percent":100,"resets_at":"2026-12-01T00:00:00Z","severity":"critical"}]}
    "#]],
    );
    check(
        "0",
        "0",
        expect![[r#"
        anthropic-ratelimit-unified-overage-reset: 1796083200
        anthropic-ratelimit-unified-overage-status: allowed_warning
        anthropic-ratelimit-unified-overage-surpassed-threshold: 0.95
        anthropic-ratelimit-unified-overage-utilization: 0.9999
        anthropic-ratelimit-unified-representative-claim: overage
        anthropic-ratelimit-unified-reset: 1796083200
        anthropic-ratelimit-unified-status: allowed_warning
        request-id: req_1
        {"extra_usage":{"currency":"USD","is_enabled":true,"monthly_limit":0,"used_credits":0,"utilization":100},"limits":[{"group":"daily","is_active":true,"kind":"spend","percent":100,"resets_at":"2026-12-01T00:00:00Z","severity":"critical"}]}
    "#]],
    );
}

#[test]
fn whoever_has_no_limit_is_told_what_the_month_cost() {
    let account = Account {
        tightest: None,
        month: "12.345".parse().unwrap(),
    };
    expect![[r#"{"extra_usage":{"currency":"USD","is_enabled":false,"monthly_limit":null,"used_credits":1235,"utilization":null},"limits":[]}"#]].assert_eq(&usage(&account).to_string());
}

#[test]
fn a_limit_of_the_organisation_is_told_by_its_month() {
    let account = Account {
        tightest: Some(spending(LevelKind::Organisation, "100", "1000")),
        month: NanoUsd::ZERO,
    };
    assert_eq!(usage(&account)["limits"][0]["group"], "monthly");
}

#[test]
fn only_a_bearer_token_of_ours_is_gateway_mode() {
    let mode = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        is_gateway_mode(&headers)
    };
    assert!(mode("authorization", "Bearer tg-abc"));
    assert!(mode("authorization", "bearer  tg-abc"));
    assert!(!mode("authorization", "Bearer sk-ant-oat01-abc"));
    assert!(!mode("authorization", "Basic tg-abc"));
    assert!(!mode("authorization", "tg-abc"));
    assert!(!mode("x-api-key", "tg-abc"));
    assert!(!mode("x-tidegate-key", "tg-abc"));
}

#[test]
fn only_the_one_word_quota_is_a_probe() {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    let bearer = HeaderValue::from_static("Bearer tg-abc");
    parts.headers.insert("authorization", bearer);
    let probe = |body: &str| is_quota_probe(&parts, &Bytes::copy_from_slice(body.as_bytes()));
    assert!(probe(
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"quota"}],"metadata":{"user_id":"{\"a\":1}"}}"#
    ));
    for other in [
        r#"{"model":"m","max_tokens":2,"messages":[{"role":"user","content":"quota"}]}"#,
        r#"{"model":"m","max_tokens":1,"stream":true,"messages":[{"role":"user","content":"quota"}]}"#,
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"quotas"}]}"#,
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"quota"},{"role":"user","content":"quota"}]}"#,
        r#"{"model":"m","max_tokens":1,"messages":[]}"#,
        "quota",
    ] {
        assert!(!probe(other), "{other}");
    }
    let (parts, ()) = http::Request::new(()).into_parts();
    let body = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"quota"}]}"#;
    assert!(!is_quota_probe(
        &parts,
        &Bytes::from_static(body.as_bytes())
    ));
}
