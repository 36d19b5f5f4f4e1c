//! Money: what is spent, held and left, and other limits.

use expect_test::expect;

use super::world::{World, check, check_in};

#[test]
fn limits_are_shown_to_those_they_concern() {
    check(
        r#"token PUT /api/v1/budgets/user_day {"organisation": "acme", "user": "bob", "hard_usd": "3.5"}
           stranger GET /api/v1/limits | buckets
           stranger GET /api/v1/limits | budgets
           caller GET /api/v1/limits | budgets"#,
        expect![[r#"
            > token PUT /api/v1/budgets/user_day {"organisation": "acme", "user": "bob", "hard_usd": "3.5"}
            200 {after: [null/$3.50 named: enforce/enforce], before: [null/$20.00 built in: watch/enforce], level: "user_day", scope: "user acme/bob"}
            > stranger GET /api/v1/limits | buckets
            200 {
              buckets: [
                {asking: "enforce", capacity: 5000, keyless: "watch", name: "units", owner: "ours", platform: "claude_code", refill: {amount: 100, period_seconds: 3600.0}, resource: "units", threshold: 2500}
                {asking: "enforce", capacity: 10000, keyless: "watch", name: "units", owner: "ours", platform: "sonnet", refill: {amount: 200, period_seconds: 3600.0}, resource: "units", threshold: 5000}
                {asking: "enforce", capacity: 2, keyless: "watch", name: "slots", owner: "ours", platform: "sonnet", refill: null, resource: "concurrency", threshold: 0}
              ]
            }
            > stranger GET /api/v1/limits | budgets
            200 {
              budgets: [
                {level: "organisation", limit: [null/$10000.00 built in: watch/enforce], scope: "everybody"}
                {level: "user_month", limit: [null/$500.00 built in: watch/enforce], scope: "everybody"}
                {level: "user_day", limit: [null/$20.00 built in: watch/enforce], scope: "everybody"}
                {level: "llm", limit: [null/$7000.00 built in: watch/enforce], scope: "everybody"}
                {level: "tools", limit: [null/$2000.00 built in: watch/enforce], scope: "everybody"}
                {level: "infrastructure", limit: [null/$1000.00 built in: watch/enforce], scope: "everybody"}
                {level: "task", limit: [$1.00/$5.00 built in: watch/enforce], scope: "everybody"}
                {level: "user_day", limit: [null/$3.50 named: enforce/enforce], scope: "user acme/bob"}
              ]
            }
            > caller GET /api/v1/limits | budgets
            200 {
              budgets: [
                {level: "organisation", limit: [null/$10000.00 built in: watch/enforce], scope: "everybody"}
                {level: "user_month", limit: [null/$500.00 built in: watch/enforce], scope: "everybody"}
                {level: "user_day", limit: [null/$20.00 built in: watch/enforce], scope: "everybody"}
                {level: "llm", limit: [null/$7000.00 built in: watch/enforce], scope: "everybody"}
                {level: "tools", limit: [null/$2000.00 built in: watch/enforce], scope: "everybody"}
                {level: "infrastructure", limit: [null/$1000.00 built in: watch/enforce], scope: "everybody"}
                {level: "task", limit: [$1.00/$5.00 built in: watch/enforce], scope: "everybody"}
              ]
            }
        "#]],
    );
}

#[test]
fn a_limit_that_is_set_is_in_force_and_in_the_audit() {
    check(
        r#"operator PUT /api/v1/budgets/task {"hard_usd": "0.5"}
           caller POST /api/v1/admissions {"cost_usd": "0.6", "task": "t"}
           operator PUT /api/v1/budgets/task {"task": "t", "hard_usd": null, "soft_usd": "2", "mode": "watch"}
           caller POST /api/v1/admissions {"cost_usd": "0.6", "task": "t"}
           boss PUT /api/v1/budgets/llm {"organisation": "acme", "overage_allowed": true}
           viewer GET /api/v1/audit?limit=3
           boss GET /api/v1/audit?limit=1"#,
        expect![[r#"
            > operator PUT /api/v1/budgets/task {"hard_usd": "0.5"}
            200 {after: [null/$0.50 named: enforce/enforce], before: [$1.00/$5.00 built in: watch/enforce], level: "task", scope: "everybody"}
            > caller POST /api/v1/admissions {"cost_usd": "0.6", "task": "t"}
            200 {
              alternative: null
              approved: false
              confidence: 1.0
              expires_at: null
              limit: "task"
              platform: "claude_code"
              reasons: ["budget `task` of $0.50 can't hold this call: $0.00 spent, $0.00 held by running calls, $0.60 needed at most · more than it ever holds · raise it with `tidegate budget set task <amount>`, or ask for less with a smaller cost_usd"]
              reservation: null
              shortage: {asked: $0.60, held: $0.00, level: "task", limit: $0.50, resets_at: null, spent: $0.00}
              wait_time: null
            }
            > operator PUT /api/v1/budgets/task {"task": "t", "hard_usd": null, "soft_usd": "2", "mode": "watch"}
            200 {after: [$2.00/null named: watch/watch], before: [null/$0.50 named: enforce/enforce], level: "task", scope: "task local/t"}
            > caller POST /api/v1/admissions {"cost_usd": "0.6", "task": "t"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > boss PUT /api/v1/budgets/llm {"organisation": "acme", "overage_allowed": true}
            200 {after: [null/$7000.00 named: enforce/enforce, overage], before: [null/$7000.00 built in: watch/enforce], level: "llm", scope: "organisation acme"}
            > viewer GET /api/v1/audit?limit=3
            200 {
              changes: [
                {action: "config_reloaded", after: "a limit", at: "2026-07-14T12:00:00.000000Z", object: "configuration", role: "operator", who: "key_19f607f8e0000006"}
                {action: "limit_set", after: [$2.00/null named: watch/watch], at: "2026-07-14T12:00:00.000000Z", before: [null/$0.50 named: enforce/enforce], object: "task for task local/t", organisation: "local", role: "operator", who: "key_19f607f8e0000003"}
                {action: "config_reloaded", after: "a limit", at: "2026-07-14T12:00:00.000000Z", object: "configuration", role: "operator", who: "key_19f607f8e0000003"}
              ]
            }
            > boss GET /api/v1/audit?limit=1
            200 {changes: [{action: "limit_set", after: [null/$7000.00 named: enforce/enforce, overage], at: "2026-07-14T12:00:00.000000Z", before: [null/$7000.00 built in: watch/enforce], object: "llm for organisation acme", organisation: "acme", role: "admin", who: "key_19f607f8e0000006"}]}
        "#]],
    );
}

#[test]
fn budgets_are_told_in_the_order_of_the_tree() {
    check(
        r#"caller POST /api/v1/admissions {"cost_usd": "0.25", "task": "t"} | reservation
           caller POST /api/v1/reservations/{last}/settle {"cost_usd": "0.2"}
           stranger POST /api/v1/admissions {"cost_usd": "1"} | reservation
           token GET /api/v1/budgets
           caller GET /api/v1/budgets?level=user_day
           stranger GET /api/v1/budgets?level=organisation"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"cost_usd": "0.25", "task": "t"} | reservation
            200 {reservation: "resv_19f607f8e0000007"}
            > caller POST /api/v1/reservations/{last}/settle {"cost_usd": "0.2"}
            200 {cost: $0.20, reservation: "resv_19f607f8e0000007"}
            > stranger POST /api/v1/admissions {"cost_usd": "1"} | reservation
            200 {reservation: "resv_19f607f8e0000008"}
            > token GET /api/v1/budgets
            200 {
              budgets: [
                {held: $1.00, in_use: true, left: $9999.00, level: "organisation", limit: [null/$10000.00 built in: watch/enforce], notional: $0.00, organisation: "acme", soft_passed: false, spent: $0.00, window: {ends_at: "2026-08-01T00:00:00Z", opens: "2026-07-01", starts_at: "2026-07-01T00:00:00Z"}, would_refuse: 0}
                {held: $1.00, in_use: true, left: $6999.00, level: "llm", limit: [null/$7000.00 built in: watch/enforce], notional: $0.00, organisation: "acme", soft_passed: false, spent: $0.00, window: {ends_at: "2026-08-01T00:00:00Z", opens: "2026-07-01", starts_at: "2026-07-01T00:00:00Z"}, would_refuse: 0}
                {held: $1.00, in_use: true, left: $499.00, level: "user_month", limit: [null/$500.00 built in: watch/enforce], notional: $0.00, organisation: "acme", soft_passed: false, spent: $0.00, user: "bob", window: {ends_at: "2026-08-01T00:00:00Z", opens: "2026-07-01", starts_at: "2026-07-01T00:00:00Z"}, would_refuse: 0}
                {held: $1.00, in_use: true, left: $19.00, level: "user_day", limit: [null/$20.00 built in: watch/enforce], notional: $0.00, organisation: "acme", soft_passed: false, spent: $0.00, user: "bob", window: {ends_at: "2026-07-15T00:00:00Z", opens: "2026-07-14", starts_at: "2026-07-14T00:00:00Z"}, would_refuse: 0}
                {held: $0.00, in_use: true, left: $9999.80, level: "organisation", limit: [null/$10000.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, window: {ends_at: "2026-08-01T00:00:00Z", opens: "2026-07-01", starts_at: "2026-07-01T00:00:00Z"}, would_refuse: 0}
                {held: $0.00, in_use: true, left: $6999.80, level: "llm", limit: [null/$7000.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, window: {ends_at: "2026-08-01T00:00:00Z", opens: "2026-07-01", starts_at: "2026-07-01T00:00:00Z"}, would_refuse: 0}
                {held: $0.00, in_use: true, left: $499.80, level: "user_month", limit: [null/$500.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, user: "ann", window: {ends_at: "2026-08-01T00:00:00Z", opens: "2026-07-01", starts_at: "2026-07-01T00:00:00Z"}, would_refuse: 0}
                {held: $0.00, in_use: true, left: $19.80, level: "user_day", limit: [null/$20.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, user: "ann", window: {ends_at: "2026-07-15T00:00:00Z", opens: "2026-07-14", starts_at: "2026-07-14T00:00:00Z"}, would_refuse: 0}
                {held: $0.00, in_use: true, left: $4.80, level: "task", limit: [$1.00/$5.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, task: "t", user: "ann", window: null, would_refuse: 0}
              ]
              more: 0
            }
            > caller GET /api/v1/budgets?level=user_day
            200 {budgets: [{held: $0.00, in_use: true, left: $19.80, level: "user_day", limit: [null/$20.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, user: "ann", window: {ends_at: "2026-07-15T00:00:00Z", opens: "2026-07-14", starts_at: "2026-07-14T00:00:00Z"}, would_refuse: 0}], more: 0}
            > stranger GET /api/v1/budgets?level=organisation
            200 {budgets: [], more: 0}
        "#]],
    );
}

#[test]
fn budgets_that_nobody_uses_now_are_read_from_the_ledger() {
    let world = World::new();
    check_in(
        &world,
        r#"caller POST /api/v1/admissions {"cost_usd": "0.25", "task": "t"} | reservation
           caller POST /api/v1/reservations/{last}/settle {"cost_usd": "0.2"}
           caller GET /api/v1/budgets?task=t"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"cost_usd": "0.25", "task": "t"} | reservation
            200 {reservation: "resv_19f607f8e0000007"}
            > caller POST /api/v1/reservations/{last}/settle {"cost_usd": "0.2"}
            200 {cost: $0.20, reservation: "resv_19f607f8e0000007"}
            > caller GET /api/v1/budgets?task=t
            200 {budgets: [{held: $0.00, in_use: true, left: $4.80, level: "task", limit: [$1.00/$5.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, task: "t", user: "ann", window: null, would_refuse: 0}], more: 0}
        "#]],
    );
    world.engine.flush();
    check_in(
        &world,
        r#"pass 90000
           pass 1
           caller GET /api/v1/budgets
           caller GET /api/v1/budgets?level=user_day&ended=true"#,
        expect![[r#"
            > pass 90000
            > pass 1
            > caller GET /api/v1/budgets
            200 {
              budgets: [
                {held: $0.00, in_use: true, left: $499.80, level: "user_month", limit: [null/$500.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, user: "ann", window: {ends_at: "2026-08-01T00:00:00Z", opens: "2026-07-01", starts_at: "2026-07-01T00:00:00Z"}, would_refuse: 0}
                {held: $0.00, in_use: false, left: $4.80, level: "task", limit: [$1.00/$5.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, task: "t", user: "ann", window: null, would_refuse: 0}
              ]
              more: 0
            }
            > caller GET /api/v1/budgets?level=user_day&ended=true
            200 {budgets: [{held: $0.00, in_use: false, left: $19.80, level: "user_day", limit: [null/$20.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.20, user: "ann", window: {ends_at: "2026-07-15T00:00:00Z", opens: "2026-07-14", starts_at: "2026-07-14T00:00:00Z"}, would_refuse: 0}], more: 0}
        "#]],
    );
}

#[test]
fn a_session_is_shown_to_its_own_user_with_the_task_it_is_at() {
    check(
        r#"caller POST /api/v1/admissions {"cost_usd": "0.5", "task": "t"}
           caller GET /api/v1/sessions/s1?task=t | task
           caller GET /api/v1/sessions/s1?task=other&prompt=t | task
           caller GET /api/v1/sessions/s1 | waiting
           stranger GET /api/v1/sessions/s1?task=t | budgets"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"cost_usd": "0.5", "task": "t"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > caller GET /api/v1/sessions/s1?task=t | task
            200 {task: "t"}
            > caller GET /api/v1/sessions/s1?task=other&prompt=t | task
            200 {task: "t"}
            > caller GET /api/v1/sessions/s1 | waiting
            200 {waiting: []}
            > stranger GET /api/v1/sessions/s1?task=t | budgets
            200 {budgets: []}
        "#]],
    );
}
