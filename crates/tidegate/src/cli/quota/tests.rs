use expect_test::expect;
use serde_json::{Value, json};

use super::*;

#[test]
fn quotas_say_what_is_left_when_it_is_free_who_waits_and_whom_they_bind() {
    let limit = |scope: &str, kind: &str, limit: u64, named: bool, keyless: &str| {
        json!({
            "scope": scope, "kind": kind, "limit": limit, "named": named, "keyless": keyless,
            "asking": "enforce",
        })
    };
    let quota = |limit: Value, fields: Value| {
        let mut all = limit;
        all["organisation"] = json!("acme");
        all["of"] = json!("ada");
        all["waiting"] = json!([]);
        all["waiting_count"] = json!(0);
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let waiting = json!([{ "id": "call_0000000000000001", "user": "ada" }]);
    let quotas = json!({
        "quotas": [
            quota(limit("user", "calls_per_minute", 100, false, "watch"), json!({ "used": 40, "left": 60, "free_in_seconds": 24 })),
            quota(limit("user", "tasks_at_once", 1, true, "enforce"), json!({ "used": 1, "left": 0, "waiting": waiting, "waiting_count": 3 })),
            quota(limit("user", "context_tokens", 200_000, true, "watch"), json!({})),
        ],
        "everybody": [limit("user", "calls_per_minute", 100, false, "watch")],
    });
    let shown = show(&serde_json::from_value(quotas).unwrap());
    expect![[r#"
        whose  as    quota             used    limit  left  free          waiting  binds
        ada    user  calls per minute    40      100    60  in 24 s                calls with a key (built in)
        ada    user  tasks at once        1        1     0  when it ends        3  everyone
        ada    user  context tokens          200,000        each                   calls with a key
        ada tasks_at_once keeps 3 calls waiting, the first is call_0000000000000001

        for whoever has none of their own:
        of each  quota             limit  binds
        user     calls per minute    100  calls with a key (built in)
    "#]].assert_eq(&crate::cli::table::for_reader(&shown, false));
    let nothing = serde_json::from_value(json!({ "quotas": [], "everybody": [] })).unwrap();
    expect![[r#"
        nobody that a quota is for has done anything yet
    "#]]
    .assert_eq(&show(&nothing));
}
