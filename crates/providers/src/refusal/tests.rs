use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_786_109_400);

/// The refusal as it goes over the wire, from Claude Code's point of view.
#[track_caller]
fn check(dialect: Dialect, refusal: &Refusal, expected: Expect) {
    let answer = refuse(dialect, true, refusal, "call_0000000000000007", NOW);
    let mut wire = format!("{}\n", answer.status);
    for (name, value) in &answer.headers {
        writeln!(wire, "{name}: {value}").unwrap();
    }
    let body = String::from_utf8(answer.body).unwrap();
    serde_json::from_str::<serde_json::Value>(&body).unwrap();
    expected.assert_eq(&format!("{wire}{body}\n"));
}

fn budget() -> Refusal {
    Refusal::Budget {
        sentence: "spend limit \"user day\" reached · resets at 18:00 UTC · ask for more"
            .to_owned(),
        retry_after: None,
        resets_at: Some(Timestamp(1_786_147_199_500_000_000)),
        period: Some(Period::Daily),
        shared: true,
    }
}

fn rate(wait: Duration) -> Refusal {
    Refusal::Rate {
        sentence: "the bucket `claude_code` has 0 of 5 units left; they are back in 91 s"
            .to_owned(),
        wait,
    }
}

#[test]
fn a_budget_that_is_spent_takes_the_prescribed_form() {
    check(
        Dialect::Anthropic,
        &budget(),
        expect![[r#"
        429
        content-type: application/json
        request-id: call_0000000000000007
        retry-after: 37800
        x-should-retry: false
        anthropic-ratelimit-unified-status: rejected
        anthropic-ratelimit-unified-reset: 1786147200
        anthropic-ratelimit-unified-overage-reset: 1786147200
        anthropic-ratelimit-unified-overage-utilization: 1
        anthropic-ratelimit-unified-overage-surpassed-threshold: 1
        anthropic-ratelimit-unified-overage-period: daily
        anthropic-ratelimit-unified-overage-disabled-reason: org_spend_cap_reached
        anthropic-ratelimit-unified-overage-scope: group_pool
        {"type":"error","error":{"type":"billing_error","message":"spend limit \"user day\" reached · resets at 18:00 UTC · ask for more"},"request_id":"call_0000000000000007"}
    "#]],
    );
    check(
        Dialect::OpenAiChat,
        &budget(),
        expect![[r#"
        429
        content-type: application/json
        x-request-id: call_0000000000000007
        retry-after: 37800
        x-should-retry: false
        {"error":{"message":"spend limit \"user day\" reached · resets at 18:00 UTC · ask for more","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}
    "#]],
    );
}

#[test]
fn a_budget_that_nothing_resets_tells_no_time() {
    let refusal = Refusal::Budget {
        sentence: "the task's limit of $5.00 is reached".to_owned(),
        retry_after: None,
        resets_at: None,
        period: None,
        shared: false,
    };
    check(
        Dialect::Anthropic,
        &refusal,
        expect![[r#"
        429
        content-type: application/json
        request-id: call_0000000000000007
        x-should-retry: false
        anthropic-ratelimit-unified-status: rejected
        anthropic-ratelimit-unified-overage-utilization: 1
        anthropic-ratelimit-unified-overage-surpassed-threshold: 1
        anthropic-ratelimit-unified-overage-disabled-reason: org_spend_cap_reached
        {"type":"error","error":{"type":"billing_error","message":"the task's limit of $5.00 is reached"},"request_id":"call_0000000000000007"}
    "#]],
    );
}

#[test]
fn a_counter_that_cannot_be_read_says_only_that() {
    let sentence = "the ledger cannot be written".to_owned();
    check(
        Dialect::Anthropic,
        &Refusal::CounterUnreadable { sentence },
        expect![[r#"
            429
            content-type: application/json
            request-id: call_0000000000000007
            x-should-retry: false
            anthropic-ratelimit-unified-overage-disabled-reason: fetch_error
            {"type":"error","error":{"type":"billing_error","message":"the ledger cannot be written"},"request_id":"call_0000000000000007"}
        "#]],
    );
}

#[test]
fn claude_code_is_told_to_wait_no_longer_than_it_does() {
    check(
        Dialect::Anthropic,
        &rate(Duration::from_millis(90_001)),
        expect![[r#"
            429
            content-type: application/json
            request-id: call_0000000000000007
            retry-after: 58
            x-tidegate-wait-seconds: 91
            {"type":"error","error":{"type":"rate_limit_error","message":"the bucket `claude_code` has 0 of 5 units left; they are back in 91 s"},"request_id":"call_0000000000000007"}
        "#]],
    );
    check(
        Dialect::Anthropic,
        &rate(Duration::from_millis(12_001)),
        expect![[r#"
            429
            content-type: application/json
            request-id: call_0000000000000007
            retry-after: 13
            x-tidegate-wait-seconds: 13
            {"type":"error","error":{"type":"rate_limit_error","message":"the bucket `claude_code` has 0 of 5 units left; they are back in 91 s"},"request_id":"call_0000000000000007"}
        "#]],
    );
}

#[test]
fn other_clients_are_told_the_exact_wait() {
    let answer = refuse(
        Dialect::OpenAiChat,
        false,
        &rate(Duration::from_micros(90_000_100)),
        "c",
        NOW,
    );
    let header = |wanted: &str| {
        answer
            .headers
            .iter()
            .find(|it| it.0 == wanted)
            .map(|it| it.1.as_str())
    };
    assert_eq!(header("retry-after"), Some("91"));
    assert_eq!(header("retry-after-ms"), Some("90001"));
    assert_eq!(header("x-tidegate-wait-seconds"), Some("91"));
    assert_eq!(header("x-should-retry"), None);
}

/// The refusals of these kinds in both families, one a line, without content type and id.
#[track_caller]
fn check_all(refusals: &[Refusal], expected: Expect) {
    let mut table = String::new();
    for refusal in refusals {
        for dialect in [Dialect::Anthropic, Dialect::OpenAiResponses] {
            let answer = refuse(dialect, false, refusal, "c", NOW);
            let headers: Vec<String> = answer
                .headers
                .iter()
                .skip(2)
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            let body = String::from_utf8(answer.body).unwrap();
            writeln!(table, "{} [{}] {body}", answer.status, headers.join(", ")).unwrap();
        }
    }
    expected.assert_eq(&table);
}

const WAIT: Duration = Duration::from_secs(2);

fn sentence() -> String {
    "why, until when, what else".to_owned()
}

#[test]
fn refusals_that_a_retry_cannot_help_say_so() {
    let sentence = sentence();
    check_all(
        &[
            Refusal::NeverFits {
                sentence: sentence.clone(),
            },
            Refusal::Unauthenticated {
                sentence: sentence.clone(),
            },
            Refusal::Forbidden {
                sentence: sentence.clone(),
            },
            Refusal::NotFound {
                sentence: sentence.clone(),
            },
            Refusal::InvalidRequest {
                sentence: sentence.clone(),
            },
            Refusal::TooLarge {
                sentence: sentence.clone(),
            },
            Refusal::HeadTooLarge { sentence },
        ],
        expect![[r#"
            429 [x-should-retry: false] {"type":"error","error":{"type":"rate_limit_error","message":"why, until when, what else"},"request_id":"c"}
            429 [x-should-retry: false] {"error":{"message":"why, until when, what else","type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded"}}
            401 [x-should-retry: false] {"type":"error","error":{"type":"authentication_error","message":"why, until when, what else"},"request_id":"c"}
            401 [x-should-retry: false] {"error":{"message":"why, until when, what else","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}
            403 [x-should-retry: false] {"type":"error","error":{"type":"permission_error","message":"why, until when, what else"},"request_id":"c"}
            403 [x-should-retry: false] {"error":{"message":"why, until when, what else","type":"permission_error","param":null,"code":"permission_denied"}}
            404 [x-should-retry: false] {"type":"error","error":{"type":"not_found_error","message":"why, until when, what else"},"request_id":"c"}
            404 [x-should-retry: false] {"error":{"message":"why, until when, what else","type":"invalid_request_error","param":null,"code":"not_found"}}
            400 [x-should-retry: false] {"type":"error","error":{"type":"invalid_request_error","message":"why, until when, what else"},"request_id":"c"}
            400 [x-should-retry: false] {"error":{"message":"why, until when, what else","type":"invalid_request_error","param":null,"code":null}}
            413 [x-should-retry: false] {"type":"error","error":{"type":"request_too_large","message":"why, until when, what else"},"request_id":"c"}
            413 [x-should-retry: false] {"error":{"message":"why, until when, what else","type":"invalid_request_error","param":null,"code":"request_too_large"}}
            431 [x-should-retry: false] {"type":"error","error":{"type":"invalid_request_error","message":"why, until when, what else"},"request_id":"c"}
            431 [x-should-retry: false] {"error":{"message":"why, until when, what else","type":"invalid_request_error","param":null,"code":null}}
        "#]],
    );
}

#[test]
fn refusals_that_pass_say_when_or_leave_it_to_the_client() {
    check_all(
        &[
            Refusal::Busy {
                sentence: sentence(),
                wait: WAIT,
            },
            Refusal::Stopping {
                sentence: sentence(),
                wait: WAIT,
            },
            Refusal::UpstreamUnreachable {
                sentence: sentence(),
            },
            Refusal::UpstreamTimeout {
                sentence: sentence(),
            },
        ],
        expect![[r#"
            429 [retry-after: 2, x-tidegate-wait-seconds: 2] {"type":"error","error":{"type":"rate_limit_error","message":"why, until when, what else"},"request_id":"c"}
            429 [retry-after: 2, retry-after-ms: 2000, x-tidegate-wait-seconds: 2] {"error":{"message":"why, until when, what else","type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded"}}
            503 [retry-after: 2, x-tidegate-wait-seconds: 2] {"type":"error","error":{"type":"overloaded_error","message":"why, until when, what else"},"request_id":"c"}
            503 [retry-after: 2, retry-after-ms: 2000, x-tidegate-wait-seconds: 2] {"error":{"message":"why, until when, what else","type":"service_unavailable_error","param":null,"code":"server_is_overloaded"}}
            502 [] {"type":"error","error":{"type":"api_error","message":"why, until when, what else"},"request_id":"c"}
            502 [] {"error":{"message":"why, until when, what else","type":"server_error","param":null,"code":"server_error"}}
            504 [] {"type":"error","error":{"type":"timeout_error","message":"why, until when, what else"},"request_id":"c"}
            504 [] {"error":{"message":"why, until when, what else","type":"server_error","param":null,"code":"timeout"}}
        "#]],
    );
}

proptest! {
    /// A client that waits as it is told comes back when the call fits, or is asked to wait again;
    /// it is never told a time that Claude Code takes for a reason to give up.
    #[test]
    fn the_wait_told_is_never_too_short_nor_too_long(nanos in prop_oneof![0..200_000_000_000_u64, 0..=u64::MAX], is_claude_code: bool) {
        let wait = Duration::from_nanos(nanos);
        let answer = refuse(Dialect::Anthropic, is_claude_code, &rate(wait), "c", NOW);
        let header = |wanted: &str| {
            let found = answer.headers.iter().find(|it| it.0 == wanted);
            Duration::from_secs(found.unwrap().1.parse().unwrap())
        };
        let (told, truth) = (header("retry-after"), header("x-tidegate-wait-seconds"));
        prop_assert!(truth >= wait && truth <= wait + Duration::from_secs(1));
        if is_claude_code {
            prop_assert_eq!(told, truth.min(CLAUDE_CODE_WAIT_MAX));
        } else {
            prop_assert_eq!(told, truth);
        }
    }
}
