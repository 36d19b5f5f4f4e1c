use expect_test::{Expect, expect};
use tidegate_control::wire::{Limit, Money, Window};

use super::*;

fn money(text: &str) -> Money {
    text.parse::<NanoUsd>().unwrap().into()
}

/// A day's budget of five dollars, enforced for those who ask.
fn budget(spent: &str, keyless: Mode, overage_allowed: bool) -> Budget {
    Budget {
        level: "user_day".to_owned(),
        organisation: "acme".to_owned(),
        user: Some("ann".to_owned()),
        task: None,
        window: Some(Window {
            opens: "2026-07-14".to_owned(),
            starts_at: "2026-07-14T00:00:00Z".to_owned(),
            ends_at: "2026-07-15T00:00:00Z".to_owned(),
        }),
        limit: Limit {
            soft: None,
            hard: Some(money("5")),
            overage_allowed,
            named: false,
            keyless,
            asking: Mode::Enforce,
        },
        spent: money(spent),
        held: money("0"),
        left: None,
        notional: money("0"),
        would_refuse: 0,
        soft_passed: false,
        in_use: true,
    }
}

fn session(budgets: Vec<Budget>, state: Option<&str>, waits: &[(&str, u64)]) -> Session {
    let outlook = |(platform, seconds): &(&str, u64)| Outlook {
        platform: (*platform).to_owned(),
        wait_p50_ms: seconds * 1_000,
        wait_p90_ms: seconds * 3_000,
    };
    Session {
        session: "s".to_owned(),
        task: None,
        task_state: state.map(str::to_owned),
        budgets,
        waiting: Vec::new(),
        queues: waits.iter().map(outlook).collect(),
    }
}

#[track_caller]
fn check(session: &Session, asking: bool, expected: Expect) {
    expected.assert_eq(&verdict(session, asking).unwrap_or_default());
}

#[test]
fn a_prompt_of_a_spent_budget_is_blocked_with_the_reason() {
    let spent = session(vec![budget("5", Mode::Watch, false)], None, &[]);
    check(
        &spent,
        true,
        expect![[
            r#"{"decision":"block","reason":"Tidegate: the budget `user_day` is spent: $5.00 of $5.00; it resets at 2026-07-15T00:00:00Z. An operator can raise it with `tidegate budget set`."}"#
        ]],
    );
    // It only watches calls without a key.
    check(&spent, false, expect![[""]]);
    let named = session(vec![budget("5", Mode::Enforce, false)], None, &[]);
    assert!(verdict(&named, false).is_some());
    let left = session(vec![budget("4.99", Mode::Enforce, false)], None, &[]);
    check(&left, true, expect![[""]]);
    let overage = session(vec![budget("6", Mode::Enforce, true)], None, &[]);
    check(&overage, true, expect![[""]]);
}

#[test]
fn a_prompt_of_a_cancelled_task_is_blocked() {
    let cancelled = session(Vec::new(), Some("cancelled"), &[]);
    check(
        &cancelled,
        false,
        expect![[
            r#"{"decision":"block","reason":"Tidegate: the task was cancelled, and its calls would be refused: name another one."}"#
        ]],
    );
    let running = session(Vec::new(), Some("running"), &[]);
    check(&running, false, expect![[""]]);
}

#[test]
fn a_long_wait_is_said_and_a_short_one_is_not() {
    let long = session(Vec::new(), None, &[("sonnet", 59), ("opus", 150)]);
    check(
        &long,
        true,
        expect![[
            r#"{"systemMessage":"Tidegate: calls wait on opus: about 2 min 30 s, in one of ten cases more than 7 min 30 s"}"#
        ]],
    );
    let short = session(Vec::new(), None, &[("sonnet", 59)]);
    check(&short, true, expect![[""]]);
}

#[test]
fn that_nobody_answers_is_said_once_a_session_and_again_after_it_was_over() {
    let folder = tempfile::tempdir().unwrap();
    let down = Down(Some(folder.path().join(DOWN_FILE)));
    let why = Client::to("127.0.0.1:9".parse().unwrap(), None)
        .get::<Session>("/")
        .unwrap_err();
    let says = |session: &str| !down.say(session, &why).text.is_empty();
    assert_eq!(["a", "a", "b", "b"].map(says), [true, false, true, false]);
    down.is_over();
    assert!(says("b"));
    let nowhere = Down(Some(folder.path().join("missing").join(DOWN_FILE)));
    assert_eq!(nowhere.say("a", &why), Said::default());
}
