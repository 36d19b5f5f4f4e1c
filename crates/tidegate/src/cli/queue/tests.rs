use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// Shows a text as a terminal without colours would.
#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&crate::cli::table::for_reader(text, false));
}

#[test]
fn the_queue_shows_places_waits_and_how_far_they_can_be_trusted() {
    let waiting = |call: u64, place: usize, away: bool| {
        json!({
            "id": tidegate_types::CallId::from_raw(call).to_string(), "platform": "sonnet", "organisation": "acme", "user": "ada",
            "model": "claude-opus-5-5", "priority": "high", "place": place, "of": 2,
            "waited_ms": 61_000, "wait_p50_ms": 900, "wait_p90_ms": 7_200_000, "away": away,
            "reason": "`sonnet.units` makes ada wait 1 s: less is left than this call needs",
        })
    };
    let class = |foretold: u64| json!({ "priority": "high", "waiting": 2, "longest_ms": 61_000, "foretold": foretold, "beyond_p90": 11 });
    let queues = |waiting: Value, foretold: u64| {
        let whole = json!({
            "waiting": waiting,
            "platforms": [{ "platform": "sonnet", "waiting": 2, "classes": [class(foretold)] }],
        });
        serde_json::from_value(whole).unwrap()
    };
    check(
        &show(&queues(
            json!([waiting(1, 1, false), waiting(2, 2, true)]),
            100,
        )),
        expect![[r#"
            waits                  platform  priority  user  model             place     waited  about    at most  client
            call_0000000000000001  sonnet    high      ada   claude-opus-5-5  1 of 2  1 min 1 s    1 s  2 h 0 min  held
            call_0000000000000002  sonnet    high      ada   claude-opus-5-5  2 of 2  1 min 1 s    1 s  2 h 0 min  away, place kept
            `sonnet.units` makes ada wait 1 s: less is left than this call needs
            sonnet high: 11 of 100 waits were longer than `at most` (one in ten should be)
        "#]],
    );
    check(
        &show(&queues(json!([]), 3)),
        expect![[r#"
        no call waits
    "#]],
    );
}
