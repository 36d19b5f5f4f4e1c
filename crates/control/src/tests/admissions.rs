//! Leave to act, from asking to settling.

use std::sync::Arc;

use expect_test::expect;
use tidegate_ledger::{Entry, Event, LedgerStore as _, verify_store};
use tidegate_store::MemoryStore;
use tidegate_types::ReservationId;
use tokio::task::JoinSet;

use super::world::{World, check, check_in, run};

#[test]
fn an_admission_is_approved_extended_and_settled_once() {
    check(
        r#"caller POST /api/v1/admissions {"platform": "claude_code", "tokens": 100, "priority": "critical", "task_type": "review", "estimated_duration_seconds": 1800.5, "session": "s", "task": "t-1", "cost_usd": 0.1}
           caller GET /api/v1/reservations
           caller POST /api/v1/reservations/{last}/extend {"cost_usd": "0.05", "seconds": 7200}
           caller POST /api/v1/reservations/{last}/settle {"cost_usd": 0.07, "tokens": 60, "usage": {"input": 10, "output": 5}, "model": "claude-opus-5-5"}
           caller POST /api/v1/reservations/{last}/settle {"cost_usd": 0.07}
           caller GET /api/v1/budgets?level=task"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"platform": "claude_code", "tokens": 100, "priority": "critical", "task_type": "review", "estimated_duration_seconds": 1800.5, "session": "s", "task": "t-1", "cost_usd": 0.1}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T13:00:01Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > caller GET /api/v1/reservations
            200 {expired: [], more: 0, open: [{expires_at: "2026-07-14T13:00:01Z", held: $0.10, organisation: "local", reservation: "resv_19f607f8e0000007", service: "llm", task: "t-1", unknown: false, user: "ann"}]}
            > caller POST /api/v1/reservations/{last}/extend {"cost_usd": "0.05", "seconds": 7200}
            200 {expires_at: "2026-07-14T14:00:00Z", reservation: "resv_19f607f8e0000007"}
            > caller POST /api/v1/reservations/{last}/settle {"cost_usd": 0.07, "tokens": 60, "usage": {"input": 10, "output": 5}, "model": "claude-opus-5-5"}
            200 {cost: $0.07, reservation: "resv_19f607f8e0000007"}
            > caller POST /api/v1/reservations/{last}/settle {"cost_usd": 0.07}
            404 not_open: there is no open reservation resv_19f607f8e0000007: it has ended, or never was · where it was settled at an estimate, an operator corrects it with `tidegate ledger correct RESERVATION COST`
            > caller GET /api/v1/budgets?level=task
            200 {budgets: [{held: $0.00, in_use: true, left: $4.93, level: "task", limit: [$1.00/$5.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.07, task: "t-1", user: "ann", window: null, would_refuse: 0}], more: 0}
        "#]],
    );
}

#[test]
fn what_does_not_fit_is_deferred_with_the_exact_wait_and_an_alternative() {
    check(
        r#"operator POST /api/v1/admissions {"tokens": 5000, "priority": "high"}
           operator POST /api/v1/admissions {"tokens": 7, "priority": "high"}
           operator POST /api/v1/admissions {"platform": "sonnet", "complexity": "expert"}
           operator POST /api/v1/admissions {"platform": "sonnet", "complexity": "expert"}
           operator POST /api/v1/admissions {"platform": "sonnet", "complexity": "simple"}
           operator POST /api/v1/reservations/{last}/release
           operator POST /api/v1/admissions {"platform": "sonnet", "tokens": 20000}"#,
        expect![[r#"
            > operator POST /api/v1/admissions {"tokens": 5000, "priority": "high"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > operator POST /api/v1/admissions {"tokens": 7, "priority": "high"}
            200 {alternative: "sonnet", approved: false, confidence: null, expires_at: null, limit: "claude_code.units", platform: "claude_code", reasons: ["`claude_code.units` makes oli wait 6 min 0 s: less is left than this call needs · try again then, or use another platform"], reservation: null, wait_for: "refill", wait_time: 360.0}
            > operator POST /api/v1/admissions {"platform": "sonnet", "complexity": "expert"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "sonnet", reasons: ["sonnet has what this needs"], reservation: "resv_19f607f8e0000008", wait_time: null}
            > operator POST /api/v1/admissions {"platform": "sonnet", "complexity": "expert"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "sonnet", reasons: ["sonnet has what this needs"], reservation: "resv_19f607f8e0000009", wait_time: null}
            > operator POST /api/v1/admissions {"platform": "sonnet", "complexity": "simple"}
            200 {alternative: null, approved: false, confidence: null, expires_at: null, limit: "sonnet.slots", platform: "sonnet", reasons: ["`sonnet.slots` is taken: as many calls are in flight as may be · try again when one of them has ended"], reservation: null, wait_for: "running_calls", wait_time: 0.0}
            > operator POST /api/v1/reservations/{last}/release
            200 {reservation: "resv_19f607f8e0000009"}
            > operator POST /api/v1/admissions {"platform": "sonnet", "tokens": 20000}
            200 {alternative: null, approved: false, confidence: null, expires_at: null, limit: "sonnet.units", platform: "sonnet", reasons: ["`sonnet.units` makes oli wait 3 min 0 s: this call is so large that it needs a full bucket · try again then, or use another platform"], reservation: null, wait_for: "refill", wait_time: 180.0}
        "#]],
    );
}

#[test]
fn who_asks_to_wait_is_told_its_place_and_then_its_leave() {
    check(
        r#"caller POST /api/v1/admissions {"tokens": 5000, "priority": "high"}
           caller POST /api/v1/admissions {"tokens": 10, "wait": true}
           caller GET /api/v1/admissions/{waits}
           caller GET /api/v1/queue | waiting
           stranger GET /api/v1/admissions/{waits}
           pass 600
           caller GET /api/v1/admissions/{waits}?wait=50
           caller POST /api/v1/reservations/{last}/release
           caller GET /api/v1/admissions/{waits}/events
           caller DELETE /api/v1/admissions/{waits} | state"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"tokens": 5000, "priority": "high"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > caller POST /api/v1/admissions {"tokens": 10, "wait": true}
            202 {
              alternative: null
              approved: false
              confidence: null
              expires_at: null
              platform: "claude_code"
              reasons: ["`claude_code.units` makes ann wait 8 min 35 s: less is left than this call needs · try again then, or use another platform"]
              reservation: null
              wait_time: 514.286
              waits: {id: "adm_19f607f8e0000008", of: 1, place: 1, reason: "`claude_code.units` makes ann wait 8 min 35 s: less is left than this call needs · try again then, or use another platform", since: "2026-07-14T12:00:00Z", state: "waiting", until: "2026-07-14T13:00:00Z", wait_p50: 514.286, wait_p90: 1398.833}
            }
            > caller GET /api/v1/admissions/{waits}
            200 {id: "adm_19f607f8e0000008", of: 1, place: 1, reason: "`claude_code.units` makes ann wait 8 min 35 s: less is left than this call needs · try again then, or use another platform", since: "2026-07-14T12:00:00Z", state: "waiting", until: "2026-07-14T13:00:00Z", wait_p50: 514.286, wait_p90: 1398.833}
            > caller GET /api/v1/queue | waiting
            200 {waiting: [{away: false, id: "adm_19f607f8e0000008", model: "", of: 1, organisation: "local", place: 1, platform: "claude_code", priority: "high", reason: "`claude_code.units` makes ann wait 8 min 35 s: less is left than this call needs · try again then, or use another platform", user: "ann", wait_p50_ms: 514285, wait_p90_ms: 1398832, waited_ms: 0}]}
            > stranger GET /api/v1/admissions/{waits}
            404 not_found: there is no request for leave that waits `adm_19f607f8e0000008`
            > pass 600
            > caller GET /api/v1/admissions/{waits}?wait=50
            200 {
              admission: {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:25:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f6088b5c000000", wait_time: null}
              id: "adm_19f607f8e0000008"
              kept_until: "2026-07-14T12:11:00Z"
              since: "2026-07-14T12:00:00Z"
              state: "approved"
              until: "2026-07-14T13:00:00Z"
            }
            > caller POST /api/v1/reservations/{last}/release
            200 {reservation: "resv_19f6088b5c000000"}
            > caller GET /api/v1/admissions/{waits}/events
            200 event: decided
            data: {"id":"adm_19f607f8e0000008","state":"approved","since":"2026-07-14T12:00:00Z","until":"2026-07-14T13:00:00Z","kept_until":"2026-07-14T12:11:00Z","admission":{"approved":true,"platform":"claude_code","wait_time":null,"alternative":null,"reservation":"resv_19f6088b5c000000","expires_at":"2026-07-14T12:25:00Z","confidence":1.0,"reasons":["claude_code has what this needs"]}}
            > caller DELETE /api/v1/admissions/{waits} | state
            200 {state: "approved"}
        "#]],
    );
}

#[test]
fn a_wait_is_ended_by_hand_and_told_so() {
    check(
        r#"caller POST /api/v1/admissions {"tokens": 5000, "priority": "high"}
           caller POST /api/v1/admissions {"tokens": 10, "wait": true} | approved
           caller DELETE /api/v1/queue/{waits}
           caller GET /api/v1/admissions/{waits}?wait=50 | id, state
           caller POST /api/v1/admissions {"tokens": 10, "wait": true} | approved
           caller DELETE /api/v1/admissions/{waits} | id, state
           caller GET /api/v1/queue | waiting"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"tokens": 5000, "priority": "high"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > caller POST /api/v1/admissions {"tokens": 10, "wait": true} | approved
            202 {approved: false}
            > caller DELETE /api/v1/queue/{waits}
            200 {id: "adm_19f607f8e0000008"}
            > caller GET /api/v1/admissions/{waits}?wait=50 | id, state
            200 {id: "adm_19f607f8e0000008", state: "cancelled"}
            > caller POST /api/v1/admissions {"tokens": 10, "wait": true} | approved
            202 {approved: false}
            > caller DELETE /api/v1/admissions/{waits} | id, state
            200 {id: "adm_19f607f8e0000009", state: "cancelled"}
            > caller GET /api/v1/queue | waiting
            200 {waiting: []}
        "#]],
    );
}

#[test]
fn what_is_wrong_with_a_wait_is_said() {
    check(
        r#"caller POST /api/v1/admissions {"tokens": 5000, "priority": "high"}
           caller POST /api/v1/admissions {"tokens": 10, "wait_seconds": 5}
           caller POST /api/v1/admissions {"tokens": 10, "wait": true, "wait_seconds": 100000}
           caller POST /api/v1/admissions {"tokens": 10, "wait": true, "hold_seconds": 901}
           caller POST /api/v1/admissions {"tokens": 10, "wait": true, "notify": "nobody"}
           caller POST /api/v1/admissions {"tokens": 10, "wait": true, "notify": "ops"} | approved
           caller POST /api/v1/admissions {"tokens": 10, "wait": true, "wait_seconds": 5} | approved, reasons
           caller GET /api/v1/admissions/adm_0000000000000001
           caller GET /api/v1/admissions/7
           caller GET /api/v1/admissions/adm_0000000000000001?wait=56
           caller DELETE /api/v1/admissions/adm_0000000000000001"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"tokens": 5000, "priority": "high"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > caller POST /api/v1/admissions {"tokens": 10, "wait_seconds": 5}
            400 incomplete: `wait_seconds`, `hold_seconds` and `notify` are for requests that wait: send `wait: true` with them
            > caller POST /api/v1/admissions {"tokens": 10, "wait": true, "wait_seconds": 100000}
            400 bad_value: `wait_seconds`: `100000` is not a whole number up to 86400
            > caller POST /api/v1/admissions {"tokens": 10, "wait": true, "hold_seconds": 901}
            400 bad_value: `hold_seconds`: `901` is not a whole number up to 900
            > caller POST /api/v1/admissions {"tokens": 10, "wait": true, "notify": "nobody"}
            400 bad_value: `notify`: `nobody` is not a webhook of `[notify.webhooks]`; there are ["ops"]
            > caller POST /api/v1/admissions {"tokens": 10, "wait": true, "notify": "ops"} | approved
            202 {approved: false}
            > caller POST /api/v1/admissions {"tokens": 10, "wait": true, "wait_seconds": 5} | approved, reasons
            200 {approved: false, reasons: ["`claude_code.units` makes ann wait 8 min 35 s: less is left than this call needs · try again then, or use another platform", "it would probably wait 8 min 35 s, and may wait 5 s · let it wait for longer, or ask for less"]}
            > caller GET /api/v1/admissions/adm_0000000000000001
            404 not_found: there is no request for leave that waits `adm_0000000000000001`
            > caller GET /api/v1/admissions/7
            400 bad_value: `id`: `7` is not a request's id, adm_ and 16 hexadecimal digits
            > caller GET /api/v1/admissions/adm_0000000000000001?wait=56
            400 bad_value: `wait`: `56` is not a whole number up to 55
            > caller DELETE /api/v1/admissions/adm_0000000000000001
            404 not_found: there is no request for leave that waits `adm_0000000000000001`
        "#]],
    );
}

#[test]
fn a_budget_that_is_short_is_told_in_figures() {
    check(
        r#"caller POST /api/v1/admissions {"cost_usd": "5.01", "task": "t"}
           caller POST /api/v1/admissions {"cost_usd": "20.01"}
           caller POST /api/v1/admissions {"cost_usd": 15}
           caller POST /api/v1/reservations/{last}/extend {"cost_usd": 10}
           caller POST /api/v1/admissions {"cost_usd": 10}"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"cost_usd": "5.01", "task": "t"}
            200 {
              alternative: null
              approved: false
              confidence: 1.0
              expires_at: null
              limit: "task"
              platform: "claude_code"
              reasons: ["budget `task` of $5.00 can't hold this call: $0.00 spent, $0.00 held by running calls, $5.01 needed at most · more than it ever holds · raise it with `tidegate budget set task <amount>`, or ask for less with a smaller cost_usd"]
              reservation: null
              shortage: {asked: $5.01, held: $0.00, level: "task", limit: $5.00, resets_at: null, spent: $0.00}
              wait_time: null
            }
            > caller POST /api/v1/admissions {"cost_usd": "20.01"}
            200 {
              alternative: null
              approved: false
              confidence: 1.0
              expires_at: null
              limit: "user_day"
              platform: "claude_code"
              reasons: ["budget `user_day` of $20.00 can't hold this call: $0.00 spent, $0.00 held by running calls, $20.01 needed at most · more than it ever holds · raise it with `tidegate budget set user_day <amount>`, or ask for less with a smaller cost_usd"]
              reservation: null
              shortage: {asked: $20.01, held: $0.00, level: "user_day", limit: $20.00, resets_at: "2026-07-15T00:00:00Z", spent: $0.00}
              wait_time: null
            }
            > caller POST /api/v1/admissions {"cost_usd": 15}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > caller POST /api/v1/reservations/{last}/extend {"cost_usd": 10}
            409 short: the reservation can't be extended: budget `user_day` of $20.00 can't hold this call: $0.00 spent, $15.00 held by running calls, $10.00 needed at most · resets at 2026-07-15T00:00:00Z · raise it with `tidegate budget set user_day <amount>`, or ask for less with a smaller cost_usd
            > caller POST /api/v1/admissions {"cost_usd": 10}
            200 {
              alternative: null
              approved: false
              confidence: null
              expires_at: null
              limit: "user_day"
              platform: "claude_code"
              reasons: ["budget `user_day` of $20.00 is held by running calls: $0.00 spent, $15.00 held, $10.00 needed at most · try again in about 15 s, when some of them have ended, or raise it with `tidegate budget set user_day <amount>`"]
              reservation: null
              shortage: {asked: $10.00, held: $15.00, level: "user_day", limit: $20.00, resets_at: "2026-07-15T00:00:00Z", spent: $0.00}
              wait_for: "running_calls"
              wait_time: 15.0
            }
        "#]],
    );
}

#[test]
fn another_keys_reservation_does_not_exist() {
    check(
        r#"caller POST /api/v1/admissions {"tokens": 1, "cost_usd": 1}
           stranger POST /api/v1/reservations/{last}/settle {"cost_usd": 0}
           boss POST /api/v1/reservations/{last}/release
           nobody POST /api/v1/reservations/{last}/release
           viewer POST /api/v1/reservations/{last}/release
           stranger GET /api/v1/reservations
           operator POST /api/v1/reservations/{last}/release
           operator GET /api/v1/audit?limit=1"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"tokens": 1, "cost_usd": 1}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > stranger POST /api/v1/reservations/{last}/settle {"cost_usd": 0}
            404 not_open: there is no open reservation resv_19f607f8e0000007: it has ended, or never was · where it was settled at an estimate, an operator corrects it with `tidegate ledger correct RESERVATION COST`
            > boss POST /api/v1/reservations/{last}/release
            404 not_open: there is no open reservation resv_19f607f8e0000007: it has ended, or never was · where it was settled at an estimate, an operator corrects it with `tidegate ledger correct RESERVATION COST`
            > nobody POST /api/v1/reservations/{last}/release
            404 not_open: there is no open reservation resv_19f607f8e0000007: it has ended, or never was · where it was settled at an estimate, an operator corrects it with `tidegate ledger correct RESERVATION COST`
            > viewer POST /api/v1/reservations/{last}/release
            403 role_needed: a key with the role viewer may look but not ask for admissions · ask an admin for a key with that right (`tidegate keys add`)
            > stranger GET /api/v1/reservations
            200 {expired: [], more: 0, open: []}
            > operator POST /api/v1/reservations/{last}/release
            200 {reservation: "resv_19f607f8e0000007"}
            > operator GET /api/v1/audit?limit=1
            200 {changes: [{action: "reservation_released", at: "2026-07-14T12:00:00.000000Z", object: "resv_19f607f8e0000007", organisation: "local", role: "operator", who: "key_19f607f8e0000003"}]}
        "#]],
    );
}

#[test]
fn only_operators_ask_for_others() {
    check(
        r#"caller POST /api/v1/admissions {"tokens": 1, "user": "vic"}
           nobody POST /api/v1/admissions {"tokens": 1, "user": "ann"}
           operator POST /api/v1/admissions {"tokens": 1, "user": "ann"}
           caller POST /api/v1/reservations/{last}/release"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"tokens": 1, "user": "vic"}
            403 not_yours: this key acts as `ann`, and may not ask for `vic`: leave `user` out, or use an operator's key
            > nobody POST /api/v1/admissions {"tokens": 1, "user": "ann"}
            403 not_yours: this key acts as `local`, and may not ask for `ann`: leave `user` out, or use an operator's key
            > operator POST /api/v1/admissions {"tokens": 1, "user": "ann"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > caller POST /api/v1/reservations/{last}/release
            200 {reservation: "resv_19f607f8e0000007"}
        "#]],
    );
}

#[test]
fn what_nobody_settles_is_settled_at_its_bound_and_listed() {
    check(
        r#"nobody POST /api/v1/admissions {"tokens": 1, "cost_usd": "0.25"}
           pass 901
           nobody GET /api/v1/reservations
           stranger GET /api/v1/reservations"#,
        expect![[r#"
            > nobody POST /api/v1/admissions {"tokens": 1, "cost_usd": "0.25"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > pass 901
            > nobody GET /api/v1/reservations
            200 {expired: [{at: "2026-07-14T12:15:01.000000Z", cost: $0.25, organisation: "local", reservation: "resv_19f607f8e0000007", user: "local"}], more: 0, open: []}
            > stranger GET /api/v1/reservations
            200 {expired: [], more: 0, open: []}
        "#]],
    );
}

#[test]
fn what_a_crash_left_open_is_its_holders_if_it_was_promised_and_else_an_operators() {
    let store = Arc::new(MemoryStore::default());
    let before = World::with_store(&store);
    let body = r#"{"tokens": 1, "cost_usd": "0.25"}"#;
    let asked = before.ask("nobody", "POST", "/api/v1/admissions", body);
    let (_, text) = run(asked);
    before.engine.flush();
    // Killed: nothing of it ends in good order.
    std::mem::forget(before);
    let promised = text.split('"').find(|it| it.starts_with("resv_")).unwrap();
    let id = of_a_call(&store);
    let after = World::with_store(&store);
    let script = format!(
        r#"nobody GET /api/v1/reservations
           nobody POST /api/v1/reservations/{promised}/settle {{"cost_usd": "0.1"}}
           nobody POST /api/v1/reservations/{id}/settle {{"cost_usd": 0}}
           token POST /api/v1/reservations/{id}/settle {{"cost_usd": "0.2"}}
           token GET /api/v1/audit?limit=1"#
    );
    check_in(
        &after,
        &script,
        expect![[r#"
            > nobody GET /api/v1/reservations
            200 {expired: [], more: 0, open: [{expires_at: "2026-07-14T12:15:00Z", held: $0.25, organisation: "local", reservation: "resv_19f607f8e0000007", service: "llm", unknown: false, user: "local"}, {expires_at: "2026-07-14T12:15:00Z", held: $0.25, organisation: "local", reservation: "resv_19f607f8e0000008", service: "llm", unknown: true, user: "local"}]}
            > nobody POST /api/v1/reservations/resv_19f607f8e0000007/settle {"cost_usd": "0.1"}
            200 {cost: $0.10, reservation: "resv_19f607f8e0000007"}
            > nobody POST /api/v1/reservations/resv_19f607f8e0000008/settle {"cost_usd": 0}
            403 unknown_reservation: `resv_19f607f8e0000008` was left open by a crash, and whether it was answered is not known: an operator settles or releases it
            > token POST /api/v1/reservations/resv_19f607f8e0000008/settle {"cost_usd": "0.2"}
            200 {cost: $0.20, reservation: "resv_19f607f8e0000008"}
            > token GET /api/v1/audit?limit=1
            200 {changes: [{action: "unknown_settled", at: "2026-07-14T12:00:00.000000Z", object: "resv_19f607f8e0000008", organisation: "local", role: "admin", who: "local"}]}
        "#]],
    );
}

/// Opens a reservation like the last, but of a call.
fn of_a_call(store: &MemoryStore) -> ReservationId {
    let rows = store.rows(1, usize::MAX).unwrap();
    let Entry::Call(mut call) = rows.last().unwrap().entry().unwrap() else {
        panic!("a call's entry")
    };
    call.reservation = ReservationId::from_raw(call.reservation.raw() + 1);
    if let Event::Reserve { asked, .. } = &mut call.event {
        *asked = None;
    }
    let reservation = call.reservation;
    store.append(&[Entry::Call(call)]).unwrap();
    reservation
}

#[test]
fn a_ledger_that_can_not_be_written_admits_nothing_and_is_not_ready() {
    let world = World::new();
    world.fill_disk();
    world.drain();
    check_in(
        &world,
        r#"caller POST /api/v1/admissions {"tokens": 1, "cost_usd": 1}
           remote GET /readyz
           remote GET /healthz"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"tokens": 1, "cost_usd": 1}
            503 ledger_unwritable: the ledger can't be written, and nothing is admitted that it can't hold: see `tidegate status`
            > remote GET /readyz
            503 {ready: false, reasons: [{code: "ledger_unwritable", message: "the ledger can't be written: calls under enforced limits are refused; see `tidegate status`"}, {code: "draining", message: "the gateway is stopping: it takes no new calls and waits for those in flight"}]}
            > remote GET /healthz
            200 serving
        "#]],
    );
}

#[test]
fn of_a_thousand_at_once_exactly_those_are_admitted_that_the_budget_holds() {
    let admitted = run(async {
        let mut asking = JoinSet::new();
        let world = Arc::new(World::new());
        for _ in 0..1_000 {
            let world = Arc::clone(&world);
            asking.spawn(async move {
                let body = r#"{"cost_usd": "0.10"}"#;
                let (status, text) = world
                    .ask("caller", "POST", "/api/v1/admissions", body)
                    .await;
                assert_eq!(status, 200, "{text}");
                text.contains("\"approved\":true")
            });
        }
        let admitted = asking.join_all().await;
        world.engine.flush();
        let report = verify_store(world.engine.ledger()).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!(report.held.to_string(), "$20.00");
        admitted.into_iter().filter(|it| *it).count()
    });
    assert_eq!(admitted, 200);
}

#[test]
fn what_expired_is_corrected_by_an_operator_and_again_from_there() {
    check(
        r#"nobody POST /api/v1/admissions {"tokens": 1, "cost_usd": "0.25", "task": "t"}
           pass 901
           caller POST /api/v1/reservations/{last}/settle {"cost_usd": "0.1"}
           caller POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
           boss POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
           operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
           operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
           operator POST /api/v1/reservations/{last}/correct {"cost_usd": 0.3}
           operator GET /api/v1/reservations
           nobody GET /api/v1/budgets?level=task
           admin GET /api/v1/audit
           token POST /api/v1/ledger/verify | clean, rows, overruns_total"#,
        expect![[r#"
            > nobody POST /api/v1/admissions {"tokens": 1, "cost_usd": "0.25", "task": "t"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > pass 901
            > caller POST /api/v1/reservations/{last}/settle {"cost_usd": "0.1"}
            404 not_open: there is no open reservation resv_19f607f8e0000007: it has ended, or never was · where it was settled at an estimate, an operator corrects it with `tidegate ledger correct RESERVATION COST`
            > caller POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
            403 role_needed: this needs the role operator, and the key has the role caller · ask an admin for a key with that right (`tidegate keys add`)
            > boss POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
            404 not_found: there is no reservation resv_19f607f8e0000007
            > operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
            200 {from: $0.25, reservation: "resv_19f607f8e0000007", to: $0.10}
            > operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
            200 {from: $0.10, reservation: "resv_19f607f8e0000007", to: $0.10}
            > operator POST /api/v1/reservations/{last}/correct {"cost_usd": 0.3}
            200 {from: $0.10, reservation: "resv_19f607f8e0000007", to: $0.30}
            > operator GET /api/v1/reservations
            200 {expired: [], more: 0, open: []}
            > nobody GET /api/v1/budgets?level=task
            200 {budgets: [{held: $0.00, in_use: true, left: $4.70, level: "task", limit: [$1.00/$5.00 built in: watch/enforce], notional: $0.00, organisation: "local", soft_passed: false, spent: $0.30, task: "t", user: "local", window: null, would_refuse: 0}], more: 0}
            > admin GET /api/v1/audit
            200 {
              changes: [
                {action: "estimate_corrected", after: {cost_usd: "0.30"}, at: "2026-07-14T12:15:01.000000Z", before: {cost_usd: "0.10"}, object: "resv_19f607f8e0000007", organisation: "local", role: "operator", who: "key_19f607f8e0000003"}
                {action: "estimate_corrected", after: {cost_usd: "0.10"}, at: "2026-07-14T12:15:01.000000Z", before: {cost_usd: "0.25"}, object: "resv_19f607f8e0000007", organisation: "local", role: "operator", who: "key_19f607f8e0000003"}
                {action: "key_added", at: "2026-07-14T12:00:00.000000Z", object: "key_19f607f8e0000006", organisation: "local", role: "caller", who: "local"}
                {action: "key_added", at: "2026-07-14T12:00:00.000000Z", object: "key_19f607f8e0000005", organisation: "local", role: "caller", who: "local"}
                {action: "key_added", at: "2026-07-14T12:00:00.000000Z", object: "key_19f607f8e0000004", organisation: "local", role: "caller", who: "local"}
                {action: "key_added", at: "2026-07-14T12:00:00.000000Z", object: "key_19f607f8e0000003", organisation: "local", role: "caller", who: "local"}
                {action: "key_added", at: "2026-07-14T12:00:00.000000Z", object: "key_19f607f8e0000002", organisation: "local", role: "caller", who: "local"}
                {action: "key_added", at: "2026-07-14T12:00:00.000000Z", object: "key_19f607f8e0000001", organisation: "local", role: "caller", who: "local"}
                {action: "key_added", at: "2026-07-14T12:00:00.000000Z", object: "key_19f607f8e0000000", organisation: "local", role: "caller", who: "local"}
              ]
            }
            > token POST /api/v1/ledger/verify | clean, rows, overruns_total
            200 {clean: true, overruns_total: 1, rows: 5}
        "#]],
    );
}

#[test]
fn what_is_no_estimate_is_not_corrected_and_it_is_said_what_else_to_do() {
    check(
        r#"operator POST /api/v1/admissions {"tokens": 1, "cost_usd": "0.25"}
           operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
           operator POST /api/v1/reservations/{last}/settle {"cost_usd": "0.2"}
           operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
           operator POST /api/v1/admissions {"tokens": 1, "cost_usd": "0.25"}
           operator POST /api/v1/reservations/{last}/release
           operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
           operator POST /api/v1/reservations/resv_0000000000000001/correct {"cost_usd": "0.1"}
           operator POST /api/v1/reservations/nothing/correct {"cost_usd": "0.1"}
           operator POST /api/v1/reservations/{last}/correct {}"#,
        expect![[r#"
            > operator POST /api/v1/admissions {"tokens": 1, "cost_usd": "0.25"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000007", wait_time: null}
            > operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
            409 open: resv_19f607f8e0000007 is open, and nothing is booked on it yet: settle it (`tidegate ledger settle resv_19f607f8e0000007 COST`)
            > operator POST /api/v1/reservations/{last}/settle {"cost_usd": "0.2"}
            200 {cost: $0.20, reservation: "resv_19f607f8e0000007"}
            > operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
            409 not_estimated: resv_19f607f8e0000007 was settled at $0.20, which is no estimate, and stands: what a price table had wrong, `tidegate prices reprice` shows
            > operator POST /api/v1/admissions {"tokens": 1, "cost_usd": "0.25"}
            200 {alternative: null, approved: true, confidence: 1.0, expires_at: "2026-07-14T12:15:00Z", platform: "claude_code", reasons: ["claude_code has what this needs"], reservation: "resv_19f607f8e0000008", wait_time: null}
            > operator POST /api/v1/reservations/{last}/release
            200 {reservation: "resv_19f607f8e0000008"}
            > operator POST /api/v1/reservations/{last}/correct {"cost_usd": "0.1"}
            409 released: resv_19f607f8e0000008 was released and cost nothing: to book a cost, ask for another admission and settle that
            > operator POST /api/v1/reservations/resv_0000000000000001/correct {"cost_usd": "0.1"}
            404 not_found: there is no reservation resv_0000000000000001
            > operator POST /api/v1/reservations/nothing/correct {"cost_usd": "0.1"}
            400 bad_value: `id`: `nothing` is not a reservation's id, resv_ and 16 hexadecimal digits
            > operator POST /api/v1/reservations/{last}/correct {}
            400 bad_body: the body: missing field `cost_usd` at line 1 column 2
        "#]],
    );
}
