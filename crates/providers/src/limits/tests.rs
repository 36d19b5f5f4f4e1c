use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

/// 2026-08-10T12:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_786_363_200);

fn read(headers: &str) -> LimitSignals {
    let lines = headers.lines().filter_map(|it| it.trim().split_once(": "));
    parse(lines.map(|(name, value)| (name, value.as_bytes())), NOW)
}

fn shown<T: std::fmt::Debug>(value: Option<T>) -> String {
    value.map_or_else(|| "?".to_owned(), |it| format!("{it:?}"))
}

fn until(at: Option<Timestamp>) -> String {
    shown(at.map(|it| it.since(NOW)))
}

/// Shows what was understood; resets as time from now.
#[track_caller]
fn check(headers: &str, expected: Expect) {
    let LimitSignals {
        retry_after,
        should_retry,
        windows,
        unified,
    } = read(headers);
    let mut text = format!(
        "retry after {}, should retry {}\n",
        shown(retry_after),
        shown(should_retry)
    );
    for it in windows {
        let (limit, left) = (shown(it.limit), shown(it.remaining));
        writeln!(
            text,
            "{}: {left} of {limit}, full in {}",
            it.name,
            until(it.resets_at)
        )
        .unwrap();
    }
    if let Some(it) = unified {
        let (rejected, again) = (it.is_rejected(), until(it.rejected_until()));
        writeln!(
            text,
            "unified: {}, reset in {}, by {}",
            shown(it.status.as_ref()),
            until(it.reset),
            shown(it.representative_claim.as_ref())
        )
        .unwrap();
        for it in &it.windows {
            let (used, passed) = (ppm(it.utilization), ppm(it.surpassed_threshold));
            writeln!(
                text,
                "  {}: {}, reset in {}, used {used}, passed {passed}",
                it.name,
                shown(it.status.as_ref()),
                until(it.reset)
            )
            .unwrap();
        }
        if let Some(it) = &it.overage {
            writeln!(text, "  {it:?}").unwrap();
        }
        let fallback = (it.fallback.as_ref(), it.fallback_percentage);
        writeln!(text, "  fallback {fallback:?}, others {:?}", it.others).unwrap();
        writeln!(
            text,
            "  rejected: {rejected}, until {again}, other models pass: {}",
            it.only_other_models_pass()
        )
        .unwrap();
    }
    expected.assert_eq(&text);
}

fn ppm(value: Option<PartsPerMillion>) -> String {
    shown(value.map(|it| it.0))
}

#[test]
fn the_limits_of_anthropics_api() {
    check(
        "
        retry-after: 12
        anthropic-organization-id: 5c3a
        anthropic-ratelimit-requests-limit: 1000
        anthropic-ratelimit-requests-remaining: 999
        anthropic-ratelimit-requests-reset: 2026-08-10T12:00:01Z
        anthropic-ratelimit-tokens-limit: 2400000
        anthropic-ratelimit-tokens-remaining: 2390000
        anthropic-ratelimit-tokens-reset: 2026-08-10T14:00:00.500+02:00
        anthropic-ratelimit-input-tokens-limit: 2000000
        anthropic-ratelimit-input-tokens-remaining: 1000000
        anthropic-ratelimit-input-tokens-reset: 2026-08-10T12:00:30Z
        anthropic-ratelimit-output-tokens-limit: 400000
        anthropic-ratelimit-output-tokens-remaining: 400000
        anthropic-ratelimit-output-tokens-reset: 2026-08-10T11:59:59Z
        anthropic-priority-input-tokens-limit: 10000
        anthropic-priority-input-tokens-remaining: 9000
        anthropic-fast-output-tokens-remaining: 7
        anthropic-ratelimit-thinking-tokens-limit: 5
        ",
        expect![[r#"
            retry after 12s, should retry ?
            requests: 999 of 1000, full in 1s
            tokens: 2390000 of 2400000, full in 500ms
            input-tokens: 1000000 of 2000000, full in 30s
            output-tokens: 400000 of 400000, full in 0ns
            priority-input-tokens: 9000 of 10000, full in ?
            fast-output-tokens: 7 of ?, full in ?
            thinking-tokens: ? of 5, full in ?
        "#]],
    );
}

#[test]
fn the_limits_of_openais_api() {
    check(
        "
        x-ratelimit-limit-requests: 60
        x-ratelimit-limit-tokens: 150000
        x-ratelimit-remaining-requests: 59
        x-ratelimit-remaining-tokens: 149984
        x-ratelimit-reset-requests: 1s
        x-ratelimit-reset-tokens: 6m0s
        x-ratelimit-limit-project-tokens: 100
        x-ratelimit-reset-project-tokens: 7.66ms
        x-ratelimit-remaining-tokens_usage_based: 40
        x-request-id: req_1
        openai-processing-ms: 200
        retry-after: 2
        retry-after-ms: 1500
        x-should-retry: true
        ",
        expect![[r#"
            retry after 1.5s, should retry true
            requests: 59 of 60, full in 1s
            tokens: 149984 of 150000, full in 360s
            project-tokens: ? of 100, full in 7.66ms
            tokens_usage_based: 40 of ?, full in ?
        "#]],
    );
}

#[test]
fn azure_says_plain_seconds_and_minus_one_for_unknown() {
    check(
        "
        x-ratelimit-limit-tokens: -1
        x-ratelimit-remaining-tokens: -1
        x-ratelimit-reset-tokens: 0
        x-ratelimit-limit-requests: 10
        x-ratelimit-remaining-requests: 0
        x-ratelimit-reset-requests: 26
        ",
        expect![[r#"
            retry after ?, should retry ?
            tokens: ? of ?, full in ?
            requests: 0 of 10, full in 26s
        "#]],
    );
}

#[test]
fn openrouter_says_milliseconds_since_the_epoch() {
    check(
        "
        X-RateLimit-Limit: 50
        X-RateLimit-Remaining: 0
        X-RateLimit-Reset: 1786363260500
        ",
        expect![[r#"
            retry after ?, should retry ?
            requests: 0 of 50, full in 60.5s
        "#]],
    );
}

#[test]
fn the_windows_of_a_subscription() {
    check(
        "
        anthropic-ratelimit-unified-status: allowed_warning
        anthropic-ratelimit-unified-reset: 1786363800
        anthropic-ratelimit-unified-representative-claim: five_hour
        anthropic-ratelimit-unified-5h-status: allowed_warning
        anthropic-ratelimit-unified-5h-reset: 1786363800
        anthropic-ratelimit-unified-5h-utilization: 0.92
        anthropic-ratelimit-unified-5h-surpassed-threshold: 0.75
        anthropic-ratelimit-unified-7d-status: allowed
        anthropic-ratelimit-unified-7d-reset: 1786706400
        anthropic-ratelimit-unified-7d-utilization: 0.3000000000000000444
        anthropic-ratelimit-unified-30d_new-utilization: 1e-3
        anthropic-ratelimit-unified-fallback: available
        anthropic-ratelimit-unified-fallback-percentage: 0.5
        anthropic-ratelimit-unified-overage-status: rejected
        anthropic-ratelimit-unified-overage-disabled-reason: org_level_disabled
        anthropic-ratelimit-unified-overage-period-monthly-utilization: 0.1
        anthropic-ratelimit-unified-upgrade-paths: max
        anthropic-ratelimit-unified-grace-status: allowed
        anthropic-ratelimit-unified-grace-5h-utilization: 0.1
        anthropic-ratelimit-unified-slow-status: offered
        anthropic-ratelimit-unified-slow-retry-after: 30
        ",
        expect![[r#"
            retry after ?, should retry ?
            unified: AllowedWarning, reset in 600s, by "five_hour"
              5h: AllowedWarning, reset in 600s, used 920000, passed 750000
              7d: Allowed, reset in 343200s, used 300000, passed ?
              30d_new: ?, reset in ?, used 1000, passed ?
              Overage { status: Some(Rejected), reset: None, utilization: None, surpassed_threshold: None, in_use: None, disabled_reason: Some("org_level_disabled"), period: None, scope: None }
              fallback (Some("available"), Some(PartsPerMillion(500000))), others [("overage-period-monthly-utilization", "0.1"), ("upgrade-paths", "max"), ("grace-status", "allowed"), ("grace-5h-utilization", "0.1"), ("slow-status", "offered"), ("slow-retry-after", "30")]
              rejected: false, until ?, other models pass: false
        "#]],
    );
}

#[test]
fn of_several_rejected_windows_the_latest_reset_counts() {
    check(
        "
        retry-after: 7999
        anthropic-ratelimit-unified-status: rejected
        anthropic-ratelimit-unified-reset: 1786363800
        anthropic-ratelimit-unified-5h-status: rejected
        anthropic-ratelimit-unified-5h-reset: 1786363800
        anthropic-ratelimit-unified-5h-utilization: 1.0
        anthropic-ratelimit-unified-7d-status: rejected
        anthropic-ratelimit-unified-7d-reset: 1786363900
        anthropic-ratelimit-unified-7d-utilization: 1.02
        anthropic-ratelimit-unified-7d_oi-status: allowed
        anthropic-ratelimit-unified-7d_oi-reset: 1786463900
        ",
        expect![[r#"
            retry after 7999s, should retry ?
            unified: Rejected, reset in 600s, by ?
              5h: Rejected, reset in 600s, used 1000000, passed ?
              7d: Rejected, reset in 700s, used 1020000, passed ?
              7d_oi: Allowed, reset in 100700s, used ?, passed ?
              fallback (None, None), others []
              rejected: true, until 700s, other models pass: false
        "#]],
    );
}

#[test]
fn a_rejection_with_room_in_the_general_windows_binds_one_model_only() {
    check(
        "
        anthropic-ratelimit-unified-status: rejected
        anthropic-ratelimit-unified-5h-status: allowed
        anthropic-ratelimit-unified-5h-utilization: 0.4
        anthropic-ratelimit-unified-7d-status: allowed
        anthropic-ratelimit-unified-7d-utilization: 0.6
        anthropic-ratelimit-unified-7d_oi-status: rejected
        anthropic-ratelimit-unified-7d_oi-reset: 1786463200
        ",
        expect![[r#"
            retry after ?, should retry ?
            unified: Rejected, reset in ?, by ?
              5h: Allowed, reset in ?, used 400000, passed ?
              7d: Allowed, reset in ?, used 600000, passed ?
              7d_oi: Rejected, reset in 100000s, used ?, passed ?
              fallback (None, None), others []
              rejected: true, until 100000s, other models pass: true
        "#]],
    );
}

#[test]
fn calls_pass_while_overage_is_in_use_though_a_window_is_rejected() {
    check(
        "
        anthropic-ratelimit-unified-status: allowed
        anthropic-ratelimit-unified-5h-status: rejected
        anthropic-ratelimit-unified-5h-reset: 1786463200
        anthropic-ratelimit-unified-overage-in-use: true
        anthropic-ratelimit-unified-overage-status: allowed
        ",
        expect![[r#"
            retry after ?, should retry ?
            unified: Allowed, reset in ?, by ?
              5h: Rejected, reset in 100000s, used ?, passed ?
              Overage { status: Some(Allowed), reset: None, utilization: None, surpassed_threshold: None, in_use: Some(true), disabled_reason: None, period: None, scope: None }
              fallback (None, None), others []
              rejected: false, until ?, other models pass: false
        "#]],
    );
}

#[test]
fn a_budget_of_a_gateway_is_rejected_until_its_overage_resets() {
    check(
        "
        retry-after: 37800
        x-should-retry: false
        anthropic-ratelimit-unified-status: rejected
        anthropic-ratelimit-unified-reset: 1786401000
        anthropic-ratelimit-unified-overage-reset: 1786401000
        anthropic-ratelimit-unified-overage-utilization: 1
        anthropic-ratelimit-unified-overage-surpassed-threshold: 1
        anthropic-ratelimit-unified-overage-period: daily
        anthropic-ratelimit-unified-overage-disabled-reason: org_spend_cap_reached
        anthropic-ratelimit-unified-overage-scope: group_pool
        ",
        expect![[r#"
            retry after 37800s, should retry false
            unified: Rejected, reset in 37800s, by ?
              Overage { status: None, reset: Some(Timestamp(1786401000000000000)), utilization: Some(PartsPerMillion(1000000)), surpassed_threshold: Some(PartsPerMillion(1000000)), in_use: None, disabled_reason: Some("org_spend_cap_reached"), period: Some("daily"), scope: Some("group_pool") }
              fallback (None, None), others []
              rejected: true, until 37800s, other models pass: false
        "#]],
    );
}

#[test]
fn without_a_summary_every_window_must_let_calls_pass() {
    check(
        "
        anthropic-ratelimit-unified-reset: 1786363800
        anthropic-ratelimit-unified-overage-reset: 1786401000
        ",
        expect![[r#"
            retry after ?, should retry ?
            unified: ?, reset in 600s, by ?
              Overage { status: None, reset: Some(Timestamp(1786401000000000000)), utilization: None, surpassed_threshold: None, in_use: None, disabled_reason: None, period: None, scope: None }
              fallback (None, None), others []
              rejected: false, until ?, other models pass: false
        "#]],
    );
    check(
        "
        anthropic-ratelimit-unified-7d-status: rejected
        anthropic-ratelimit-unified-overage-reset: 1786401000
        ",
        expect![[r#"
            retry after ?, should retry ?
            unified: ?, reset in ?, by ?
              7d: Rejected, reset in ?, used ?, passed ?
              Overage { status: None, reset: Some(Timestamp(1786401000000000000)), utilization: None, surpassed_threshold: None, in_use: None, disabled_reason: None, period: None, scope: None }
              fallback (None, None), others []
              rejected: true, until 37800s, other models pass: false
        "#]],
    );
}

#[test]
fn retry_after_is_seconds_or_a_date_and_never_clamped() {
    let wait = |value: &str| read(&format!("Retry-After: {value}")).retry_after;
    let seconds = |it| Some(Duration::from_secs(it));
    assert_eq!(wait("12"), seconds(12));
    assert_eq!(wait("0.25"), Some(Duration::from_millis(250)));
    assert_eq!(wait("864000"), seconds(864_000));
    assert_eq!(wait("Mon, 10 Aug 2026 12:01:40 GMT"), seconds(100));
    assert_eq!(wait("Mon, 10 Aug 2026 11:00:00 GMT"), seconds(0));
    for nonsense in ["-1", "nan", "soon", "1e300", "99999999999999999999", ""] {
        assert_eq!(wait(nonsense), None, "{nonsense}");
    }
}

#[test]
fn values_that_make_no_sense_are_passed_over() {
    check(
        "
        anthropic-ratelimit-requests-limit: many
        anthropic-ratelimit-requests-remaining: 3
        anthropic-ratelimit-requests-reset: tomorrow
        anthropic-ratelimit--limit: 3
        anthropic-ratelimit-unified-5h-utilization: NaN
        anthropic-ratelimit-unified-5h-reset: 2026-13-45
        x-ratelimit-reset-requests: 99999999999999999999h
        x-should-retry: maybe
        ",
        expect![[r#"
            retry after ?, should retry ?
            requests: 3 of ?, full in ?
            unified: ?, reset in ?, by ?
              5h: ?, reset in ?, used ?, passed ?
              fallback (None, None), others []
              rejected: false, until ?, other models pass: false
        "#]],
    );
}

#[test]
fn what_is_kept_of_a_flood_of_headers_is_bounded() {
    let headers: Vec<(String, Vec<u8>)> = (0..1_000)
        .flat_map(|it| {
            [
                (format!("x-ratelimit-limit-w{it}"), b"1".to_vec()),
                (
                    format!("anthropic-ratelimit-unified-w{it}-status"),
                    b"allowed".to_vec(),
                ),
                (
                    format!("anthropic-ratelimit-unified-other-{it}"),
                    b"x".to_vec(),
                ),
                (
                    format!("anthropic-ratelimit-unified-long-{it}"),
                    vec![b'x'; 300],
                ),
                (
                    format!("x-ratelimit-limit-{}", "n".repeat(300)),
                    b"1".to_vec(),
                ),
            ]
        })
        .collect();
    let lines = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()));
    let signals = parse(lines, NOW);
    let unified = signals.unified.unwrap();
    assert_eq!(signals.windows.len(), WINDOWS_MAX);
    assert_eq!(unified.windows.len(), WINDOWS_MAX);
    assert_eq!(unified.others.len(), WINDOWS_MAX);
    assert!(unified.others.iter().all(|(_, value)| value == "x"));
    // The first ones are kept, and later fields of theirs are still read.
    assert!(signals.windows.iter().all(|it| it.limit == Some(1)));
}

#[test]
fn time_until_a_reset_ends_at_zero() {
    let windows = read("anthropic-ratelimit-requests-reset: 2026-08-10T12:00:10Z").windows;
    let window = windows.first().unwrap();
    let after = |it| window.reset_after(NOW.after(Duration::from_secs(it)));
    assert_eq!(after(4), Some(Duration::from_secs(6)));
    assert_eq!(after(11), Some(Duration::ZERO));
}

fn names() -> impl Strategy<Value = String> {
    "(anthropic-|ratelimit-|unified-|overage-|x-ratelimit-|retry-after|5h|-limit|-remaining|-reset|-status|-ms|[A-Za-zä_-]){0,6}"
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    let text = "([0-9]{0,22}|[.eE:TZ+-]|m|s|h|ms|GMT|2026-08-10T12|true|rejected){0,6}";
    prop_oneof![
        text.prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn no_header_panics(headers in prop::collection::vec((names(), values()), 0..80), now: u64) {
        let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let signals = parse(lines, Timestamp(now));
        prop_assert!(signals.windows.len() <= WINDOWS_MAX);
    }

    #[test]
    fn go_durations_and_plain_seconds_say_the_same(seconds in 0_u64..1_000_000) {
        let reset = |text: &str| {
            let windows = read(&format!("x-ratelimit-reset-tokens: {text}\nx-ratelimit-limit-tokens: 9")).windows;
            windows.first().and_then(|it| it.resets_at)
        };
        let go = reset(&format!("{}h{}m{}s", seconds / 3_600, seconds / 60 % 60, seconds % 60));
        prop_assert_eq!(go, Some(NOW.after(Duration::from_secs(seconds))));
        prop_assert_eq!(reset(&seconds.to_string()), go);
    }
}
