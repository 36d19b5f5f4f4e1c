use expect_test::{Expect, expect};
use tidegate_control::wire::{Limit, Money, Window as BudgetWindow};
use tidegate_types::{CallId, Mode, Priority};

use super::*;

fn money(text: &str) -> Money {
    text.parse::<NanoUsd>().unwrap().into()
}

fn budget(level: &str, spent: &str, hard: Option<&str>) -> Budget {
    let left = |hard: &str| {
        let (hard, spent): (NanoUsd, NanoUsd) = (hard.parse().unwrap(), spent.parse().unwrap());
        hard.saturating_sub(spent).into()
    };
    Budget {
        level: level.to_owned(),
        organisation: "acme".to_owned(),
        user: Some("ann".to_owned()),
        task: None,
        window: (level != "task").then(|| BudgetWindow {
            opens: "2026-07-14".to_owned(),
            starts_at: "2026-07-14T00:00:00Z".to_owned(),
            ends_at: "2026-07-15T00:00:00Z".to_owned(),
        }),
        limit: Limit {
            soft: None,
            hard: hard.map(money),
            overage_allowed: false,
            named: true,
            keyless: Mode::Enforce,
            asking: Mode::Enforce,
        },
        spent: money(spent),
        held: money("0"),
        left: hard.map(left),
        notional: money("1.5"),
        would_refuse: 0,
        soft_passed: false,
        in_use: true,
    }
}

fn session(budgets: Vec<Budget>, waiting: usize) -> Session {
    let call = WaitingCall {
        id: CallId::from_raw(1).to_string(),
        platform: "sonnet".to_owned(),
        organisation: "acme".to_owned(),
        user: "ann".to_owned(),
        task: None,
        model: "m".to_owned(),
        priority: Priority::High,
        place: 2,
        of: 5,
        waited_ms: 1_000,
        wait_p50_ms: 39_001,
        wait_p90_ms: 90_000,
        away: false,
        reason: String::new(),
    };
    Session {
        session: "s".to_owned(),
        task: None,
        task_state: None,
        queues: Vec::new(),
        budgets,
        waiting: vec![call; waiting],
    }
}

#[track_caller]
fn check(told: &str, session: Option<&Session>, expected: Expect) {
    let told = serde_json::from_str(told).unwrap();
    expected.assert_eq(&line(&told, session));
}

#[test]
fn the_task_and_the_limit_with_least_left_are_told() {
    let budgets = vec![
        budget("user_month", "12", Some("500")),
        budget("user_day", "3.104", Some("20")),
        budget("task", "0.425", Some("5")),
    ];
    check(
        "{}",
        Some(&session(budgets.clone(), 0)),
        expect!["task $0.43 of $5.00, $4.58 left · today $3.10 of $20.00, $16.90 left"],
    );
    check(
        "{}",
        Some(&session(budgets, 3)),
        expect![
            "waits, place 2 of 5, about 40 s (2 more wait) · task $0.43 of $5.00, $4.58 left · today $3.10 of $20.00, $16.90 left"
        ],
    );
}

#[test]
fn a_subscriptions_calls_are_told_at_their_list_price_beside_what_the_provider_says() {
    check(
        r#"{"rate_limits": {"five_hour": {"used_percentage": 41.6, "resets_at": 1}, "seven_day": {"used_percentage": 7}}}"#,
        Some(&session(vec![budget("task", "0", Some("5"))], 0)),
        expect!["task $1.50 not charged · 5 h 42 % · 7 d 7 %"],
    );
}

#[test]
fn without_a_gateway_only_what_claude_code_says_is_told() {
    check("{}", None, expect![""]);
    check(
        r#"{"cost": {"total_cost_usd": 0.1234}}"#,
        None,
        expect!["session $0.12"],
    );
    check(
        r#"{"rate_limits": {"spend_limit": {"used_percentage": 82, "used_usd": 410, "limit_usd": 500, "period": "monthly"}}}"#,
        None,
        expect!["this month $410.00 of $500.00"],
    );
    check(
        r#"{"rate_limits": {"spend_limit": {"used_percentage": 82.4}}}"#,
        None,
        expect!["spent 82 %"],
    );
}

#[test]
fn a_name_from_the_gateway_cannot_paint_the_terminal() {
    let budgets = vec![budget("\u{1b}[31mllm", "1", Some("2"))];
    check(
        "{}",
        Some(&session(budgets, 0)),
        expect!["[31mllm $1.00 of $2.00, $1.00 left"],
    );
}

#[test]
fn the_environment_says_where_calls_go_and_as_whose() {
    let asked = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(name, it)| ((*name).to_owned(), (*it).to_owned()));
        let it = Asked::of(&pairs.collect());
        let key = it.key.map(|it| it.expose().clone());
        (it.gateway.map(|it| it.to_string()), key, it.task)
    };
    let some = |it: &str| Some(it.to_owned());
    assert_eq!(asked(&[]), (None, None, None));
    assert_eq!(
        asked(&[
            ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8787/"),
            ("ANTHROPIC_AUTH_TOKEN", "tg-token"),
            (
                "ANTHROPIC_CUSTOM_HEADERS",
                "X-Tidegate-Task: run-1\nX-Tidegate-Key: tg-key"
            ),
        ]),
        (some("127.0.0.1:8787"), some("tg-key"), some("run-1"))
    );
    // A credential that is none of ours is not ours to send.
    assert_eq!(
        asked(&[
            ("ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
            ("ANTHROPIC_API_KEY", "sk-ant-api03-made-up"),
        ]),
        (None, None, None)
    );
}
