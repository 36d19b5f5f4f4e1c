use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// Shows a text as a terminal without colours would.
#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&crate::cli::table::for_reader(text, false));
}

fn task(name: &str, depth: u32, fields: Value) -> Value {
    let money = |usd: &str, nano: u64| json!({ "usd": usd, "nano_usd": nano });
    let used = json!({
        "calls": 12, "input": 1_000, "cache_read": 20_000, "cache_write": 300, "output": 4_000,
        "cost": money("0.25", 250_000_000), "notional": money("0.00", 0), "call_ms": 61_000,
    });
    let mut all = json!({
        "task": name, "id": "task_0000000000000001", "root": "fix-1", "depth": depth,
        "organisation": "acme", "user": "ada", "state": "running", "progress": 0,
        "created_before": true, "created": "2026-07-14T12:00:00Z", "active": "2026-07-14T12:01:00Z",
        "running": 1, "own": used, "tree": used,
    });
    for (name, value) in fields.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

#[test]
fn tasks_are_shown_with_what_their_trees_used() {
    let tasks = |tasks: Value, next: Value| {
        serde_json::from_value(json!({ "tasks": tasks, "next": next })).unwrap()
    };
    let failed = json!({ "state": "failed", "progress": 40, "priority": "low", "running": 0 });
    check(
        &show(&tasks(
            json!([task("fix-2", 0, json!({})), task("fix-1", 0, failed)]),
            json!("task_0000000000000001"),
        )),
        expect![[r#"
            task   state         user  priority  calls  running  tokens   cost       time  last active
            fix-2  running       ada                12        1  25,300  $0.25  1 min 1 s  2026-07-14T12:01:00Z
            fix-1  failed, 40 %  ada   low          12        0  25,300  $0.25  1 min 1 s  2026-07-14T12:01:00Z
            there are more: see --limit
        "#]],
    );
    check(
        &show(&tasks(json!([]), json!(null))),
        expect![[r#"
        no task is known: calls make them appear, and `tidegate task create`
    "#]],
    );
}

#[test]
fn a_tree_is_indented_and_says_what_was_said() {
    let root = json!({
        "note": "half of it", "progress": 50, "session": "s", "task_type": "bugfix",
        "complexity": "expert", "deadline": "2026-07-14T13:00:00Z", "estimated_tokens": 50_000,
        "estimated_seconds": 600, "estimated_cost": { "usd": "1.00", "nano_usd": 1_000_000_000_u64 },
    });
    let tree = json!({
        "task": task("fix-1", 0, root),
        "below": [task("tests", 1, json!({ "parent": "fix-1" })), task("more", 2, json!({ "parent": "tests" }))],
    });
    check(
        &show_tree(&serde_json::from_value(tree).unwrap()),
        expect![[r#"
            task      state          user  priority  calls  running  tokens   cost       time  last active
            fix-1     running, 50 %  ada                12        1  25,300  $0.25  1 min 1 s  2026-07-14T12:01:00Z
              tests   running        ada                12        1  25,300  $0.25  1 min 1 s  2026-07-14T12:01:00Z
                more  running        ada                12        1  25,300  $0.25  1 min 1 s  2026-07-14T12:01:00Z
            fix-1: half of it
            session: s
            type: bugfix
            complexity: expert
            deadline: 2026-07-14T13:00:00Z
            expected: 50,000 tokens, $1.00, 10 min 0 s
        "#]],
    );
}
