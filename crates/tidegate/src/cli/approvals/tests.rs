use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::show;

/// Shows a text as a terminal without colours would.
#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&crate::cli::table::for_reader(text, false));
}

#[test]
fn requests_for_approval_show_who_asks_for_what() {
    let money = |usd: &str, nano: u64| json!({ "usd": usd, "nano_usd": nano });
    let request = json!({
        "id": "appr_0000000000000007", "state": "open", "level": "task", "organisation": "acme",
        "task": "fix-1", "asked_by": "ada", "joined": ["bob"], "limit": money("1.00", 1_000_000_000),
        "spent": money("0.98", 980_000_000), "asked": money("0.05", 50_000_000),
        "at": "2026-11-21T10:00:00Z", "until": "2026-11-21T11:00:00Z",
    });
    let show = |all: Value| {
        let all = json!({ "approvals": all });
        show(&serde_json::from_value(all).unwrap())
    };
    check(
        &show(json!([request])),
        expect![[r#"
        request                state  level  of     asked by  limit  spent  asked  until
        appr_0000000000000007  open   task   fix-1  ada       $1.00  $0.98  $0.05  2026-11-21T11:00:00Z
        decide with `tidegate approve REQUEST` or `tidegate deny REQUEST`
    "#]],
    );
    check(
        &show(json!([])),
        expect![[r#"
        nothing waits for approval
    "#]],
    );
}
